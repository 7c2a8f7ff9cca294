//! Queries of rules and filters: which objects exist, under which name, with which endpoints.

use std::net::IpAddr;
use std::sync::Arc;

use super::Index;
use super::ends::Holder;
use super::interfaces::Behind;
use super::services::Endpoint;
use crate::model::cluster::{
    EndpointSlice, Kind, NetworkPolicy, Node, Pod, PodScope, Service, ServiceCidr,
};
use crate::model::dns::DnsName;
use crate::model::flow::Ifindex;
use crate::model::identity::PodIdentity;
use crate::model::time::Timestamp;

/// Whether an object exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It exists.
    Yes,
    /// It does not exist.
    No,
    /// Unknown: the inventory was never asked for that kind.
    CannotTell,
}

impl Presence {
    fn new(exists: bool, kind_is_known: bool) -> Presence {
        match (exists, kind_is_known) {
            (true, _) => Presence::Yes,
            (false, true) => Presence::No,
            (false, false) => Presence::CannotTell,
        }
    }
}

/// Why objects of a kind are unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// There is neither an inventory file nor a cluster to ask.
    NoInventory,
    /// A cluster was asked at this time and has not answered yet.
    NotAnswered(Timestamp),
    /// The cluster denies reading them, or has no such kind.
    Refused,
}

/// Queries by name, on the current state.
impl Index {
    /// Whether there is an inventory, even one without a single pod.
    pub fn has_inventory(&self) -> bool {
        self.kinds.known(Kind::Pod)
    }

    /// Whether all objects of this kind are known.
    pub fn knows(&self, kind: Kind) -> bool {
        self.kinds.known(kind)
    }

    /// Why objects of this kind are unknown; `None` if they are known.
    pub fn unavailable(&self, kind: Kind) -> Option<Unavailable> {
        self.kinds.unavailable(kind)
    }

    /// Whether objects come from a cluster that reports every change, rather than from a file's snapshot.
    pub fn follows_cluster(&self) -> bool {
        !self.snapshot && self.kinds.asked()
    }

    /// The time since which the cluster's objects may be out of date.
    pub fn stale_since(&self) -> Option<Timestamp> {
        self.stale_since
    }

    /// Whether pods are known, and all of them: then a pod that is not among them does not exist.
    pub fn knows_all_pods(&self) -> bool {
        self.pod_scope == PodScope::Cluster && self.pods.iter().next().is_some()
    }

    /// A node's addresses; empty for an unknown node.
    pub fn node_addresses(&self, node: &str) -> &[IpAddr] {
        self.node(node).map_or(&[], |node| node.ips.as_slice())
    }

