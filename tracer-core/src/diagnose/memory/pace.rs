//! How fast a DNS server answers a pod: its normal, and whether it is slow now.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use crate::diagnose::settings::RuleThresholds;
use crate::identity::Owner;
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;
use crate::table::Table;

/// Slow answers within this time are counted together.
const WINDOW: Duration = Duration::from_secs(60);
/// A pace that was not measured for so long is another one; above all those of pods that are gone, which are thousands in an
/// hour on a node that runs jobs.
const KEEP: Duration = Duration::from_secs(900);
/// So many answers make a normal.
const SAMPLES: u32 = 20;
/// So many answers in a row that are not slow show that it is over.
const STREAK: u32 = 10;

/// Which answers are measured together: what the cluster's DNS knows itself and what it asks others are two paces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::diagnose) struct Course {
    pub owner: Owner,
    pub server: IpAddr,
    pub of_cluster: bool,
}

/// What one more answer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::diagnose) enum Pace {
    /// Nothing to say.
    Ordinary,
    /// Slow, for so many times within a minute.
    Slow {
        /// This one.
        latency: Duration,
        /// When the first of them came.
        first: Timestamp,
        /// How many; those that were waited for at the same time count as one.
        times: usize,
        /// The mean of those that were not slow, where there were enough.
        normal: Option<Duration>,
    },
    /// It was slow and is not any more.
    Again,
}

#[derive(Debug, Default)]
struct Running {
    samples: u32,
    mean_ns: u64,
    /// When each slow moment ended.
    slow: VecDeque<Timestamp>,
    streak: u32,
    was_slow: bool,
}

/// The paces of all pods and servers.
#[derive(Debug)]
pub(in crate::diagnose) struct Paces {
    threshold: Duration,
    /// Slow is so many times the normal, and more than the threshold.
    times_normal: u32,
    of: Table<Course, Running>,
    losses: Losses,
}

impl Paces {
    pub fn new(thresholds: &RuleThresholds, limit: usize) -> Paces {
        Paces {
            threshold: thresholds.slow_dns,
            times_normal: thresholds.slow_dns_times_normal,
            of: Table::new(limit),
            losses: Losses::default(),
        }
    }

    /// From now on an answer is slow by these.
    pub fn set(&mut self, thresholds: &RuleThresholds) {
        self.threshold = thresholds.slow_dns;
        self.times_normal = thresholds.slow_dns_times_normal;
    }

    /// An answer came.
    pub fn add(&mut self, now: Timestamp, key: Course, latency: Duration) -> Pace {
        let mut course = self.of.remove(&key).unwrap_or_default();
        let normal = (course.samples >= SAMPLES).then(|| Duration::from_nanos(course.mean_ns));
        let slow = latency >= self.threshold
            && normal.is_none_or(|normal| latency >= normal.saturating_mul(self.times_normal));
        let pace = if slow {
            course.streak = 0;
            course.was_slow = true;
            // A and AAAA are asked for together, and a server that stands still for a moment keeps both waiting: that tells
            // of one moment, not of two.
            let same = course
                .slow
                .back_mut()
                .filter(|last| now.since(**last) <= latency);
            match same {
                Some(last) => *last = now,
                None => course.slow.push_back(now),
            }
            while course
                .slow
                .front()
                .is_some_and(|first| now.since(*first) > WINDOW)
                || course.slow.len() > MOST
            {
                course.slow.pop_front();
            }
            Pace::Slow {
                latency,
                first: course.slow.front().copied().unwrap_or(now),
                times: course.slow.len(),
                normal,
            }
        } else {
            course.learn(latency);
            course.streak = course.streak.saturating_add(1);
            if course.was_slow && course.streak >= STREAK {
                course.was_slow = false;
                Pace::Again
            } else {
                Pace::Ordinary
            }
        };
        if self.of.insert(key, course, now.after(KEEP)).is_some() {
            self.losses
                .add(Stage::Table, "paces of DNS servers, kept for findings", 1);
        }
        pace
    }

    pub fn advance(&mut self, now: Timestamp) {
        while self.of.pop_due(now).is_some() {}
    }

    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}

/// So many slow answers are remembered; more than a finding needs.
const MOST: usize = 64;

impl Running {
    /// A running mean that forgets: each answer counts a sixteenth.
    fn learn(&mut self, latency: Duration) {
        let latency = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.mean_ns = if self.samples == 0 {
            latency
        } else {
            self.mean_ns - self.mean_ns / 16 + latency / 16
        };
        self.samples = self.samples.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::flow::Ifindex;

    fn key() -> Course {
        let server = "10.152.183.10".parse().expect("an address");
        Course {
            owner: Owner::Address(Ifindex(7), server),
            server,
            of_cluster: true,
        }
    }

    #[test]
    fn slow_is_measured_against_the_threshold_and_against_the_pods_own_normal() {
        let mut paces = Paces::new(&RuleThresholds::default(), 4);
        let at = |seconds: u64| Timestamp(seconds * 1_000_000_000);
        // A server that is far away: 400 ms are its normal, and twice that is not slow.
        for second in 0..30 {
            let pace = paces.add(at(second), key(), Duration::from_millis(400));
            assert_eq!(pace, Pace::Ordinary);
        }
        let pace = paces.add(at(31), key(), Duration::from_millis(900));
        assert_eq!(pace, Pace::Ordinary);
        let pace = paces.add(at(32), key(), Duration::from_secs(4));
        assert!(
            matches!(pace, Pace::Slow { times: 1, normal: Some(normal), .. }
            if normal > Duration::from_millis(390) && normal < Duration::from_millis(500))
        );
    }

    #[test]
    fn answers_that_are_waited_for_together_are_slow_once() {
        let mut paces = Paces::new(&RuleThresholds::default(), 4);
        let at = |ms: u64| Timestamp(ms * 1_000_000);
        let mut times = |ms, latency| match paces.add(at(ms), key(), Duration::from_millis(latency))
        {
            Pace::Slow { times, .. } => times,
            _ => 0,
        };
        // Asked at 0, 0 and 200; then at 1000, after the last of these was answered.
        assert_eq!(
            [times(900, 900), times(901, 901), times(902, 702)],
            [1, 1, 1]
        );
        assert_eq!([times(1700, 700), times(1701, 701)], [2, 2]);
    }

    #[test]
    fn slow_answers_are_counted_within_a_minute_and_ten_fast_ones_end_it() {
        let mut paces = Paces::new(&RuleThresholds::default(), 4);
        let at = |seconds: u64| Timestamp(seconds * 1_000_000_000);
        let slow = Duration::from_millis(800);
        let times = |pace| match pace {
            Pace::Slow { times, .. } => times,
            _ => 0,
        };
        assert_eq!(times(paces.add(at(0), key(), slow)), 1);
        assert_eq!(times(paces.add(at(50), key(), slow)), 2);
        assert_eq!(times(paces.add(at(70), key(), slow)), 2);
        let fast = Duration::from_millis(1);
        let paces: Vec<Pace> = (0..11)
            .map(|second| paces.add(at(71 + second), key(), fast))
            .collect();
        assert_eq!(paces.iter().position(|pace| *pace == Pace::Again), Some(9));
        assert_eq!(paces[10], Pace::Ordinary);
    }
}
