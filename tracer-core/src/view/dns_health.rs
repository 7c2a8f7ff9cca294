//! The health of DNS over a period: servers, workloads, names that fail, and queries that need not be sent.
//!
//! Owns what is counted as what. A lookup or query of which records may be missing is undecided, whatever it
//! seems to be, and undecided ones are in no share of failures. NXDOMAIN for a candidate of the search path
//! is no failure of a lookup that finds another. An answer that comes late was counted as a timeout before.
//! Reads no clock and writes nothing; [`json`](super::json) and [`text`](super::text) have the forms. Input:
//! the `dns`, `lookup` and `lost` events that pass a filter, in any order. Each table has a limit, and all
//! together take at most about 20 MB; what goes past a limit shares a row.
//!
//! A query is seen at the client and, where the server is a traced pod, at the server. A server's row says
//! from which side its numbers are; all other numbers are the clients'. A pod that answers queries asks others
//! on behalf of its clients: its own lookups have a row, but no part in the totals and among the names.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::losses::is_loss;
use crate::model::event::{Body, Ends, Event};
use crate::model::exchange::{Exchange, Outcome};
use crate::model::flow::Role;
use crate::model::lookup::Lookup;
use crate::model::loss::Losses;
use crate::model::time::Timestamp;

mod bounded;
mod latencies;
mod names;
mod object;
mod savings;
mod servers;
#[cfg(test)]
mod tests;
mod totals;
mod workloads;

use self::bounded::Bounded;
use self::names::Failing;

pub use self::latencies::Latencies;
pub use self::names::{FailingName, FailureKey};
pub use self::object::Object;
pub use self::savings::{NdotsSaving, Savings};
pub use self::servers::{Outcomes, Server, ServerStats};
pub use self::totals::Totals;
pub use self::workloads::WorkloadStats;

/// Servers with a row of their own, each side counted.
const MAX_SERVERS: usize = 512;
/// Workloads with a row of their own.
const MAX_WORKLOADS: usize = 1_024;
/// Names with a row of their own, and those that a final dot would speed up.
const MAX_NAMES: usize = 4_096;

/// What the events show so far.
#[derive(Debug)]
pub struct DnsHealth {
    servers: Bounded<Server, ServerStats>,
    workloads: Bounded<Object, WorkloadStats>,
    failing: Failing,
    /// Workloads with a pod that answered queries.
    serving: BTreeSet<Object>,
    /// By the name to write: the queries that it would have saved.
    absolute: Bounded<Arc<str>, u64>,
    /// The times of the first and the last event.
    period: Option<(Timestamp, Timestamp)>,
    incomplete: u64,
    losses: Losses,
}

impl Default for DnsHealth {
    fn default() -> DnsHealth {
        DnsHealth {
            servers: Bounded::new(MAX_SERVERS),
            workloads: Bounded::new(MAX_WORKLOADS),
            failing: Failing::new(MAX_NAMES),
            serving: BTreeSet::new(),
            absolute: Bounded::new(MAX_NAMES),
            period: None,
            incomplete: 0,
            losses: Losses::default(),
        }
    }
}

impl DnsHealth {
    /// Adds an event of a cluster, if several are asked. Returns whether it counts.
    pub fn take(&mut self, cluster: Option<&str>, event: &Event) -> bool {
        let counts = match (&event.body, &event.ends) {
            (Body::Lost(loss), _) => {
                if is_loss(loss) {
                    self.losses.add(loss.stage, loss.reason, loss.count);
                }
                return false;
            }
            (Body::Dns(exchange, _), Some(ends)) => {
                self.exchange(cluster, exchange, ends, event.incomplete)
            }
            (Body::Lookup(lookup), Some(ends)) => {
                self.lookup(cluster, lookup, ends, event.incomplete);
                true
            }
            _ => false,
        };
        if counts {
            self.incomplete += u64::from(event.incomplete);
            let (first, last) = self.period.unwrap_or((event.time, event.time));
            self.period = Some((first.min(event.time), last.max(event.time)));
        }
        counts
    }

