//! The kernel of the pod's node dropped the packets, and no NetworkPolicy explains it.

use crate::diagnose::attempt::{Attempt, Failure};
use crate::diagnose::case::Case;
use crate::diagnose::claim::Claim;
use crate::diagnose::command::Command;
use crate::diagnose::cure::Cure;
use crate::diagnose::drops;
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::policies;
use crate::diagnose::rule::Rule;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "dropped-on-node",
    severity: Severity::Error,
    finds: "the node's kernel dropped the packets",
    means: "A connection or UDP flow got no answer, and the kernel of the pod's node was seen to drop its packets, or the answers \
            to them. No NetworkPolicy denies it.",
    looks_at: "TCP connections and UDP packets without an answer, or with an ICMP error; packets of the same flow that a \
               firewall, an eBPF program or the reverse path filter dropped (tracepoint skb:kfree_skb, Linux 5.17); NetworkPolicies that select either end.",
    cannot_know: "Which rule of a firewall dropped them. What a network card or another node dropped.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    claim(case)
}

/// The claim without a policy's denial; [`super::denied_by_policy`] takes it where there is one.
pub(super) fn claim(case: &Case<'_>) -> Option<Claim> {
    let attempt = Attempt::from_case(case)?;
    if attempt.failure == Failure::Reset {
        return None;
    }
    let drops = drops::of_attempt(case)?;
    // Without an owner of the address, or a route to it, that is the cause, and not what dropped the packets. kube-proxy
    // drops packets to a ClusterIP that no Service has.
    if !drops::is_deliberate(drops.reason) || is_unassigned(case) {
        return None;
    }
    let claim = attempt
        .claim(case)
        .cure(Cure::Connects(case.ends.peer.ip, Some(attempt.port)))
        .because(Reason::DroppedOnNode {
            reason: drops.reason,
            answers: !drops.from_pod,
        })
        .fix(Fix::CheckNodeFirewall)
        .command(Command::NodeRules);
    let claim = drops::explain(case, claim, drops);
    Some(policies::explain(
        case,
        claim,
        attempt.protocol,
        attempt.port,
    ))
}

/// Whether the address is in the range of ClusterIPs, and no Service has it.
fn is_unassigned(case: &Case<'_>) -> bool {
    let peer = &case.ends.peer;
    let mut ranges = case.index.service_cidrs().iter();
    peer.service.is_none()
        && ranges.any(|range| range.cidrs.iter().any(|cidr| cidr.contains(&peer.ip)))
}
