//! A DNS server's question comes back to it.

use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Cause, Claim, Summary};
use crate::diagnose::command::Kubectl;
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::ServerFact;
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::rule::Rule;
use crate::diagnose::server;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "dns-loop",
    severity: Severity::Error,
    finds: "a DNS server forwards a question to a server that sends it back",
    means: "A DNS server forwards a question, and the same question comes back to it, again and again: the server that it forwards to \
            forwards to it. The clients get SERVFAIL or no answer, and both servers are busy.",
    looks_at: "Queries that a pod receives and sends with the same name and type: they come back from the address to which it sent \
               them, from its own address or from its node, each time after it sent them once more, five times or more.",
    cannot_know: "The configuration of the servers. A loop that does not pass this pod's interface.",
    check,
};

/// A question that came back this often goes around.
const MIN_RETURNS: u64 = 5;

fn check(case: &Case<'_>) -> Option<Claim> {
    let Symptom::Lookup(lookup) = case.symptom else {
        return None;
    };
    let mut steps = lookup.event.steps.iter();
    let (step, round) = steps.find_map(|step| {
        let round = case.own.loops.round(&step.name, step.qtype)?;
        (round.returns >= MIN_RETURNS).then_some((step, round))
    })?;
    let to = server::at(case, round.to);
    let summary = Summary::Loop {
        name: step.name.clone(),
        server: to.clone(),
        times: round.returns,
        within: round.last.since(round.first),
    };
    let claim = Claim::new(Cause::Address(round.to), summary)
        .because(Reason::ForwardsInACircle)
        .fix(Fix::CheckForward(to.clone()))
        .why(ServerFact::CameBackFrom(server::place(
            case,
            round.from.unwrap_or(round.to),
        )))
        .why(ServerFact::LoopCauses)
        .command(Kubectl::Corefile);
    let claim = server::on_node(case, claim, round.to);
    Some(
        server::logs(case, claim, round.to)
            .evidence(lookup.evidence())
            .cure(Cure::Answers(round.to)),
    )
}
