//! Several streams, each in its own order, as one in the order of time.
//!
//! Pure: time is an argument. What a stream said goes out when no other stream can still say something earlier: each says
//! now and then up to when it has told everything. A stream that is silent for too long, or whose clock is behind, holds the
//! others up for a bounded time only; what then comes out of order is counted.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Names a stream.
pub type SourceId = u64;

/// A stream that says nothing for so long holds nobody up.
pub const SILENCE: Duration = Duration::from_secs(2);
/// Once all have told their history, nothing waits longer than this.
pub const WAIT: Duration = Duration::from_secs(1);

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// This.
    Ready(T),
    /// Something may go out by then.
    Wait(Instant),
    /// Nothing is at hand.
    Empty,
}

#[derive(Debug)]
struct Source<T> {
    queue: VecDeque<Held<T>>,
    /// All that it tells from before that time is in the queue, or was.
    reached: i64,
    heard: Instant,
    /// What comes from now on has just happened.
    live: bool,
}

#[derive(Debug)]
struct Held<T> {
    told: i64,
    came: Instant,
    item: T,
}

/// The streams and what waits of them.
#[derive(Debug)]
pub struct Merge<T> {
    sources: BTreeMap<SourceId, Source<T>>,
    /// What is left of streams that ended.
    rest: BTreeMap<SourceId, VecDeque<Held<T>>>,
    latest: i64,
    out_of_order: u64,
}

impl<T> Default for Merge<T> {
    fn default() -> Merge<T> {
        Merge {
            sources: BTreeMap::new(),
            rest: BTreeMap::new(),
            latest: i64::MIN,
            out_of_order: 0,
        }
    }
}

impl<T> Merge<T> {
    /// A stream begins: the others wait for it from now on.
    pub fn open(&mut self, id: SourceId, now: Instant) {
        if let Some(source) = self.sources.get_mut(&id) {
            source.heard = now;
            return;
        }
        self.sources.insert(
            id,
            Source {
                queue: self.rest.remove(&id).unwrap_or_default(),
                reached: i64::MIN,
                heard: now,
                live: false,
            },
        );
    }

    /// A stream told something at that time.
    pub fn put(&mut self, id: SourceId, told: i64, item: T, now: Instant) {
        let Some(source) = self.sources.get_mut(&id) else {
            return;
        };
        source.heard = now;
        // Its own order is never changed, whatever its clock does.
        source.reached = source.reached.max(told);
        source.queue.push_back(Held {
            told: source.reached,
            came: now,
            item,
        });
    }

    /// A stream has told everything from before that time; `live` if its history is over.
    pub fn reached(&mut self, id: SourceId, time: i64, live: bool, now: Instant) {
        if let Some(source) = self.sources.get_mut(&id) {
            source.heard = now;
            source.reached = source.reached.max(time);
            source.live |= live;
        }
    }

    /// A stream ended; what it told still goes out in its place.
    pub fn close(&mut self, id: SourceId) {
        if let Some(source) = self.sources.remove(&id)
            && !source.queue.is_empty()
        {
            self.rest.insert(id, source.queue);
        }
    }

    /// What goes out next, as things are now.
    pub fn next(&mut self, now: Instant) -> Next<T> {
        let Some((id, told, came)) = self.first() else {
            return Next::Empty;
        };
        let live = self.sources.values().all(|source| source.live);
        let until = self
            .sources
            .values()
            .filter(|source| source.queue.is_empty() && source.reached < told)
            .map(|source| {
                let silent = source.heard + SILENCE;
                if live {
                    silent.min(came + WAIT)
                } else {
                    silent
                }
            })
            .max();
        match until {
            Some(until) if now < until => Next::Wait(until),
            _ => self.take(id).map_or(Next::Empty, Next::Ready),
        }
    }

    /// What goes out next if nobody is waited for.
    pub fn drain(&mut self) -> Option<T> {
        let (id, ..) = self.first()?;
        self.take(id)
    }

    /// What went out behind something that was told later.
    pub fn out_of_order(&self) -> u64 {
        self.out_of_order
    }

