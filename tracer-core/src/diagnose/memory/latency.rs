//! The latency of DNS servers, as pods see it: the usual latency, and whether a server is slow now.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use super::recent::Recent;
use crate::diagnose::settings::RuleThresholds;
use crate::model::exchange::Exchange;
use crate::model::time::Timestamp;

/// Slow answers within this time are counted together.
const WINDOW: Duration = Duration::from_secs(60);
/// A measurement without a new answer for this long is dropped. On a node that runs jobs, thousands of pods
/// an hour leave one behind.
const KEEP: Duration = Duration::from_secs(900);
/// The usual latency is known after this many answers.
const MIN_SAMPLES: u32 = 20;
/// Servers of a pod. A resolver has three.
const MAX_SERVERS: usize = 64;
/// The server has recovered after this many answers in a row that are not slow.
const RECOVERY_STREAK: u32 = 10;

/// The scope of names. The cluster's DNS answers the first kind itself and asks other servers for the second,
/// so their latencies differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::diagnose) enum NameScope {
    /// Names in the cluster's domain.
    Cluster,
    /// Other names.
    External,
}

/// The answers that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::diagnose) struct LatencyKey {
    pub server: IpAddr,
    pub scope: NameScope,
}

/// What one more answer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::diagnose) enum LatencyChange {
    /// Nothing new.
    None,
    /// The answer was slow, and the first that the pod waited for at this time.
    Slow(SlowAnswers),
    /// The server was slow and has recovered.
    Recovered,
}

/// Slow answers within a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::diagnose) struct SlowAnswers {
    /// The latency of the last one.
    pub latency: Duration,
    /// When the first one came.
    pub first: Timestamp,
    /// How many. Answers that the pod waited for at the same time count once.
    pub times: usize,
    /// The mean latency of other answers, if there were enough.
    pub normal: Option<Duration>,
}

#[derive(Debug, Default)]
struct Measurement {
    samples: u32,
    mean_ns: u64,
    /// When each slow moment ended.
    slow: VecDeque<Timestamp>,
    streak: u32,
    was_slow: bool,
}

/// A pod's measurements by server.
#[derive(Debug)]
pub(in crate::diagnose) struct Latencies {
    by_key: Recent<LatencyKey, Measurement>,
}

impl Latencies {
    pub fn new() -> Latencies {
        Latencies {
            by_key: Recent::new(MAX_SERVERS),
        }
    }

    /// The usual latency, if it is known.
    fn usual(&self, key: &LatencyKey) -> Option<Duration> {
        let measured = self.by_key.get(key)?;
        (measured.samples >= MIN_SAMPLES).then(|| Duration::from_nanos(measured.mean_ns))
    }

    /// The latency that an answer at `at` shows, `from_first` being the time since the first query. The answer
    /// to a repeated query may belong to either attempt: to the first, if the server usually needs longer than
    /// since the last one. `None` if the time since the last attempt is short: the first query, or its answer,
    /// may have been lost.
    pub fn measured(
        &self,
        key: &LatencyKey,
        exchange: &Exchange,
        at: Timestamp,
        from_first: Duration,
        thresholds: &RuleThresholds,
    ) -> Option<Duration> {
        if exchange.attempts == 1 {
            return Some(from_first);
        }
        let from_last = at.since(exchange.last_attempt);
        let usual = self.usual(key);
        if usual.is_some_and(|usual| from_last.saturating_mul(2) < usual) {
            return Some(from_first);
        }
        (exchange.attempts > 1 && from_last >= thresholds.slow_dns).then_some(from_last)
    }

    /// Takes in an answer.
    pub fn add(
        &mut self,
        now: Timestamp,
        key: LatencyKey,
        latency: Duration,
        thresholds: &RuleThresholds,
    ) -> LatencyChange {
        if self.by_key.touch(now, &key).is_none() {
            self.by_key.insert(now, key, Measurement::default());
        }
        match self.by_key.get_mut(&key) {
            Some(measured) => measured.add(now, latency, thresholds),
            None => LatencyChange::None,
        }
    }

    pub fn expire(&mut self, now: Timestamp) {
        self.by_key.expire(now, KEEP);
    }

    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    pub fn bytes(&self) -> usize {
        // Slow answers are few, as are the keys that have any.
        self.by_key.bytes()
    }
}

/// Slow answers per measurement; no threshold needs more.
const MAX_SLOW: usize = 64;

