//! Finds the interfaces whose records the kernel lost, and when.
//!
//! The probes count every loss twice: in their statistics, which cost one read, and per interface. Only when
//! the statistics have grown does this module read the interfaces' counters.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aya::maps::MapError;
use tracer_common::InterfaceState;
use tracing::warn;

use super::attach::SharedInterfaces;
use super::clock;
use super::counters::{KernelStats, StatsMap, read_stats};
use tracer_core::model::flow::Ifindex;
use tracer_core::model::loss::{InterfaceLoss, Thinning};
use tracer_core::model::time::Timestamp;

/// Reads what the kernel has lost since the last time.
pub(super) struct LossReader {
    stats: Arc<StatsMap>,
    interfaces: SharedInterfaces,
    book: LossBook,
    /// The statistics' sum at the last look at the interfaces.
    lost: u64,
    /// A probe may have counted a loss in the statistics of its CPU that this CPU cannot yet see at its
    /// interface, so a look at the interfaces is repeated once.
    again: bool,
}

impl LossReader {
    pub fn new(stats: Arc<StatsMap>, interfaces: SharedInterfaces) -> LossReader {
        LossReader {
            stats,
            interfaces,
            book: LossBook::default(),
            lost: 0,
            again: false,
        }
    }

    /// The losses that the probes have counted since the last call.
    pub fn read(&mut self) -> Vec<InterfaceLoss> {
        self.try_read().unwrap_or_else(|error| {
            // The next call reads again and reports them with the longer period.
            warn!(%error, "cannot read the probes' losses");
            self.again = true;
            Vec::new()
        })
    }

    fn try_read(&mut self) -> Result<Vec<InterfaceLoss>, MapError> {
        let now = clock::now();
        let lost = KernelStats::new(&read_stats(&self.stats)?, 0, [0; 2]).lost_records();
        if lost == self.lost && !self.again {
            self.book.clean(now);
            return Ok(Vec::new());
        }
        let (removed, states) = {
            let mut interfaces = self.interfaces.lock();
            let states = interfaces.states()?;
            (interfaces.take_removed(), states)
        };
        self.again = lost != self.lost;
        self.lost = lost;
        Ok(self.book.compare(now, clock::now(), &removed, &states))
    }
}

/// The losses of each interface that were reported.
#[derive(Debug, Default)]
struct LossBook {
    reported: HashMap<Ifindex, InterfaceState>,
    /// Every loss from before this time has been reported.
    since: Timestamp,
}

impl LossBook {
    /// Nothing was lost until this time that is not reported.
    fn clean(&mut self, now: Timestamp) {
        self.since = now;
    }

    /// The growth of each interface's counters. They were read between `begun` and `ended`.
    fn compare(
        &mut self,
        begun: Timestamp,
        ended: Timestamp,
        removed: &[(Ifindex, InterfaceState)],
        states: &[(Ifindex, InterfaceState)],
    ) -> Vec<InterfaceLoss> {
        let mut losses = Vec::new();
        let from = self.since;
        let mut report = |ifindex: Ifindex, before: InterfaceState, state: &InterfaceState| {
            let count = state.lost.saturating_sub(before.lost);
            let thinned = state.suppressed.saturating_sub(before.suppressed);
            if count > 0 {
                losses.push(InterfaceLoss {
                    ifindex,
                    from,
                    until: ended,
                    count,
                    thinning: (thinned >= count).then(|| highest(state, from, ended)),
                });
            }
        };
        for (ifindex, last) in removed {
            // The kernel may have given the index to a new interface, which starts at zero.
            let before = self.reported.remove(ifindex).unwrap_or_default();
            report(*ifindex, before, last);
        }
        for (ifindex, state) in states {
            if state.lost > 0 {
                let before = self.reported.insert(*ifindex, *state).unwrap_or_default();
                report(*ifindex, before, state);
            }
        }
        self.since = begun;
        losses
    }
}

/// The highest thinning in a period. It falls at most once a second, and never without this thread reading the
/// ring, so in a longer period it fell at most once before the change that the state remembers.
fn highest(state: &InterfaceState, from: Timestamp, until: Timestamp) -> Thinning {
    let mut level = state.thinning;
    if state.thinned_ktime_ns >= from.0 {
        level = level.max(state.thinning_before);
    }
    if until.since(from) >= Duration::from_secs(1) {
        level += 1;
    }
    Thinning(u8::try_from(level).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Ifindex = Ifindex(5);
    const SECOND: Ifindex = Ifindex(6);

    fn lost(lost: u64) -> InterfaceState {
        InterfaceState {
            lost,
            ..InterfaceState::default()
        }
    }

    #[test]
    fn only_thinned_losses_concern_only_thinned_sockets() {
        let thinned = |lost, suppressed, (before, level), changed| InterfaceState {
            lost,
            suppressed,
            thinning: level,
            thinning_before: before,
            thinned_ktime_ns: changed,
            ..InterfaceState::default()
        };
        let mut book = LossBook::default();
        let mut found = |at, state| {
            let losses = book.compare(Timestamp(at), Timestamp(at), &[], &[(FIRST, state)]);
            losses.first().map(|loss| (loss.count, loss.thinning))
        };
        let level = |level| Some(Thinning(level));
        assert_eq!(found(10, thinned(5, 5, (0, 3), 9)), Some((5, level(3))));
        // It was 3 when the first of these was thinned.
        assert_eq!(found(20, thinned(6, 6, (3, 2), 15)), Some((1, level(3))));
        assert_eq!(found(30, thinned(7, 7, (3, 2), 15)), Some((1, level(2))));
        // One of these found the ring full.
        assert_eq!(found(40, thinned(9, 8, (3, 2), 15)), Some((2, None)));
        assert_eq!(found(50, thinned(9, 8, (2, 1), 45)), None);
    }

    #[test]
    fn a_loss_is_reported_once_with_the_period_in_which_it_happened() {
        let mut book = LossBook::default();
        book.clean(Timestamp(10));
        let found = book.compare(
            Timestamp(20),
            Timestamp(21),
            &[],
            &[(FIRST, lost(3)), (SECOND, lost(0))],
        );
        assert_eq!(
            found,
            [InterfaceLoss {
                ifindex: FIRST,
                from: Timestamp(10),
                until: Timestamp(21),
                count: 3,
                thinning: None,
            }]
        );
        let next = book.compare(
            Timestamp(30),
            Timestamp(31),
            &[],
            &[(FIRST, lost(3)), (SECOND, lost(1))],
        );
        assert_eq!(next.len(), 1);
        assert_eq!(
            (next[0].ifindex, next[0].from, next[0].count),
            (SECOND, Timestamp(20), 1)
        );
    }

    #[test]
    fn a_removed_interface_reports_its_last_losses_and_its_index_starts_anew() {
        let mut book = LossBook::default();
        book.compare(Timestamp(1), Timestamp(1), &[], &[(FIRST, lost(90))]);
        let found = book.compare(
            Timestamp(2),
            Timestamp(2),
            &[(FIRST, lost(100))],
            &[(FIRST, lost(4))],
        );
        let counts: Vec<u64> = found.iter().map(|loss| loss.count).collect();
        assert_eq!(counts, [10, 4]);
    }
}