    fn exchange(
        &mut self,
        cluster: Option<&str>,
        exchange: &Exchange,
        ends: &Ends,
        incomplete: bool,
    ) -> bool {
        // No query of a pod was seen, or the query has an event of its own.
        if exchange.attempts == 0 || exchange.asked_peer.is_some() {
            return false;
        }
        let server = Server::of(cluster, ends);
        let pod = Object::pod(cluster, &ends.pod);
        match ends.role {
            Role::Client if !exchange.late => {
                self.workloads.row(pod).queries += u64::from(exchange.attempts);
            }
            // A pod that only gets queries is no server: any pod can send it one.
            Role::Server if exchange.rcode.is_some() && self.serving.len() < MAX_SERVERS => {
                self.serving.insert(pod);
            }
            Role::Client | Role::Server => {}
        }
        let of_address = server.object.is_address();
        let stats = self.servers.row(server);
        stats.add(exchange, incomplete);
        if let (true, Some(pod), Some(_)) = (of_address, &ends.peer.host_pod, exchange.rcode) {
            stats.answered_by.add(cluster, pod);
        }
        true
    }

    fn lookup(&mut self, cluster: Option<&str>, lookup: &Lookup, ends: &Ends, incomplete: bool) {
        let whose = Object::pod(cluster, &ends.pod);
        let outcome = match incomplete {
            true => Outcome::Undecided,
            false => lookup.outcome,
        };
        if outcome.failed() {
            self.failing.add(lookup, &whose);
        }
        let saving = match outcome {
            Outcome::Answered => savings::of(lookup),
            _ => None,
        };
        if let Some(saving) = saving.as_ref().filter(|saving| saving.queries > 0) {
            *self.absolute.row(saving.absolute.clone()) += saving.queries;
        }
        let row = self.workloads.row(whose);
        row.add(lookup, outcome, saving.as_ref());
    }

    /// The times of the first and the last event; `None` if nothing was seen.
    pub fn period(&self) -> Option<(Timestamp, Timestamp)> {
        self.period
    }

    /// Lookups and queries of which records may be missing.
    pub fn incomplete(&self) -> u64 {
        self.incomplete
    }

    /// What was lost meanwhile.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// The servers: those with most failures first, then those with most queries.
    pub fn servers(&self) -> Rows<'_, Server, ServerStats> {
        Rows::sorted(&self.servers, |stats| {
            (stats.outcomes.failed(), stats.queries)
        })
    }

    /// The workloads: those with most failed lookups first, then those with most lookups.
    pub fn workloads(&self) -> Rows<'_, Object, WorkloadStats> {
        Rows::sorted(&self.workloads, |stats| {
            (stats.failed, stats.lookups, stats.queries)
        })
    }

    /// The names whose lookups fail, the most frequent first, and the lookups of names without a row.
    pub fn failing_names(&self) -> (Vec<FailingName<'_>>, u64) {
        self.failing.names(|whose| self.serves(whose))
    }

    /// The sums over all pods that are no DNS servers.
    pub fn totals(&self) -> Totals {
        Totals::of(self.clients().map(|(_, stats)| stats))
    }

    /// What names written in full and another `ndots` would have saved.
    pub fn savings(&self) -> Savings<'_> {
        Savings::new(self.clients(), &self.absolute)
    }

    /// The workloads that are no DNS servers, and the row of all others.
    fn clients(&self) -> impl Iterator<Item = (Option<&Object>, &WorkloadStats)> {
        let clients = self
            .workloads
            .rows()
            .filter(|(whose, _)| !self.serves(whose));
        let others = self.workloads.others().map(|stats| (None, stats));
        clients
            .map(|(whose, stats)| (Some(whose), stats))
            .chain(others)
    }

    /// Whether a pod of this workload answered queries.
    pub fn serves(&self, whose: &Object) -> bool {
        self.serving.contains(whose)
    }
}

/// The rows of a table, the most important first.
#[derive(Debug)]
pub struct Rows<'a, K, V> {
    /// The rows.
    pub rows: Vec<(&'a K, &'a V)>,
    /// The row that all beyond the table's limit share.
    pub others: Option<&'a V>,
}

impl<'a, K: Ord, V: Default> Rows<'a, K, V> {
    fn sorted<R: Ord>(table: &'a Bounded<K, V>, rank: impl Fn(&V) -> R) -> Rows<'a, K, V> {
        let mut rows: Vec<(&K, &V)> = table.rows().collect();
        // Stable: rows of one rank stay in the order of their names.
        rows.sort_by_cached_key(|(_, stats)| std::cmp::Reverse(rank(stats)));
        Rows {
            rows,
            others: table.others(),
        }
    }
}

/// The part of a whole in percent; `None` of nothing.
pub fn percent(part: u64, whole: u64) -> Option<f64> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share is shown with two digits"
    )]
    (whole > 0).then(|| part as f64 * 100.0 / whole as f64)
}

/// The sum, as large as it can be counted.
fn add(total: &mut Duration, more: Duration) {
    *total = total.saturating_add(more);
}
