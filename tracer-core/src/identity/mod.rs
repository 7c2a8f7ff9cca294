//! Who had this interface, and this address, at that time. Pure: fed by changes, asked by the pipeline.
//!
//! A local pod is known by its interface: the UID that its processes' cgroup bears. Its address is the fallback, for
//! addresses are used again and the API lags. The other end is known by its address alone: a Service's, a pod's, a node's.
//! What cannot be told is unknown with a reason; nothing here guesses.

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
mod names;
mod objects;
mod owner;
mod pods;
mod resolver;
mod services;
#[cfg(test)]
mod tests;

use self::changes::Kinds;
use self::claims::Claims;
use self::interfaces::{Behind, Interfaces};
use self::names::Names;
use self::pods::{Known, Pods};
use self::services::Services;

pub use self::objects::{Lack, Presence};
pub use self::owner::Owner;
pub use self::resolver::ResolverConfig;
pub use self::services::Endpoint;

/// What is gone stays known for so long: longer than any event waits to be told.
const MEMORY: Duration = Duration::from_secs(300);
/// So many gone objects of each sort are remembered.
const MAX_PAST: usize = 16_384;
/// The name of an interface's pod comes within so long after its interface, or not at all: its process starts after the
/// CNI is done, and the API tells of the pod before both.
const NAME_WAIT: Duration = Duration::from_secs(2);

/// What the index is told about the cluster that no object says.
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

/// Who had which interface and which address, when.
#[derive(Debug)]
pub struct Index {
    settings: IndexSettings,
    /// What is known of each kind.
    kinds: Kinds,
    /// Which pods the cluster tells of.
    pod_scope: PodScope,
    /// An inventory file says who is who: as things are at some moment. Otherwise a cluster tells of each change.
    snapshot: bool,
    /// Since when what the cluster told may be out of date.
    stale_since: Option<Timestamp>,
    interfaces: Interfaces,
    pods: Pods,
    services: Services,
    namespaces: HashSet<Arc<str>>,
    policies: Vec<NetworkPolicy>,
    service_cidrs: Vec<ServiceCidr>,
    /// The addresses of each Node.
    node_ips: HashMap<Arc<str>, Vec<IpAddr>>,
    /// Addresses of pods that run, by UID. A hostNetwork pod has none of its own.
    running: Claims<Arc<str>>,
    /// Addresses of pods that ended but still exist: they may be others' by now.
    ended: Claims<Arc<str>>,
    /// Addresses of endpoints that are pods, for where the pod itself is not in the inventory.
    endpoints: Claims<Arc<PodIdentity>>,
    cluster_ips: Claims<Arc<ServiceIdentity>>,
    external_ips: Claims<Arc<ServiceIdentity>>,
    nodes: Claims<Arc<str>>,
    /// What hostNetwork pods tell of their nodes' addresses, for where there are no Nodes in the inventory.
    hosts: Claims<Arc<str>>,
    names: Names,
    losses: Losses,
}

/// Who has an address, of those who can be only one.
enum Holder<T> {
    Nobody,
    One(T),
    Several,
}

impl<T> Holder<T> {
    fn of(mut holders: impl Iterator<Item = T>) -> Holder<T> {
        match (holders.next(), holders.next()) {
            (None, _) => Holder::Nobody,
            (Some(one), None) => Holder::One(one),
            (Some(_), Some(_)) => Holder::Several,
        }
    }

    /// Of several there is one or it cannot be told, but not nobody.
    fn or_several(self) -> Holder<T> {
        match self {
            Holder::Nobody => Holder::Several,
            found => found,
        }
    }
}

