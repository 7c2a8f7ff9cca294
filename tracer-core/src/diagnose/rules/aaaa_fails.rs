//! A is answered, AAAA fails: the server does not know how to say that there is no record.

use crate::diagnose::case::Case;
use crate::diagnose::claim::{Cause, Claim, Summary};
use crate::diagnose::command::PodCommand;
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::ServerFact;
use crate::diagnose::rule::Rule;
use crate::diagnose::server;
use crate::model::dns::RecordType;
use crate::model::exchange::Outcome;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "aaaa-fails",
    severity: Severity::Warning,
    finds: "A is answered, AAAA fails instead of coming back empty",
    means: "The query for a name's IPv4 addresses is answered. The query for its IPv6 addresses fails or is not answered, \
            instead of coming back empty. Resolvers that send both wait for the second one, or treat it as a failure of the \
            whole lookup (RFC 4074).",
    looks_at: "Lookups with an answer to A and a failure, silence or NXDOMAIN to AAAA for the same name. An empty answer to AAAA \
               is correct.",
    cannot_know: "Whether the application is affected.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let lookup = case.lookup(Outcome::Answered)?;
    let steps = &lookup.event.steps;
    let a = steps
        .iter()
        .find(|step| step.qtype == RecordType::A && step.outcome == Some(Outcome::Answered))?;
    let aaaa = steps
        .iter()
        .find(|step| step.qtype == RecordType::AAAA && step.name == a.name)?;
    let outcome = aaaa.outcome.filter(|outcome| {
        outcome.failed() && !(lookup.cut_short && *outcome == Outcome::Timeout)
    })?;
    let exchange = lookup.exchanges.iter().find(|exchange| {
        exchange.name == aaaa.name && exchange.qtype == aaaa.qtype && exchange.outcome == outcome
    });
    let repeated = exchange
        .filter(|exchange| exchange.attempts > 1)
        .map(|exchange| (exchange.attempts, exchange.last.since(exchange.asked)));
    let summary = Summary::AaaaFails {
        name: a.name.clone(),
        outcome,
        repeated,
    };
    let claim = Claim::new(Cause::Name(a.name.relative().to_owned()), summary)
        .why(ServerFact::EmptyAaaaExpected {
            server: server::named(case),
            outcome,
        })
        .why(match outcome {
            Outcome::Timeout => ServerFact::AaaaDropped,
            _ => ServerFact::AaaaNotUnderstood,
        })
        .command(PodCommand::Nslookup {
            name: a.name.clone(),
            qtype: Some(RecordType::AAAA),
            server: Some(case.ends.peer.ip),
        })
        .evidence(lookup.evidence())
        .cure(Cure::AnswersAaaa(a.name.clone()));
    Some(claim)
}
