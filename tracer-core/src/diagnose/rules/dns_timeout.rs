//! The DNS server says nothing.

use crate::diagnose::case::Case;
use crate::diagnose::claim::{Claim, Cure};
use crate::diagnose::rule::Rule;
use crate::diagnose::{names, policies, server, words};
use crate::identity::Owner;
use crate::model::exchange::Outcome;
use crate::model::finding::Severity;
use crate::model::units::duration;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "dns-timeout",
    severity: Severity::Error,
    finds: "the DNS server does not answer",
    means: "A lookup got no answer: the DNS server was silent for longer than a resolver waits.",
    looks_at: "Lookups without an answer; the endpoints of the server's Service; NetworkPolicies that select either end; whether \
               other pods of this node got answers from it in the last five minutes. Nothing is said where the direction to the \
               pod cannot be seen.",
    cannot_know: "Whether the query was lost, or the answer, or the server did not answer.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let looked = case.lookup(Outcome::Timeout)?;
    if looked.cut_short || looked.seen.iter().any(|seen| seen.truncated) {
        return None;
    }
    let asked = looked.asked()?;
    let server = case.ends.peer.ip;
    let claim = Claim::new(
        server.to_string(),
        format!(
            "{} looked up \"{}\": no answer from DNS server {} ({}).",
            case.who(),
            asked.name,
            server::name(case),
            looked.figures()
        ),
    )
    .evidence(looked.evidence());
    let claim = match looked.names().last() {
        Some(name) => claim.remedy(case.in_pod(&format!(
            "nslookup {} {server}   # is it still so?",
            names::quoted(name.as_str())
        ))),
        None => claim,
    };
    let claim = server::endpoints(case, claim).why(others(case));
    Some(policies::possible(case, claim).cure(Cure::Answers(server)))
}

/// Whether it is silent to everybody.
fn others(case: &Case<'_>) -> String {
    let server = (case.ends.peer.ip, case.ends.peer.port.unwrap_or_default());
    match case
        .memory
        .answered
        .by_another(server, &Owner::from_ends(case.ends))
    {
        Some(visit) if visit.at > case.at => {
            format!(
                "It answered {} of this node meanwhile.",
                words::pod(&visit.pod)
            )
        }
        Some(visit) => format!(
            "It answered {} of this node {} before.",
            words::pod(&visit.pod),
            duration(case.at.since(visit.at))
        ),
        None => {
            "It was not seen to answer another pod of this node in the last 5 minutes.".to_owned()
        }
    }
}
