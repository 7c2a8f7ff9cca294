//! A query got no answer, its repetition did: the lookup succeeded and took seconds.

use std::net::IpAddr;
use std::time::Duration;

use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Cause, Claim, Summary};
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::ServerFact;
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::lookup_evidence::LookupEvidence;
use crate::diagnose::rule::Rule;
use crate::diagnose::{endpoint, server};
use crate::model::exchange::Outcome;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "dns-retried",
    severity: Severity::Warning,
    finds: "a query got no answer until it was repeated, and the lookup took seconds",
    means: "A lookup succeeded, but a query of it got no answer, and the application waited until the resolver repeated the query: \
            at the same server, or at the next one of resolv.conf. This is a milder degree of dns-timeout, and shares its \
            finding: a lookup without any answer makes it that.",
    looks_at: "At least twice within ten minutes (severity info unless the server answers nothing), and in at least one lookup of \
               200: the application waited about a second or more \
               for queries without an answer. A resolver that asks all servers at once (musl, c-ares) and gets a prompt answer \
               waits for none. The rule is silent where packets to the pod are not visible.",
    cannot_know: "Whether the query was lost, or the answer, or the server needs longer than the resolver waits.",
    check,
};

/// No resolver repeats a query sooner than after a second by default; timers and clocks differ a little.
const MIN_WAIT: Duration = Duration::from_millis(900);

fn check(case: &Case<'_>) -> Option<Claim> {
    let Symptom::Lookup(lookup) = case.symptom else {
        return None;
    };
    let event = lookup.event;
    // A query that is unanswered when the input ends is not a lost one.
    let unanswered = matches!(event.outcome, Outcome::Timeout | Outcome::Undecided);
    if event.waited < MIN_WAIT || unanswered || lookup.cut_short || one_type_fails(lookup) {
        return None;
    }
    let counts = queries_by_server(lookup);
    let silent = counts.iter().max_by_key(|count| count.lost)?;
    if silent.lost == 0 {
        return None;
    }
    let ip = silent.ip;
    let instead = counts.iter().find(|count| count.answered > 0);
    let dead = silent.answered == 0;
    let server = server::at(case, ip);
    let summary = Summary::Retried {
        asked: lookup.asked()?.name.to_owned(),
        server: server.clone(),
        waited: event.waited,
        figures: lookup.figures(),
    };
    let claim = Claim::new(Cause::Address(ip), summary)
        .if_recurring()
        .fix(Fix::CheckServer(server.clone()))
        .why(ServerFact::Lost {
            server,
            lost: silent.lost,
            sent: silent.sent,
        });
    // Two losses are an accident; a nameserver that is gone costs every lookup the wait.
    let claim = match dead {
        true => claim,
        false => claim.once(Severity::Info),
    };
    let claim = match instead.filter(|instead| dead && instead.ip != ip) {
        Some(instead) => {
            let answered = server::at(case, instead.ip);
            claim
                .because(Reason::AnotherServerAnswers {
                    silent: ip,
                    answers: answered.clone(),
                })
                .fix(Fix::RepairNameserver(server::at(case, ip)))
                .why(ServerFact::AnsweredInstead(answered))
        }
        None => claim.because(Reason::RepetitionAnswered),
    };
    let claim = server::answered_pod(case, claim, ip, silent.answered);
    let claim = server::endpoints(case, claim, ip)
        .why(ServerFact::LossOnTheWay)
        .why(ServerFact::LossAtServer);
    let claim = endpoint::explain_server(case, claim, ip);
    let claim = match lookup.names().last() {
        Some(&name) => server::ask_again(case, claim, ip, name),
        None => claim,
    };
    Some(
        claim
            .evidence(lookup.evidence())
            .cure(Cure::AnswersPromptly(ip)),
    )
}

/// Whether a name's other type was answered at once, and this one never: that is no loss.
fn one_type_fails(lookup: &LookupEvidence<'_>) -> bool {
    let steps = &lookup.event.steps;
    steps.iter().any(|failed| {
        failed.outcome == Some(Outcome::Timeout)
            && steps
                .iter()
                .any(|other| other.name == failed.name && other.outcome == Some(Outcome::Answered))
    })
}

/// A lookup's queries to one server.
struct Queries {
    ip: IpAddr,
    sent: u64,
    /// Those without an answer.
    lost: u64,
    answered: u64,
}

fn queries_by_server(lookup: &LookupEvidence<'_>) -> Vec<Queries> {
    let mut counts: Vec<Queries> = Vec::new();
    for query in lookup.event.steps.iter().flat_map(|step| &step.sent) {
        let place = counts.iter().position(|count| count.ip == query.server);
        let place = place.unwrap_or_else(|| {
            counts.push(Queries {
                ip: query.server,
                sent: 0,
                lost: 0,
                answered: 0,
            });
            counts.len() - 1
        });
        let count = &mut counts[place];
        count.sent += 1;
        match query.outcome {
            None => count.lost += 1,
            Some(Outcome::IcmpError) => {}
            Some(_) => count.answered += 1,
        }
    }
    counts
}
