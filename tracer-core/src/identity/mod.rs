//! The identities behind an interface or an address at a given time.
//!
//! Owns the time-versioned index of pods, Services, nodes and interfaces. Pure: cluster changes come in, the
//! pipeline queries it. Never guesses: an identity that cannot be determined is unknown, with a reason.
//!
//! A local pod is identified by its interface, through the pod UID in its processes' cgroup path. Its address
//! is only the fallback, because addresses are reused and the API lags. The remote end is identified by its
//! address alone: a Service's, a pod's or a node's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::model::cluster::{ClusterChange, Namespace, NetworkPolicy, Node, PodScope, ServiceCidr};
use crate::model::dns::DnsName;
use crate::model::event::Ends;
use crate::model::exchange::Exchange;
use crate::model::flow::{Flow, Ifindex, Protocol};
use crate::model::identity::{PodIdentity, ServiceIdentity};
use crate::model::loss::{Losses, Stage};
use crate::model::settings::Memory;
use crate::model::time::Timestamp;

mod backend;
mod changes;
mod claims;
mod containers;
mod declared;
mod domain;
mod ends;
mod interfaces;
mod objects;
mod owner;
mod pods;
mod resolved_names;
mod resolver;
mod services;
#[cfg(test)]
mod tests;

use self::changes::Kinds;
use self::claims::Claims;
use self::containers::Cgroups;
use self::domain::Domain;
use self::interfaces::{Behind, Interfaces, Occupant};
use self::pods::Pods;
use self::resolved_names::ResolvedNames;
use self::services::Services;

pub use self::objects::{Presence, Unavailable};
pub use self::owner::Owner;
pub use self::resolver::ResolverConfig;
pub use self::services::Endpoint;

/// How long deleted objects stay known: longer than any event waits to be emitted.
const RETENTION: Duration = Duration::from_secs(300);
/// Deleted objects remembered, per kind.
const MAX_PAST: usize = 16_384;
/// How long after an interface appears the events of its pod may wait for its name. The pod's process starts
/// when the CNI is done, and the API reports the pod before both.
const NAME_WAIT: Duration = Duration::from_secs(2);

/// Facts about the cluster that no object states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexSettings {
    /// The cluster's DNS domain.
    pub cluster_domain: DnsName,
    /// This node's name; `None` where the traffic is not this node's.
    pub node: Option<Arc<str>>,
}

impl Default for IndexSettings {
    fn default() -> IndexSettings {
        IndexSettings {
            cluster_domain: DnsName::new("cluster.local."),
            node: None,
        }
    }
}

/// The identities behind each interface and each address, over time.
#[derive(Debug)]
pub struct Index {
    settings: IndexSettings,
    /// Which kinds of objects are known.
    kinds: Kinds,
    /// The pods that the cluster reports.
    pod_scope: PodScope,
    /// Objects come from an inventory file, which is a snapshot of one moment. Otherwise the cluster reports
    /// every change.
    snapshot: bool,
    /// The time since which the cluster's objects may be out of date.
    stale_since: Option<Timestamp>,
    interfaces: Interfaces,
    cgroups: Cgroups,
    pods: Pods,
    services: Services,
    namespaces: HashMap<Arc<str>, Namespace>,
    policies: Vec<NetworkPolicy>,
    service_cidrs: Vec<ServiceCidr>,
    /// Nodes by name.
    node_objects: HashMap<Arc<str>, Node>,
    /// Addresses of running pods, by UID. A hostNetwork pod has none of its own.
    running: Claims<Arc<str>>,
    /// Addresses of pods that ended but still exist: they may belong to other pods by now.
    ended: Claims<Arc<str>>,
    /// Addresses of endpoints that are pods, used where the pod itself is not in the inventory.
    endpoints: Claims<Arc<PodIdentity>>,
    cluster_ips: Claims<Arc<ServiceIdentity>>,
    external_ips: Claims<Arc<ServiceIdentity>>,
    /// Ports that Services have at every node.
    node_ports: Claims<Arc<ServiceIdentity>, (Protocol, u16)>,
    nodes: Claims<Arc<str>>,
    /// Node addresses learned from hostNetwork pods, used where the inventory has no Nodes.
    hosts: Claims<Arc<str>>,
    names: ResolvedNames,
    domain: Domain,
    /// Rises with every change.
    version: u64,
    /// The time of the latest change.
    changed: Timestamp,
    losses: Losses,
}

impl Index {
    /// An empty index.
    pub fn new(settings: IndexSettings) -> Index {
        Index::bounded(settings, Memory::default().names)
    }

    /// An empty index that takes at most this many bytes for the names of addresses.
    pub fn bounded(settings: IndexSettings, name_bytes: usize) -> Index {
        Index {
            settings,
            kinds: Kinds::default(),
            pod_scope: PodScope::Cluster,
            snapshot: false,
            stale_since: None,
            interfaces: Interfaces::default(),
            cgroups: Cgroups::default(),
            pods: Pods::default(),
            services: Services::default(),
            namespaces: HashMap::new(),
            policies: Vec::new(),
            service_cidrs: Vec::new(),
            node_objects: HashMap::new(),
            running: Claims::default(),
            ended: Claims::default(),
            endpoints: Claims::default(),
            cluster_ips: Claims::default(),
            external_ips: Claims::default(),
            node_ports: Claims::default(),
            nodes: Claims::default(),
            hosts: Claims::default(),
            names: ResolvedNames::new(name_bytes),
            domain: Domain::default(),
            version: 0,
            changed: Timestamp(0),
            losses: Losses::default(),
        }
    }

