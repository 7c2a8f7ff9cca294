//! The DNS server does not answer.

use crate::diagnose::case::Case;
use crate::diagnose::claim::{Cause, Claim, Summary};
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::{Others, ServerFact, Who};
use crate::diagnose::headline::Fix;
use crate::diagnose::rule::Rule;
use crate::diagnose::{drops, endpoint, policies, server, traffic_policy};
use crate::model::exchange::Outcome;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "dns-timeout",
    severity: Severity::Error,
    finds: "the DNS server does not answer",
    means: "A lookup got no answer: the DNS server was silent for longer than a resolver waits.",
    looks_at: "Lookups without an answer; the endpoints of the server's Service, and those in the node's conntrack that were asked; \
               NetworkPolicies that select either end; whether \
               the server answered other pods of this node in the last five minutes; if the server's pod is on this node, \
               what it asked another server at that time. The rule is silent where packets to the \
               pod are not visible.",
    cannot_know: "Whether the query was lost, or the answer, or the server did not answer.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let lookup = case.lookup(Outcome::Timeout)?;
    if lookup.cut_short || lookup.exchanges().iter().any(|exchange| exchange.truncated) {
        return None;
    }
    let asked = lookup.asked()?;
    let ip = case.ends.peer.ip;
    let summary = Summary::NoAnswer {
        asked: asked.name.to_owned(),
        server: server::named(case),
        figures: lookup.figures(),
    };
    let claim = Claim::new(Cause::Address(ip), summary)
        .fix(Fix::CheckServer(server::named(case)))
        .evidence(lookup.evidence());
    let claim = server::upstream(claim, lookup);
    let claim = drops::explain_lookup(case, claim, lookup);
    let claim = match lookup.names().last() {
        Some(&name) => server::ask_again(case, claim, ip, name),
        None => claim,
    };
    let claim = endpoint::explain_server(case, claim, ip);
    let own = lookup.answers_from(ip);
    let claim = server::answered_pod(case, server::endpoints(case, claim, ip), ip, own)
        .why(ServerFact::AnsweredOthers(answered_others(case)));
    let port = case.ends.peer.port.unwrap_or_default();
    let claim = traffic_policy::explain(case, claim, "UDP", port);
    Some(policies::explain(case, claim, "UDP", port).cure(Cure::Answers(ip)))
}

/// Whether the server answered another pod.
fn answered_others(case: &Case<'_>) -> Others {
    let server = (case.ends.peer.ip, case.ends.peer.port.unwrap_or_default());
    match case.memory.pods.answered_another(server, case.owner) {
        Some(contact) if contact.at > case.at => Others::Meanwhile(Who::from(contact.pod)),
        Some(contact) => Others::Before(Who::from(contact.pod), case.at.since(contact.at)),
        None => Others::None,
    }
}
