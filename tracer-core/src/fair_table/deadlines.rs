//! The queue of a table's deadlines.
//!
//! An entry that is removed or whose deadline moves leaves its queued one behind; the table recognises it by
//! the use, which no two entries share.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::model::time::Timestamp;

/// A deadline and the use that set it. Entries with the same deadline come in the order of use.
pub(super) type Queued = (Timestamp, u64);

/// Stale deadlines that are not worth a rebuild.
const FEW: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Deadlines(BinaryHeap<Reverse<(Queued, usize)>>);

impl Deadlines {
    pub(super) fn push(&mut self, queued: Queued, id: usize) {
        self.0.push(Reverse((queued, id)));
    }

    /// Removes the earliest one, if it has passed.
    pub(super) fn pop_before(&mut self, now: Timestamp) -> Option<(Queued, usize)> {
        let Reverse(((deadline, _), _)) = self.0.peek()?;
        if *deadline > now {
            return None;
        }
        self.0.pop().map(|Reverse(first)| first)
    }

    /// Whether more than half belong to none of this many entries.
    pub(super) fn is_mostly_stale(&self, entries: usize) -> bool {
        self.0.len() > 2 * entries + FEW
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn rebuild(&mut self, queued: impl Iterator<Item = (Queued, usize)>) {
        self.0 = queued.map(Reverse).collect();
    }
}