    /// Applies a change, valid from `at` on.
    pub fn apply(&mut self, at: Timestamp, change: ClusterChange) {
        self.version += 1;
        self.changed = self.changed.max(at);
        match change {
            ClusterChange::Replace(inventory) => self.replace(at, *inventory),
            ClusterChange::Asked { kinds, pods } => self.ask(at, &kinds, pods),
            ClusterChange::List(listed) => self.list(at, listed),
            ClusterChange::Put(object) => self.put(at, at, *object),
            ClusterChange::Delete(key) => self.delete(at, &key),
            ClusterChange::Refused(kind) => self.refuse(kind),
            ClusterChange::Stale(since) => self.stale_since = since,
            ClusterChange::Interface { ifindex, uid } => {
                let occupant = uid.map_or(Occupant::Unknown, Occupant::Pod);
                self.report(at, ifindex, occupant);
            }
            ClusterChange::NodeInterface(ifindex) | ClusterChange::Loopback(ifindex) => {
                self.report(at, ifindex, Occupant::Node);
            }
            ClusterChange::Containers(found) => self.cgroups.add(found),
            ClusterChange::InterfaceGone(ifindex) => self.interfaces.remove(at, ifindex),
        }
        self.forget(at);
    }

    fn report(&mut self, at: Timestamp, ifindex: Ifindex, occupant: Occupant) {
        let evicted = self.interfaces.report(at, ifindex, occupant);
        self.losses
            .add(Stage::Table, "interface table full", evicted);
    }

    /// The number of changes so far and the time of the latest one, from which on identities stay the same
    /// until the next.
    pub fn version(&self) -> (u64, Timestamp) {
        (self.version, self.changed)
    }

    fn forget(&mut self, at: Timestamp) {
        let before = Timestamp(at.0.saturating_sub(Timestamp(0).after(RETENTION).0));
        let evicted = self.interfaces.forget(before, MAX_PAST)
            + self.pods.forget(before, MAX_PAST)
            + self.running.forget(before, MAX_PAST)
            + self.ended.forget(before, MAX_PAST)
            + self.endpoints.forget(before, MAX_PAST)
            + self.cluster_ips.forget(before, MAX_PAST)
            + self.external_ips.forget(before, MAX_PAST)
            + self.node_ports.forget(before, MAX_PAST)
            + self.nodes.forget(before, MAX_PAST)
            + self.hosts.forget(before, MAX_PAST);
        self.losses
            .add(Stage::Table, "cluster history full", evicted);
    }

    /// A client exchange of this pod ended at `at`: its answers are names for the addresses in them. An
    /// answer from a server that was not asked is ignored, as every resolver does.
    pub fn resolved(&mut self, at: Timestamp, ends: &Ends, exchange: &Exchange) {
        if let Some(question) = &exchange.question
            && exchange.asked_peer.is_none()
        {
            self.learn_domain(at, ends, &question.name, exchange);
            let losses = &mut self.losses;
            self.names
                .learn(ends, at, &question.name, &exchange.answers, losses);
        }
    }

    /// Until when an event of this interface may wait for its pod's name; `None` if it need not wait. After
    /// that time no event of the interface waits, however long ago it began.
    pub fn name_deadline(
        &mut self,
        now: Timestamp,
        at: Timestamp,
        ifindex: Ifindex,
    ) -> Option<Timestamp> {
        let until = match self.kinds.awaited_until(now) {
            Some(until) => until,
            // Without objects no pod has a name, however long its events wait.
            None if !self.has_inventory() => return None,
            None => {
                let since = match self.interfaces.behind(ifindex, at) {
                    Behind::Pod { uid, .. } if self.pods.by_uid(uid).is_some() => return None,
                    Behind::Node => return None,
                    Behind::Pod { since, .. } | Behind::NoPod { since } => since,
                    // A pod's first packets can arrive before the report of its interface.
                    Behind::Unreported => self.interfaces.first_event(now, ifindex)?,
                };
                since.after(NAME_WAIT)
            }
        };
        (now < until).then_some(until)
    }

    /// Whether the node's own sockets are traced.
    pub fn traces_node(&self) -> bool {
        self.interfaces.any_of_node(self.changed)
    }

    /// Whether a flow is of the node's own sockets. A recording does not say which interfaces were uplinks: there the
    /// address decides.
    pub(crate) fn is_flow_of_node(&self, flow: &Flow, at: Timestamp) -> bool {
        match self.interfaces.behind(flow.ifindex, at) {
            Behind::Node => true,
            Behind::Pod { .. } => false,
            Behind::Unreported | Behind::NoPod { .. } => self.node_at(flow.pod.ip(), at).is_some(),
        }
    }

    /// Whether the node's own sockets are behind an interface.
    pub fn is_of_node(&self, ifindex: Ifindex, at: Timestamp) -> bool {
        self.interfaces.behind(ifindex, at) == Behind::Node
    }

    /// The interface is no longer traced.
    pub fn gone(&mut self, ifindex: Ifindex) {
        self.interfaces.forget_events(ifindex);
    }

    /// The pod's resolver configuration; `None` where its node's applies. For a pod known by name alone, the
    /// default of its namespace.
    pub fn resolver(&self, pod: &Arc<PodIdentity>) -> Option<Arc<ResolverConfig>> {
        let domain = &self.settings.cluster_domain;
        match self.pods.by_uid(&pod.uid) {
            Some(known) => known.resolver(domain),
            None => Some(Arc::new(resolver::of_namespace(&pod.namespace, domain))),
        }
    }

    /// Entries evicted because a limit was reached.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}
