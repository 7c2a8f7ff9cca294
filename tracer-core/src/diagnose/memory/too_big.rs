//! How often a pod was told that its packets to an address are too big for the path.

use std::net::IpAddr;
use std::time::Duration;

use crate::identity::Owner;
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;
use crate::table::Table;

/// Told again after so long is told anew: a host remembers a path's MTU for ten minutes, and this is about not heeding it.
const KEEP: Duration = Duration::from_secs(60);

/// What a pod was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::diagnose) struct Told {
    pub first: Timestamp,
    pub last: Timestamp,
    pub times: u64,
}

/// By pod and destination.
#[derive(Debug)]
pub(in crate::diagnose) struct TooBig {
    of: Table<(Owner, IpAddr), Told>,
    losses: Losses,
}

impl TooBig {
    pub fn new(limit: usize) -> TooBig {
        TooBig {
            of: Table::new(limit),
            losses: Losses::default(),
        }
    }

    /// It was told once more.
    pub fn add(&mut self, now: Timestamp, owner: Owner, destination: IpAddr) -> Told {
        let key = (owner, destination);
        let before = self.of.remove(&key);
        let told = Told {
            first: before.map_or(now, |before| before.first),
            last: now,
            times: before.map_or(0, |before| before.times) + 1,
        };
        if self.of.insert(key, told, now.after(KEEP)).is_some() {
            self.losses
                .add(Stage::Table, "paths with a small MTU, kept for findings", 1);
        }
        told
    }

    pub fn advance(&mut self, now: Timestamp) {
        while self.of.pop_due(now).is_some() {}
    }

    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}
