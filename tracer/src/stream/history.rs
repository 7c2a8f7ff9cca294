//! An agent's history: its latest events, encoded, up to a number of bytes.
//!
//! Pure. Every event has a number, without gaps. At the limit the oldest events are dropped and counted. A
//! reader asks for events from a number on, and learns how many of them have been dropped.

use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes an entry costs beside its event.
const OVERHEAD_BYTES: usize = 64;

/// An event in the form in which it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it was emitted, nanoseconds since 1970. Never earlier than the entry before.
    pub emitted_unix_ns: i64,
    /// The encoded event.
    pub event: Arc<[u8]>,
}

/// Consecutive entries of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The number of events that the reader asked for and that have been dropped.
    pub missed: u64,
    /// The number of the first entry.
    pub first: u64,
    /// The entries, in order.
    pub entries: Vec<Entry>,
}

/// The latest events of an agent.
#[derive(Debug)]
pub struct History {
    entries: VecDeque<Entry>,
    bytes: usize,
    max_bytes: usize,
    /// The number of the next event.
    next: u64,
    dropped: u64,
}

impl History {
    /// Creates an empty history. It keeps at most `max_bytes`, but always the latest event.
    pub fn new(max_bytes: usize) -> History {
        History {
            entries: VecDeque::new(),
            bytes: 0,
            max_bytes,
            next: 0,
            dropped: 0,
        }
    }

    /// Adds an event.
    pub fn push(&mut self, entry: Entry) {
        self.bytes += cost(&entry);
        self.entries.push_back(entry);
        self.next += 1;
        while self.bytes > self.max_bytes && self.entries.len() > 1 {
            if let Some(oldest) = self.entries.pop_front() {
                self.bytes -= cost(&oldest);
                self.dropped += 1;
            }
        }
    }

    /// The events from number `from` on, at most `limit`.
    pub fn page(&self, from: u64, limit: usize) -> Page {
        let oldest = self.next - self.entries.len() as u64;
        let first = from.clamp(oldest, self.next);
        // Not more than the number of entries.
        let skip = usize::try_from(first - oldest).unwrap_or(usize::MAX);
        Page {
            missed: first.saturating_sub(from),
            first,
            entries: self
                .entries
                .iter()
                .skip(skip)
                .take(limit)
                .cloned()
                .collect(),
        }
    }

    /// The number of the next event.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The number of events in the history.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the history has no events.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The size of the history.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The maximum size of the history.
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// The number of dropped events.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// When the oldest event in the history was emitted.
    pub fn oldest_unix_ns(&self) -> Option<i64> {
        self.entries.front().map(|entry| entry.emitted_unix_ns)
    }
}

fn cost(entry: &Entry) -> usize {
    entry.event.len() + OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u8) -> Entry {
        Entry {
            emitted_unix_ns: i64::from(number),
            event: vec![number; 36].into(),
        }
    }

    fn numbers(page: &Page) -> Vec<u8> {
        page.entries.iter().map(|entry| entry.event[0]).collect()
    }

    #[test]
    fn at_the_limit_the_oldest_events_are_dropped_and_counted() {
        let mut history = History::new(300);
        for number in 0..10 {
            history.push(entry(number));
        }
        assert_eq!((history.len(), history.bytes()), (3, 300));
        assert_eq!((history.dropped(), history.next()), (7, 10));
        assert_eq!(history.oldest_unix_ns(), Some(7));
        let page = history.page(0, 100);
        assert_eq!((page.missed, page.first), (7, 7));
        assert_eq!(numbers(&page), [7, 8, 9]);
    }

    #[test]
    fn a_reader_continues_without_gap_or_repetition() {
        let mut history = History::new(10_000);
        let mut read = Vec::new();
        let mut from = 0;
        for number in 0..20 {
            history.push(entry(number));
            if number % 3 == 0 {
                let page = history.page(from, 2);
                assert_eq!(page.missed, 0);
                from = page.first + page.entries.len() as u64;
                read.extend(numbers(&page));
            }
        }
        let rest = history.page(from, 100);
        read.extend(numbers(&rest));
        assert_eq!(read, (0..20).collect::<Vec<u8>>());
        assert!(history.page(20, 100).entries.is_empty());
        assert!(history.page(u64::MAX, 100).entries.is_empty());
    }

    #[test]
    fn an_event_larger_than_the_limit_is_kept_until_the_next_one() {
        let mut history = History::new(0);
        history.push(entry(1));
        assert_eq!(history.len(), 1);
        history.push(entry(2));
        assert_eq!(numbers(&history.page(0, 9)), [2]);
    }
}
