//! Nobody answers.

use crate::diagnose::attempt::{Attempt, Failure, target};
use crate::diagnose::case::Case;
use crate::diagnose::claim::{Claim, Cure};
use crate::diagnose::rule::Rule;
use crate::diagnose::{gone, missing, policies, services, words};
use crate::identity::Owner;
use crate::model::cluster::Kind;
use crate::model::finding::Severity;
use crate::model::units::duration;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "connect-timeout",
    severity: Severity::Error,
    finds: "a connection that nobody answers",
    means: "A connection got no answer at all, not even a refusal: something on the way drops it, or nobody has the address.",
    looks_at: "TCP connections whose SYNs were not answered; who has the address, on which node; NetworkPolicies that select either \
               end; whether other pods of this node reached it in the last five minutes. Nothing is said where the direction to \
               the pod cannot be seen.",
    cannot_know: "Where the packets were lost. What a NetworkPolicy allows: those that select either end are named as a possible \
                  cause. What pods of other nodes reach.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let attempt = Attempt::of(case).filter(|attempt| attempt.protocol == "TCP")?;
    if attempt.failure != Failure::Silent || gone::owner(case).is_some() {
        return None;
    }
    let peer = &case.ends.peer;
    let mut claim = attempt
        .claim(case, &target(case, attempt.port))
        .cure(Cure::Connects(peer.ip, Some(attempt.port)));
    claim = place(case, claim, attempt.port);
    claim = claim.why(others(case, attempt.port));
    claim = policies::possible(case, claim);
    Some(missing::who(case, claim))
}

/// Who has the address, and where.
fn place(case: &Case<'_>, claim: Claim, port: u16) -> Claim {
    let peer = &case.ends.peer;
    let own = case.pod().and_then(|pod| pod.node.as_deref());
    if let Some(service) = case.service() {
        let mut claim = claim.why(services::ready_sentence(case.index, service));
        let ready = services::ready(case.index, service);
        let targets = services::targets(&ready, service, port);
        if let (Some(endpoint), [target]) = (ready.first(), targets.as_slice()) {
            claim =
                claim.remedy(case.in_pod(&words::try_tcp(endpoint.ip, *target, Some(endpoint))));
        }
        return claim;
    }
    if peer.pod.is_some() {
        let place = match (own, peer.node.as_deref()) {
            (Some(own), Some(node)) if own == node => {
                format!("Both pods are on node {node}, so no other node is on the way.")
            }
            (Some(own), Some(node)) => {
                format!(
                    "The pods are on two nodes, {own} and {node}: the network between them is on the way."
                )
            }
            _ => "On which nodes the two pods are is not known.".to_owned(),
        };
        return claim
            .why(place)
            .remedy(case.in_pod(&format!("ping -c 3 {}", peer.ip)));
    }
    let range = case
        .index
        .service_cidrs()
        .iter()
        .flat_map(|range| &range.cidrs)
        .find(|range| range.contains(&peer.ip));
    match (range, &peer.node) {
        (Some(range), _) => claim
            .why(format!(
                "The address lies in the range of ClusterIPs, {range}, and no Service has it."
            ))
            .remedy(words::find_service(peer.ip)),
        (None, Some(_)) => claim.remedy(case.in_pod(&words::try_tcp(peer.ip, port, None))),
        (None, None) if knows_who(case) => claim
            .why("No pod, Service or node of the inventory has that address.")
            .remedy(case.in_pod(&words::try_tcp(peer.ip, port, None))),
        (None, None) => claim,
    }
}

/// Whether an address that nobody has would be known to be nobody's.
fn knows_who(case: &Case<'_>) -> bool {
    let kinds = [Kind::Pod, Kind::Service, Kind::Node];
    kinds.into_iter().all(|kind| case.index.knows(kind))
}

/// Whether it is this pod's trouble or everybody's.
fn others(case: &Case<'_>, port: u16) -> String {
    let than = Owner::from_ends(case.ends);
    match case
        .memory
        .reached
        .by_another((case.ends.peer.ip, port), &than)
    {
        Some(visit) if visit.at > case.at => {
            format!(
                "Meanwhile {} of this node connected to it.",
                words::pod(&visit.pod)
            )
        }
        Some(visit) => format!(
            "{} of this node connected to it {} before.",
            words::pod(&visit.pod),
            duration(case.at.since(visit.at))
        ),
        None => {
            "No other pod of this node was seen to connect to it in the last 5 minutes.".to_owned()
        }
    }
}
