//! What the pod's resolver was answered lately.

use super::{Candidate, SeenAnswer, nanoseconds};
use crate::explain::Input;
use crate::explain::attempts::Moment;
use crate::model::dns::{DnsName, RecordType};
use crate::model::event::{Body, Event};
use crate::model::exchange::{Exchange, Outcome};
use crate::model::flow::Role;
use crate::model::lookup::Step;

/// Answers of a candidate that are kept, one for each type.
const MAX_ANSWERS: usize = 8;

/// Adds what an event shows about a candidate.
pub(super) fn see(input: &Input<'_>, event: &Event, candidates: &mut [Candidate]) {
    if event
        .ends
        .as_ref()
        .is_none_or(|ends| ends.role != Role::Client)
    {
        return;
    }
    match &event.body {
        Body::Dns(exchange, _) => see_exchange(input, exchange, candidates),
        Body::Lookup(lookup) => {
            for step in &lookup.steps {
                see_step(input, step, candidates);
            }
        }
        _ => {}
    }
}

fn see_exchange(input: &Input<'_>, exchange: &Exchange, candidates: &mut [Candidate]) {
    // A retry over TCP decides a truncated answer; what came from elsewhere is no answer.
    let counts = exchange.asked_peer.is_none()
        && !exchange.is_unsolicited()
        && exchange.outcome != Outcome::Undecided;
    let Some(question) = exchange.question.as_ref().filter(|_| counts) else {
        return;
    };
    let answers = exchange.answers.iter();
    let data = answers.filter(|record| record.rtype == question.qtype || is_alias(record.rtype));
    put(
        candidates,
        &question.name,
        SeenAnswer {
            qtype: question.qtype.to_string(),
            outcome: exchange.outcome.as_str(),
            data: data.map(|record| record.data.to_string()).collect(),
            latency_ns: exchange.latency.map(nanoseconds),
            server: Some(exchange.flow.peer.ip()),
            at: Moment::new(input, exchange.asked),
            result: exchange.outcome,
        },
    );
}

fn is_alias(rtype: RecordType) -> bool {
    rtype == RecordType::CNAME
}

fn see_step(input: &Input<'_>, step: &Step, candidates: &mut [Candidate]) {
    let Some(outcome) = step.outcome.filter(|one| *one != Outcome::Undecided) else {
        return;
    };
    let servers = step.servers();
    put(
        candidates,
        &step.name,
        SeenAnswer {
            qtype: step.qtype.to_string(),
            outcome: outcome.as_str(),
            data: step.data.clone(),
            latency_ns: step.latency.map(nanoseconds),
            server: match &servers[..] {
                [one] => Some(one.ip),
                _ => None,
            },
            at: Moment::new(input, step.asked),
            result: outcome,
        },
    );
}

/// Keeps the latest answer for each type. An exchange and the step that it belongs to have the same time.
fn put(candidates: &mut [Candidate], name: &DnsName, answer: SeenAnswer) {
    let mut candidates = candidates.iter_mut();
    let Some(candidate) = candidates.find(|candidate| candidate.name == name.as_str()) else {
        return;
    };
    let seen = &mut candidate.seen;
    let Some(place) = seen.iter().position(|known| known.qtype == answer.qtype) else {
        if seen.len() < MAX_ANSWERS {
            seen.push(answer);
        }
        return;
    };
    let known = &seen[place];
    // An exchange has the records, and the step of its lookup only those of the type.
    let same = known.at.time == answer.at.time && known.result == answer.result;
    if known.at.time <= answer.at.time && !same {
        seen[place] = answer;
    }
}
