//! How long a lookup took, and how much of that its application waited for queries that got no answer.

use std::time::Duration;

use super::open_step::{MIN_PATIENCE, OpenStep, fails, patience};
use crate::model::lookup::SentQuery;
use crate::model::time::Timestamp;

/// The end of a lookup that was decided at `decided`, and the time that unanswered queries cost, each moment
/// counted once: A and AAAA wait together.
pub fn times(steps: &[OpenStep], decided: Timestamp) -> (Timestamp, Duration) {
    let mut end = Timestamp(0);
    let mut waits: Vec<(Timestamp, Timestamp)> = Vec::new();
    for step in steps {
        let sent = &step.step.sent;
        waits.extend(sent.windows(2).filter_map(repeated));
        end = end.max(step.step.asked);
        if step.outcome().is_some_and(|outcome| !fails(outcome)) || !step.is_silent() {
            end = end.max(match step.step.latency {
                Some(latency) => step.step.asked.after(latency),
                None => step.ended(),
            });
        } else if let Some(lost) = sent.last() {
            let given_up = given_up(steps, step, sent, decided);
            waits.push((lost.at, given_up));
            end = end.max(given_up);
        }
    }
    (end, union(waits))
}

/// The wait for an unanswered query, from the query to its repetition. A repetition that comes sooner is no
/// reaction to silence: musl asks all servers at once.
fn repeated(pair: &[SentQuery]) -> Option<(Timestamp, Timestamp)> {
    let [lost, again] = pair else { return None };
    let waited = again.at.since(lost.at) >= MIN_PATIENCE;
    (lost.outcome.is_none() && waited).then_some((lost.at, again.at))
}

/// When the resolver stopped waiting for a step: when it asked for the next candidate, else when its patience
/// ended, which is known as far as its repetitions show it.
fn given_up(
    steps: &[OpenStep],
    step: &OpenStep,
    sent: &[SentQuery],
    decided: Timestamp,
) -> Timestamp {
    let last = step.last();
    let next = steps
        .iter()
        .filter(|other| !other.is_for(step.candidate()) && other.step.asked >= last)
        .map(|other| other.step.asked)
        .min();
    next.unwrap_or_else(|| last.after(patience(sent)).min(decided.max(last)))
}

fn union(mut waits: Vec<(Timestamp, Timestamp)>) -> Duration {
    waits.sort_unstable();
    let mut total = Duration::ZERO;
    let mut counted = Timestamp(0);
    for (from, to) in waits {
        let from = from.max(counted);
        if to > from {
            total += to.since(from);
            counted = to;
        }
    }
    total
}
