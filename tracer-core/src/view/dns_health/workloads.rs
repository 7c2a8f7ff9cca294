//! What a workload's lookups cost it.

use std::time::Duration;

use super::add;
use super::latencies::Latencies;
use super::savings::{Dots, Saving};
use crate::model::exchange::Outcome;
use crate::model::lookup::Lookup;

/// One workload's numbers.
#[derive(Clone, Debug, Default)]
pub struct WorkloadStats {
    /// Query packets that its pods sent, repetitions included.
    pub queries: u64,
    /// Lookups, each with all its queries.
    pub lookups: u64,
    /// Lookups that gave the application nothing usable.
    pub failed: u64,
    /// Lookups of which the end is not known.
    pub undecided: u64,
    /// Query packets of the lookups.
    pub lookup_queries: u64,
    /// Lookups in which a question was asked more than once.
    pub asked_again: u64,
    /// Time in which lookups waited for a query that got no answer.
    pub waited: Duration,
    /// From a lookup's first query to its last answer, or until the resolver gave up. Undecided lookups are
    /// left out.
    pub latencies: Latencies,
    /// Queries for other candidates, sent before the one that was found.
    pub wasted: u64,
    /// Lookups that found a record although it is not known what the application asked for.
    pub(super) unknown: u64,
    pub(super) dots: Dots,
}

impl WorkloadStats {
    pub(super) fn add(&mut self, lookup: &Lookup, outcome: Outcome, saving: Option<&Saving>) {
        self.lookups += 1;
        self.failed += u64::from(outcome.failed());
        self.lookup_queries += u64::from(lookup.queries);
        self.asked_again += u64::from(lookup.steps.iter().any(|step| step.attempts > 1));
        add(&mut self.waited, lookup.waited);
        if outcome == Outcome::Undecided {
            self.undecided += 1;
            return;
        }
        self.latencies.add(lookup.duration);
        match saving {
            Some(saving) => {
                self.wasted += saving.queries;
                self.dots.add(saving);
            }
            None => self.unknown += u64::from(outcome == Outcome::Answered),
        }
    }

    /// Lookups of which the end is known.
    pub fn decided(&self) -> u64 {
        self.lookups - self.undecided
    }
}
