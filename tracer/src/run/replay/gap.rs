//! The time between two packets of a capture, in steps.
//!
//! Between packets time passes as it does live, so that what only time decides is decided when it would have
//! been. The steps are short at first, then long until nothing can be waiting any more.

use std::time::Duration;

use tracer_core::model::time::Timestamp;

const STEP: Duration = Duration::from_millis(20);
const STEPS_FOR: Duration = Duration::from_secs(15);
const LONG_STEP: Duration = Duration::from_secs(1);
const LONG_STEPS_FOR: Duration = Duration::from_secs(900);

/// Yields the times of the steps. Empty by default.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gap {
    from: Timestamp,
    until: Timestamp,
    passed: Duration,
}

impl Gap {
    /// The steps after `from` and before `until`. Before the first packet, at time 0, nothing waits and there
    /// are none.
    pub(super) fn new(from: Timestamp, until: Timestamp) -> Gap {
        if from == Timestamp::default() {
            return Gap::default();
        }
        Gap {
            from,
            until,
            passed: Duration::ZERO,
        }
    }
}

impl Iterator for Gap {
    type Item = Timestamp;

    fn next(&mut self) -> Option<Timestamp> {
        let passed = self.passed
            + if self.passed < STEPS_FOR {
                STEP
            } else {
                LONG_STEP
            };
        let at = self.from.after(passed);
        if passed >= LONG_STEPS_FOR || at >= self.until {
            return None;
        }
        self.passed = passed;
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp(1_700_000_000_000_000_000 + milliseconds * 1_000_000)
    }

    #[test]
    fn time_passes_in_short_steps_up_to_the_next_packet() {
        let steps: Vec<Timestamp> = Gap::new(at(0), at(70)).collect();
        assert_eq!(steps, [at(20), at(40), at(60)]);
        assert_eq!(Gap::new(at(0), at(20)).count(), 0);
        assert_eq!(Gap::new(at(70), at(0)).count(), 0);
    }

    #[test]
    fn a_long_gap_has_a_bounded_number_of_steps() {
        let steps: Vec<Timestamp> = Gap::new(at(0), at(86_400_000)).collect();
        assert_eq!(steps.len(), 750 + 884);
        assert_eq!(steps[749], at(15_000));
        assert_eq!(steps[750], at(16_000));
        assert_eq!(steps.last(), Some(&at(899_000)));
    }

    #[test]
    fn no_time_passes_before_the_first_packet() {
        assert_eq!(Gap::new(Timestamp::default(), at(0)).count(), 0);
    }
}
