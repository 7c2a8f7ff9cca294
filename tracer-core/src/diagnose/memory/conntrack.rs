//! When the counters of the node's conntrack rose. They say that packets were dropped, not which.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::signal::ConntrackCounters;
use crate::model::time::Timestamp;

/// A verdict on an attempt comes sooner.
const KEEP: Duration = Duration::from_secs(600);
/// Rises that are remembered: all of [`KEEP`] at a reading every 5 seconds.
const MAX_RISES: usize = 128;
/// A table this full, in percent, makes room or drops.
const FULL_PERCENT: u64 = 95;

/// What the counters rose by between two readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::diagnose) struct Rise {
    pub from: Timestamp,
    pub until: Timestamp,
    pub insert_failed: u64,
    pub drop: u64,
    pub early_drop: u64,
    /// The larger of the two fills.
    pub entries: u64,
    /// The maximum; 0 if unknown.
    pub max: u64,
}

impl Rise {
    /// Whether the table was full, or nearly.
    pub fn is_full(&self) -> bool {
        is_full(self.entries, self.max)
    }

    /// How long the two readings are apart.
    pub fn span(&self) -> Duration {
        self.until.since(self.from)
    }
}

fn is_full(entries: u64, max: u64) -> bool {
    max > 0 && entries.saturating_mul(100) >= max.saturating_mul(FULL_PERCENT)
}

/// The latest reading and the rises before it.
#[derive(Debug, Default)]
pub(in crate::diagnose) struct Conntrack {
    latest: Option<(Timestamp, ConntrackCounters)>,
    rises: VecDeque<Rise>,
}

impl Conntrack {
    /// Takes in a reading.
    pub fn add(&mut self, at: Timestamp, counters: ConntrackCounters) {
        let Some((from, before)) = self.latest.replace((at, counters)) else {
            return;
        };
        let rise = Rise {
            from,
            until: at,
            insert_failed: counters.insert_failed.saturating_sub(before.insert_failed),
            drop: counters.drop.saturating_sub(before.drop),
            early_drop: counters.early_drop.saturating_sub(before.early_drop),
            entries: counters.entries.max(before.entries),
            max: counters.max,
        };
        if rise.insert_failed + rise.drop + rise.early_drop > 0 {
            self.rises.push_back(rise);
        }
        while self.rises.len() > MAX_RISES
            || self
                .rises
                .front()
                .is_some_and(|first| first.until.after(KEEP) < at)
        {
            self.rises.pop_front();
        }
    }

    /// Whether the readings show that the table took new flows all this time.
    pub fn had_room(&self, (first, last): (Timestamp, Timestamp)) -> bool {
        let Some((_, latest)) = self.latest.filter(|(at, _)| *at >= first) else {
            return false;
        };
        let dropped = |rise: &Rise| rise.drop + rise.early_drop > 0;
        latest.max > 0
            && !is_full(latest.entries, latest.max)
            && self.within((first, last), dropped).is_none()
    }

    /// The first rise of this kind between two readings with the time between them.
    pub fn at(&self, time: Timestamp, fits: impl Fn(&Rise) -> bool) -> Option<Rise> {
        let mut rises = self.rises.iter();
        rises
            .find(|rise| rise.from <= time && time <= rise.until && fits(rise))
            .copied()
    }

    /// The first rise of this kind that overlaps a span of time.
    pub fn within(
        &self,
        (first, last): (Timestamp, Timestamp),
        fits: impl Fn(&Rise) -> bool,
    ) -> Option<Rise> {
        let mut rises = self.rises.iter();
        rises
            .find(|rise| rise.from <= last && first <= rise.until && fits(rise))
            .copied()
    }
}
