//! The identities behind an interface or an address at a given time.
//!
//! Owns the time-versioned index of pods, Services, nodes and interfaces. Pure: cluster changes come in, the
//! pipeline queries it. Never guesses: an identity that cannot be determined is unknown, with a reason.
//!
//! A local pod is identified by its interface, through the pod UID in its processes' cgroup path. Its address
//! is only the fallback, because addresses are reused and the API lags. The remote end is identified by its
//! address alone: a Service's, a pod's or a node's.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::model::cluster::{Change, NetworkPolicy, PodScope, ServiceCidr};
use crate::model::dns::DnsName;
use crate::model::event::Ends;
use crate::model::exchange::Exchange;
use crate::model::flow::{Flow, Ifindex, Protocol, Role};
use crate::model::identity::{PeerEnd, PodEnd, PodIdentity, ServiceIdentity, UnknownReason};
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;

mod changes;
mod claims;
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
use self::interfaces::{Behind, Interfaces};
use self::pods::{Known, Pods};
use self::resolved_names::ResolvedNames;
use self::services::Services;

pub use self::objects::{Lack, Presence};
pub use self::owner::Owner;
pub use self::resolver::ResolverConfig;
pub use self::services::Endpoint;

/// How long deleted objects stay known: longer than any event waits to be emitted.
const RETENTION: Duration = Duration::from_secs(300);
/// Deleted objects remembered, per kind.
const MAX_PAST: usize = 16_384;
/// How long the pod of a new interface may stay unnamed before it counts as unknown. Its process starts when
/// the CNI is done, and the API reports the pod before both.
const NAME_WAIT: Duration = Duration::from_secs(2);

/// Facts about the cluster that no object states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexSettings {
    /// The cluster's DNS domain.
    pub cluster_domain: DnsName,
}