impl Index {
    /// Knows nobody yet.
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
            names: Names::default(),
            losses: Losses::default(),
        }
    }

    /// Takes a change in, valid from `at` on.
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
                let cost = self.interfaces.tell(at, ifindex, uid);
                self.losses.add(Stage::Table, "interface table full", cost);
            }
            Change::InterfaceGone(ifindex) => self.interfaces.gone(at, ifindex),
        }
        self.forget(at);
    }

    fn forget(&mut self, at: Timestamp) {
        let before = Timestamp(at.0.saturating_sub(Timestamp(0).after(MEMORY).0));
        let cost = self.interfaces.forget(before, MAX_PAST)
            + self.pods.forget(before, MAX_PAST)
            + self.running.forget(before, MAX_PAST)
            + self.ended.forget(before, MAX_PAST)
            + self.endpoints.forget(before, MAX_PAST)
            + self.cluster_ips.forget(before, MAX_PAST)
            + self.external_ips.forget(before, MAX_PAST)
            + self.nodes.forget(before, MAX_PAST)
            + self.hosts.forget(before, MAX_PAST);
        self.losses
            .add(Stage::Table, "history of the cluster full", cost);
    }

    /// Names both ends of a flow as they were at `at`.
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
        ends.peer.names = self.names.of(&Owner::of(&ends), ends.peer.ip, at);
        ends
    }

    /// A client exchange of this pod ended at `at`: its answers are names for the addresses in them. No resolver takes what
    /// comes from somebody who was not asked.
    pub fn resolved(&mut self, at: Timestamp, ends: &Ends, exchange: &Exchange) {
        if let Some(question) = &exchange.question
            && exchange.asked_peer.is_none()
        {
            let cost = self
                .names
                .learn(&Owner::of(ends), at, &question.name, &exchange.answers);
            self.losses
                .add(Stage::Table, "names of addresses full", cost);
        }
    }

    /// Whether the name of this interface's pod may still come, so that its events had better wait.
    pub fn pending(&self, at: Timestamp, ifindex: Ifindex) -> bool {
        if self.kinds.awaited(at) {
            return true;
        }
        match self.interfaces.behind(ifindex, at) {
            // Its first packets can overtake the news of it, but only where there is such news.
            Behind::Untold => !self.interfaces.is_empty(),
            Behind::Nobody { since } => at < since.after(NAME_WAIT),
            Behind::Pod { uid, since } => {
                self.informed() && self.pods.by_uid(uid).is_none() && at < since.after(NAME_WAIT)
            }
        }
    }

    /// The pod's resolver configuration; `None` where its node's decides. Of a pod that is known by its name alone, the
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

    /// What the limits cost so far.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// The pod behind an interface, or else the one with this address.
    pub fn pod(
        &self,
        at: Timestamp,
        ifindex: Ifindex,
        ip: IpAddr,
    ) -> Result<Arc<PodIdentity>, UnknownReason> {
        if !self.informed() {
            return Err(self.kinds.why_unknown());
        }
        let nobody = match self.interfaces.behind(ifindex, at) {
            // The address may say otherwise: it is told late, and a pod can use others. The interface cannot lie.
            Behind::Pod { uid, .. } => {
                let known = self.pods.by_uid(uid).ok_or(UnknownReason::NotInInventory)?;
                return Ok(known.identity.clone());
            }
            Behind::Nobody { .. } => UnknownReason::NoPodProcess,
            Behind::Untold => UnknownReason::NotInInventory,
        };
        match self.pod_at(ip, at) {
            // That pod is known to be elsewhere: its address is used by another one, or falsely.
            Holder::One(known)
                if self
                    .interfaces_of(&known.identity, at)
                    .any(|other| other != ifindex) =>
            {
                Err(UnknownReason::Ambiguous)
            }
            Holder::One(known) => Ok(known.identity.clone()),
            Holder::Several => Err(UnknownReason::Ambiguous),
            Holder::Nobody => Err(nobody),
        }
    }

    fn peer(&self, at: Timestamp, flow: &Flow) -> PeerEnd {
        let ip = flow.peer.ip();
        let ports = matches!(flow.protocol, Protocol::Tcp | Protocol::Udp);
        let node = self.node_at(ip, at);
        let pod = match self.pod_at(ip, at) {
            Holder::One(known) => Some(known.identity.clone()),
            Holder::Nobody if node.is_none() => self.endpoint_at(ip, at),
            Holder::Nobody | Holder::Several => None,
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

    /// The Service that has the peer's address. An external address can be a node's or a pod's too (`taken`), and several
    /// Services can share it: then only a port that it lists makes the address the Service's.
    fn service_at(&self, at: Timestamp, flow: &Flow, taken: bool) -> Option<Arc<ServiceIdentity>> {
        let ip = flow.peer.ip();
        if let Holder::One(service) = Holder::of(self.cluster_ips.who(ip, at).into_iter()) {
            return Some(service.clone());
        }
        let external = self.external_ips.who(ip, at);
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
        match Holder::of(external.iter().filter(lists)) {
            Holder::One(service) => Some((*service).clone()),
            Holder::Several => None,
            Holder::Nobody => match Holder::of(external.into_iter()) {
                Holder::One(service) if !taken => Some(service.clone()),
                _ => None,
            },
        }
    }

    fn node_at(&self, ip: IpAddr, at: Timestamp) -> Option<Arc<str>> {
        for claims in [&self.nodes, &self.hosts] {
            match Holder::of(claims.who(ip, at).into_iter()) {
                Holder::One(node) => return Some(node.clone()),
                Holder::Nobody => {}
                Holder::Several => return None,
            }
        }
        None
    }

    /// The pod with this address: one that runs. Where there is none, and nobody tells of changes, one that has ended.
    fn pod_at(&self, ip: IpAddr, at: Timestamp) -> Holder<&Known> {
        match self.running_at(ip, at) {
            // Where a cluster tells of each change, what an ended pod's address does is done by the next one, which the
            // API has not told of yet.
            Holder::Nobody if self.snapshot => self.ended_at(ip, at),
            found => found,
        }
    }

    fn running_at(&self, ip: IpAddr, at: Timestamp) -> Holder<&Known> {
        let holders = self.running.who(ip, at).into_iter();
        let holders: Vec<&Known> = holders.filter_map(|uid| self.pods.by_uid(uid)).collect();
        match Holder::of(holders.iter().copied()) {
            // The address was given to a new one while the object of the old one is still being deleted.
            Holder::Several => Holder::of(
                holders
                    .into_iter()
                    .filter(|known| known.terminating.is_none_or(|since| since > at)),
            )
            .or_several(),
            found => found,
        }
    }

    fn ended_at(&self, ip: IpAddr, at: Timestamp) -> Holder<&Known> {
        let holders = self.ended.who(ip, at).into_iter();
        Holder::of(holders.filter_map(|uid| self.pods.by_uid(uid)))
    }

    /// The pod that an EndpointSlice has at this address.
    fn endpoint_at(&self, ip: IpAddr, at: Timestamp) -> Option<Arc<PodIdentity>> {
        let Holder::One(target) = Holder::of(self.endpoints.who(ip, at).into_iter()) else {
            return None;
        };
        let known = match &*target.uid {
            "" => self.pods.by_name(&target.namespace, &target.name),
            // Not by its name, which another pod may bear by now.
            uid => self.pods.by_uid(uid),
        };
        match known {
            // It has the node's address, and cannot be told from the node's other pods; or the slice lags behind.
            Some(known) if known.pod.host_network || known.pod.terminated || known.is_gone() => {
                None
            }
            Some(known) => Some(known.identity.clone()),
            None => Some(target.clone()),
        }
    }

    /// The interfaces of a pod at that time.
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
            .flat_map(move |uid| self.interfaces.of(uid, at))
    }
}
