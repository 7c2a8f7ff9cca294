//! A pod that cannot reach itself through a Service.

use crate::diagnose::attempt::{Attempt, Failure};
use crate::diagnose::case::Case;
use crate::diagnose::claim::Claim;
use crate::diagnose::command::{Command, Kubectl};
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::{EndpointPlace, RouteFact};
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::route::{self, Route};
use crate::diagnose::rule::Rule;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "hairpin",
    severity: Severity::Error,
    finds: "a pod that gets no answer from a Service whose only endpoint it is",
    means: "A pod connected to a Service whose only ready endpoint is the pod itself, and got no answer. The node has to send the \
            packet back through the interface that it came from, with another source address. Where a bridge's port is not in \
            hairpin mode, or the source address stays, the packet is lost.",
    looks_at: "TCP connections whose SYNs were not answered, and the Service's ready endpoints. With other endpoints beside the \
               pod, a timeout is a connect-timeout, which names this as a possible cause.",
    cannot_know: "How the node forwards, and which endpoint it chose among several.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let attempt = Attempt::from_case(case).filter(|attempt| attempt.protocol == "TCP")?;
    // A reset comes from the pod itself: it was reached.
    if attempt.failure != Failure::Silent {
        return None;
    }
    let route = Route::from_case(case, attempt.protocol, attempt.port)?;
    let backends = route.backends(case);
    let [only] = backends.as_slice() else {
        return None;
    };
    if !route::is_own(case, &only.endpoint) {
        return None;
    }
    let claim = attempt
        .claim(case)
        .because(Reason::OnlyEndpointIsSelf)
        .fix(Fix::Hairpin)
        .why(RouteFact::OnlyEndpointIsSelf(EndpointPlace::from(only)))
        .why(RouteFact::HairpinCauses);
    let claim = match &only.endpoint.node {
        Some(node) => claim.command(Command::HairpinMode(node.clone())),
        None => claim,
    };
    Some(
        claim
            .command(Kubectl::EndpointSlices(route.service.into()))
            .cure(Cure::Connects(case.ends.peer.ip, Some(attempt.port))),
    )
}