    /// The earliest that waits.
    fn first(&self) -> Option<(SourceId, i64, Instant)> {
        let open = self.sources.iter().map(|(id, source)| (*id, &source.queue));
        let ended = self.rest.iter().map(|(id, queue)| (*id, queue));
        open.chain(ended)
            .filter_map(|(id, queue)| queue.front().map(|held| (id, held.told, held.came)))
            .min_by_key(|(id, told, _)| (*told, *id))
    }

    fn take(&mut self, id: SourceId) -> Option<T> {
        let held = match self.sources.get_mut(&id) {
            Some(source) => source.queue.pop_front(),
            None => {
                let queue = self.rest.get_mut(&id)?;
                let held = queue.pop_front();
                if queue.is_empty() {
                    self.rest.remove(&id);
                }
                held
            }
        }?;
        if held.told < self.latest {
            self.out_of_order += 1;
        }
        self.latest = self.latest.max(held.told);
        Some(held.item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(merge: &mut Merge<&'static str>, now: Instant) -> Vec<&'static str> {
        let mut out = Vec::new();
        while let Next::Ready(item) = merge.next(now) {
            out.push(item);
        }
        out
    }

    #[test]
    fn what_one_said_waits_until_the_other_has_got_so_far() {
        let now = Instant::now();
        let mut merge = Merge::default();
        merge.open(1, now);
        merge.open(2, now);
        merge.put(1, 10, "a", now);
        merge.put(1, 30, "c", now);
        assert!(matches!(merge.next(now), Next::Wait(_)));
        merge.put(2, 20, "b", now);
        // Of c it is not known yet whether something comes before it.
        assert_eq!(all(&mut merge, now), ["a", "b"]);
        merge.reached(2, 30, true, now);
        assert_eq!(all(&mut merge, now), ["c"]);
        assert_eq!(merge.next(now), Next::Empty);
        assert_eq!(merge.out_of_order(), 0);
    }

    #[test]
    fn one_stream_alone_waits_for_nobody() {
        let now = Instant::now();
        let mut merge = Merge::default();
        merge.open(1, now);
        merge.put(1, 10, "a", now);
        assert_eq!(all(&mut merge, now), ["a"]);
    }

    #[test]
    fn a_silent_stream_holds_the_others_up_for_a_bounded_time_and_what_it_then_says_is_counted() {
        let now = Instant::now();
        let mut merge = Merge::default();
        merge.open(1, now);
        merge.open(2, now);
        merge.put(1, 10, "a", now);
        assert_eq!(merge.next(now), Next::Wait(now + SILENCE));
        assert_eq!(all(&mut merge, now + SILENCE), ["a"]);
        merge.put(2, 5, "late", now + SILENCE);
        assert_eq!(all(&mut merge, now + SILENCE), ["late"]);
        assert_eq!(merge.out_of_order(), 1);
    }

    #[test]
    fn a_stream_whose_clock_is_behind_delays_live_events_by_the_wait_only() {
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
    fn a_stream_whose_clock_is_ahead_is_shown_after_the_wait_and_holds_nobody_up() {
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
        assert_eq!(merge.next(now), Next::Wait(now + WAIT));
        merge.reached(1, 1_900, true, now + WAIT);
        assert_eq!(all(&mut merge, now + WAIT), ["ahead"]);
        // What comes after it by this clock is told at once, and counted as out of its place.
        merge.put(1, 2_000, "b", now + WAIT);
        assert_eq!(all(&mut merge, now + WAIT), ["b"]);
        assert_eq!(merge.out_of_order(), 1);
    }

    #[test]
    fn in_a_history_a_stream_that_speaks_is_waited_for_however_long_it_takes() {
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
    fn a_stream_that_ended_is_not_waited_for_and_loses_nothing() {
        let now = Instant::now();
        let mut merge = Merge::default();
        merge.open(1, now);
        merge.open(2, now);
        merge.put(1, 10, "a", now);
        merge.put(2, 20, "b", now);
        merge.close(2);
        merge.close(1);
        assert_eq!(all(&mut merge, now), ["a", "b"]);
        assert_eq!(merge.next(now), Next::Empty);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_change_a_stream_s_own_order() {
        let now = Instant::now();
        let mut merge = Merge::default();
        merge.open(1, now);
        merge.put(1, 10, "a", now);
        merge.put(1, 5, "b", now);
        assert_eq!(all(&mut merge, now), ["a", "b"]);
    }
}
