//! Events whose pod is not known yet. They wait in order, for a bounded time and in bounded number.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::model::correlated::Correlated;
use crate::model::flow::Ifindex;
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;

/// The waiting events, in order of arrival.
#[derive(Debug)]
pub struct Waiting {
    patience: Duration,
    limit: usize,
    queue: VecDeque<(Timestamp, Correlated)>,
    /// Waiting events per interface: later ones of the same interface must not overtake them.
    per_interface: HashMap<Ifindex, usize>,
    losses: Losses,
}

impl Waiting {
    /// Creates an empty queue.
    pub fn new(patience: Duration, limit: usize) -> Waiting {
        Waiting {
            patience,
            limit,
            queue: VecDeque::new(),
            per_interface: HashMap::new(),
            losses: Losses::default(),
        }
    }

    /// Whether an event of this interface waits.
    pub fn holds(&self, ifindex: Ifindex) -> bool {
        self.per_interface.contains_key(&ifindex)
    }

    /// Queues an event. Without room, returns it to be emitted without its pod's name, and counts it.
    #[must_use]
    pub fn hold(&mut self, now: Timestamp, item: Correlated) -> Option<Correlated> {
        if self.queue.len() >= self.limit {
            self.losses.add(
                Stage::Table,
                "emitted without waiting for the pod's identity",
                1,
            );
            return Some(item);
        }
        *self.per_interface.entry(item.flow.ifindex).or_default() += 1;
        self.queue.push_back((now, item));
        None
    }

    /// Whether the oldest event has waited long enough.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.oldest()
            .is_some_and(|since| now.since(since) >= self.patience)
    }

    /// Removes, in order, the events that have waited long enough or need not wait any more.
    pub fn ready(
        &mut self,
        now: Timestamp,
        mut known: impl FnMut(&Correlated) -> bool,
    ) -> Vec<Correlated> {
        let mut ready = Vec::new();
        if self.queue.is_empty() {
            return ready;
        }
        let patience = self.patience;
        let mut blocked: Vec<Ifindex> = Vec::new();
        let mut rest = VecDeque::with_capacity(self.queue.len());
        for (since, item) in self.queue.drain(..) {
            let ifindex = item.flow.ifindex;
            let may_go =
                !blocked.contains(&ifindex) && (now.since(since) >= patience || known(&item));
            if may_go {
                ready.push(item);
            } else {
                blocked.push(ifindex);
                rest.push_back((since, item));
            }
        }
        self.queue = rest;
        self.per_interface.clear();
        for (_, item) in &self.queue {
            *self.per_interface.entry(item.flow.ifindex).or_default() += 1;
        }
        ready
    }

    /// Time of the oldest waiting event.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.queue.front().map(|(since, _)| *since)
    }

    /// Removes all events.
    pub fn all(&mut self) -> Vec<Correlated> {
        self.per_interface.clear();
        self.queue.drain(..).map(|(_, item)| item).collect()
    }

    /// Events that could not wait.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}
