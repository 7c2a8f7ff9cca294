//! Events whose pod is not known yet. They wait in order, for a bounded time and in bounded number.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::incomplete::Item;
use crate::fair_table::Room;
use crate::model::flow::Ifindex;
use crate::model::heap_bytes::HeapBytes;
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;

/// The waiting events, in order of arrival.
#[derive(Debug)]
pub struct Waiting {
    patience: Duration,
    room: Room,
    /// By interface: later events of the same interface must not overtake earlier ones.
    queues: BTreeMap<Ifindex, Queue>,
    events: usize,
    bytes: usize,
    arrivals: u64,
    losses: Losses,
}

/// The events of one interface. Never empty.
#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Waiter>,
    bytes: usize,
}

#[derive(Debug)]
struct Waiter {
    since: Timestamp,
    /// When it is emitted, named or not.
    until: Timestamp,
    /// The order of arrival among all interfaces.
    arrival: u64,
    bytes: usize,
    item: Item,
}

impl Waiting {
    /// Creates an empty queue.
    pub fn new(patience: Duration, room: Room) -> Waiting {
        Waiting {
            patience,
            room,
            queues: BTreeMap::new(),
            events: 0,
            bytes: 0,
            arrivals: 0,
            losses: Losses::default(),
        }
    }

    /// Whether an event of this interface waits.
    pub fn holds(&self, ifindex: Ifindex) -> bool {
        self.queues.contains_key(&ifindex)
    }

    /// Queues an event until its interface's deadline. Returns those that make room for it, to be emitted
    /// without their pod's name: the oldest of the interface that holds most. Counts them.
    #[must_use]
    pub fn hold(&mut self, now: Timestamp, deadline: Timestamp, item: Item) -> Vec<Item> {
        // The queue grows by doubling.
        let bytes = 2 * size_of::<Waiter>() + item.event.heap_bytes();
        let queue = self.queues.entry(item.ifindex()).or_default();
        queue.bytes += bytes;
        queue.events.push_back(Waiter {
            since: now,
            until: deadline.min(now.after(self.patience)),
            arrival: self.arrivals,
            bytes,
            item,
        });
        self.arrivals += 1;
        self.events += 1;
        self.bytes += bytes;
        let mut evicted = Vec::new();
        while let Some(ifindex) = self.overfull() {
            let Some(waiter) = self.pop(ifindex) else {
                break;
            };
            let reason = "emitted without waiting for the pod's identity";
            self.losses.add_on(ifindex, Stage::Table, reason, 1);
            evicted.push(waiter.item);
        }
        evicted
    }

    /// The interface that holds most, if there is not enough room.
    fn overfull(&self) -> Option<Ifindex> {
        let most = if self.events > self.room.entries {
            (self.queues.iter()).max_by_key(|(_, queue)| queue.events.len())
        } else if self.bytes > self.room.bytes {
            (self.queues.iter()).max_by_key(|(_, queue)| queue.bytes)
        } else {
            None
        };
        most.map(|(ifindex, _)| *ifindex)
    }

    /// Whether the next event of an interface has waited long enough.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.first().any(|waiter| waiter.until <= now)
    }

    /// Removes, in order, the events that have waited long enough or need not wait any more.
    pub fn ready(&mut self, now: Timestamp, mut known: impl FnMut(&Item) -> bool) -> Vec<Item> {
        let mut ready = Vec::new();
        let interfaces: Vec<Ifindex> = self.queues.keys().copied().collect();
        for ifindex in interfaces {
            while let Some(first) = self
                .queues
                .get(&ifindex)
                .and_then(|queue| queue.events.front())
                && (first.until <= now || known(&first.item))
            {
                ready.extend(self.pop(ifindex));
            }
        }
        in_order(ready)
    }

    /// The next event of each interface.
    fn first(&self) -> impl Iterator<Item = &Waiter> {
        let queues = self.queues.values();
        queues.filter_map(|queue| queue.events.front())
    }

    /// Time of the oldest waiting event.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.first().map(|waiter| waiter.since).min()
    }

    /// Removes all events, in order.
    pub fn all(&mut self) -> Vec<Item> {
        (self.events, self.bytes) = (0, 0);
        let queues = std::mem::take(&mut self.queues);
        in_order(
            queues
                .into_values()
                .flat_map(|queue| queue.events)
                .collect(),
        )
    }

    /// Events that could not wait.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Removes the oldest event of an interface.
    fn pop(&mut self, ifindex: Ifindex) -> Option<Waiter> {
        let queue = self.queues.get_mut(&ifindex)?;
        let waiter = queue.events.pop_front()?;
        queue.bytes -= waiter.bytes;
        if queue.events.is_empty() {
            self.queues.remove(&ifindex);
        }
        self.events -= 1;
        self.bytes -= waiter.bytes;
        Some(waiter)
    }
}

fn in_order(mut waiters: Vec<Waiter>) -> Vec<Item> {
    waiters.sort_unstable_by_key(|waiter| waiter.arrival);
    waiters.into_iter().map(|waiter| waiter.item).collect()
}
