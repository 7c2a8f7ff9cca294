//! Whether a pipe delivers packets as they happen, so that the wall clock can advance the pipeline when no
//! packet comes.
//!
//! In replay, time is normally the capture's. But `tcpdump -U -w - | tracer observe --replay -` should report
//! a timeout even when no packet follows. Timestamps close to the wall clock show that the pipe is live. The
//! first timestamp that is not shows a file, or packets that wait in a buffer. From then on only packets
//! advance time: a clock that runs ahead of them would report timeouts for queries that were answered.

use std::time::Duration;

use tracer_core::model::time::Timestamp;

/// libpcap delivers packets within a second; a pipe and a busy machine add to that. What only time decides is
/// reported this much later than with the probes.
pub(super) const LAG: Duration = Duration::from_secs(2);

/// The state of a pipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pipe {
    /// No packet has arrived.
    #[default]
    Unknown,
    /// Every packet arrived at about the time of its timestamp.
    Live,
    /// A packet did not.
    Late {
        /// By how much; zero if its timestamp was ahead of the clock.
        by: Duration,
    },
}

impl Pipe {
    /// A packet with this timestamp arrived at `now`. Returns the new state if it changed.
    pub(super) fn packet(&mut self, stamp: Timestamp, now: Timestamp) -> Option<Pipe> {
        let close = now.since(stamp) < LAG && stamp.since(now) < LAG;
        let next = match (*self, close) {
            (Pipe::Late { .. }, _) => return None,
            (_, true) => Pipe::Live,
            (_, false) => Pipe::Late {
                by: now.since(stamp),
            },
        };
        let changed = next != *self;
        *self = next;
        changed.then_some(next)
    }

    /// The time up to which all packets have arrived, if the pipe is live.
    pub(super) fn tick(self, now: Timestamp) -> Option<Timestamp> {
        let lag = u64::try_from(LAG.as_nanos()).unwrap_or(u64::MAX);
        (self == Pipe::Live).then(|| Timestamp(now.0.saturating_sub(lag)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp(1_700_000_000_000_000_000 + milliseconds * 1_000_000)
    }

    #[test]
    fn the_wall_clock_advances_time_only_while_packets_arrive_on_time() {
        let mut pipe = Pipe::default();
        assert_eq!(pipe.tick(at(0)), None);
        assert_eq!(pipe.packet(at(0), at(900)), Some(Pipe::Live));
        assert_eq!(pipe.packet(at(2_000), at(2_001)), None);
        assert_eq!(pipe.tick(at(9_000)), Some(at(7_000)));
        let late = Pipe::Late {
            by: Duration::from_secs(5),
        };
        assert_eq!(pipe.packet(at(4_000), at(9_000)), Some(late));
        assert_eq!(pipe.tick(at(9_000)), None);
        // A pipe that was late once stays late.
        assert_eq!(pipe.packet(at(10_000), at(10_000)), None);
        assert_eq!(pipe.tick(at(20_000)), None);
    }

    #[test]
    fn an_old_capture_or_one_from_the_future_is_not_live() {
        let old = Timestamp(5);
        assert!(matches!(
            Pipe::default().packet(old, at(0)),
            Some(Pipe::Late { .. })
        ));
        assert_eq!(
            Pipe::default().packet(at(60_000), at(0)),
            Some(Pipe::Late { by: Duration::ZERO })
        );
    }
}
