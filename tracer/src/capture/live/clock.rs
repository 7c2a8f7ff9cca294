//! The probes' clock (`CLOCK_MONOTONIC`) and its mapping to wall time.
//!
//! The offset between the two is sampled every second, so later events follow a wall clock that is set or
//! slewed. Order and durations come from the monotonic clock and never change.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use tracer_core::model::time::Timestamp;

const SAMPLE_EVERY_NS: u64 = 1_000_000_000;
/// Whether a sample is due is checked when events have come this much further: under load, reading the clock for
/// each would cost as much as writing its time.
const CHECK_EVERY_NS: u64 = 50_000_000;
/// The scheduler can preempt a sample between its reads; the shortest of several is the best.
const TRIES: usize = 5;

/// Maps the probes' time to wall time, without locks.
#[derive(Debug)]
pub struct Clock {
    /// Wall time minus monotonic time. 63 bits of nanoseconds last until the year 2262.
    offset_ns: AtomicI64,
    sampled_at_ns: AtomicU64,
    /// The time of the event at which the age of the sample was last checked.
    checked_at_ns: AtomicU64,
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::new()
    }
}

impl Clock {
    /// A clock with a fresh sample.
    pub fn new() -> Clock {
        let clock = Clock {
            offset_ns: AtomicI64::new(0),
            sampled_at_ns: AtomicU64::new(0),
            checked_at_ns: AtomicU64::new(0),
        };
        clock.sample();
        clock
    }

    /// The current time of the probes' clock.
    pub fn now(&self) -> Timestamp {
        now()
    }

    /// The wall time of a time of the probes' clock.
    pub fn wall(&self, at: Timestamp) -> SystemTime {
        let checked_at_ns = self.checked_at_ns.load(Ordering::Relaxed);
        if at.0.abs_diff(checked_at_ns) >= CHECK_EVERY_NS {
            self.checked_at_ns.store(at.0, Ordering::Relaxed);
            let age_ns =
                read(ClockId::Monotonic).saturating_sub(self.sampled_at_ns.load(Ordering::Relaxed));
            if age_ns >= SAMPLE_EVERY_NS {
                self.sample();
            }
        }
        apply(self.offset_ns.load(Ordering::Relaxed), at)
    }

    fn sample(&self) {
        let samples = (0..TRIES).map(|_| Sample {
            before_ns: read(ClockId::Monotonic),
            wall_ns: read(ClockId::Realtime),
            after_ns: read(ClockId::Monotonic),
        });
        if let Some((offset_ns, at_ns)) = best_offset(samples) {
            self.offset_ns.store(offset_ns, Ordering::Relaxed);
            self.sampled_at_ns.store(at_ns, Ordering::Relaxed);
        }
    }
}

/// A read of the wall clock between two reads of the monotonic clock.
#[derive(Clone, Copy, Debug)]
struct Sample {
    before_ns: u64,
    wall_ns: u64,
    after_ns: u64,
}

/// The offset and time of the sample whose monotonic reads are closest together.
fn best_offset(samples: impl Iterator<Item = Sample>) -> Option<(i64, u64)> {
    let best = samples.min_by_key(|sample| sample.after_ns.saturating_sub(sample.before_ns))?;
    let middle_ns = best.before_ns + best.after_ns.saturating_sub(best.before_ns) / 2;
    let offset_ns = i128::from(best.wall_ns) - i128::from(middle_ns);
    Some((i64::try_from(offset_ns).unwrap_or(0), best.after_ns))
}

fn apply(offset_ns: i64, at: Timestamp) -> SystemTime {
    let wall_ns = i128::from(at.0) + i128::from(offset_ns);
    UNIX_EPOCH + Duration::from_nanos(u64::try_from(wall_ns.max(0)).unwrap_or(u64::MAX))
}

/// The current time of the probes' clock.
pub(super) fn now() -> Timestamp {
    Timestamp(read(ClockId::Monotonic))
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_sample_wins() {
        let samples = [
            Sample {
                before_ns: 1_000,
                wall_ns: 900_500,
                after_ns: 801_000,
            },
            Sample {
                before_ns: 802_000,
                wall_ns: 5_802_050,
                after_ns: 802_100,
            },
        ];
        assert_eq!(best_offset(samples.into_iter()), Some((5_000_000, 802_100)));
    }

    #[test]
    fn a_time_before_the_epoch_does_not_panic() {
        assert_eq!(apply(i64::MIN, Timestamp(5)), UNIX_EPOCH);
    }

    #[test]
    fn the_current_time_is_the_wall_time() {
        let clock = Clock::new();
        let before = SystemTime::now();
        let mapped = clock.wall(clock.now());
        let off = distance(mapped, before);
        assert!(off < Duration::from_millis(50), "{off:?}");
    }

    fn distance(one: SystemTime, other: SystemTime) -> Duration {
        one.duration_since(other)
            .unwrap_or_else(|error| error.duration())
    }

    #[test]
    fn an_old_sample_is_replaced_once_events_have_come_further() {
        let clock = Clock::new();
        let now = clock.now();
        clock.wall(now);
        // The wall clock was set after the last sample.
        clock.offset_ns.store(0, Ordering::Relaxed);
        clock.sampled_at_ns.store(0, Ordering::Relaxed);
        let off = distance(clock.wall(now), SystemTime::now());
        assert!(off > Duration::from_secs(3600), "nothing is due: {off:?}");
        let later = Timestamp(now.0 + CHECK_EVERY_NS);
        let off = distance(clock.wall(later), SystemTime::now());
        assert!(off < Duration::from_secs(1), "{off:?}");
    }
}
