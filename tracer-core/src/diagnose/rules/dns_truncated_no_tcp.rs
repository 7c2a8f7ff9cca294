//! The answer did not fit into UDP, and nothing came of TCP.

use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Claim, Cure};
use crate::diagnose::rule::Rule;
use crate::diagnose::{policies, server};
use crate::model::exchange::{ConnectionEnd, Outcome};
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "dns-truncated-no-tcp",
    severity: Severity::Warning,
    finds: "the answer is too big for UDP, and nothing comes over TCP",
    means: "The answer was too big for UDP and came truncated, so it has to be asked for again over TCP; that was not done, or it \
            failed. The application may get a part of the answer, or none.",
    looks_at: "Exchanges whose UDP answer is truncated, and what became of asking again over TCP.",
    cannot_know: "Whether the application could use the truncated answer.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let Symptom::Lookup(looked) = case.symptom else {
        return None;
    };
    let outcome = looked.lookup.outcome;
    if looked.cut_short || !matches!(outcome, Outcome::Truncated | Outcome::Timeout) {
        return None;
    }
    let seen = looked.seen.iter().find(|seen| seen.truncated)?;
    let asked = looked.asked()?;
    let refused = matches!(
        seen.connection,
        Some(ConnectionEnd::Refused | ConnectionEnd::Timeout)
    );
    if server::is_one(case) && !refused {
        // It passes on what it gets, the truncated answer too: whether to ask again is its client's affair.
        return None;
    }
    let server = case.ends.peer.ip;
    let (what, why) = match seen.connection {
        Some(ConnectionEnd::Refused) => (
            "TCP was refused",
            "Port 53 over TCP is refused: the server, or its Service, serves UDP only, or something on the way rejects TCP.",
        ),
        Some(ConnectionEnd::Timeout) => (
            "TCP got no answer",
            "Nobody answers on port 53 over TCP. Possible cause: a firewall or NetworkPolicy that lets UDP through and drops TCP.",
        ),
        Some(ConnectionEnd::Reset | ConnectionEnd::Closed) => (
            "the TCP connection was closed without an answer",
            "The connection was made and closed before an answer came.",
        ),
        None if outcome == Outcome::Timeout => (
            "no answer came over TCP",
            "The connection was made, and the server did not answer on it.",
        ),
        None => (
            "it was not asked for again over TCP",
            "A resolver has to ask again over TCP (RFC 7766). Possible cause: one that does not, as musl before 1.2.4.",
        ),
    };
    let claim = Claim::new(
        server.to_string(),
        format!(
            "{} looked up \"{}\": the answer of DNS server {} was truncated, and {what}.",
            case.who(),
            asked.name,
            server::name(case)
        ),
    )
    .why(why)
    .evidence(looked.evidence())
    .remedy(case.in_pod(&format!(
        "dig +tcp @{server} {}",
        crate::diagnose::names::quoted(seen.name.as_str())
    )));
    let claim = match seen.connection {
        Some(_) => policies::possible(case, claim),
        None => claim,
    };
    Some(claim.cure(Cure::AnswersTcp(server)))
}
