//! Round-trip times in ping's four figures.

use std::time::Duration;

use crate::model::echo::Rtt;

/// The sums from which iputils' ping computes its last line.
#[derive(Clone, Debug, Default)]
pub(super) struct RoundTrips {
    samples: u64,
    min_ns: u64,
    max_ns: u64,
    sum_ns: u128,
    sum_of_squares_ns2: u128,
}

impl RoundTrips {
    pub(super) fn add(&mut self, round_trip: Duration) {
        let ns = u64::try_from(round_trip.as_nanos()).unwrap_or(u64::MAX);
        self.min_ns = if self.samples == 0 {
            ns
        } else {
            self.min_ns.min(ns)
        };
        self.max_ns = self.max_ns.max(ns);
        self.samples += 1;
        self.sum_ns = self.sum_ns.saturating_add(u128::from(ns));
        self.sum_of_squares_ns2 = self
            .sum_of_squares_ns2
            .saturating_add(u128::from(ns) * u128::from(ns));
    }

    pub(super) fn samples(&self) -> u64 {
        self.samples
    }

    /// min/avg/max/mdev; mdev is the root of the mean square minus the squared mean. `None` without a sample.
    pub(super) fn rtt(&self) -> Option<Rtt> {
        let samples = u128::from(self.samples);
        let avg = self.sum_ns.checked_div(samples)?;
        // As ping_common.c: (sum of squares - avg * sum) / n, which loses less precision than the difference
        // of two means.
        let variance = self
            .sum_of_squares_ns2
            .saturating_sub(avg.saturating_mul(self.sum_ns))
            / samples;
        let duration = |ns: u128| Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX));
        Some(Rtt {
            min: Duration::from_nanos(self.min_ns),
            avg: duration(avg),
            max: Duration::from_nanos(self.max_ns),
            mdev: duration(variance.isqrt()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(micros: &[u64]) -> Option<Rtt> {
        let mut round_trips = RoundTrips::default();
        for &us in micros {
            round_trips.add(Duration::from_micros(us));
        }
        round_trips.rtt()
    }

    #[test]
    fn no_sample_gives_no_figures() {
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn figures_equal_those_ping_printed_for_the_same_times() {
        // `ping -c 5` printed these times and "rtt min/avg/max/mdev = 0.060/0.078/0.087/0.009 ms".
        let rtt = of(&[60, 84, 78, 85, 87]).expect("five samples");
        assert_eq!(
            (
                rtt.min.as_micros(),
                rtt.avg.as_micros(),
                rtt.max.as_micros()
            ),
            (60, 78, 87)
        );
        assert_eq!(rtt.mdev.as_micros(), 9);
    }

    #[test]
    fn equal_times_have_no_deviation() {
        assert_eq!(of(&[200; 7]).map(|rtt| rtt.mdev), Some(Duration::ZERO));
    }
}
