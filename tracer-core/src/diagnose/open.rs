//! An open finding: its numbers, and when it is due.

use std::collections::VecDeque;
use std::sync::Arc;

use super::claim::Summary;
use super::cure::Cure;
use super::fact::Who;
use super::headline::{Fix, Reason};
use super::memory::TargetKey;
use super::tally::Tally;
use super::{rule, stretches, wording};
use crate::identity::Owner;
use crate::model::event::Ends;
use crate::model::finding::{Finding, Severity, State};
use crate::model::heap_bytes::{ALLOCATION, HeapBytes, slice_bytes};
use crate::model::time::Timestamp;

/// An attempt's start, and the pod's port.
pub(super) type AttemptId = (Timestamp, u16);

/// Words of memory that the indexes of all findings need for one: its id, its pod, what it waits for and when
/// it is due, in maps that grow by doubling.
const PLACES: usize = 64;

/// The most attempts that an open finding remembers: a pod's connections at one time.
const MAX_COUNTED: usize = 32;

/// An open finding.
#[derive(Debug)]
pub(super) struct Open {
    pub finding: Finding,
    /// The finding's id.
    pub key: Arc<str>,
    pub owner: Owner,
    pub ends: Ends,
    pub cures: Vec<Cure>,
    /// What counts as an attempt; `None`: each claim is one.
    pub target: Option<TargetKey>,
    pub tally: Tally,
    /// What the headline is made of, as its numbers change with every attempt.
    pub words: Words,
    /// The earliest time of the next event.
    pub next: Timestamp,
    pub emitted_count: u64,
    pub emitted_state: State,
    /// What is known of an attempt that was counted has changed since the last event.
    pub reworded: bool,
    /// When it is dropped unless there is new evidence.
    pub until: Timestamp,
    /// The time of the latest attempt that changed a number or the state.
    pub changed: Timestamp,
    /// The latest attempts that were counted: an attempt has several events and counts once.
    pub counted: VecDeque<AttemptId>,
    /// The severity from the second failure on.
    pub severity: Severity,
    /// One occurrence is ordinary.
    pub recurring: bool,
    /// It matches a silence.
    pub silenced: bool,
    /// It counts the failures of a rule that have no finding of their own.
    pub is_rest: bool,
    /// When it joined the others last, and when it was used last: numbers that rise.
    pub listed: u64,
    pub used: u64,
    /// What it takes while it is among the others, in bytes.
    pub bytes: usize,
    /// Its place among those that are due.
    pub scheduled: (Timestamp, u64),
}

/// The parts of a headline.
#[derive(Debug)]
pub(super) struct Words {
    pub summary: Summary,
    pub because: Option<Reason>,
    pub fix: Option<Fix>,
}

impl Open {
    /// Whether the count or the state has changed since the last event.
    pub fn has_news(&self) -> bool {
        if self.is_ordinary() {
            return false;
        }
        self.finding.count > self.emitted_count
            || self.reworded
            || self.was_emitted() && self.finding.state != self.emitted_state
    }

    /// Whether what happened so far is too little for an event.
    pub fn is_ordinary(&self) -> bool {
        self.recurring && !self.was_emitted() && !self.tally.recurs()
    }

    /// Brings numbers and state up to date. A resolved finding stays so.
    pub fn update(&mut self) {
        let finding = &mut self.finding;
        (finding.count, finding.of) = (self.tally.failures, self.tally.attempts);
        if !finding.is_resolved() {
            finding.state = self.tally.state();
        }
    }

    /// Writes the headline with the numbers of now. Only an event needs it, not every attempt.
    pub fn write_headline(&mut self) {
        let who = Who::from(&self.ends.pod);
        let Words {
            summary,
            because,
            fix,
        } = &self.words;
        let write = |because, fix| wording::headline(&who, summary, &self.tally, because, fix);
        let about = because.as_ref().map(stretches::reason);
        let headline = write(because.as_ref(), fix.as_ref()).about(about.unwrap_or_default());
        let can_be_followed = rule::can_be_followed(self.finding.rule);
        self.finding.symptom = can_be_followed.then(|| write(None, None));
        self.finding.headline = headline;
    }

    /// What it takes, in bytes. The facts behind its sentences hold the same names, so the sentences count
    /// twice.
    pub fn measure(&self) -> usize {
        let counted = MAX_COUNTED * size_of::<AttemptId>();
        let cures = self.cures.iter().map(HeapBytes::heap_bytes);
        let places = PLACES * size_of::<usize>();
        ALLOCATION
            + size_of::<Open>()
            + places
            + 2 * self.finding.heap_bytes()
            + self.key.len()
            + self.ends.peer.names.heap_bytes()
            + counted
            + slice_bytes(&self.cures)
            + cures.sum::<usize>()
    }

    /// When it is emitted again, or dropped.
    pub fn due(&self) -> Timestamp {
        if self.has_news() {
            self.next
        } else {
            self.until
        }
    }

    /// Whether there was an event.
    pub fn was_emitted(&self) -> bool {
        self.emitted_count > 0
    }

    /// The finding's id.
    pub fn id(&self) -> Arc<str> {
        Arc::clone(&self.key)
    }

    /// How much it matters: the least gives way first. What is resolved has had its last event; then the milder
    /// one, and the one without evidence for longest.
    pub fn rank(&self) -> (bool, Severity, bool, u64) {
        let finding = &self.finding;
        (
            !finding.is_resolved(),
            finding.severity,
            self.is_rest,
            self.used,
        )
    }

    /// One more attempt failed.
    pub fn failed(&mut self, attempt: Option<AttemptId>) {
        if self.target.is_none() {
            self.tally.attempt();
        }
        self.tally.failed();
        self.counted.extend(attempt);
        if self.counted.len() > MAX_COUNTED {
            self.counted.pop_front();
        }
    }

    /// Brings the finding up to date with a failure.
    pub fn renew(&mut self, until: Timestamp) {
        self.until = until;
        self.finding.state = State::Active;
        self.update();
        if self.finding.count > Tally::ordinary(self.recurring) {
            self.finding.severity = self.severity;
        }
        self.changed = self.changed.max(self.finding.last);
    }
}