impl Default for IndexSettings {
    fn default() -> IndexSettings {
        IndexSettings {
            cluster_domain: DnsName::new("cluster.local."),
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
    pods: Pods,
    services: Services,
    namespaces: HashSet<Arc<str>>,
    policies: Vec<NetworkPolicy>,
    service_cidrs: Vec<ServiceCidr>,
    /// The addresses of each Node.
    node_ips: HashMap<Arc<str>, Vec<IpAddr>>,
    /// Addresses of running pods, by UID. A hostNetwork pod has none of its own.
    running: Claims<Arc<str>>,
    /// Addresses of pods that ended but still exist: they may belong to other pods by now.
    ended: Claims<Arc<str>>,
    /// Addresses of endpoints that are pods, used where the pod itself is not in the inventory.
    endpoints: Claims<Arc<PodIdentity>>,
    cluster_ips: Claims<Arc<ServiceIdentity>>,
    external_ips: Claims<Arc<ServiceIdentity>>,
    nodes: Claims<Arc<str>>,
    /// Node addresses learned from hostNetwork pods, used where the inventory has no Nodes.
    hosts: Claims<Arc<str>>,
    names: ResolvedNames,
    losses: Losses,
}

/// The holder of an address that only one owner can have.
enum Holder<T> {
    Vacant,
    One(T),
    Several,
}

impl<T> Holder<T> {
    fn from_candidates(mut holders: impl Iterator<Item = T>) -> Holder<T> {
        match (holders.next(), holders.next()) {
            (None, _) => Holder::Vacant,
            (Some(one), None) => Holder::One(one),
            (Some(_), Some(_)) => Holder::Several,
        }
    }

    /// Turns `Vacant` into `Several`: the candidates were narrowed down to none, so which one it is stays
    /// unknown.
    fn or_several(self) -> Holder<T> {
        match self {
            Holder::Vacant => Holder::Several,
            found => found,
        }
    }
}

impl Index {
    /// An empty index.
    pub fn new(settings: IndexSettings) -> Index {
        Index {
            settings,
            kinds: Kinds::default(),
            pod_scope: PodScope::Cluster,
            snapshot: false,
            stale_since: None,
            interfaces: Interfaces::default(),
            pods: Pods::default(),
            services: Services::default(),
            namespaces: HashSet::new(),
            policies: Vec::new(),
            service_cidrs: Vec::new(),
            node_ips: HashMap::new(),
            running: Claims::default(),
            ended: Claims::default(),
            endpoints: Claims::default(),
            cluster_ips: Claims::default(),
            external_ips: Claims::default(),
            nodes: Claims::default(),
            hosts: Claims::default(),
            names: ResolvedNames::default(),
            losses: Losses::default(),
        }
    }

    /// Applies a change, valid from `at` on.
    pub fn apply(&mut self, at: Timestamp, change: Change) {
        match change {
            Change::Replace(inventory) => self.replace(at, *inventory),
            Change::Asked { kinds, pods } => self.ask(at, &kinds, pods),
            Change::List(listed) => self.list(at, listed),
            Change::Put(object) => self.put(at, at, *object),
            Change::Delete(key) => self.delete(at, &key),
            Change::Refused(kind) => self.refuse(kind),
            Change::Stale(since) => self.stale_since = since,
            Change::Interface { ifindex, uid } => {
                let evicted = self.interfaces.report(at, ifindex, uid);
                self.losses
                    .add(Stage::Table, "interface table full", evicted);
            }
            Change::InterfaceGone(ifindex) => self.interfaces.remove(at, ifindex),
        }
        self.forget(at);
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
            + self.nodes.forget(before, MAX_PAST)
            + self.hosts.forget(before, MAX_PAST);
        self.losses
            .add(Stage::Table, "cluster history full", evicted);
    }

    /// Identifies both ends of a flow as they were at `at`.
    pub fn ends(&self, at: Timestamp, flow: &Flow, role: Role) -> Ends {
        let ports = matches!(flow.protocol, Protocol::Tcp | Protocol::Udp);
        let who = self.pod(at, flow.ifindex, flow.pod.ip());
        let peer = self.peer(at, flow);
        let peer_traced_here = peer
            .pod
            .as_ref()
            .is_some_and(|pod| self.interfaces_of(pod, at).next().is_some());
        let mut ends = Ends {
            ifindex: flow.ifindex,
            role,
            pod: PodEnd {
                ip: flow.pod.ip(),
                port: ports.then_some(flow.pod.port()),
                who,
            },
            peer,
            peer_traced_here,
        };
        ends.peer.names = self
            .names
            .names_for(&Owner::from_ends(&ends), ends.peer.ip, at);
        ends
    }

    /// A client exchange of this pod ended at `at`: its answers are names for the addresses in them. An
    /// answer from a server that was not asked is ignored, as every resolver does.
    pub fn resolved(&mut self, at: Timestamp, ends: &Ends, exchange: &Exchange) {
        if let Some(question) = &exchange.question
            && exchange.asked_peer.is_none()
        {
            let evicted = self.names.learn(
                &Owner::from_ends(ends),
                at,
                &question.name,
                &exchange.answers,
            );
            self.losses
                .add(Stage::Table, "address name table full", evicted);
        }
    }

    /// Whether this interface's pod may still be identified, so that its events should wait.
    pub fn pending(&self, at: Timestamp, ifindex: Ifindex) -> bool {
        if self.kinds.awaited(at) {
            return true;
        }
        match self.interfaces.behind(ifindex, at) {
            // A pod's first packets can arrive before the report of its interface, but only where interfaces
            // are reported.
            Behind::Unreported => !self.interfaces.is_empty(),
            Behind::NoPod { since } => at < since.after(NAME_WAIT),
            Behind::Pod { uid, since } => {
                self.informed() && self.pods.by_uid(uid).is_none() && at < since.after(NAME_WAIT)
            }
        }
    }

    /// The pod's resolver configuration; `None` where its node's applies. For a pod known by name alone, the
    /// default of its namespace.
    pub fn resolver(&self, pod: &Arc<PodIdentity>) -> Option<ResolverConfig> {
        match self.pods.by_uid(&pod.uid) {
            Some(known) => resolver::of_pod(&known.pod, &self.settings.cluster_domain),
            None => Some(resolver::of_namespace(
                &pod.namespace,
                &self.settings.cluster_domain,
            )),
        }
    }

    /// Entries evicted because a limit was reached.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// The pod behind an interface; where that is unknown, the pod with this address.
    pub fn pod(
        &self,
        at: Timestamp,
        ifindex: Ifindex,
        ip: IpAddr,
    ) -> Result<Arc<PodIdentity>, UnknownReason> {
        if !self.informed() {
            return Err(self.kinds.why_unknown());
        }
        let unidentified = match self.interfaces.behind(ifindex, at) {
            // The address may contradict: the API reports it late, and a pod can use others. The interface
            // cannot lie.
            Behind::Pod { uid, .. } => {
                let known = self.pods.by_uid(uid).ok_or(UnknownReason::NotInInventory)?;
                return Ok(known.identity.clone());
            }
            Behind::NoPod { .. } => UnknownReason::NoPodProcess,
            Behind::Unreported => UnknownReason::NotInInventory,
        };
        match self.pod_at(ip, at) {
            // That pod is known to be behind another interface: its address is reused, or spoofed.
            Holder::One(known)
                if self
                    .interfaces_of(&known.identity, at)
                    .any(|other| other != ifindex) =>
            {
                Err(UnknownReason::Ambiguous)
            }
            Holder::One(known) => Ok(known.identity.clone()),
            Holder::Several => Err(UnknownReason::Ambiguous),
            Holder::Vacant => Err(unidentified),
        }
    }

    fn peer(&self, at: Timestamp, flow: &Flow) -> PeerEnd {
        let ip = flow.peer.ip();
        let ports = matches!(flow.protocol, Protocol::Tcp | Protocol::Udp);
        let node = self.node_at(ip, at);
        let pod = match self.pod_at(ip, at) {
            Holder::One(known) => Some(known.identity.clone()),
            Holder::Vacant if node.is_none() => self.endpoint_at(ip, at),
            Holder::Vacant | Holder::Several => None,
        };
        let service = self.service_at(at, flow, node.is_some() || pod.is_some());
        let (pod, node) = match &service {
            Some(_) => (None, None),
            None => {
                let node = pod.as_ref().and_then(|pod| pod.node.clone()).or(node);
                (pod, node)
            }
        };
        PeerEnd {
            ip,
            port: ports.then_some(flow.peer.port()),
            pod,
            service,
            node,
            names: Vec::new(),
        }
    }

    /// The Service with the peer's address. An external address can also be a node's or a pod's (`taken`),
    /// and several Services can share it. Then it is a Service's only at a port which that Service lists.
    fn service_at(&self, at: Timestamp, flow: &Flow, taken: bool) -> Option<Arc<ServiceIdentity>> {
        let ip = flow.peer.ip();
        if let Holder::One(service) =
            Holder::from_candidates(self.cluster_ips.owners(ip, at).into_iter())
        {
            return Some(service.clone());
        }
        let external = self.external_ips.owners(ip, at);
        let lists = |identity: &&&Arc<ServiceIdentity>| {
            let protocol = match flow.protocol {
                Protocol::Tcp => "TCP",
                Protocol::Udp => "UDP",
                _ => return false,
            };
            self.services
                .get(&identity.namespace, &identity.name)
                .is_some_and(|service| {
                    service
                        .ports
                        .iter()
                        .any(|port| port.port == flow.peer.port() && &*port.protocol == protocol)
                })
        };
        match Holder::from_candidates(external.iter().filter(lists)) {
            Holder::One(service) => Some((*service).clone()),
            Holder::Several => None,
            Holder::Vacant => match Holder::from_candidates(external.into_iter()) {
                Holder::One(service) if !taken => Some(service.clone()),
                _ => None,
            },
        }
    }

    fn node_at(&self, ip: IpAddr, at: Timestamp) -> Option<Arc<str>> {
        for claims in [&self.nodes, &self.hosts] {
            match Holder::from_candidates(claims.owners(ip, at).into_iter()) {
                Holder::One(node) => return Some(node.clone()),
                Holder::Vacant => {}
                Holder::Several => return None,
            }
        }
        None
    }

    /// The running pod with this address; in a snapshot, failing that, one that has ended.
    fn pod_at(&self, ip: IpAddr, at: Timestamp) -> Holder<&Known> {
        match self.running_at(ip, at) {
            // Where the cluster reports every change, traffic from an ended pod's address belongs to the next
            // pod, which the API has not reported yet.
            Holder::Vacant if self.snapshot => self.ended_at(ip, at),
            found => found,
        }
    }

    fn running_at(&self, ip: IpAddr, at: Timestamp) -> Holder<&Known> {
        let holders = self.running.owners(ip, at).into_iter();
        let holders: Vec<&Known> = holders.filter_map(|uid| self.pods.by_uid(uid)).collect();
        match Holder::from_candidates(holders.iter().copied()) {
            // The address was given to a new pod while the object of the old one is still being deleted.
            Holder::Several => Holder::from_candidates(
                holders
                    .into_iter()
                    .filter(|known| known.terminating.is_none_or(|since| since > at)),
            )
            .or_several(),
            found => found,
        }
    }

    fn ended_at(&self, ip: IpAddr, at: Timestamp) -> Holder<&Known> {
        let holders = self.ended.owners(ip, at).into_iter();
        Holder::from_candidates(holders.filter_map(|uid| self.pods.by_uid(uid)))
    }

    /// The pod at this address according to an EndpointSlice.
    fn endpoint_at(&self, ip: IpAddr, at: Timestamp) -> Option<Arc<PodIdentity>> {
        let Holder::One(target) =
            Holder::from_candidates(self.endpoints.owners(ip, at).into_iter())
        else {
            return None;
        };
        let known = match &*target.uid {
            "" => self.pods.by_name(&target.namespace, &target.name),
            // Not by name, which another pod may have by now.
            uid => self.pods.by_uid(uid),
        };
        match known {
            // A hostNetwork pod has the node's address and is indistinguishable from the node's other pods;
            // otherwise the slice lags behind.
            Some(known) if known.pod.host_network || known.pod.terminated || known.is_gone() => {
                None
            }
            Some(known) => Some(known.identity.clone()),
            None => Some(target.clone()),
        }
    }

    /// A pod's interfaces at that time.
    fn interfaces_of(&self, pod: &PodIdentity, at: Timestamp) -> impl Iterator<Item = Ifindex> {
        let mirrored = self
            .pods
            .by_uid(&pod.uid)
            .and_then(|known| known.pod.static_uid.as_deref());
        let uids = [
            self.pods.by_uid(&pod.uid).map(|known| &*known.pod.uid),
            mirrored,
        ];
        uids.into_iter()
            .flatten()
            .flat_map(move |uid| self.interfaces.of_pod(uid, at))
    }
}
