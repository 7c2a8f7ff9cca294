//! The destinations to which pods of this node lost SYNs within the last minute. Several at once, each of them
//! reached now and then, hint at the node rather than at a destination.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::Contacts;
use crate::model::time::Timestamp;

/// What is older has another cause.
const WINDOW: Duration = Duration::from_secs(60);
/// At most this many lost SYNs are kept, the latest ones.
const MAX_KEPT: usize = 64;

/// The latest lost SYNs of all pods.
#[derive(Debug, Default)]
pub(in crate::diagnose) struct LostSyns {
    latest: VecDeque<(Timestamp, SocketAddr)>,
}

impl LostSyns {
    /// A SYN to this destination was lost.
    pub fn add(&mut self, at: Timestamp, peer: SocketAddr) {
        if self.latest.len() >= MAX_KEPT {
            self.latest.pop_front();
        }
        self.latest.push_back((at, peer));
    }

    /// The number of other destinations that lost a part of their SYNs within a minute, if this one lost only a
    /// part, too. One that is not reached at all has a reason of its own.
    pub fn elsewhere(&self, at: Timestamp, peer: SocketAddr, connected: &Contacts) -> usize {
        let recent = |then: Timestamp| at.since(then).max(then.since(at)) <= WINDOW;
        let reached = |socket: &SocketAddr| {
            let contact = connected.latest((socket.ip(), socket.port()));
            contact.is_some_and(|contact| recent(contact.at))
        };
        if !reached(&peer) {
            return 0;
        }
        let others = self.latest.iter().filter(|(then, _)| recent(*then));
        let others: BTreeSet<SocketAddr> = others
            .map(|(_, socket)| *socket)
            .filter(|socket| *socket != peer)
            .collect();
        others.iter().filter(|socket| reached(socket)).count()
    }
}
