//! The distribution of durations, in buckets whose width grows with them.

use std::collections::BTreeMap;
use std::time::Duration;

/// Buckets between a power of two and the next: 2^4.
const STEPS: u32 = 4;

/// How long something took, many times. A percentile is wrong by at most 3.2 %: a bucket is 1/16 of its lower
/// bound wide, and its middle is what is reported.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    buckets: BTreeMap<u16, u64>,
    count: u64,
    min: Option<u64>,
    max: u64,
}

impl Latencies {
    /// Adds a duration.
    pub fn add(&mut self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        *self.buckets.entry(bucket(ns)).or_default() += 1;
        self.count += 1;
        self.min = Some(self.min.map_or(ns, |min| min.min(ns)));
        self.max = self.max.max(ns);
    }

    /// Adds all of another distribution.
    pub fn merge(&mut self, other: &Latencies) {
        for (bucket, count) in &other.buckets {
            *self.buckets.entry(*bucket).or_default() += count;
        }
        self.count += other.count;
        self.min = self.min.into_iter().chain(other.min).min();
        self.max = self.max.max(other.max);
    }

    /// The number of durations.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest one.
    pub fn max(&self) -> Option<Duration> {
        self.min.map(|_| Duration::from_nanos(self.max))
    }

    /// The least duration that at least this many percent do not exceed.
    pub fn percentile(&self, percent: u64) -> Option<Duration> {
        let min = self.min?;
        let rank = self.count.saturating_mul(percent).div_ceil(100).max(1);
        let mut up_to = 0;
        let (bucket, _) = self.buckets.iter().find(|(_, count)| {
            up_to += **count;
            up_to >= rank
        })?;
        let ns = middle(*bucket).clamp(min, self.max);
        Some(Duration::from_nanos(ns))
    }
}

fn bucket(ns: u64) -> u16 {
    let above = (u64::BITS - ns.leading_zeros()).saturating_sub(STEPS + 1);
    // At most 60 * 16 + 31.
    u16::try_from((u64::from(above) << STEPS) + (ns >> above)).unwrap_or(u16::MAX)
}

/// The middle of a bucket.
fn middle(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    let above = (bucket >> STEPS).saturating_sub(1);
    let lower = (bucket - (above << STEPS)) << above;
    lower + ((1 << above) >> 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Latencies, bucket, middle};

    #[test]
    fn every_duration_is_near_the_middle_of_its_bucket() {
        let mut ns = 1_u64;
        while ns < u64::MAX / 3 {
            for ns in [ns, ns + 1, ns * 2 - 1] {
                let error = middle(bucket(ns)).abs_diff(ns);
                assert!(error <= ns / 31, "{ns}: {error}");
            }
            ns = ns * 3 / 2 + 1;
        }
        assert!(middle(bucket(u64::MAX)) > u64::MAX / 32 * 31);
        assert_eq!(middle(bucket(0)), 0);
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_durations() {
        // An order that is not sorted, of durations over five powers of ten.
        let durations: Vec<u64> = (0..5_000_u64)
            .map(|number| 1_000 + number * 7_919 % 5_000 * (number % 17 + 1).pow(4))
            .collect();
        let mut latencies = Latencies::default();
        let mut halves = [Latencies::default(), Latencies::default()];
        for (number, ns) in durations.iter().enumerate() {
            latencies.add(Duration::from_nanos(*ns));
            halves[number % 2].add(Duration::from_nanos(*ns));
        }
        let mut sorted = durations;
        sorted.sort_unstable();
        let [mut merged, other] = halves;
        merged.merge(&other);
        for (percent, index) in [(1, 49), (50, 2_499), (90, 4_499), (99, 4_949), (100, 4_999)] {
            let exact = sorted[index];
            let found = latencies.percentile(percent).expect("durations");
            let found = u64::try_from(found.as_nanos()).expect("small");
            assert!(
                found.abs_diff(exact) <= exact / 31,
                "{percent}: {found}, not {exact}"
            );
            assert_eq!(merged.percentile(percent), latencies.percentile(percent));
        }
        assert_eq!(merged.max(), Some(Duration::from_nanos(sorted[4_999])));
    }

    #[test]
    fn one_duration_is_every_percentile_and_none_has_none() {
        let mut latencies = Latencies::default();
        assert_eq!((latencies.percentile(50), latencies.max()), (None, None));
        latencies.add(Duration::from_micros(777));
        for percent in [0, 50, 99] {
            assert_eq!(
                latencies.percentile(percent),
                Some(Duration::from_micros(777))
            );
        }
    }
}
