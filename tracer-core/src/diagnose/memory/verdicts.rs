//! What the rules made of a pod's latest events, and how many examinations the pod may cause.

use std::sync::Arc;
use std::time::Duration;

use super::recent::Recent;
use crate::model::time::Timestamp;

/// A verdict is used again for this long.
const VALID: Duration = Duration::from_secs(1);
/// After this many examinations with one result.
const MIN_TIMES: u32 = 3;
/// Events of a pod.
const MAX_EVENTS: usize = 512;
/// Examinations of failures of one pod: at once, and per second from then on. An examination takes up to a tenth of
/// a millisecond in a cluster with thousands of Services.
const MAX_EXAMINATIONS: u64 = 500;
const EXAMINATIONS_PER_SECOND: u64 = 250;

/// The content of an event, without its times, as a hash. Two with one hash would have one verdict, which only their
/// own pod can bring about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::diagnose) struct EventKey(pub u64);

/// What the rules made of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::diagnose) enum Verdict {
    /// No rule applies.
    Nothing,
    /// A failure of the finding with this id.
    Finding(Arc<str>),
}

#[derive(Debug)]
struct Known {
    verdict: Verdict,
    times: u32,
    examined: Timestamp,
    /// The state of the inventory and the settings then.
    generation: u64,
}

/// The latest verdicts of a pod.
#[derive(Debug)]
pub(in crate::diagnose) struct Verdicts {
    by_event: Recent<EventKey, Known>,
    /// Examinations that the pod may cause now.
    allowance: u64,
    /// When the allowance was last raised.
    raised: Timestamp,
}

impl Verdicts {
    pub fn new() -> Verdicts {
        Verdicts {
            by_event: Recent::new(MAX_EVENTS),
            allowance: MAX_EXAMINATIONS,
            raised: Timestamp::default(),
        }
    }

    /// The verdict on an equal event, if it is known well enough.
    pub fn get(&mut self, now: Timestamp, key: EventKey, generation: u64) -> Option<Verdict> {
        let known = self.by_event.touch(now, &key)?;
        let valid = known.generation == generation
            && known.times >= MIN_TIMES
            && now.since(known.examined) < VALID;
        valid.then(|| known.verdict.clone())
    }

    /// Takes in a verdict.
    pub fn learn(&mut self, now: Timestamp, key: EventKey, generation: u64, verdict: Verdict) {
        if let Some(known) = self.by_event.touch(now, &key) {
            let same = known.generation == generation && known.verdict == verdict;
            known.times = if same { known.times + 1 } else { 1 };
            known.examined = now;
            known.generation = generation;
            known.verdict = verdict;
            return;
        }
        let known = Known {
            verdict,
            times: 1,
            examined: now,
            generation,
        };
        self.by_event.insert(now, key, known);
    }

    /// Whether one more failure of the pod may be examined.
    pub fn may_examine(&mut self, now: Timestamp) -> bool {
        let elapsed = u64::try_from(now.since(self.raised).as_nanos()).unwrap_or(u64::MAX);
        let more = elapsed.saturating_mul(EXAMINATIONS_PER_SECOND) / 1_000_000_000;
        if more > 0 {
            self.allowance = self.allowance.saturating_add(more).min(MAX_EXAMINATIONS);
            self.raised = now;
        }
        let may = self.allowance > 0;
        self.allowance = self.allowance.saturating_sub(1);
        may
    }

    pub fn expire(&mut self, now: Timestamp) {
        self.by_event.expire(now, VALID * 60);
    }

    pub fn shrink(&mut self) {
        self.by_event.shrink();
    }

    pub fn is_empty(&self) -> bool {
        self.by_event.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.by_event.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_used_again_after_three_examinations_and_for_a_second() {
        let mut verdicts = Verdicts::new();
        let key = EventKey(1);
        let at = |ms: u64| Timestamp(ms * 1_000_000);
        for time in 0..3 {
            assert_eq!(verdicts.get(at(time), key, 0), None);
            verdicts.learn(at(time), key, 0, Verdict::Nothing);
        }
        assert_eq!(verdicts.get(at(1001), key, 0), Some(Verdict::Nothing));
        assert_eq!(verdicts.get(at(1002), key, 0), None);
        assert_eq!(verdicts.get(at(3), key, 1), None, "the inventory changed");
    }

    #[test]
    fn a_pod_may_cause_a_number_of_examinations_a_second() {
        let mut verdicts = Verdicts::new();
        let at = |ms: u64| Timestamp(1_000_000_000_000 + ms * 1_000_000);
        let mut examined = |ms| (0..2000).filter(|_| verdicts.may_examine(at(ms))).count();
        assert_eq!(examined(0), 500);
        assert_eq!(examined(1000), 250);
    }
}
