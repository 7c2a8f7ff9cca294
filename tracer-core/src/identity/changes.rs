//! How objects enter the index: one at a time as a cluster reports them, a whole kind as it lists them, or
//! all at once from an inventory file.
//!
//! Owns the single path for all three. A list is applied as its difference from the known objects, object by
//! object, all at one time: queries never see half of it. Never identifies anything; that is the rest of the
//! index.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Index, Unavailable, objects};
use crate::model::cluster::{
    EndpointSlice, Inventory, Kind, Listed, NetworkPolicy, Node, Object, ObjectKey, Pod, PodScope,
    Service, ServiceCidr,
};
use crate::model::flow::Protocol;
use crate::model::identity::{PodIdentity, UnknownReason};
use crate::model::time::Timestamp;

/// How long identities may still arrive after a cluster was first asked. Later no event waits for them.
const FIRST_LIST_WAIT: Duration = Duration::from_secs(5);

/// Which kinds of objects are known.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    known: HashSet<Kind>,
    /// Requested, not answered yet.
    awaited: HashSet<Kind>,
    refused: HashSet<Kind>,
    asked: Option<Timestamp>,
}

impl Kinds {
    pub fn known(&self, kind: Kind) -> bool {
        self.known.contains(&kind)
    }

    /// Until when the cluster's first answers may still arrive; `None` if they have, or will not.
    pub fn awaited_until(&self, now: Timestamp) -> Option<Timestamp> {
        // The other kinds serve diagnosis, not identity.
        let naming = [Kind::Pod, Kind::Service, Kind::EndpointSlice, Kind::Node];
        let until = self.asked?.after(FIRST_LIST_WAIT);
        // Asked for every message, and over after the first seconds: the time comes first.
        (now < until && naming.iter().any(|kind| self.awaited.contains(kind))).then_some(until)
    }

    /// Whether a cluster was asked for any kind.
    pub fn asked(&self) -> bool {
        self.asked.is_some()
    }

    /// Why objects of this kind are unknown; `None` if they are known.
    pub fn unavailable(&self, kind: Kind) -> Option<Unavailable> {
        if self.known.contains(&kind) {
            None
        } else if self.refused.contains(&kind) {
            Some(Unavailable::Refused)
        } else {
            let asked = self.asked.filter(|_| self.awaited.contains(&kind));
            Some(asked.map_or(Unavailable::NoInventory, Unavailable::NotAnswered))
        }
    }

    /// Why pods have no identity while pods are unknown.
    pub fn why_unknown(&self) -> UnknownReason {
        if self.refused.contains(&Kind::Pod) {
            UnknownReason::Refused
        } else if self.awaited.contains(&Kind::Pod) {
            UnknownReason::NotAnswered
        } else {
            UnknownReason::NoInventory
        }
    }

    /// Marks a kind as known. Returns whether it was not before.
    fn mark_known(&mut self, kind: Kind) -> bool {
        self.awaited.remove(&kind);
        self.refused.remove(&kind);
        self.known.insert(kind)
    }
}

type Claimed = Vec<(IpAddr, Arc<str>)>;

/// The addresses that a pod claims: as a running pod, as an ended one, and for its node.
#[derive(Default)]
struct PodClaims {
    running: Claimed,
    ended: Claimed,
    host: Claimed,
}

impl PodClaims {
    fn from_pod(pod: Option<&Pod>) -> PodClaims {
        let Some(pod) = pod else {
            return PodClaims::default();
        };
        let own_claims = || pod.ips.iter().map(|ip| (*ip, pod.uid.clone())).collect();
        let mut claims = PodClaims::default();
        if pod.host_network {
            let node_claims = pod.ips.iter().zip(pod.node.iter().cycle());
            claims.host = node_claims.map(|(ip, node)| (*ip, node.clone())).collect();
        } else if pod.terminated {
            claims.ended = own_claims();
        } else {
            claims.running = own_claims();
        }
        claims
    }
}

impl Index {
    /// Replaces all kinds at once.
    pub(super) fn replace(&mut self, at: Timestamp, inventory: Inventory) {
        let Inventory {
            pods,
            services,
            slices,
            nodes,
            namespaces,
            policies,
            service_cidrs,
        } = inventory;
        self.snapshot = true;
        self.pod_scope = PodScope::Cluster;
        for listed in [
            Listed::Pods(pods),
            Listed::Services(services),
            Listed::Slices(slices),
            Listed::Nodes(nodes),
            Listed::Namespaces(namespaces),
            Listed::Policies(policies),
            Listed::ServiceCidrs(service_cidrs),
        ] {
            self.list(at, listed);
        }
    }

