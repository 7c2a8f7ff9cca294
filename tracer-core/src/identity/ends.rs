//! The identities of a flow's two ends, at the time of the flow.
//!
//! Owns the order in which the evidence decides: for the pod its interface and then its address, for the remote end its
//! address alone. An address with several possible holders stays unknown.

use std::net::IpAddr;
use std::sync::Arc;

use super::Index;
use super::interfaces::Behind;
use super::pods::KnownPod;
use crate::model::event::Ends;
use crate::model::flow::{Flow, Ifindex, Protocol, Role};
use crate::model::identity::{PeerEnd, PodEnd, PodIdentity, ServiceIdentity, UnknownReason};
use crate::model::time::Timestamp;

/// The holder of an address that only one owner can have.
pub(super) enum Holder<T> {
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
    /// Identifies both ends of a flow as they were at `at`.
    pub fn ends(&self, at: Timestamp, flow: &Flow, role: Role) -> Ends {
        let mut ends = self.unnamed_ends(at, flow, role);
        self.name_peer(at, &mut ends);
        ends
    }

    /// Adds the names from which the pod had resolved its peer's address.
    pub(crate) fn name_peer(&self, at: Timestamp, ends: &mut Ends) {
        ends.peer.names = self.names.names_for(ends, at);
    }

    /// Identifies both ends of a flow, without the names of its peer's address.
    pub(crate) fn unnamed_ends(&self, at: Timestamp, flow: &Flow, role: Role) -> Ends {
        let ports = matches!(flow.protocol, Protocol::Tcp | Protocol::Udp);
        let identity = self.pod(at, flow.ifindex, flow.pod.ip());
        let peer = self.peer(at, flow, role);
        let peer_traced_here = peer
            .pod
            .as_ref()
            .is_some_and(|pod| self.interfaces_of(pod, at).next().is_some());
        Ends {
            ifindex: flow.ifindex,
            role,
            pod: PodEnd {
                ip: flow.pod.ip(),
                port: ports.then_some(flow.pod.port()),
                container: identity
                    .as_ref()
                    .ok()
                    .and_then(|pod| self.only_container(pod)),
                at_uplink: self.is_flow_of_node(flow, at),
                process: None,
                identity,
            },
            peer,
            peer_traced_here,
        }
    }

    /// The pod behind an interface; where that is unknown, the pod with this address.
    pub fn pod(
        &self,
        at: Timestamp,
        ifindex: Ifindex,
        ip: IpAddr,
    ) -> Result<Arc<PodIdentity>, UnknownReason> {
        if !self.has_inventory() {
            return Err(self.kinds.why_unknown());
        }
        let unidentified = match self.interfaces.behind(ifindex, at) {
            // The address may contradict: the API reports it late, and a pod can use others. The interface
            // cannot lie.
            Behind::Pod { uid, .. } => {
                let known = self.pods.by_uid(uid).ok_or(UnknownReason::NotInInventory)?;
                return match self.is_elsewhere(known) {
                    true => Err(UnknownReason::Ambiguous),
                    false => Ok(known.identity.clone()),
                };
            }
            // The node's address is that of all its processes.
            Behind::Node => return Err(UnknownReason::NodeProcess),
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
            // A pod of another node is behind none of this node's interfaces, whatever address it shows.
            Holder::One(known) if !self.interfaces.is_empty() && self.is_elsewhere(known) => {
                Err(unidentified)
            }
            Holder::One(known) => Ok(known.identity.clone()),
            Holder::Several => Err(UnknownReason::Ambiguous),
            Holder::Vacant => Err(unidentified),
        }
    }

    /// Whether a pod is on another node than this one, as far as the cluster's objects show.
    fn is_elsewhere(&self, known: &KnownPod) -> bool {
        let (Some(here), Some(node)) = (&self.settings.node, &known.identity.node) else {
            return false;
        };
        node != here && self.node_objects.contains_key(here)
    }

