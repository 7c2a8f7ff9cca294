//! How often something was tried and how often it failed, and what that says about the cause.
//!
//! One success does not end a fault that comes and goes. A finding is resolved once so many attempts in a row
//! have succeeded that a fault with its share of failures would hardly have let them pass.

use super::memory::Share;
use crate::model::finding::State;

/// A run of successes this unlikely is no chance.
const CHANCE: f64 = 0.05;
/// The least successes in a row that resolve a finding.
const MIN_IN_A_ROW: u64 = 3;
/// The most that are asked for.
const MAX_IN_A_ROW: u64 = 60;

/// Of what is ordinary once, this many recur.
const MIN_RECURRING: u64 = 2;
/// One failure in so many attempts is ordinary.
const MAX_ORDINARY: u64 = 200;

/// Earlier attempts of a pod at a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Those that failed, before the present one.
    pub failures: u64,
    /// All of them, with the present one.
    pub attempts: u64,
}

impl Record {
    /// Whether the failures, with the present one, may be those of one endpoint of this many. Few attempts rule
    /// nothing out.
    pub fn fits_one_of(&self, endpoints: usize) -> bool {
        let endpoints = endpoints as u64;
        let failures = self.failures + 1;
        // Between a third of its share and three times as much.
        self.attempts < 3 * endpoints
            || (3 * failures * endpoints >= self.attempts
                && failures * endpoints <= 3 * self.attempts
                && failures < self.attempts)
    }
}

/// The attempts that a finding is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Those that failed.
    pub failures: u64,
    /// All of them, since the tracer saw the first one.
    pub attempts: u64,
    /// Those since the first failure.
    since_first: u64,
    /// Whether one succeeded after the first failure.
    succeeded: bool,
    failures_in_a_row: u64,
    successes_in_a_row: u64,
    /// Successes in a row that resolve the finding.
    needed: u64,
    /// Failures in a row that end what a success showed.
    needed_failures: u64,
}

impl Tally {
    /// No failure so far; the first one is the latest of `attempts`.
    pub fn new(attempts: u64) -> Tally {
        Tally {
            attempts,
            since_first: attempts.min(1),
            ..Tally::default()
        }
    }

    /// Failures that were no finding by themselves; the latest one is yet to come.
    pub fn before(mut self, share: Share) -> Tally {
        let earlier = share.failures.saturating_sub(1);
        self.failures = earlier;
        self.since_first = share.attempts.max(self.since_first);
        self.attempts = self.attempts.max(self.since_first);
        if share.attempts > share.failures {
            self.succeeded = true;
            self.needed_failures = in_a_row(share.attempts - share.failures, share.attempts);
        }
        self
    }

    /// One more attempt, whatever its outcome.
    pub fn attempt(&mut self) {
        self.attempts += 1;
        self.since_first += 1;
    }

    /// The latest attempt failed.
    pub fn failed(&mut self) {
        self.failures += 1;
        self.since_first = self.since_first.max(self.failures);
        self.attempts = self.attempts.max(self.since_first);
        self.failures_in_a_row += 1;
        self.successes_in_a_row = 0;
        self.needed = in_a_row(self.failures, self.since_first);
    }

    /// The latest attempts succeeded. Returns whether that resolves the finding.
    pub fn succeeded(&mut self, times: u64) -> bool {
        self.succeeded = true;
        self.failures_in_a_row = 0;
        let successes = self.since_first.saturating_sub(self.failures);
        self.needed_failures = in_a_row(successes, self.since_first);
        self.successes_in_a_row = self.successes_in_a_row.saturating_add(times);
        self.successes_in_a_row >= self.needed.max(MIN_IN_A_ROW)
    }

    /// The cause is gone: what fails from now on is not the same fault coming and going.
    pub fn ended(&mut self) {
        *self = Tally {
            failures: self.failures,
            attempts: self.attempts,
            since_first: self.failures,
            ..Tally::default()
        };
    }

    /// How many failures have the severity of a first one.
    pub fn ordinary(recurring: bool) -> u64 {
        if recurring { MIN_RECURRING } else { 1 }
    }

    /// Whether the failures are more than the ordinary ones of a network: several, and not just a few of
    /// thousands.
    pub fn recurs(&self) -> bool {
        self.failures >= MIN_RECURRING
            && self.failures.saturating_mul(MAX_ORDINARY) >= self.attempts
    }

    /// Active, or intermittent: a success came in between, and the failures since do not rule out another.
    pub fn state(&self) -> State {
        match self.succeeded && self.failures_in_a_row < self.needed_failures {
            true => State::Intermittent,
            false => State::Active,
        }
    }
}

/// The least n for which n attempts in a row without an event of this share are unlikely.
fn in_a_row(events: u64, attempts: u64) -> u64 {
    if events >= attempts {
        return MIN_IN_A_ROW;
    }
    #[expect(clippy::cast_precision_loss, reason = "a share needs no exact counts")]
    let others = 1.0 - events as f64 / attempts as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the logarithms of two shares have the same sign, and a float casts to the nearest integer"
    )]
    let least = (CHANCE.ln() / others.ln()).ceil() as u64;
    least.clamp(MIN_IN_A_ROW, MAX_IN_A_ROW)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays attempts, `x` for a failure; returns the state after each.
    fn play(before: u64, outcomes: &str) -> Vec<State> {
        let mut tally = Tally::new(before);
        let mut resolved = false;
        outcomes
            .chars()
            .map(|outcome| {
                tally.attempt();
                if outcome == 'x' {
                    tally.failed();
                    resolved = false;
                } else {
                    resolved |= tally.succeeded(1);
                }
                if resolved {
                    State::Resolved
                } else {
                    tally.state()
                }
            })
            .collect()
    }

    #[test]
    fn an_outage_is_resolved_by_three_successes() {
        use State::{Active, Intermittent, Resolved};
        assert_eq!(
            play(1000, "xxx..."),
            [Active, Active, Active, Intermittent, Intermittent, Resolved]
        );
    }

    #[test]
    fn a_fault_that_comes_and_goes_is_not_resolved_by_a_few_successes() {
        // Six of eleven attempts fail: four successes in a row would be an accident of one in twenty.
        let states = play(0, "x.x.x.x.x.x.....");
        assert_eq!(states[11], State::Intermittent);
        assert_eq!(states[13], State::Intermittent);
        assert_eq!(states[14], State::Resolved);
        // One in ten.
        let states = play(0, &"x.........".repeat(3));
        assert!(states[10..].iter().all(|state| *state != State::Resolved));
    }

    #[test]
    fn a_fault_that_stays_after_a_success_is_active_again() {
        let states = play(0, "x.x.xxxxxx");
        assert_eq!(states[3], State::Intermittent);
        assert_eq!(states[9], State::Active);
    }

    #[test]
    fn attempts_before_the_finding_count_but_do_not_delay_its_resolution() {
        let mut tally = Tally::new(100);
        tally.failed();
        assert_eq!((tally.failures, tally.attempts), (1, 100));
        assert!(!tally.succeeded(2));
        assert!(tally.succeeded(1));
    }
}
