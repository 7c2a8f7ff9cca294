//! A Service that only the node's own endpoints serve, on a node that has none.

use crate::diagnose::attempt::{Attempt, Failure};
use crate::diagnose::case::Case;
use crate::diagnose::claim::Claim;
use crate::diagnose::cure::Cure;
use crate::diagnose::route::Route;
use crate::diagnose::rule::Rule;
use crate::diagnose::traffic_policy;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "service-local-only",
    severity: Severity::Error,
    finds: "a Service with traffic policy Local and no endpoint on the node",
    means: "The Service's internalTrafficPolicy or externalTrafficPolicy is Local, and the node that has to forward has no ready \
            endpoint of it. The node drops the packets, though other nodes have endpoints.",
    looks_at: "TCP connections that were unanswered or rejected, and UDP packets that were; the Service's traffic policies, its \
               EndpointSlices with the nodes of their endpoints, and the pod's node.",
    cannot_know: "Whether the nodes apply externalTrafficPolicy to their own pods, which depends on kube-proxy's mode. Endpoints \
                  whose node the inventory doesn't show.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let attempt = Attempt::from_case(case)?;
    // A reset comes from an endpoint.
    if attempt.failure == Failure::Reset {
        return None;
    }
    let route = Route::from_case(case, attempt.protocol, attempt.port)?;
    let found = traffic_policy::none_local(case, &route)?;
    let claim = found.explain(&route, attempt.claim(case));
    let ip = case.ends.peer.ip;
    Some(match attempt.protocol {
        "TCP" => claim.cure(Cure::Connects(ip, Some(attempt.port))),
        _ => claim,
    })
}
