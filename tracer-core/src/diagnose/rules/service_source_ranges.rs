//! A client that a load balancer's source ranges leave out.

use crate::diagnose::attempt::{Attempt, Failure};
use crate::diagnose::case::Case;
use crate::diagnose::claim::Claim;
use crate::diagnose::command::Kubectl;
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::RouteFact;
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::route::{Access, Route};
use crate::diagnose::rule::Rule;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "service-source-ranges",
    severity: Severity::Error,
    finds: "a client outside of a Service's loadBalancerSourceRanges",
    means: "A pod tried to reach the address of a Service's load balancer, and the Service's loadBalancerSourceRanges do not \
            include the pod's address. The nodes drop such packets.",
    looks_at: "TCP connections to a load balancer's address that were unanswered or rejected, and UDP packets that were; the \
               Service's source ranges and the pod's address.",
    cannot_know: "The address that a load balancer sees where the nodes do not translate its address themselves.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let attempt = Attempt::from_case(case)?;
    if attempt.failure == Failure::Reset {
        return None;
    }
    let route = Route::from_case(case, attempt.protocol, attempt.port)?;
    let (service, client) = (route.service, case.ends.pod.ip);
    let ranges = &service.source_ranges;
    // The ranges of the other family say nothing.
    let mut own_family = ranges
        .iter()
        .filter(|range| range.addr().is_ipv4() == client.is_ipv4());
    let admitted = own_family.any(|range| range.contains(&client));
    if route.access != Access::Balancer || ranges.is_empty() || admitted {
        return None;
    }
    let ip = case.ends.peer.ip;
    let mut claim = attempt
        .claim(case)
        .because(Reason::OutsideSourceRanges(client))
        .fix(Fix::AddSourceRange)
        .why(RouteFact::OutsideSourceRanges {
            client,
            ranges: ranges.clone(),
        });
    let mut addresses = service.balancer.iter();
    if addresses.any(|address| address.ip == ip && address.proxied) {
        claim = claim.why(RouteFact::BalancerDecides);
    }
    let claim = claim.command(Kubectl::SourceRanges(service.into()));
    Some(match attempt.protocol {
        "TCP" => claim.cure(Cure::Connects(ip, Some(attempt.port))),
        _ => claim,
    })
}
