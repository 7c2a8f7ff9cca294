//! Merges several streams, each in its own order, into one in the order of time.
//!
//! Pure: time is an argument. An item is released when no other stream can still send an earlier one: every
//! stream reports now and then the time up to which it is complete. A stream that is silent for too long, or
//! whose clock is behind, delays the others only for a bounded time; items that are then out of order are
//! counted.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Identifies a stream.
pub type StreamId = u64;

/// A stream that is silent for this long no longer delays the others.
pub const SILENCE: Duration = Duration::from_secs(2);
/// Once all histories are complete, no item waits longer than this.
pub const WAIT: Duration = Duration::from_secs(1);

/// What a merge releases next.
#[derive(Debug, PartialEq, Eq)]
pub enum Release<T> {
    /// This item is next.
    Ready(T),
    /// An item is released at this time, if not earlier.
    Wait(Instant),
    /// No item waits.
    Empty,
}

#[derive(Debug)]
struct Input<T> {
    queue: VecDeque<Queued<T>>,
    /// All items from before this time have been in the queue.
    reached: i64,
    /// When the stream last sent something.
    last_sent: Instant,
    /// The history is complete; new items have just happened.
    live: bool,
}

#[derive(Debug)]
struct Queued<T> {
    /// When the agent emitted it, nanoseconds since 1970.
    emitted: i64,
    arrived: Instant,
    item: T,
}

/// The streams and their waiting items.
#[derive(Debug)]
pub struct Merge<T> {
    inputs: BTreeMap<StreamId, Input<T>>,
    /// Waiting items of streams that have ended.
    rest: BTreeMap<StreamId, VecDeque<Queued<T>>>,
    latest: i64,
    out_of_order: u64,
}

impl<T> Default for Merge<T> {
    fn default() -> Merge<T> {
        Merge {
            inputs: BTreeMap::new(),
            rest: BTreeMap::new(),
            latest: i64::MIN,
            out_of_order: 0,
        }
    }
}

impl<T> Merge<T> {
    /// Adds a stream. The others wait for it from now on.
    pub fn open(&mut self, id: StreamId, now: Instant) {
        if let Some(input) = self.inputs.get_mut(&id) {
            input.last_sent = now;
            return;
        }
        self.inputs.insert(
            id,
            Input {
                queue: self.rest.remove(&id).unwrap_or_default(),
                reached: i64::MIN,
                last_sent: now,
                live: false,
            },
        );
    }

    /// Adds an item that a stream's agent emitted at this time.
    pub fn put(&mut self, id: StreamId, emitted: i64, item: T, now: Instant) {
        let Some(input) = self.inputs.get_mut(&id) else {
            return;
        };
        input.last_sent = now;
        // Keeps the stream's own order even if the agent's clock is set back.
        input.reached = input.reached.max(emitted);
        input.queue.push_back(Queued {
            emitted: input.reached,
            arrived: now,
            item,
        });
    }

    /// A stream is complete up to this time. `live` if its history is complete.
    pub fn reached(&mut self, id: StreamId, time: i64, live: bool, now: Instant) {
        if let Some(input) = self.inputs.get_mut(&id) {
            input.last_sent = now;
            input.reached = input.reached.max(time);
            input.live |= live;
        }
    }

    /// A stream has ended. Its waiting items keep their place.
    pub fn close(&mut self, id: StreamId) {
        if let Some(input) = self.inputs.remove(&id)
            && !input.queue.is_empty()
        {
            self.rest.insert(id, input.queue);
        }
    }

    /// Releases the next item, if there is one by now.
    pub fn next(&mut self, now: Instant) -> Release<T> {
        let Some((id, emitted, arrived)) = self.first() else {
            return Release::Empty;
        };
        let live = self.inputs.values().all(|input| input.live);
        let until = self
            .inputs
            .values()
            .filter(|input| input.queue.is_empty() && input.reached < emitted)
            .map(|input| {
                let silent = input.last_sent + SILENCE;
                if live {
                    silent.min(arrived + WAIT)
                } else {
                    silent
                }
            })
            .max();
        match until {
            Some(until) if now < until => Release::Wait(until),
            _ => self.take(id).map_or(Release::Empty, Release::Ready),
        }
    }

    /// Releases the next item without a wait for other streams.
    pub fn drain(&mut self) -> Option<T> {
        let (id, ..) = self.first()?;
        self.take(id)
    }

    /// The number of items released after a later one.
    pub fn out_of_order(&self) -> u64 {
        self.out_of_order
    }

    /// The earliest waiting item.
    fn first(&self) -> Option<(StreamId, i64, Instant)> {
        let open = self.inputs.iter().map(|(id, input)| (*id, &input.queue));
        let ended = self.rest.iter().map(|(id, queue)| (*id, queue));
        open.chain(ended)
            .filter_map(|(id, queue)| queue.front().map(|item| (id, item.emitted, item.arrived)))
            .min_by_key(|(id, emitted, _)| (*emitted, *id))
    }

