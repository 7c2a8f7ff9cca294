//! A is answered, another type fails: the server does not know how to say that there is no record.

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
use crate::model::lookup::Step;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "aaaa-fails",
    severity: Severity::Warning,
    finds: "A is answered, AAAA (or HTTPS, SVCB, SRV) fails instead of coming back empty",
    means: "The query for a name's IPv4 addresses is answered. The query for its IPv6 addresses, or for its HTTPS, SVCB or SRV \
            records, fails or is not answered, instead of coming back empty. Resolvers that send both wait for the second one, or \
            treat it as a failure of the whole lookup (RFC 4074).",
    looks_at: "Lookups with an answer to A and a failure, silence or NXDOMAIN to the other type for the same name. An empty answer \
               is correct.",
    cannot_know: "Whether the application is affected.",
    check,
};

/// The types that resolvers ask for beside A.
const BESIDE_A: [RecordType; 4] = [
    RecordType::AAAA,
    RecordType::HTTPS,
    RecordType::SVCB,
    RecordType::SRV,
];

fn check(case: &Case<'_>) -> Option<Claim> {
    let lookup = case.lookup(Outcome::Answered)?;
    let steps = &lookup.event.steps;
    let a = steps
        .iter()
        .find(|step| step.qtype == RecordType::A && step.outcome == Some(Outcome::Answered))?;
    let failure = |step: &Step| {
        step.outcome.filter(|outcome| {
            outcome.failed() && !(lookup.cut_short && *outcome == Outcome::Timeout)
        })
    };
    let (failed, outcome) = steps
        .iter()
        .filter(|step| step.name == a.name && BESIDE_A.contains(&step.qtype))
        .find_map(|step| Some((step, failure(step)?)))?;
    let qtype = failed.qtype;
    let exchange = lookup.exchanges().iter().find(|exchange| {
        exchange.name == failed.name && exchange.qtype == qtype && exchange.outcome == outcome
    });
    let repeated = exchange
        .filter(|exchange| exchange.attempts > 1)
        .map(|exchange| (exchange.attempts, exchange.last.since(exchange.asked)));
    let summary = Summary::TypeFails {
        name: a.name.clone(),
        qtype,
        outcome,
        repeated,
    };
    let claim = Claim::new(Cause::Name(a.name.relative().to_owned()), summary)
        .why(ServerFact::EmptyExpected {
            qtype,
            server: server::named(case),
            outcome,
        })
        .why(match outcome {
            Outcome::Timeout => ServerFact::TypeDropped(qtype),
            _ => ServerFact::TypeNotUnderstood(qtype),
        })
        .command(PodCommand::Nslookup {
            name: a.name.clone(),
            qtype: Some(qtype),
            server: Some(case.ends.peer.ip),
        })
        .evidence(lookup.evidence())
        .cure(Cure::AnswersType(qtype, a.name.clone()));
    Some(claim)
}
