//! How often a pod has tried a name, a server or a destination, before anything failed.

use std::hash::BuildHasher as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use foldhash::fast::FixedState;

use super::recent::Recent;
use crate::model::time::Timestamp;

/// A pod that has not tried for this long starts anew.
const KEEP: Duration = Duration::from_secs(3600);
/// Targets of a pod. Those of its latest attempts stay.
const MAX_TARGETS: usize = 1024;

/// What a pod tries, again and again. Names are without a trailing dot.
#[derive(Clone, Copy, Debug, Hash)]
pub(in crate::diagnose) enum Target<'a> {
    /// Lookups at a DNS server.
    Server(IpAddr),
    /// Lookups at a DNS server of names in a domain.
    Domain(IpAddr, &'a str),
    /// Lookups of a name, as the application asks for it.
    Name(&'a str),
    /// Lookups of a name behind a search domain.
    SearchDomain(&'a str),
    /// Connections, or UDP flows, to a destination.
    Socket(SocketAddr, &'static str),
    /// Pings of an address.
    Ping(IpAddr),
}

/// A target's hash, so that an attempt that succeeds needs no copy of a name. Two targets with one hash would be
/// counted together, which only their own pod can bring about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::diagnose) struct TargetKey(u64);

impl Target<'_> {
    pub fn key(&self) -> TargetKey {
        TargetKey(FixedState::with_seed(0).hash_one(self))
    }
}

/// A pod's attempts by target.
#[derive(Debug)]
pub(in crate::diagnose) struct Attempts {
    by_target: Recent<TargetKey, u64>,
}

impl Attempts {
    pub fn new() -> Attempts {
        Attempts {
            by_target: Recent::new(MAX_TARGETS),
        }
    }

    /// Takes in an attempt.
    pub fn add(&mut self, now: Timestamp, target: TargetKey) {
        match self.by_target.touch(now, &target) {
            Some(attempts) => *attempts += 1,
            None => {
                self.by_target.insert(now, target, 1);
            }
        }
    }

    /// The attempts so far.
    pub fn count(&self, target: TargetKey) -> u64 {
        self.by_target.get(&target).copied().unwrap_or(0)
    }

    pub fn expire(&mut self, now: Timestamp) {
        self.by_target.expire(now, KEEP);
    }

    pub fn shrink(&mut self) {
        self.by_target.shrink();
    }

    pub fn is_empty(&self) -> bool {
        self.by_target.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.by_target.bytes()
    }
}
