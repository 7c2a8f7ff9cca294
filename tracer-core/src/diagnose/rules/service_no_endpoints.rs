//! A Service without a ready endpoint: nobody is behind it.

use crate::diagnose::attempt::{Attempt, Failure, target};
use crate::diagnose::case::Case;
use crate::diagnose::claim::{Claim, Cure};
use crate::diagnose::rule::Rule;
use crate::diagnose::services;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "service-no-endpoints",
    severity: Severity::Error,
    finds: "a Service without a ready endpoint",
    means: "A pod tried to reach a Service that has no ready endpoint: its selector matches no pod, or the pods are not ready.",
    looks_at: "TCP connections that were not answered, refused or rejected, and UDP packets that were rejected; the Service, its \
               EndpointSlices and the pods that it selects.",
    cannot_know: "Why pods are not ready. Without EndpointSlices, whether there are endpoints.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let attempt = Attempt::of(case)?;
    if attempt.protocol == "UDP" && attempt.failure == Failure::Silent {
        // UDP need not be answered.
        return None;
    }
    let service = case.service()?;
    if !services::none_ready(case.index, service) {
        return None;
    }
    let mut claim = attempt
        .claim(case, &target(case, attempt.port))
        .why("The Service has no ready endpoint, so there is nobody to forward to.")
        .why(services::why_none_ready(case.index, service));
    if let Failure::Silent = attempt.failure {
        claim = claim.why("Possible cause of the silence: the node drops what has no endpoint instead of rejecting it, as it does for traffic from outside with externalTrafficPolicy Local.");
    }
    for command in services::look_why_none_ready(case.index, service) {
        claim = claim.remedy(command);
    }
    Some(
        claim
            .cure(Cure::Connects(case.ends.peer.ip, Some(attempt.port)))
            .cure(Cure::Ready(service.namespace.clone(), service.name.clone())),
    )
}
