//! Failures of a pod's connections to one destination that are no finding by themselves: a lost first SYN, a
//! SYN given up early, a reset after the first data. A rule asks for several.

use std::net::SocketAddr;
use std::time::Duration;

use super::recent::Recent;
use crate::model::time::Timestamp;

/// Mishaps further apart are counted anew.
const KEEP: Duration = Duration::from_secs(600);
/// Destinations of a pod, by kind of mishap.
const MAX_SOCKETS: usize = 128;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// A pod's mishaps by destination.
#[derive(Debug)]
pub(in crate::diagnose) struct Mishaps {
    by_socket: Recent<(SocketAddr, Mishap), Share>,
}

impl Mishaps {
    pub fn new() -> Mishaps {
        Mishaps {
            by_socket: Recent::new(MAX_SOCKETS),
        }
    }

    /// Takes in an attempt, whatever its outcome.
    pub fn attempt(&mut self, socket: SocketAddr) {
        if self.by_socket.is_empty() {
            return;
        }
        for mishap in ALL {
            if let Some(share) = self.by_socket.get_mut(&(socket, mishap)) {
                share.attempts += 1;
            }
        }
    }

    /// Takes in a mishap of an attempt that was counted. Returns the share with it, and the number of entries
    /// that gave way.
    pub fn add(&mut self, now: Timestamp, socket: SocketAddr, mishap: Mishap) -> (Share, u64) {
        let key = (socket, mishap);
        let mut share = self.by_socket.get(&key).copied().unwrap_or_default();
        share.failures += 1;
        share.attempts = share.attempts.max(share.failures);
        let gave_way = self.by_socket.insert(now, key, share);
        (share, gave_way)
    }

    pub fn expire(&mut self, now: Timestamp) {
        self.by_socket.expire(now, KEEP);
    }

    pub fn is_empty(&self) -> bool {
        self.by_socket.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.by_socket.bytes()
    }
}