impl Measurement {
    /// Takes in an answer.
    fn add(
        &mut self,
        now: Timestamp,
        latency: Duration,
        thresholds: &RuleThresholds,
    ) -> LatencyChange {
        let normal = (self.samples >= MIN_SAMPLES).then(|| Duration::from_nanos(self.mean_ns));
        let times_normal = thresholds.slow_dns_times_normal;
        let slow = latency >= thresholds.slow_dns
            && normal.is_none_or(|normal| latency >= normal.saturating_mul(times_normal));
        if !slow {
            self.learn(latency);
            self.streak = self.streak.saturating_add(1);
            let recovered = self.was_slow && self.streak >= RECOVERY_STREAK;
            self.was_slow &= !recovered;
            return match recovered {
                true => LatencyChange::Recovered,
                false => LatencyChange::None,
            };
        }
        self.streak = 0;
        self.was_slow = true;
        // A and AAAA are asked together. A server that pauses for a moment delays both: that counts once.
        let same = self
            .slow
            .back_mut()
            .filter(|last| now.since(**last) <= latency);
        let counted = same.is_some();
        match same {
            Some(last) => *last = now,
            None => self.slow.push_back(now),
        }
        let is_old = |first: &Timestamp| now.since(*first) > WINDOW;
        while self.slow.front().is_some_and(is_old) || self.slow.len() > MAX_SLOW {
            self.slow.pop_front();
        }
        match counted {
            true => LatencyChange::None,
            false => LatencyChange::Slow(SlowAnswers {
                latency,
                first: self.slow.front().copied().unwrap_or(now),
                times: self.slow.len(),
                normal,
            }),
        }
    }

    /// Updates the running mean: each answer has a weight of one sixteenth.
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

    fn key() -> LatencyKey {
        let server = "10.152.183.10".parse().expect("an address");
        LatencyKey {
            server,
            scope: NameScope::Cluster,
        }
    }

    fn thresholds() -> RuleThresholds {
        RuleThresholds::default()
    }

    #[test]
    fn a_slow_answer_exceeds_the_threshold_and_the_usual_latency() {
        let mut latencies = Latencies::new();
        let at = |seconds: u64| Timestamp(seconds * 1_000_000_000);
        // A distant server: 400 ms is usual, and twice that is not slow.
        for second in 0..30 {
            let change =
                latencies.add(at(second), key(), Duration::from_millis(400), &thresholds());
            assert_eq!(change, LatencyChange::None);
        }
        let change = latencies.add(at(31), key(), Duration::from_millis(900), &thresholds());
        assert_eq!(change, LatencyChange::None);
        let change = latencies.add(at(32), key(), Duration::from_secs(4), &thresholds());
        assert!(
            matches!(change, LatencyChange::Slow(SlowAnswers { times: 1, normal: Some(normal), .. })
            if normal > Duration::from_millis(390) && normal < Duration::from_millis(500))
        );
    }

    #[test]
    fn slow_answers_to_simultaneous_queries_count_once() {
        let mut latencies = Latencies::new();
        let at = |ms: u64| Timestamp(ms * 1_000_000);
        let mut times = |ms, latency| match latencies.add(
            at(ms),
            key(),
            Duration::from_millis(latency),
            &thresholds(),
        ) {
            LatencyChange::Slow(slow) => slow.times,
            _ => 0,
        };
        // The queries are sent at 0, 0 and 200 ms; then at 1000 ms, after all answers.
        assert_eq!(
            [times(900, 900), times(901, 901), times(902, 702)],
            [1, 0, 0]
        );
        assert_eq!([times(1700, 700), times(1701, 701)], [2, 0]);
    }

    #[test]
    fn slow_answers_count_for_a_minute_and_ten_fast_ones_show_recovery() {
        let mut latencies = Latencies::new();
        let at = |seconds: u64| Timestamp(seconds * 1_000_000_000);
        let slow = Duration::from_millis(800);
        let times = |change| match change {
            LatencyChange::Slow(slow) => slow.times,
            _ => 0,
        };
        assert_eq!(times(latencies.add(at(0), key(), slow, &thresholds())), 1);
        assert_eq!(times(latencies.add(at(50), key(), slow, &thresholds())), 2);
        assert_eq!(times(latencies.add(at(70), key(), slow, &thresholds())), 2);
        let fast = Duration::from_millis(1);
        let changes: Vec<LatencyChange> = (0..11)
            .map(|second| latencies.add(at(71 + second), key(), fast, &thresholds()))
            .collect();
        assert_eq!(
            changes
                .iter()
                .position(|change| *change == LatencyChange::Recovered),
            Some(9)
        );
        assert_eq!(changes[10], LatencyChange::None);
    }
}
