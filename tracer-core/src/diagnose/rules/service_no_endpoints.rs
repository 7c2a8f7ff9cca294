//! A Service without a ready endpoint.

use crate::diagnose::attempt::{Attempt, Failure};
use crate::diagnose::case::Case;
use crate::diagnose::claim::Claim;
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::{ConnectionFact, NotReady};
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::rule::Rule;
use crate::diagnose::services;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "service-no-endpoints",
    severity: Severity::Error,
    finds: "a Service without a ready endpoint",
    means: "A pod tried to reach a Service that has no ready endpoint: its selector matches no pod, or the pods are not ready.",
    looks_at: "TCP connections that were unanswered, refused or rejected, and UDP packets that were rejected; the Service, its \
               EndpointSlices and the pods that it selects.",
    cannot_know: "Why pods are not ready. Without EndpointSlices, whether the Service has endpoints.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let attempt = Attempt::from_case(case)?;
    if attempt.protocol == "UDP" && attempt.failure == Failure::Silent {
        // Applications do not have to answer UDP.
        return None;
    }
    let service = case.service()?;
    let ip = case.ends.peer.ip;
    if !services::none_ready_for(case.index, service, ip) {
        return None;
    }
    let why = services::why_none_ready_for(case.index, service, ip);
    let reason = match why {
        NotReady::OtherFamily { v4, .. } => Reason::NoEndpointOfFamily { v4 },
        _ => Reason::NoReadyEndpoint,
    };
    let mut claim = attempt
        .claim(case)
        .because(reason)
        .fix(Fix::CheckPods(service.into()))
        .why(ConnectionFact::NoReadyEndpoint)
        .why(ConnectionFact::NotReady(why));
    for fact in services::unready_pods(case.index, service) {
        claim = claim.why(fact);
    }
    if attempt.failure == Failure::Silent {
        claim = claim.why(ConnectionFact::DroppedWithoutEndpoint);
    }
    let claim = claim
        .commands(services::inspect(case.index, service))
        .cure(Cure::Connects(ip, Some(attempt.port)))
        .cure(Cure::Ready(service.namespace.clone(), service.name.clone()));
    Some(claim)
}
