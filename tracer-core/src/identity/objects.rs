//! What rules and filters ask of the index: what exists, under which name, with which endpoints.

use std::net::IpAddr;
use std::sync::Arc;

use super::interfaces::Behind;
use super::services::Endpoint;
use super::{Holder, Index};
use crate::model::cluster::{
    EndpointSlice, Kind, NetworkPolicy, Pod, PodScope, Service, ServiceCidr,
};
use crate::model::dns::DnsName;
use crate::model::flow::Ifindex;
use crate::model::identity::PodIdentity;
use crate::model::time::Timestamp;

/// Whether an object exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// The inventory holds no object of that kind: it was not asked for them.
    CannotTell,
}

impl Presence {
    fn of(exists: bool, kind_is_known: bool) -> Presence {
        match (exists, kind_is_known) {
            (true, _) => Presence::Yes,
            (false, true) => Presence::No,
            (false, false) => Presence::CannotTell,
        }
    }
}

/// Why objects of a kind are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Nobody gave an inventory or a cluster to ask.
    NoInventory,
    /// A cluster was asked then, and has not answered yet.
    NotAnswered(Timestamp),
    /// The cluster does not let them be read, or has no such kind.
    Refused,
}

/// Lookups by name, as things are now.
impl Index {
    /// Whether there is an inventory at all, with pods in it or not.
    pub fn informed(&self) -> bool {
        self.kinds.known(Kind::Pod)
    }

    /// Whether all objects of this kind have been told.
    pub fn knows(&self, kind: Kind) -> bool {
        self.kinds.known(kind)
    }

    /// Why objects of this kind are not known; nothing where they are.
    pub fn lack(&self, kind: Kind) -> Option<Lack> {
        self.kinds.lack(kind)
    }

    /// Whether a cluster tells of each change, rather than a file how things were at some moment.
    pub fn follows_cluster(&self) -> bool {
        !self.snapshot && self.kinds.asked()
    }

    /// Since when what the cluster told may be out of date.
    pub fn stale_since(&self) -> Option<Timestamp> {
        self.stale_since
    }

    /// Whether there are pods, and they are all there are: that one is not among them means that it does not exist.
    pub fn knows_all_pods(&self) -> bool {
        self.pod_scope == PodScope::Cluster && self.pods.iter().next().is_some()
    }

    /// The addresses of a node; none of one that is not known.
    pub fn node_addresses(&self, node: &str) -> &[IpAddr] {
        self.node_ips.get(node).map_or(&[], Vec::as_slice)
    }

    /// The cluster's DNS domain.
    pub fn cluster_domain(&self) -> &DnsName {
        &self.settings.cluster_domain
    }

    /// Whether there is a namespace of this name.
    pub fn has_namespace(&self, namespace: &str) -> Presence {
        let used = self.namespaces().any(|known| &**known == namespace);
        Presence::of(used, !self.namespaces.is_empty())
    }

    /// Whether there is a pod of this name.
    pub fn has_pod(&self, namespace: &str, name: &str) -> Presence {
        Presence::of(
            self.pods.by_name(namespace, name).is_some(),
            self.knows_all_pods(),
        )
    }

    /// Whether there is a Service of this name.
    pub fn has_service(&self, namespace: &str, name: &str) -> Presence {
        Presence::of(
            self.service(namespace, name).is_some(),
            self.services.iter().next().is_some(),
        )
    }

    /// The names of namespaces, of those too that are known by their pods and Services alone. Some come more than once.
    pub fn namespaces(&self) -> impl Iterator<Item = &Arc<str>> {
        let by_pods = self.pods.in_namespaces().map(|(namespace, _)| namespace);
        self.namespaces
            .iter()
            .chain(by_pods)
            .chain(self.services.namespaces())
    }

    /// The pods of this name, in any namespace.
    pub fn pods_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Arc<PodIdentity>> {
        let uids = self
            .pods
            .in_namespaces()
            .filter_map(move |(_, names)| names.get(name));
        uids.filter_map(|uid| self.pods.by_uid(uid))
            .map(|known| &known.identity)
    }

    /// The pod that is known by this interface.
    pub fn pod_behind(&self, at: Timestamp, ifindex: Ifindex) -> Option<&Arc<PodIdentity>> {
        match self.interfaces.behind(ifindex, at) {
            Behind::Pod { uid, .. } => self.pods.by_uid(uid).map(|known| &known.identity),
            Behind::Untold | Behind::Nobody { .. } => None,
        }
    }

    /// Whether every pod that fits, given as namespace and name, has an interface that is traced here. Of a pod that only
    /// an EndpointSlice names that cannot be known.
    pub fn are_traced(&self, at: Timestamp, fits: &dyn Fn(&str, &str) -> bool) -> bool {
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

    /// The pod object behind an identity, also for a while after it is gone.
    pub fn pod_object(&self, pod: &PodIdentity) -> Option<&Pod> {
        self.pods.by_uid(&pod.uid).map(|known| &known.pod)
    }

    /// All pods.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.iter().map(|known| &known.pod)
    }

    /// The Service of this name.
    pub fn service(&self, namespace: &str, name: &str) -> Option<&Service> {
        self.services.get(namespace, name)
    }

    /// The Services of this name, in any namespace, by namespace.
    pub fn services_named<'a>(&'a self, name: &'a str) -> Vec<&'a Service> {
        let mut services: Vec<&Service> = self.services.named(name).collect();
        services.sort_by(|a, b| a.namespace.cmp(&b.namespace));
        services
    }

    /// All Services.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().map(|(service, _)| service)
    }

    /// Whether the inventory has EndpointSlices: without them an empty list of endpoints means nothing.
    pub fn knows_endpoints(&self) -> bool {
        self.services.all_slices().next().is_some()
    }

    /// The endpoints of a Service, by address. One that several slices list (dual stack apart) comes once.
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
                        known.ports.extend(slice.ports.iter().cloned());
                    }
                    None => endpoints.push(Endpoint {
                        ip: *ip,
                        ports: slice.ports.clone(),
                        ready: listed.ready,
                        node: listed
                            .node
                            .clone()
                            .or_else(|| pod.as_ref().and_then(|pod| pod.node.clone())),
                        pod,
                        hostname: listed.hostname.clone(),
                    }),
                }
            }
        }
        endpoints.sort_by_key(|endpoint| endpoint.ip);
        endpoints
    }

    /// The pod that had this address last before `at` and has it no more, and until when.
    pub fn past_owner(&self, ip: IpAddr, at: Timestamp) -> Option<(&Arc<PodIdentity>, Timestamp)> {
        if !matches!(self.pod_at(ip, at), Holder::Nobody) {
            return None;
        }
        let (uid, until) = self.running.last(ip, at)?;
        self.pods.by_uid(uid).map(|known| (&known.identity, until))
    }

    /// The pod that has this address and has ended, where no other one has it.
    pub fn ended_owner(&self, ip: IpAddr, at: Timestamp) -> Option<&Arc<PodIdentity>> {
        match (self.running_at(ip, at), self.ended_at(ip, at)) {
            (Holder::Nobody, Holder::One(known)) => Some(&known.identity),
            _ => None,
        }
    }

    /// NetworkPolicies.
    pub fn policies(&self) -> &[NetworkPolicy] {
        &self.policies
    }

    /// Where ClusterIPs come from; empty where that is not known.
    pub fn service_cidrs(&self) -> &[ServiceCidr] {
        &self.service_cidrs
    }
}

/// The pods that a slice's endpoints are, by address.
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