    fn peer(&self, at: Timestamp, flow: &Flow, role: Role) -> PeerEnd {
        let ip = flow.peer.ip();
        let ports = matches!(flow.protocol, Protocol::Tcp | Protocol::Udp);
        let node = self.node_at(ip, at);
        let pod = match self.pod_at(ip, at) {
            Holder::One(known) => Some(known.identity.clone()),
            Holder::Vacant if node.is_none() => self.endpoint_at(ip, at),
            Holder::Vacant | Holder::Several => None,
        };
        let service = self.service_at(at, flow, node.is_some() || pod.is_some());
        let (pod, service, node) = match (service, pod) {
            (Some(service), _) => (None, Some(service), None),
            (None, Some(pod)) => {
                let node = pod.node.clone().or(node);
                (Some(pod), None, node)
            }
            // A client's own port can be a node port's number: only a server has a node port.
            (None, None) if node.is_some() && role == Role::Client => {
                (None, self.service_at_node(at, flow), node)
            }
            (None, None) => (None, None, node),
        };
        PeerEnd {
            ip,
            port: ports.then_some(flow.peer.port()),
            pod,
            host_pod: None,
            service,
            node,
            names: Vec::new(),
            backend: None,
        }
    }

    /// The Service that the flow's peer is an address of, a node's at a node port included.
    pub(super) fn peer_service(&self, at: Timestamp, flow: &Flow) -> Option<Arc<ServiceIdentity>> {
        let ip = flow.peer.ip();
        let node = self.node_at(ip, at).is_some();
        let taken = node || !matches!(self.pod_at(ip, at), Holder::Vacant);
        self.service_at(at, flow, taken)
            .or_else(|| node.then(|| self.service_at_node(at, flow)).flatten())
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

    /// The Service with this port at every node.
    fn service_at_node(&self, at: Timestamp, flow: &Flow) -> Option<Arc<ServiceIdentity>> {
        let port = (flow.protocol, flow.peer.port());
        match Holder::from_candidates(self.node_ports.owners(port, at).into_iter()) {
            Holder::One(service) => Some(service.clone()),
            Holder::Vacant | Holder::Several => None,
        }
    }

    pub(super) fn node_at(&self, ip: IpAddr, at: Timestamp) -> Option<Arc<str>> {
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
    pub(super) fn pod_at(&self, ip: IpAddr, at: Timestamp) -> Holder<&KnownPod> {
        match self.running_at(ip, at) {
            // Where the cluster reports every change, traffic from an ended pod's address belongs to the next
            // pod, which the API has not reported yet.
            Holder::Vacant if self.snapshot => self.ended_at(ip, at),
            found => found,
        }
    }

    pub(super) fn running_at(&self, ip: IpAddr, at: Timestamp) -> Holder<&KnownPod> {
        let holders = self.running.owners(ip, at).into_iter();
        let holders: Vec<&KnownPod> = holders.filter_map(|uid| self.pods.by_uid(uid)).collect();
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

    pub(super) fn ended_at(&self, ip: IpAddr, at: Timestamp) -> Holder<&KnownPod> {
        let holders = self.ended.owners(ip, at).into_iter();
        Holder::from_candidates(holders.filter_map(|uid| self.pods.by_uid(uid)))
    }

    /// The pod at this address according to an EndpointSlice.
    pub(super) fn endpoint_at(&self, ip: IpAddr, at: Timestamp) -> Option<Arc<PodIdentity>> {
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

    /// The interface here of the pod that owns an address. `Some(None)`: its pod is on another node, or not certain.
    /// `None`: no pod is known to own it, or no interface was ever reported.
    pub(crate) fn interface_of_owner(&self, ip: IpAddr, at: Timestamp) -> Option<Option<Ifindex>> {
        match self.pod_at(ip, at) {
            _ if self.interfaces.is_empty() => None,
            Holder::Vacant => None,
            Holder::Several => Some(None),
            Holder::One(known) => Some(self.interfaces_of(&known.identity, at).next()),
        }
    }

    /// A pod's interfaces at that time.
    pub(super) fn interfaces_of(
        &self,
        pod: &PodIdentity,
        at: Timestamp,
    ) -> impl Iterator<Item = Ifindex> {
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
