//! Failures of a pod's connections to one destination that are no finding by themselves: a lost first SYN, a
//! SYN given up early, a reset after the first data. A rule asks for several.

use std::net::SocketAddr;
use std::time::Duration;

use crate::identity::Owner;
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;
use crate::table::Table;

/// Mishaps further apart are counted anew.
const KEEP: Duration = Duration::from_secs(600);

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::diagnose) enum Mishap {
    /// The connection was established after lost SYNs.
    LostSyn,
    /// The client gave up its SYN, before a verdict was due or after.
    GivenUp,
    /// The other end reset the connection instead of answering the first data.
    EarlyReset,
}

const ALL: [Mishap; 3] = [Mishap::LostSyn, Mishap::GivenUp, Mishap::EarlyReset];

/// How many of a number of attempts failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::diagnose) struct Share {
    pub failures: u64,
    /// Since the first failure, which is one of them.
    pub attempts: u64,
}

/// The mishaps of each pod and destination.
#[derive(Debug)]
pub(in crate::diagnose) struct Mishaps {
    by_socket: Table<(Owner, SocketAddr, Mishap), Share>,
    losses: Losses,
}

impl Mishaps {
    pub fn new(limit: usize) -> Mishaps {
        Mishaps {
            by_socket: Table::new(limit),
            losses: Losses::default(),
        }
    }

    /// Takes in an attempt, whatever its outcome.
    pub fn attempt(&mut self, owner: &Owner, socket: SocketAddr) {
        if self.by_socket.is_empty() {
            return;
        }
        for mishap in ALL {
            if let Some(share) = self.by_socket.get_mut(&(owner.clone(), socket, mishap)) {
                share.attempts += 1;
            }
        }
    }

    /// Takes in a mishap of an attempt that was counted. Returns the share with it.
    pub fn add(
        &mut self,
        now: Timestamp,
        owner: &Owner,
        socket: SocketAddr,
        mishap: Mishap,
    ) -> Share {
        let key = (owner.clone(), socket, mishap);
        let mut share = self.by_socket.remove(&key).unwrap_or_default();
        share.failures += 1;
        share.attempts = share.attempts.max(share.failures);
        if self.by_socket.insert(key, share, now.after(KEEP)).is_some() {
            self.losses
                .add(Stage::Table, "mishaps of connections, kept for findings", 1);
        }
        share
    }

    pub fn advance(&mut self, now: Timestamp) {
        while self.by_socket.pop_due(now).is_some() {}
    }

    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}
