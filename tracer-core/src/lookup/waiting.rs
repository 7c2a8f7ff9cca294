//! How long a resolver call waited for queries that got no answer.

use std::time::Duration;

use crate::model::lookup::Step;
use crate::model::time::Timestamp;

/// A repetition sooner than this is no reaction to silence: musl asks all servers at once, and any resolver
/// repeats a query at once after an error. No resolver times out sooner than after a second by default.
const MIN_PATIENCE: Duration = Duration::from_millis(200);

/// The time that the steps spent on unanswered queries, each moment counted once: A and AAAA wait together.
pub fn waited(steps: &[Step]) -> Duration {
    let mut waits: Vec<(Timestamp, Timestamp)> = steps.iter().flat_map(waits).collect();
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

/// From each unanswered query to its repetition.
fn waits(step: &Step) -> impl Iterator<Item = (Timestamp, Timestamp)> {
    let pairs = step.sent.iter().zip(step.sent.iter().skip(1));
    pairs.filter_map(|(lost, again)| {
        let patient = again.at.since(lost.at) >= MIN_PATIENCE;
        (lost.outcome.is_none() && patient).then_some((lost.at, again.at))
    })
}
