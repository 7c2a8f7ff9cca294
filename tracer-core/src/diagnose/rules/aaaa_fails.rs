//! A works, AAAA fails: a server that does not know how to say that there is none.

use crate::diagnose::case::Case;
use crate::diagnose::claim::{Claim, Cure};
use crate::diagnose::rule::Rule;
use crate::diagnose::server;
use crate::diagnose::words;
use crate::model::dns::RecordType;
use crate::model::exchange::Outcome;
use crate::model::finding::Severity;
use crate::model::units::duration;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "aaaa-fails",
    severity: Severity::Warning,
    finds: "A is answered, AAAA fails instead of coming back empty",
    means: "The IPv4 addresses of a name are answered, and the question for its IPv6 addresses fails or is not answered, instead of \
            coming back empty. Resolvers that ask for both wait for it, or take it for a failure of the whole (RFC 4074).",
    looks_at: "Lookups with an answer to A and a failure, silence or NXDOMAIN to AAAA of the same name. An AAAA that comes back empty \
               is as it should be.",
    cannot_know: "Whether the application cares.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let looked = case.lookup(Outcome::Answered)?;
    let steps = &looked.lookup.steps;
    let a = steps
        .iter()
        .find(|step| step.qtype == RecordType::A && step.outcome == Some(Outcome::Answered))?;
    let aaaa = steps
        .iter()
        .find(|step| step.qtype == RecordType::AAAA && step.name == a.name)?;
    let outcome = aaaa.outcome.filter(|outcome| {
        outcome.failed() && !(looked.cut_short && *outcome == Outcome::Timeout)
    })?;
    let how = words::outcome(outcome);
    let seen = looked
        .seen
        .iter()
        .find(|seen| seen.name == aaaa.name && seen.qtype == aaaa.qtype && seen.outcome == outcome);
    let again = match seen.filter(|seen| seen.attempts > 1) {
        Some(seen) => format!(
            ", asked {} times within {}",
            seen.attempts,
            duration(seen.last.since(seen.asked))
        ),
        None => String::new(),
    };
    Some(
        Claim::new(
            a.name.relative(),
            format!(
                "{} looked up {}: A is answered, AAAA is not: {how}{again}.",
                case.who(),
                a.name,
            ),
        )
        .why(format!(
            "For a name without IPv6 addresses the right answer is an empty one. From DNS server {} came: {how}.",
            server::name(case)
        ))
        .why(match outcome {
            Outcome::Timeout => "Possible causes: the domain's own servers, or a firewall in front of them, do not understand AAAA; or something on the way drops these queries.",
            _ => "Possible cause: the domain's own servers, or a firewall in front of them, do not understand AAAA.",
        })
        .remedy(case.in_pod(&format!(
            "nslookup -type=AAAA {} {}",
            crate::diagnose::names::quoted(a.name.as_str()),
            case.ends.peer.ip
        )))
        .evidence(looked.evidence())
        .cure(Cure::HasAaaa(a.name.clone())),
    )
}
