//! Where an attempt leads: through which address of a Service, and to which endpoints.
//!
//! Owns what kube-proxy and its replacements do by the API: the address family, the port, ready endpoints
//! first, and the traffic policies. Never says which endpoint was chosen: no packet shows it, and
//! [`super::endpoint`] says it where conntrack does.

use std::sync::Arc;

use super::case::Case;
use super::claim::Claim;
use super::fact::{EndpointPlace, ObjectName, Others, RouteFact, Who};
use super::headline::Reason;
use crate::identity::{Endpoint, Index};
use crate::model::cluster::{Service, ServicePort, TrafficPolicy};

/// An attempt's way through a Service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route<'a> {
    pub service: &'a Service,
    /// Which of its addresses the pod used.
    pub access: Access,
    /// The Service's port; `None` if it does not have it.
    pub port: Option<&'a ServicePort>,
    /// The address's family: endpoints have the same.
    pub v4: bool,
}

/// An address of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Its ClusterIP.
    ClusterIp,
    /// A port at a node's address.
    NodePort,
    /// An address of its load balancer.
    Balancer,
    /// An address of `externalIPs`.
    External,
}

/// An endpoint and the port that the Service's port leads to there.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    pub endpoint: Endpoint,
    pub port: u16,
}

impl<'a> Route<'a> {
    /// The way of a case's attempt at this port; `None` if the other end is no Service.
    pub fn from_case(case: &Case<'a>, protocol: &str, port: u16) -> Option<Route<'a>> {
        let (service, access) = case.service_address()?;
        let is_it = |listed: &&ServicePort| {
            let number = match access {
                Access::NodePort => listed.node_port,
                _ => Some(listed.port),
            };
            number == Some(port) && *listed.protocol == *protocol
        };
        Some(Route {
            service,
            access,
            port: service.ports.iter().find(is_it),
            v4: case.ends.peer.ip.is_ipv4(),
        })
    }

    /// The endpoints of the address's family, ready or not.
    pub fn endpoints(&self, index: &Index) -> Vec<Endpoint> {
        let mut endpoints = index.endpoints(&self.service.namespace, &self.service.name);
        endpoints.retain(|endpoint| endpoint.ip.is_ipv4() == self.v4);
        endpoints
    }

    /// The endpoints that the Service's port may lead to: the ready ones, or without one those that serve while
    /// they terminate. Those of other nodes than the pod's come first: they fail more often.
    pub fn backends(&self, case: &Case<'_>) -> Vec<Backend> {
        let Some(port) = self.port else {
            return Vec::new();
        };
        let endpoints = self.endpoints(case.index);
        let any_ready = endpoints.iter().any(|endpoint| endpoint.ready);
        let used = |endpoint: &Endpoint| match any_ready {
            true => endpoint.ready,
            false => endpoint.serving && endpoint.terminating,
        };
        let own = case.pod().and_then(|pod| pod.node.clone());
        let mut backends: Vec<Backend> = endpoints
            .into_iter()
            .filter(used)
            .filter_map(|endpoint| {
                let port = target(&endpoint, port)?;
                Some(Backend { endpoint, port })
            })
            .collect();
        backends.sort_by_key(|backend| own.is_some() && backend.endpoint.node == own);
        backends
    }

    /// Adds what narrows down the endpoint that fails: session affinity, and an address of the other family that works.
    pub fn context(&self, case: &Case<'_>, claim: Claim) -> Claim {
        let claim = match self.service.affinity_secs {
            Some(seconds) if self.backends(case).len() > 1 => {
                claim.why(RouteFact::Affinity(seconds))
            }
            _ => claim,
        };
        let (Some(port), Access::ClusterIp) = (self.port, self.access) else {
            return claim;
        };
        let mut others = self.service.cluster_ips.iter();
        let Some(&ip) = others.find(|ip| ip.is_ipv4() != self.v4) else {
            return claim;
        };
        let Some(contact) = case.memory.pods.latest_contact((ip, port.port)) else {
            return claim;
        };
        let who = Who::from(contact.pod);
        let reached = match contact.at > case.at {
            true => Others::Meanwhile(who),
            false => Others::Before(who, case.at.since(contact.at)),
        };
        claim
            .because(Reason::OtherFamilyWorks { v4: ip.is_ipv4() })
            .why(RouteFact::OtherFamily { ip, reached })
    }

    /// The traffic policy that applies to the address.
    pub fn policy(&self) -> TrafficPolicy {
        match self.access {
            Access::ClusterIp => self.service.internal_traffic,
            _ => self.service.external_traffic,
        }
    }
}

/// The port of an endpoint that a Service's port leads to.
pub(crate) fn target(endpoint: &Endpoint, port: &ServicePort) -> Option<u16> {
    let mut listed = endpoint.ports.iter();
    let found = listed.find(|one| one.name == port.name && one.protocol == port.protocol)?;
    // Without a number all ports lead to the same port of the pod.
    Some(found.port.unwrap_or(port.port))
}

impl From<&Backend> for EndpointPlace {
    fn from(backend: &Backend) -> EndpointPlace {
        EndpointPlace::from(&backend.endpoint)
    }
}

/// The pod's node, if it is known.
pub(super) fn own_node(case: &Case<'_>) -> Option<Arc<str>> {
    case.pod().and_then(|pod| pod.node.clone())
}

/// Whether an endpoint is the pod of the case.
pub(super) fn is_own(case: &Case<'_>, endpoint: &Endpoint) -> bool {
    let same_pod = case.pod_name().is_some_and(|own| {
        let pod = endpoint.pod.as_deref().map(ObjectName::from);
        pod.as_ref() == Some(&own)
    });
    // An endpoint without a pod, or a pod known by its address alone.
    same_pod || endpoint.ip == case.ends.pod.ip
}