    /// The cluster was asked for these kinds.
    pub(super) fn ask(&mut self, at: Timestamp, kinds: &[Kind], pods: PodScope) {
        self.snapshot = false;
        self.pod_scope = pods;
        let known = &self.kinds.known;
        let awaited = kinds.iter().copied().filter(|kind| !known.contains(kind));
        self.kinds.awaited = awaited.collect();
        self.kinds.asked = Some(at);
    }

    /// The cluster refuses this kind. Objects that it reported before stay.
    pub(super) fn refuse(&mut self, kind: Kind) {
        self.kinds.awaited.remove(&kind);
        self.kinds.refused.insert(kind);
    }

    /// Replaces all objects of a kind; those not listed are deleted.
    pub(super) fn list(&mut self, at: Timestamp, listed: Listed) {
        // The first list describes a state that began before the watch.
        let from = match self.kinds.mark_known(listed.kind()) {
            true => Timestamp(0),
            false => at,
        };
        match listed {
            Listed::Pods(pods) => {
                let listed: HashSet<Arc<str>> = pods.iter().map(|pod| pod.uid.clone()).collect();
                let gone = self.pods.keys().filter(|(_, _, uid)| !listed.contains(uid));
                for (namespace, name, uid) in gone.collect::<Vec<_>>() {
                    self.delete_pod(at, &namespace, &name, &uid);
                }
                for pod in pods {
                    self.put_pod(at, from, pod);
                }
            }
            Listed::Services(services) => {
                let key = |one: &Service| (one.namespace.clone(), one.name.clone());
                let listed: HashSet<_> = services.iter().map(key).collect();
                for key in self.services.keys() {
                    if !listed.contains(&key) {
                        self.delete_service(at, &key.0, &key.1);
                    }
                }
                for service in services {
                    self.put_service(at, from, service);
                }
            }
            Listed::Slices(slices) => {
                let key = |one: &EndpointSlice| (one.namespace.clone(), one.name.clone());
                let listed: HashSet<_> = slices.iter().map(key).collect();
                for key in self.services.slice_keys() {
                    if !listed.contains(&key) {
                        self.delete_slice(at, &key.0, &key.1);
                    }
                }
                for slice in slices {
                    self.put_slice(at, from, slice);
                }
            }
            Listed::Nodes(nodes) => {
                let listed: HashSet<Arc<str>> =
                    nodes.iter().map(|node| node.name.clone()).collect();
                let gone = self
                    .node_objects
                    .keys()
                    .filter(|name| !listed.contains(*name));
                for name in gone.cloned().collect::<Vec<_>>() {
                    self.delete_node(at, &name);
                }
                for node in nodes {
                    self.put_node(at, from, node);
                }
            }
            Listed::Namespaces(namespaces) => {
                let by_name = namespaces.into_iter().map(|one| (one.name.clone(), one));
                self.namespaces = by_name.collect();
            }
            Listed::Policies(policies) => self.policies = policies,
            Listed::ServiceCidrs(service_cidrs) => self.service_cidrs = service_cidrs,
        }
    }

    /// An object was added or changed. Its new claims begin at `from`.
    pub(super) fn put(&mut self, at: Timestamp, from: Timestamp, object: Object) {
        match object {
            Object::Pod(pod) => self.put_pod(at, from, pod),
            Object::Service(service) => self.put_service(at, from, service),
            Object::Slice(slice) => self.put_slice(at, from, slice),
            Object::Node(node) => self.put_node(at, from, node),
            Object::Namespace(namespace) => {
                self.namespaces.insert(namespace.name.clone(), namespace);
            }
            Object::Policy(policy) => {
                let same = |one: &NetworkPolicy| {
                    one.namespace == policy.namespace && one.name == policy.name
                };
                match self.policies.iter_mut().find(|one| same(one)) {
                    Some(known) => *known = policy,
                    None => self.policies.push(policy),
                }
            }
            Object::ServiceCidr(range) => {
                let same = |one: &&mut ServiceCidr| one.name == range.name;
                match self.service_cidrs.iter_mut().find(same) {
                    Some(known) => *known = range,
                    None => self.service_cidrs.push(range),
                }
            }
        }
    }

    /// An object was deleted.
    pub(super) fn delete(&mut self, at: Timestamp, key: &ObjectKey) {
        let (namespace, name) = (&*key.namespace, &*key.name);
        match key.kind {
            Kind::Pod => self.delete_pod(at, namespace, name, &key.uid),
            Kind::Service => self.delete_service(at, namespace, name),
            Kind::EndpointSlice => self.delete_slice(at, namespace, name),
            Kind::Node => self.delete_node(at, name),
            Kind::Namespace => {
                self.namespaces.remove(name);
            }
            Kind::NetworkPolicy => self
                .policies
                .retain(|one| &*one.namespace != namespace || &*one.name != name),
            Kind::ServiceCidr => self.service_cidrs.retain(|one| &*one.name != name),
        }
    }

