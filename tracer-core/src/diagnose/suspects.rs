//! The endpoints that may be the one that fails, and a command to test each.
//!
//! A packet from a Service's address does not show which endpoint sent it: the node translates addresses. Where
//! conntrack is not read, each endpoint is tested by itself, those most likely to fail first.

use std::net::IpAddr;

use super::attempt::Attempt;
use super::case::Case;
use super::claim::Claim;
use super::command::PodCommand;
use super::endpoint;
use super::fact::{EndpointPlace, FlowFact, ObjectName};
use super::headline::Fix;
use super::route::{self, Backend, Route};
use crate::model::cluster::Pod;

/// At most this many endpoints are offered to be tested.
pub(super) const MAX_PROBES: usize = 6;

/// The endpoints that an attempt at a Service may have reached, except the pod itself: the one that conntrack
/// shows, or all, those on other nodes first.
pub(super) fn of_attempt(case: &Case<'_>, attempt: &Attempt) -> Vec<Backend> {
    let Some(route) = Route::from_case(case, attempt.protocol, attempt.port) else {
        return Vec::new();
    };
    let mut backends = match endpoint::as_route(case, &route) {
        Some(chosen) => vec![chosen],
        None => route.backends(case),
    };
    backends.retain(|backend| !route::is_own(case, &backend.endpoint));
    backends
}

/// The same, those first whose containers declare ports, but not this one.
pub(super) fn undeclared_first(case: &Case<'_>, mut backends: Vec<Backend>) -> Vec<Backend> {
    backends.sort_by_key(|backend| !declares_others(case, backend));
    backends
}

/// Whether the containers of an endpoint declare ports, but not the one that the Service leads to.
pub(super) fn declares_others(case: &Case<'_>, backend: &Backend) -> bool {
    pod(case, backend).is_some_and(|pod| {
        let mut tcp = pod.ports.iter().filter(|port| &*port.protocol == "TCP");
        !pod.ports.is_empty() && !tcp.any(|port| port.port == backend.port)
    })
}

/// The pod of an endpoint.
pub(super) fn pod<'a>(case: &Case<'a>, backend: &Backend) -> Option<&'a Pod> {
    let pod = backend.endpoint.pod.as_ref()?;
    case.index.pod_object(pod)
}

/// Adds a command to test each endpoint by itself.
pub(super) fn probe(claim: Claim, backends: &[Backend]) -> Claim {
    let probes = backends.iter().take(MAX_PROBES).map(|backend| {
        PodCommand::ConnectTcp {
            ip: backend.endpoint.ip,
            port: backend.port,
            endpoint: Some(EndpointPlace::from(backend)),
        }
        .into()
    });
    claim.commands(probes)
}

/// Adds where SYNs to them may be lost, and a command to test each.
pub(super) fn syn_loss(claim: Claim, backends: &[Backend]) -> Claim {
    let claim = claim
        .why(FlowFact::SynLossBetweenNodes)
        .why(FlowFact::SynLossOnNodes);
    probe(claim, backends)
}

/// The fix that names the endpoints to test, or the one to check.
pub(super) fn fix(backends: &[Backend]) -> Option<Fix> {
    let name = |backend: &Backend| backend.endpoint.pod.as_deref().map(ObjectName::from);
    match backends {
        [] => None,
        [one] => name(one).map(Fix::CheckPod),
        several => {
            let names: Vec<ObjectName> = several.iter().take(MAX_PROBES).filter_map(name).collect();
            let all = several.len();
            (!names.is_empty()).then_some(Fix::Probe { names, all })
        }
    }
}

/// The endpoints that the inventory lists at an address that no running pod has.
pub(super) fn without_pod(case: &Case<'_>, backends: &[Backend]) -> Vec<IpAddr> {
    backends
        .iter()
        .filter(|backend| pod(case, backend).is_some_and(|pod| pod.terminated))
        .map(|backend| backend.endpoint.ip)
        .collect()
}
