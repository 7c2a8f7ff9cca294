//! ICMP errors about packets that are too big for their path, by destination.

use std::net::IpAddr;
use std::time::Duration;

use super::recent::Recent;
use crate::model::time::Timestamp;

/// Errors further apart are counted anew. A host that honours them caches a path's MTU for ten minutes (RFC
/// 1191).
const KEEP: Duration = Duration::from_secs(60);
/// Destinations of a pod.
const MAX_PATHS: usize = 128;

/// The errors that a pod received about one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::diagnose) struct TooBigErrors {
    pub first: Timestamp,
    pub last: Timestamp,
    pub times: u64,
}

/// A pod's errors, by destination.
#[derive(Debug)]
pub(in crate::diagnose) struct TooBig {
    by_path: Recent<IpAddr, TooBigErrors>,
}

impl TooBig {
    pub fn new() -> TooBig {
        TooBig {
            by_path: Recent::new(MAX_PATHS),
        }
    }

    /// Takes in an error. Returns the destination's errors, and the number of entries that gave way.
    pub fn add(&mut self, now: Timestamp, destination: IpAddr) -> (TooBigErrors, u64) {
        let before = self.by_path.get(&destination);
        let errors = TooBigErrors {
            first: before.map_or(now, |before| before.first),
            last: now,
            times: before.map_or(0, |before| before.times) + 1,
        };
        let gave_way = self.by_path.insert(now, destination, errors);
        (errors, gave_way)
    }

    /// Whether the pod got errors about this destination.
    pub fn has(&self, destination: IpAddr) -> bool {
        self.by_path.get(&destination).is_some()
    }

    pub fn expire(&mut self, now: Timestamp) {
        self.by_path.expire(now, KEEP);
    }

    pub fn is_empty(&self) -> bool {
        self.by_path.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.by_path.bytes()
    }
}
