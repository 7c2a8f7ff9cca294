//! The conntrack table of the pod's node is full, and the node drops packets of new flows.

use crate::diagnose::attempt::{Attempt, Failure};
use crate::diagnose::case::Case;
use crate::diagnose::claim::Claim;
use crate::diagnose::command::Command;
use crate::diagnose::cure::Cure;
use crate::diagnose::drops;
use crate::diagnose::fact::PathFact;
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::memory::{FlowDrops, Rise};
use crate::diagnose::rule::Rule;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "conntrack-full",
    severity: Severity::Error,
    finds: "no answer while the node's conntrack table is full and the node drops packets",
    means: "A connection or UDP flow got no answer, and in the same seconds the conntrack table of the pod's node was full, and \
            conntrack dropped packets. A full table takes no new flow, whatever its destination.",
    looks_at: "TCP connections and UDP packets without an answer; the entries of the node's conntrack, their maximum and the \
               counter drop, read every 5 s; dropped packets of the same flow (tracepoint skb:kfree_skb, Linux 5.17).",
    cannot_know: "Without the drop of a packet of the flow, whether its packets were among those that conntrack dropped: the \
                  counter does not show which. What the tables of other nodes hold.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let attempt = Attempt::from_case(case)?;
    if attempt.failure != Failure::Silent {
        return None;
    }
    let dropping = |rise: &Rise| rise.drop > 0 && rise.is_full();
    let conntrack = &case.memory.conntrack;
    let rise = conntrack.within((case.first, case.last), dropping)?;
    let claim = attempt
        .claim(case)
        .cure(Cure::Connects(case.ends.peer.ip, Some(attempt.port)))
        .because(Reason::ConntrackFull)
        .fix(Fix::RaiseConntrackMax)
        .why(PathFact::ConntrackFull(rise));
    let claim = match drops::of_attempt(case).filter(by_netfilter) {
        Some(drops) => drops::explain(case, claim, drops),
        None => claim.why(PathFact::PossiblyDropped),
    };
    Some(claim.command(Command::ConntrackTable))
}

/// What conntrack drops has the reason of all that netfilter drops.
fn by_netfilter(drops: &&FlowDrops) -> bool {
    drops.from_pod && drops.reason == "NETFILTER_DROP"
}
