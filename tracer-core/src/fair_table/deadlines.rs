//! The queue of a table's deadlines.
//!
//! An entry that is removed or whose deadline moves leaves its queued one behind; the table recognises it by
//! the use, which no two entries share.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::model::time::Timestamp;

/// A deadline and the use that set it. Entries with the same deadline come in the order of use.
pub(super) type Queued = (Timestamp, u64);

/// Stale deadlines that are not worth a rebuild.
const FEW: usize = 64;

/// Most deadlines of a table are one interval away, and come in order: those need no heap.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    in_order: VecDeque<(Queued, usize)>,
    others: BinaryHeap<Reverse<(Queued, usize)>>,
}

impl Deadlines {
    pub(super) fn push(&mut self, queued: Queued, id: usize) {
        match self.in_order.back() {
            Some((latest, _)) if queued < *latest => self.others.push(Reverse((queued, id))),
            _ => self.in_order.push_back((queued, id)),
        }
    }

    /// Removes the earliest one, if it has passed.
    pub(super) fn pop_before(&mut self, now: Timestamp) -> Option<(Queued, usize)> {
        let has_passed = |((deadline, _), _): &&(Queued, usize)| *deadline <= now;
        let first = self.in_order.front().filter(has_passed);
        let other = self.others.peek().map(|Reverse(other)| other);
        match (first, other.filter(has_passed)) {
            (Some(first), Some(other)) if other < first => self.pop_other(),
            (None, Some(_)) => self.pop_other(),
            (Some(_), _) => self.in_order.pop_front(),
            (None, None) => None,
        }
    }

    fn pop_other(&mut self) -> Option<(Queued, usize)> {
        self.others.pop().map(|Reverse(first)| first)
    }

    pub(super) fn len(&self) -> usize {
        self.in_order.len() + self.others.len()
    }

    /// Whether more than half belong to none of this many entries.
    pub(super) fn is_mostly_stale(&self, entries: usize) -> bool {
        self.len() > 2 * entries + FEW
    }

    /// Keeps those that an entry still waits for.
    pub(super) fn retain(&mut self, is_queued: impl Fn(Queued, usize) -> bool) {
        self.in_order.retain(|(queued, id)| is_queued(*queued, *id));
        self.others
            .retain(|Reverse((queued, id))| is_queued(*queued, *id));
    }
}
