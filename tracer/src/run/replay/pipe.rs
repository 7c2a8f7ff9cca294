//! Whether a pipe delivers packets as they happen, so that the wall clock may stand in for packets that do not come.
//!
//! In replay time is the capture's and nothing else's. But `tcpdump -U -w - | tracer observe --replay -` should tell a
//! timeout also when no packet follows. Stamps that are close to the wall clock show that the pipe is live; the first that
//! is not shows that it is a file after all, or that packets wait in a buffer somewhere, and from then on time is the
//! packets' alone: a clock that runs ahead of packets would tell timeouts of what was answered.

use std::time::Duration;

use tracer_core::model::time::Timestamp;

/// libpcap hands over what it captured after a second at the latest, and a pipe and a busy machine take their time. What
/// time alone decides is told so much later than with the probes.
pub(super) const LAG: Duration = Duration::from_secs(2);

/// What is known of a pipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pipe {
    /// No packet came yet.
    #[default]
    Untold,
    /// Every packet came at about the time of its stamp.
    Live,
    /// One did not.
    Late {
        /// By how much; nothing if its stamp was ahead of the clock.
        by: Duration,
    },
}

impl Pipe {
    /// A packet of this stamp came at this time. Says what changed.
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

    /// Up to when everything is in, if the wall clock tells.
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
    fn the_wall_clock_stands_in_only_while_every_packet_came_at_its_time() {
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
        // What was late once may be late again.
        assert_eq!(pipe.packet(at(10_000), at(10_000)), None);
        assert_eq!(pipe.tick(at(20_000)), None);
    }

    #[test]
    fn an_old_capture_through_a_pipe_is_not_live_nor_is_one_of_a_clock_ahead() {
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