    /// The Node with this name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.node_objects.get(name)
    }

    /// All Nodes.
    pub fn node_objects(&self) -> impl Iterator<Item = &Node> {
        self.node_objects.values()
    }

    /// A namespace's labels; `None` if the inventory lacks it. Even then one label is known: its name.
    pub fn namespace_labels(&self, namespace: &str) -> Option<&[(Arc<str>, Arc<str>)]> {
        let known = self.namespaces.get(namespace)?;
        Some(&known.labels)
    }

    /// The cluster's DNS domain.
    pub fn cluster_domain(&self) -> &DnsName {
        &self.settings.cluster_domain
    }

    /// Whether this namespace exists.
    pub fn has_namespace(&self, namespace: &str) -> Presence {
        let used = self.namespaces().any(|known| &**known == namespace);
        Presence::new(used, !self.namespaces.is_empty())
    }

    /// Whether this pod exists.
    pub fn has_pod(&self, namespace: &str, name: &str) -> Presence {
        Presence::new(
            self.pods.by_name(namespace, name).is_some(),
            self.knows_all_pods(),
        )
    }

    /// Whether this Service exists.
    pub fn has_service(&self, namespace: &str, name: &str) -> Presence {
        Presence::new(
            self.service(namespace, name).is_some(),
            self.services.iter().next().is_some(),
        )
    }

    /// Names of namespaces, including those known only from their pods and Services. Some are repeated.
    pub fn namespaces(&self) -> impl Iterator<Item = &Arc<str>> {
        let by_pods = self.pods.in_namespaces().map(|(namespace, _)| namespace);
        self.namespaces
            .keys()
            .chain(by_pods)
            .chain(self.services.namespaces())
    }

    /// The pods with this name, in any namespace.
    pub fn pods_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Arc<PodIdentity>> {
        let uids = self
            .pods
            .in_namespaces()
            .filter_map(move |(_, names)| names.get(name));
        uids.filter_map(|uid| self.pods.by_uid(uid))
            .map(|known| &known.identity)
    }

    /// The pod identified by this interface.
    pub fn pod_behind(&self, at: Timestamp, ifindex: Ifindex) -> Option<&Arc<PodIdentity>> {
        match self.interfaces.behind(ifindex, at) {
            Behind::Pod { uid, .. } => self.pods.by_uid(uid).map(|known| &known.identity),
            Behind::Unreported | Behind::NoPod { .. } | Behind::Node => None,
        }
    }

    /// Whether every matching pod (`fits` takes namespace and name) has an interface traced here. A pod known
    /// only from an EndpointSlice counts as untraced.
    pub fn all_traced(&self, at: Timestamp, fits: &dyn Fn(&str, &str) -> bool) -> bool {
        if self.pod_scope == PodScope::Node {
            return false;
        }
        let known = self.pods.iter().map(|known| &known.identity);
        let elsewhere = |pod: &PodIdentity| {
            fits(&pod.namespace, &pod.name) && self.interfaces_of(pod, at).next().is_none()
        };
        !known.into_iter().any(|pod| elsewhere(pod))
            && !self
                .services
                .all_slices()
                .flat_map(endpoint_pods)
                .any(|(_, pod)| {
                    self.pods.by_name(&pod.namespace, &pod.name).is_none() && elsewhere(&pod)
                })
    }

    /// The pod object of an identity, including a recently deleted one.
    pub fn pod_object(&self, pod: &PodIdentity) -> Option<&Pod> {
        self.pods.by_uid(&pod.uid).map(|known| &known.pod)
    }

    /// The existing pod with this name.
    pub fn pod_named(&self, namespace: &str, name: &str) -> Option<&Pod> {
        self.pods.by_name(namespace, name).map(|known| &known.pod)
    }

    /// All pods.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.iter().map(|known| &known.pod)
    }

    /// The Service with this name.
    pub fn service(&self, namespace: &str, name: &str) -> Option<&Service> {
        self.services.get(namespace, name)
    }

    /// The Services with this name in any namespace, sorted by namespace.
    pub fn services_named<'a>(&'a self, name: &'a str) -> Vec<&'a Service> {
        let mut services: Vec<&Service> = self.services.named(name).collect();
        services.sort_by(|a, b| a.namespace.cmp(&b.namespace));
        services
    }

    /// The Services of a namespace.
    pub fn services_in(&self, namespace: &str) -> impl Iterator<Item = &Service> {
        self.services.in_namespace(namespace)
    }

    /// All Services.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().map(|(service, _)| service)
    }

    /// Whether the inventory has EndpointSlices: without them, an empty list of endpoints proves nothing.
    pub fn knows_endpoints(&self) -> bool {
        self.services.all_slices().next().is_some()
    }

    /// A Service's endpoints, sorted by address. An endpoint listed by several slices appears once, except in
    /// dual stack.
    pub fn endpoints(&self, namespace: &str, service: &str) -> Vec<Endpoint> {
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for slice in self.services.slices(namespace, service) {
            for listed in &slice.endpoints {
                let Some(ip) = listed.ips.first() else {
                    continue;
                };
                let pod =
                    listed
                        .pod
                        .as_ref()
                        .map(|name| match self.pods.by_name(namespace, name) {
                            Some(known) => known.identity.clone(),
                            None => {
                                target(slice, name, listed.pod_uid.clone(), listed.node.clone())
                            }
                        });
                match endpoints
                    .iter_mut()
                    .find(|known| known.ip == *ip && known.pod == pod)
                {
                    Some(known) => {
                        known.ready |= listed.ready;
                        known.serving |= listed.serving;
                        known.terminating &= listed.terminating;
                        known.ports.extend(slice.ports.iter().cloned());
                    }
                    None => endpoints.push(Endpoint {
                        ip: *ip,
                        ports: slice.ports.clone(),
                        ready: listed.ready,
                        serving: listed.serving,
                        terminating: listed.terminating,
                        node: listed
                            .node
                            .clone()
                            .or_else(|| pod.as_ref().and_then(|pod| pod.node.clone())),
                        pod,
                        zone: listed.zone.clone(),
                        hostname: listed.hostname.clone(),
                    }),
                }
            }
        }
        endpoints.sort_by_key(|endpoint| endpoint.ip);
        endpoints
    }

    /// The pod that last had this address before `at`, and until when, if no pod has it now.
    pub fn past_owner(&self, ip: IpAddr, at: Timestamp) -> Option<(&Arc<PodIdentity>, Timestamp)> {
        if !matches!(self.pod_at(ip, at), Holder::Vacant) {
            return None;
        }
        let (uid, until) = self.running.last(ip, at)?;
        self.pods.by_uid(uid).map(|known| (&known.identity, until))
    }

    /// The ended pod with this address, if no other pod has it.
    pub fn ended_owner(&self, ip: IpAddr, at: Timestamp) -> Option<&Arc<PodIdentity>> {
        match (self.running_at(ip, at), self.ended_at(ip, at)) {
            (Holder::Vacant, Holder::One(known)) => Some(&known.identity),
            _ => None,
        }
    }

    /// All NetworkPolicies.
    pub fn policies(&self) -> &[NetworkPolicy] {
        &self.policies
    }

    /// The ranges of ClusterIPs; empty if unknown.
    pub fn service_cidrs(&self) -> &[ServiceCidr] {
        &self.service_cidrs
    }
}

/// The pods behind a slice's endpoints, by address.
pub(super) fn endpoint_pods(
    slice: &EndpointSlice,
) -> impl Iterator<Item = (IpAddr, Arc<PodIdentity>)> {
    slice.endpoints.iter().flat_map(move |endpoint| {
        let pod = endpoint.pod.as_ref();
        let pod =
            pod.map(|name| target(slice, name, endpoint.pod_uid.clone(), endpoint.node.clone()));
        pod.into_iter()
            .flat_map(|pod| endpoint.ips.iter().map(move |ip| (*ip, pod.clone())))
    })
}

fn target(
    slice: &EndpointSlice,
    name: &Arc<str>,
    uid: Option<Arc<str>>,
    node: Option<Arc<str>>,
) -> Arc<PodIdentity> {
    Arc::new(PodIdentity {
        namespace: slice.namespace.clone(),
        name: name.clone(),
        uid: uid.unwrap_or_default(),
        workload: None,
        node,
    })
}
