//! Pods that asked before their name was known: a lookup that began so goes on under the name, and its beginning is missing.

use std::net::IpAddr;
use std::time::Duration;

use crate::model::event::Ends;
use crate::model::flow::Ifindex;
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;
use crate::table::Table;

/// No lookup takes longer from one candidate to the next.
const KEEP: Duration = Duration::from_secs(60);

/// When each asked last without a name.
#[derive(Debug)]
pub(in crate::diagnose) struct Unnamed {
    of: Table<(Ifindex, IpAddr), Timestamp>,
    losses: Losses,
}

impl Unnamed {
    pub fn new(limit: usize) -> Unnamed {
        Unnamed {
            of: Table::new(limit),
            losses: Losses::default(),
        }
    }

    /// Somebody without a name asked.
    pub fn add(&mut self, at: Timestamp, ends: &Ends) {
        let key = (ends.ifindex, ends.pod.ip);
        if self.of.insert(key, at, at.after(KEEP)).is_some() {
            self.losses
                .add(Stage::Table, "pods without a name, kept for findings", 1);
        }
    }

    /// Whether a lookup that starts then may have begun without a name, where candidates follow each other that closely.
    pub fn began(&self, ends: &Ends, started: Timestamp, idle: Duration) -> bool {
        let last = self.of.get(&(ends.ifindex, ends.pod.ip));
        last.is_some_and(|last| started.since(*last) < idle)
    }

    pub fn advance(&mut self, now: Timestamp) {
        while self.of.pop_due(now).is_some() {}
    }

    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}
