//! The sums over all clients.

use std::time::Duration;

use super::add;
use super::latencies::Latencies;
use super::workloads::WorkloadStats;

/// The numbers of all pods that are no DNS servers.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Workloads.
    pub workloads: u64,
    /// Query packets, repetitions included.
    pub queries: u64,
    /// Lookups.
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
    /// How long the lookups took.
    pub latencies: Latencies,
}

impl Totals {
    pub(super) fn of<'a>(rows: impl Iterator<Item = &'a WorkloadStats>) -> Totals {
        let mut totals = Totals::default();
        for row in rows {
            totals.workloads += 1;
            totals.queries += row.queries;
            totals.lookups += row.lookups;
            totals.failed += row.failed;
            totals.undecided += row.undecided;
            totals.lookup_queries += row.lookup_queries;
            totals.asked_again += row.asked_again;
            add(&mut totals.waited, row.waited);
            totals.latencies.merge(&row.latencies);
        }
        totals
    }

    /// Lookups of which the end is known.
    pub fn decided(&self) -> u64 {
        self.lookups - self.undecided
    }
}
