//! Pods that sent queries before their name was known. A lookup that spans that moment lacks its beginning.

use std::time::Duration;

use crate::model::time::Timestamp;

/// No lookup pauses for longer between two candidates.
const KEEP: Duration = Duration::from_secs(60);

/// When a pod last sent a query without a known name. Kept with the address behind the interface, as which the pod
/// was known then.
#[derive(Debug, Default)]
pub(in crate::diagnose) struct Unnamed {
    last: Option<Timestamp>,
}

impl Unnamed {
    /// Takes in a query.
    pub fn add(&mut self, at: Timestamp) {
        self.last = Some(at);
    }

    /// Whether a lookup may have begun without a known name: the last such query is less than `idle` before
    /// its start.
    pub fn began(&self, started: Timestamp, idle: Duration) -> bool {
        self.last.is_some_and(|last| started.since(last) < idle)
    }

    pub fn expire(&mut self, now: Timestamp) {
        if self.last.is_some_and(|last| last.after(KEEP) <= now) {
            self.last = None;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.last.is_none()
    }
}
