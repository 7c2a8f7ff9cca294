//! Services that only endpoints of one node serve (internalTrafficPolicy, externalTrafficPolicy `Local`).

use std::sync::Arc;

use super::case::Case;
use super::claim::Claim;
use super::command::{Command, Kubectl, Setting};
use super::fact::{EndpointPlace, Local, RouteFact};
use super::headline::{Fix, Reason};
use super::route::{Access, Route, own_node};
use super::services;
use crate::model::cluster::TrafficPolicy;

/// A node that has to serve, and has no ready endpoint.
pub(super) struct NoneLocal {
    pub local: Local,
    pub node: Arc<str>,
    /// The ready endpoints.
    elsewhere: Vec<EndpointPlace>,
}

/// Whether the node that has to serve an attempt has no endpoint, though others have.
pub(super) fn none_local(case: &Case<'_>, route: &Route<'_>) -> Option<NoneLocal> {
    if route.policy() != TrafficPolicy::Local {
        return None;
    }
    let own = own_node(case);
    let (local, node) = match route.access {
        Access::ClusterIp => (Local::Internal, own?),
        // A node serves its own pods from all endpoints, also at its port.
        Access::NodePort if own == case.ends.peer.node => return None,
        Access::NodePort => (Local::NodePort, case.ends.peer.node.clone()?),
        Access::Balancer | Access::External => (Local::External, own?),
    };
    let backends = route.backends(case);
    // Where an endpoint's node is unknown, it may be this one.
    let elsewhere = |node: &Arc<str>, other: &Option<Arc<str>>| {
        other.as_ref().is_some_and(|other| other != node)
    };
    let none_here = backends
        .iter()
        .all(|backend| elsewhere(&node, &backend.endpoint.node));
    (!backends.is_empty() && none_here).then(|| NoneLocal {
        local,
        node,
        elsewhere: backends.iter().map(EndpointPlace::from).collect(),
    })
}

impl NoneLocal {
    /// Adds it as the cause, and what to do.
    pub fn explain(self, route: &Route<'_>, claim: Claim) -> Claim {
        let setting = match self.local {
            Local::Internal => Setting::InternalTrafficCluster,
            Local::NodePort | Local::External => Setting::ExternalTrafficCluster,
        };
        let service = route.service;
        let claim = match self.local {
            Local::External => claim.because(Reason::PossiblyNoLocalEndpoint(self.node.clone())),
            Local::Internal | Local::NodePort => claim
                .because(Reason::NoLocalEndpoint(self.node.clone()))
                .fix(Fix::UseAllEndpoints(self.local)),
        };
        let claim = claim
            .why(RouteFact::NoLocalEndpoint {
                local: self.local,
                node: self.node,
                elsewhere: self.elsewhere,
            })
            .command(setting);
        match service.selector.is_empty() {
            true => claim.command(Kubectl::EndpointSlices(service.into())),
            false => claim.command(Command::from(Kubectl::SelectedPods(
                service.namespace.clone(),
                services::selector(service),
            ))),
        }
    }
}

/// Adds it to a claim about an attempt at this port, if it is the cause.
pub(super) fn explain(case: &Case<'_>, claim: Claim, protocol: &str, port: u16) -> Claim {
    let Some(route) = Route::from_case(case, protocol, port) else {
        return claim;
    };
    match none_local(case, &route) {
        Some(found) => found.explain(&route, claim),
        None => claim,
    }
}
