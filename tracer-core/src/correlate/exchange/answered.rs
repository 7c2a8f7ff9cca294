//! Queries that were answered recently, so that a second answer is recognised as a duplicate.
//!
//! Owns hashes of their keys: a sender cannot choose keys with equal ones, and where two keys have equal ones by
//! chance, an answer without a query counts as a duplicate.
//!
//! Each message looks here, so an answer costs a few words and no timer: what was answered in the current
//! interval and in the one before it is known.

use std::collections::BTreeMap;
use std::time::Duration;

use hashbrown::HashTable;

use super::key::{Key, hash};
use crate::model::flow::Ifindex;
use crate::model::time::Timestamp;

/// All recently answered queries. A convenience: a duplicate that is no longer known becomes an answer without
/// a query.
#[derive(Debug)]
pub(super) struct Answered {
    /// Answers are known for at least this long, and for less than twice as long.
    interval: Duration,
    /// The current interval, counted from time 0.
    current: u64,
    /// The most memory of all interfaces.
    max_bytes: usize,
    bytes: usize,
    interfaces: BTreeMap<Ifindex, Interface>,
}

#[derive(Debug, Default)]
struct Interface {
    current: Hashes,
    previous: Hashes,
}

impl Interface {
    fn contains(&self, hash: u64) -> bool {
        self.current.contains(hash) || self.previous.contains(hash)
    }

    fn bytes(&self) -> usize {
        self.current.0.allocation_size() + self.previous.0.allocation_size()
    }
}

/// Numbers that are hashes already.
#[derive(Debug, Default)]
struct Hashes(HashTable<u64>);

impl Hashes {
    fn insert(&mut self, hash: u64) {
        let same = |other: &u64| *other == hash;
        let _ = self.0.entry(hash, same, |other| *other).or_insert(hash);
    }

    fn contains(&self, hash: u64) -> bool {
        self.0.find(hash, |other| *other == hash).is_some()
    }

    fn remove(&mut self, hash: u64) {
        if let Ok(entry) = self.0.find_entry(hash, |other| *other == hash) {
            entry.remove();
        }
    }
}

/// The hash of a query's sockets and identifier, whatever it asks.
fn sockets_and_id(key: &Key) -> u64 {
    hash((key.sockets_hash, key.opcode, key.id))
}

impl Answered {
    pub(super) fn new(interval: Duration, max_bytes: usize) -> Answered {
        Answered {
            interval: interval.max(Duration::from_nanos(1)),
            current: 0,
            max_bytes,
            bytes: 0,
            interfaces: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, key: &Key, now: Timestamp) {
        self.advance(now);
        let interface = self.interfaces.entry(key.ifindex).or_default();
        let before = interface.current.0.allocation_size();
        for hash in [key.hash, key.sockets_hash, sockets_and_id(key)] {
            interface.current.insert(hash);
        }
        self.bytes += interface.current.0.allocation_size() - before;
        while self.bytes > self.max_bytes && self.make_room() {}
    }

    pub(super) fn remove(&mut self, key: &Key) {
        if let Some(interface) = self.interfaces.get_mut(&key.ifindex) {
            interface.current.remove(key.hash);
            interface.previous.remove(key.hash);
        }
    }

    /// Whether this query was answered. Without a question, whether one with its identifier was, between the
    /// same sockets: only the first message of a zone transfer needs a question.
    pub(super) fn contains(&self, key: &Key) -> bool {
        self.interfaces.get(&key.ifindex).is_some_and(|interface| {
            interface.contains(key.hash)
                || key.question.is_none() && interface.contains(sockets_and_id(key))
        })
    }

    /// Whether a query between the same two sockets was answered.
    pub(super) fn contains_sockets(&self, key: &Key) -> bool {
        let interface = self.interfaces.get(&key.ifindex);
        interface.is_some_and(|interface| interface.contains(key.sockets_hash))
    }

    /// Forgets what was answered before the previous interval.
    pub(super) fn advance(&mut self, now: Timestamp) {
        let interval = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX);
        let current = now.0 / interval;
        // Records of several CPUs overtake each other.
        let passed = current.saturating_sub(self.current);
        if passed == 0 {
            return;
        }
        self.current = current;
        for interface in self.interfaces.values_mut() {
            interface.previous = std::mem::take(&mut interface.current);
            if passed > 1 {
                interface.previous = Hashes::default();
            }
        }
        self.interfaces
            .retain(|_, interface| !interface.previous.0.is_empty());
        self.bytes = self.interfaces.values().map(Interface::bytes).sum();
    }

    /// Forgets the older half of the interface that holds most. Returns whether there was something to forget.
    fn make_room(&mut self) -> bool {
        let most = self.interfaces.values_mut().max_by_key(|one| one.bytes());
        let Some(interface) = most else { return false };
        let before = interface.bytes();
        interface.previous = std::mem::take(&mut interface.current);
        let freed = before - interface.bytes();
        let rest = interface.bytes();
        self.bytes -= freed;
        if freed == 0 {
            // It alone is larger than all the room.
            interface.previous = Hashes::default();
            self.bytes -= rest;
        }
        freed + rest > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::dns::{DnsName, OpCode, Question, RecordType};
    use crate::model::flow::{Flow, Protocol, Role};

    const INTERVAL: Duration = Duration::from_secs(5);

    fn key(ifindex: u32, id: u16, name: Option<&str>) -> Key {
        let flow = Flow {
            ifindex: Ifindex(ifindex),
            protocol: Protocol::Udp,
            pod: ([10, 0, 0, 1], 40_000).into(),
            peer: ([10, 0, 0, 53], 53).into(),
        };
        let question = name.map(|name| Question {
            name: DnsName::new(name),
            qtype: RecordType::A,
        });
        Key::new(&flow, Role::Client, OpCode::Query, id, question)
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * 1_000_000_000)
    }

    #[test]
    fn an_answer_is_known_for_the_interval_and_not_for_twice_as_long() {
        let mut answered = Answered::new(INTERVAL, 1 << 20);
        let query = key(1, 7, Some("a.example"));
        answered.add(&query, at(9));
        answered.advance(at(14));
        assert!(answered.contains(&query) && answered.contains_sockets(&query));
        assert!(answered.contains(&key(1, 7, None)));
        assert!(!answered.contains(&key(1, 8, None)));
        assert!(!answered.contains(&key(1, 7, Some("b.example"))));
        assert!(!answered.contains(&key(2, 7, Some("a.example"))));
        answered.advance(at(19));
        assert!(!answered.contains(&query) && answered.interfaces.is_empty());
        assert_eq!(answered.bytes, 0);
    }

    #[test]
    fn a_query_that_is_asked_again_is_no_longer_answered() {
        let mut answered = Answered::new(INTERVAL, 1 << 20);
        let query = key(1, 7, Some("a.example"));
        answered.add(&query, at(1));
        answered.advance(at(6));
        answered.remove(&query);
        assert!(!answered.contains(&query));
    }

    #[test]
    fn a_flood_makes_room_from_its_own_interface() {
        const MOST: usize = 64 << 10;
        let mut answered = Answered::new(INTERVAL, MOST);
        let quiet = key(1, 7, Some("quiet.example"));
        answered.add(&quiet, at(1));
        let flood = |number: u32| key(2, 0, Some(&format!("{number}.example")));
        for number in 0..50_000 {
            answered.add(&flood(number), at(1));
            assert!(answered.bytes <= MOST);
        }
        assert!(answered.contains(&quiet));
        assert!(answered.contains(&flood(49_999)) && !answered.contains(&flood(0)));
    }
}