    fn take(&mut self, id: StreamId) -> Option<T> {
        let queued = match self.inputs.get_mut(&id) {
            Some(input) => input.queue.pop_front(),
            None => {
                let queue = self.rest.get_mut(&id)?;
                let queued = queue.pop_front();
                if queue.is_empty() {
                    self.rest.remove(&id);
                }
                queued
            }
        }?;
        if queued.emitted < self.latest {
            self.out_of_order += 1;
        }
        self.latest = self.latest.max(queued.emitted);
        Some(queued.item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(merge: &mut Merge<&'static str>, now: Instant) -> Vec<&'static str> {
        let mut out = Vec::new();
        while let Release::Ready(item) = merge.next(now) {
            out.push(item);
        }
        out
    }

    #[test]
    fn an_item_waits_until_the_other_stream_has_reached_its_time() {
        let now = Instant::now();
        let mut merge = Merge::default();
        merge.open(1, now);
        merge.open(2, now);
        merge.put(1, 10, "a", now);
        merge.put(1, 30, "c", now);
        assert!(matches!(merge.next(now), Release::Wait(_)));
        merge.put(2, 20, "b", now);
        // An item before c may still come.
        assert_eq!(all(&mut merge, now), ["a", "b"]);
        merge.reached(2, 30, true, now);
        assert_eq!(all(&mut merge, now), ["c"]);
        assert_eq!(merge.next(now), Release::Empty);
        assert_eq!(merge.out_of_order(), 0);
    }

    #[test]
    fn a_single_stream_does_not_wait() {
        let now = Instant::now();
        let mut merge = Merge::default();
        merge.open(1, now);
        merge.put(1, 10, "a", now);
        assert_eq!(all(&mut merge, now), ["a"]);
    }

    #[test]
    fn a_silent_stream_delays_the_others_for_a_bounded_time_and_its_late_items_are_counted() {
        let now = Instant::now();
        let mut merge = Merge::default();
        merge.open(1, now);
        merge.open(2, now);
        merge.put(1, 10, "a", now);
        assert_eq!(merge.next(now), Release::Wait(now + SILENCE));
        assert_eq!(all(&mut merge, now + SILENCE), ["a"]);
        merge.put(2, 5, "late", now + SILENCE);
        assert_eq!(all(&mut merge, now + SILENCE), ["late"]);
        assert_eq!(merge.out_of_order(), 1);
    }

    #[test]
    fn a_stream_with_a_clock_behind_delays_live_events_by_the_wait_only() {
        let now = Instant::now();
        let mut merge = Merge::default();
        merge.open(1, now);
        merge.open(2, now);
        merge.reached(1, 1_000, true, now);
        merge.reached(2, 10, true, now);
        merge.put(1, 1_001, "a", now);
        let later = now + WAIT;
        merge.reached(2, 20, true, later);
        assert_eq!(all(&mut merge, later), ["a"]);
    }

    #[test]
    fn a_stream_with_a_clock_ahead_is_shown_after_the_wait_and_delays_no_other() {
        const HOUR: i64 = 3_600_000;
        let now = Instant::now();
        let mut merge = Merge::default();
        merge.open(1, now);
        merge.open(2, now);
        merge.reached(1, 1_000, true, now);
        merge.reached(2, HOUR, true, now);
        merge.put(2, HOUR + 1, "ahead", now);
        merge.put(1, 1_001, "a", now);
        assert_eq!(all(&mut merge, now), ["a"]);
        assert_eq!(merge.next(now), Release::Wait(now + WAIT));
        merge.reached(1, 1_900, true, now + WAIT);
        assert_eq!(all(&mut merge, now + WAIT), ["ahead"]);
        // An item after it by this clock is released at once and counted as out of order.
        merge.put(1, 2_000, "b", now + WAIT);
        assert_eq!(all(&mut merge, now + WAIT), ["b"]);
        assert_eq!(merge.out_of_order(), 1);
    }

    #[test]
    fn a_history_waits_for_every_stream_that_keeps_sending() {
        let now = Instant::now();
        let mut merge = Merge::default();
        merge.open(1, now);
        merge.open(2, now);
        merge.put(1, 100, "b", now);
        let later = now + 10 * WAIT;
        merge.put(2, 1, "a", later);
        assert_eq!(all(&mut merge, later), ["a"]);
        merge.reached(2, 100, true, later);
        assert_eq!(all(&mut merge, later), ["b"]);
    }

    #[test]
    fn a_stream_that_has_ended_delays_no_other_and_loses_nothing() {
        let now = Instant::now();
        let mut merge = Merge::default();
        merge.open(1, now);
        merge.open(2, now);
        merge.put(1, 10, "a", now);
        merge.put(2, 20, "b", now);
        merge.close(2);
        merge.close(1);
        assert_eq!(all(&mut merge, now), ["a", "b"]);
        assert_eq!(merge.next(now), Release::Empty);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_change_the_order_of_its_stream() {
        let now = Instant::now();
        let mut merge = Merge::default();
        merge.open(1, now);
        merge.put(1, 10, "a", now);
        merge.put(1, 5, "b", now);
        assert_eq!(all(&mut merge, now), ["a", "b"]);
    }
}
