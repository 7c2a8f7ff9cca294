//! Queries that were answered recently, so that a second answer is recognised as a duplicate.
//!
//! Owns hashes of their keys: a sender cannot choose keys with equal ones, and where two keys have equal ones by
//! chance, an answer without a query counts as a duplicate.

use std::hash::{Hash, Hasher};

use super::key::Key;
use crate::fair_table::{self, FairTable, Room};
use crate::model::flow::Ifindex;
use crate::model::time::Timestamp;

/// Limits a search through the answered queries between two sockets, the latest first.
const MAX_SEARCH: usize = 256;

/// All recently answered queries. A convenience: a duplicate that is no longer known becomes an answer without
/// a query.
#[derive(Debug)]
pub(super) struct Answered(FairTable<Trace, (), 1>);

/// What remains of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Trace {
    ifindex: Ifindex,
    key: u64,
    sockets: u64,
    opcode: u8,
    id: u16,
}

impl Trace {
    fn of(key: &Key) -> Trace {
        Trace {
            ifindex: key.ifindex,
            key: key.hash,
            sockets: key.sockets_hash,
            opcode: key.opcode,
            id: key.id,
        }
    }
}

impl Hash for Trace {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl fair_table::Key for Trace {
    fn owner(&self) -> Ifindex {
        self.ifindex
    }

    fn hash_group<H: Hasher>(&self, _: usize, state: &mut H) {
        self.sockets.hash(state);
    }
}

impl Answered {
    pub(super) fn new(room: Room) -> Answered {
        Answered(FairTable::new(room))
    }

    pub(super) fn add(&mut self, key: &Key, until: Timestamp) {
        drop(self.0.insert(Trace::of(key), (), 0, until));
    }

    pub(super) fn remove(&mut self, key: &Key) {
        self.0.remove(&Trace::of(key));
    }

    /// Whether this query was answered. Without a question, whether one with its identifier was, between the
    /// same sockets: only the first message of a zone transfer needs a question.
    pub(super) fn contains(&self, key: &Key) -> bool {
        let trace = Trace::of(key);
        let same = |other: &Trace| {
            (other.sockets, other.opcode, other.id) == (trace.sockets, trace.opcode, trace.id)
        };
        self.0.contains(&trace) || key.question.is_none() && self.on_sockets(key).any(same)
    }

    /// Whether a query between the same two sockets was answered.
    pub(super) fn contains_sockets(&self, key: &Key) -> bool {
        self.on_sockets(key)
            .any(|other| other.sockets == key.sockets_hash)
    }

    fn on_sockets(&self, key: &Key) -> impl Iterator<Item = &Trace> {
        let group = self.0.group(0, &Trace::of(key));
        group.take(MAX_SEARCH).map(|(trace, ())| trace)
    }

    /// Forgets those whose deadline has passed.
    pub(super) fn advance(&mut self, now: Timestamp) {
        while self.0.pop_due(now).is_some() {}
    }
}
