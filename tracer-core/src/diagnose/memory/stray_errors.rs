//! ICMP errors that quote a TCP connection which the pod does not have: an endpoint's address instead of the
//! Service's, because nothing translated the error back. By the pod's port, for the connection that fails.

use std::time::Duration;

use super::recent::Recent;
use crate::model::observation::IcmpError;
use crate::model::time::Timestamp;

/// The verdict on the connection comes sooner.
const KEEP: Duration = Duration::from_secs(60);
/// Ports of a pod.
const MAX_PORTS: usize = 128;

/// The latest errors, by the pod's port.
#[derive(Debug)]
pub(in crate::diagnose) struct StrayErrors {
    by_port: Recent<u16, IcmpError>,
}

impl StrayErrors {
    pub fn new() -> StrayErrors {
        StrayErrors {
            by_port: Recent::new(MAX_PORTS),
        }
    }

    /// Takes in an error. Returns the number of entries that gave way.
    pub fn add(&mut self, now: Timestamp, error: &IcmpError) -> u64 {
        self.by_port.insert(now, error.about.src.port(), *error)
    }

    /// The latest error about a connection from this port.
    pub fn get(&self, port: u16) -> Option<IcmpError> {
        self.by_port.get(&port).copied()
    }

    pub fn expire(&mut self, now: Timestamp) {
        self.by_port.expire(now, KEEP);
    }

    pub fn is_empty(&self) -> bool {
        self.by_port.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.by_port.bytes()
    }
}
