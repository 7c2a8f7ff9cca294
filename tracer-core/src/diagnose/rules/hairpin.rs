//! A pod that cannot reach itself through a Service.

use crate::diagnose::attempt::{Attempt, Failure};
use crate::diagnose::case::Case;
use crate::diagnose::claim::Claim;
use crate::diagnose::command::{Command, Kubectl};
use crate::diagnose::cure::Cure;
use crate::diagnose::endpoint;
use crate::diagnose::fact::{EndpointPlace, RouteFact};
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::route::{self, Backend, Route};
use crate::diagnose::rule::Rule;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "hairpin",
    severity: Severity::Error,
    finds: "a pod that gets no answer from a Service because it is the endpoint itself",
    means: "A pod connected to a Service and was forwarded to itself: it is the only ready endpoint, or the one that the node's \
            conntrack shows. It got no answer. The node has to send the \
            packet back through the interface that it came from, with another source address. Where a bridge's port is not in \
            hairpin mode, or the source address stays, the packet is lost.",
    looks_at: "TCP connections whose SYNs were not answered, the Service's ready endpoints and the endpoint in the node's \
               conntrack. With other endpoints beside the pod, and without conntrack, a timeout is a connect-timeout, which names \
               this as a possible cause.",
    cannot_know: "How the node forwards, and, where conntrack is not read, which endpoint it chose among several.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let attempt = Attempt::from_case(case).filter(|attempt| attempt.protocol == "TCP")?;
    // A reset comes from the pod itself: it was reached.
    if attempt.failure != Failure::Silent {
        return None;
    }
    let route = Route::from_case(case, attempt.protocol, attempt.port)?;
    let own = itself(case, &route)?;
    let only = route.backends(case).len() == 1;
    let claim = attempt.claim(case).fix(Fix::Hairpin);
    let claim = match only {
        true => claim
            .because(Reason::OnlyEndpointIsSelf)
            .why(RouteFact::OnlyEndpointIsSelf(EndpointPlace::from(&own))),
        false => claim
            .because(Reason::ChosenIsSelf)
            .why(RouteFact::ChosenIsSelf),
    };
    let claim = claim.why(RouteFact::HairpinCauses);
    let claim = match &own.endpoint.node {
        Some(node) => claim.command(Command::HairpinMode(node.clone())),
        None => claim,
    };
    Some(
        claim
            .command(Kubectl::EndpointSlices(route.service.into()))
            .cure(Cure::Connects(case.ends.peer.ip, Some(attempt.port))),
    )
}

/// The pod as the endpoint of its own attempt: the one that conntrack shows, or the only one there is.
fn itself(case: &Case<'_>, route: &Route<'_>) -> Option<Backend> {
    let own = match endpoint::as_route(case, route) {
        Some(chosen) => chosen,
        None => {
            let mut backends = route.backends(case);
            let only = backends.pop()?;
            backends.is_empty().then_some(only)?
        }
    };
    route::is_own(case, &own.endpoint).then_some(own)
}
