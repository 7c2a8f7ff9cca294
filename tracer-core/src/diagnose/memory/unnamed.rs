//! Pods that sent queries before their name was known. A lookup that spans that moment lacks its beginning.

use std::net::IpAddr;
use std::time::Duration;

use crate::model::event::Ends;
use crate::model::flow::Ifindex;
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;
use crate::table::Table;

/// No lookup pauses for longer between two candidates.
const KEEP: Duration = Duration::from_secs(60);

/// When each pod last sent a query without a known name.
#[derive(Debug)]
pub(in crate::diagnose) struct Unnamed {
    by_address: Table<(Ifindex, IpAddr), Timestamp>,
    losses: Losses,
}

impl Unnamed {
    pub fn new(limit: usize) -> Unnamed {
        Unnamed {
            by_address: Table::new(limit),
            losses: Losses::default(),
        }
    }

    /// Takes in a query of a pod without a known name.
    pub fn add(&mut self, at: Timestamp, ends: &Ends) {
        let key = (ends.ifindex, ends.pod.ip);
        if self.by_address.insert(key, at, at.after(KEEP)).is_some() {
            self.losses
                .add(Stage::Table, "pods without a name, kept for findings", 1);
        }
    }

    /// Whether a lookup may have begun without a known name: the last such query is less than `idle` before
    /// its start.
    pub fn began(&self, ends: &Ends, started: Timestamp, idle: Duration) -> bool {
        let last = self.by_address.get(&(ends.ifindex, ends.pod.ip));
        last.is_some_and(|last| started.since(*last) < idle)
    }

    pub fn advance(&mut self, now: Timestamp) {
        while self.by_address.pop_due(now).is_some() {}
    }

    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}
