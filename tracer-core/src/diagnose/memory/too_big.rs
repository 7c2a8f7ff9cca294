//! ICMP errors about packets that are too big for their path, by pod and destination.

use std::net::IpAddr;
use std::time::Duration;

use crate::identity::Owner;
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;
use crate::table::Table;

/// Errors further apart are counted anew. A host that honours them caches a path's MTU for ten minutes (RFC
/// 1191).
const KEEP: Duration = Duration::from_secs(60);

/// The errors that a pod received about one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::diagnose) struct TooBigErrors {
    pub first: Timestamp,
    pub last: Timestamp,
    pub times: u64,
}

/// The errors of all pods.
#[derive(Debug)]
pub(in crate::diagnose) struct TooBig {
    by_path: Table<(Owner, IpAddr), TooBigErrors>,
    losses: Losses,
}

impl TooBig {
    pub fn new(limit: usize) -> TooBig {
        TooBig {
            by_path: Table::new(limit),
            losses: Losses::default(),
        }
    }

    /// Takes in an error.
    pub fn add(&mut self, now: Timestamp, owner: Owner, destination: IpAddr) -> TooBigErrors {
        let key = (owner, destination);
        let before = self.by_path.remove(&key);
        let errors = TooBigErrors {
            first: before.map_or(now, |before| before.first),
            last: now,
            times: before.map_or(0, |before| before.times) + 1,
        };
        if self.by_path.insert(key, errors, now.after(KEEP)).is_some() {
            self.losses
                .add(Stage::Table, "paths with a small MTU, kept for findings", 1);
        }
        errors
    }

    /// Whether this pod got errors about this destination.
    pub fn has(&self, owner: &Owner, destination: IpAddr) -> bool {
        self.by_path.get(&(owner.clone(), destination)).is_some()
    }

    pub fn advance(&mut self, now: Timestamp) {
        while self.by_path.pop_due(now).is_some() {}
    }

    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}