    fn put_pod(&mut self, at: Timestamp, from: Timestamp, pod: Pod) {
        let after = PodClaims::from_pod(Some(&pod));
        let (before, namesake) = self.pods.put(at, from, pod);
        self.claim_pod(at, from, before.as_ref(), after);
        if let Some(namesake) = namesake {
            self.claim_pod(at, at, Some(&namesake), PodClaims::default());
        }
    }

    fn delete_pod(&mut self, at: Timestamp, namespace: &str, name: &str, uid: &str) {
        if let Some(gone) = self.pods.delete(at, namespace, name, uid) {
            self.claim_pod(at, at, Some(&gone), PodClaims::default());
        }
    }

    fn claim_pod(
        &mut self,
        at: Timestamp,
        from: Timestamp,
        before: Option<&Pod>,
        after: PodClaims,
    ) {
        let before = PodClaims::from_pod(before);
        self.running.change(at, from, before.running, after.running);
        self.ended.change(at, from, before.ended, after.ended);
        self.hosts.change(at, from, before.host, after.host);
    }

    fn put_service(&mut self, at: Timestamp, from: Timestamp, service: Service) {
        let (cluster, external) = (service.cluster_ips.clone(), service.external_ips.clone());
        let ports = node_ports(&service);
        let (identity, before) = self.services.put(service);
        let ports_before = before.as_ref().map(node_ports).unwrap_or_default();
        let (cluster_before, external_before) = before
            .map(|before| (before.cluster_ips, before.external_ips))
            .unwrap_or_default();
        let own = |ips: Vec<IpAddr>| {
            let identity = identity.clone();
            ips.into_iter().map(move |ip| (ip, identity.clone()))
        };
        self.cluster_ips
            .change(at, from, own(cluster_before), own(cluster));
        self.external_ips
            .change(at, from, own(external_before), own(external));
        let own = |port| (port, identity.clone());
        self.node_ports.change(
            at,
            from,
            ports_before.into_iter().map(own),
            ports.into_iter().map(own),
        );
    }

    fn delete_service(&mut self, at: Timestamp, namespace: &str, name: &str) {
        if let Some((gone, identity)) = self.services.delete(namespace, name) {
            let ports = node_ports(&gone).into_iter();
            self.node_ports
                .change(at, at, ports.map(|port| (port, identity.clone())), []);
            let own = |ips: Vec<IpAddr>| {
                let identity = identity.clone();
                ips.into_iter().map(move |ip| (ip, identity.clone()))
            };
            self.cluster_ips.change(at, at, own(gone.cluster_ips), []);
            self.external_ips.change(at, at, own(gone.external_ips), []);
        }
    }

    fn put_slice(&mut self, at: Timestamp, from: Timestamp, slice: EndpointSlice) {
        // A slice without a Service identifies no pod either.
        let after: Vec<(IpAddr, Arc<PodIdentity>)> = match slice.service {
            Some(_) => objects::endpoint_pods(&slice).collect(),
            None => Vec::new(),
        };
        let before = self.services.put_slice(slice);
        let before = before.iter().flat_map(objects::endpoint_pods);
        self.endpoints.change(at, from, before, after);
    }

    fn delete_slice(&mut self, at: Timestamp, namespace: &str, name: &str) {
        if let Some(gone) = self.services.delete_slice(namespace, name) {
            self.endpoints
                .change(at, at, objects::endpoint_pods(&gone), []);
        }
    }

    fn put_node(&mut self, at: Timestamp, from: Timestamp, node: Node) {
        let name = node.name.clone();
        let own = |ips: Vec<IpAddr>| {
            let name = name.clone();
            ips.into_iter().map(move |ip| (ip, name.clone()))
        };
        let ips = node.ips.clone();
        let before = self.node_objects.insert(name.clone(), node);
        let before = before.map(|before| before.ips).unwrap_or_default();
        self.nodes.change(at, from, own(before), own(ips));
    }

    fn delete_node(&mut self, at: Timestamp, name: &str) {
        if let Some(gone) = self.node_objects.remove(name) {
            let own = gone.ips.into_iter().map(|ip| (ip, gone.name.clone()));
            self.nodes.change(at, at, own, []);
        }
    }
}

/// The ports that a Service has at every node.
fn node_ports(service: &Service) -> Vec<(Protocol, u16)> {
    let ports = service.ports.iter().filter_map(|port| {
        let protocol = match &*port.protocol {
            "TCP" => Protocol::Tcp,
            "UDP" => Protocol::Udp,
            _ => return None,
        };
        Some((protocol, port.node_port?))
    });
    ports.collect()
}
