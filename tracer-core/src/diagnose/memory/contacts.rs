//! The addresses and ports that a pod reached last: whether a silence affects one pod or all.

use std::net::IpAddr;
use std::time::Duration;

use super::recent::Recent;
use crate::model::identity::PodEnd;
use crate::model::time::Timestamp;

/// An older contact says nothing about the present.
const KEEP: Duration = Duration::from_secs(300);
/// Addresses and ports of a pod.
const MAX_PEERS: usize = 512;

/// An address and a port.
pub(in crate::diagnose) type Peer = (IpAddr, u16);

/// A pod that connected, or got an answer.
#[derive(Clone, Copy, Debug)]
pub(in crate::diagnose) struct Contact<'a> {
    pub pod: &'a PodEnd,
    pub at: Timestamp,
}

/// A pod's latest contacts by address and port.
#[derive(Debug)]
pub(in crate::diagnose) struct Contacts {
    by_peer: Recent<Peer, Timestamp>,
}

impl Contacts {
    pub fn new() -> Contacts {
        Contacts {
            by_peer: Recent::new(MAX_PEERS),
        }
    }

    /// Takes in a contact.
    pub fn add(&mut self, at: Timestamp, peer: Peer) {
        match self.by_peer.touch(at, &peer) {
            Some(latest) => *latest = at,
            None => {
                self.by_peer.insert(at, peer, at);
            }
        }
    }

    /// The time of the latest one.
    pub fn at(&self, peer: Peer) -> Option<Timestamp> {
        self.by_peer.get(&peer).copied()
    }

    pub fn expire(&mut self, now: Timestamp) {
        self.by_peer.expire(now, KEEP);
    }

    pub fn shrink(&mut self) {
        self.by_peer.shrink();
    }

    pub fn is_empty(&self) -> bool {
        self.by_peer.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.by_peer.bytes()
    }
}
