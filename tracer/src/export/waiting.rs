//! What waits to be exported: findings apart from other events, so that a storm of failures drops none.

use std::sync::Arc;

use super::fair_queue::FairQueue;
use tracer_core::model::event::{Body, Event};

/// Findings in the queue.
pub(super) const MAX_FINDINGS: usize = 1_024;
/// Other events in the queue.
pub(super) const MAX_EVENTS: usize = 4_096;

/// Both queues.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    findings: FairQueue<T>,
    events: FairQueue<T>,
}

impl<T> Waiting<T> {
    /// Two empty queues.
    pub fn new() -> Waiting<T> {
        Waiting {
            findings: FairQueue::new(MAX_FINDINGS),
            events: FairQueue::new(MAX_EVENTS),
        }
    }

    /// The number of items.
    pub fn len(&self) -> usize {
        self.findings.len() + self.events.len()
    }

    /// Adds what is exported of an event. Returns how many items were dropped for it.
    pub fn push(&mut self, event: &Event, item: T) -> u64 {
        let uid = match &event.ends {
            Some(ends) => match &ends.pod.identity {
                Ok(pod) => Arc::clone(&pod.uid),
                // An unknown pod has its share by its address.
                Err(_) => ends.pod.ip.to_string().into(),
            },
            None => Arc::default(),
        };
        match &event.body {
            Body::Finding(_) => self.findings.push(&uid, item),
            _ => self.events.push(&uid, item),
        }
    }

    /// The next item: findings first.
    pub fn pop(&mut self) -> Option<T> {
        self.findings.pop().or_else(|| self.events.pop())
    }
}
