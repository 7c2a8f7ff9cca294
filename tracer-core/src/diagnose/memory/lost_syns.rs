//! The destinations to which pods of this node lost SYNs within the last minute. Several at once, each of them
//! reached now and then, hint at the node rather than at a destination.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::Pods;
use crate::model::flow::Ifindex;
use crate::model::time::Timestamp;

/// What is older has another cause.
const WINDOW: Duration = Duration::from_secs(60);
/// At most this many lost SYNs are kept: the latest ones, and as many of each interface as of any other.
const MAX_KEPT: usize = 64;

/// A lost SYN.
#[derive(Debug)]
struct LostSyn {
    at: Timestamp,
    ifindex: Ifindex,
    peer: SocketAddr,
}

/// The latest lost SYNs of all pods.
#[derive(Debug, Default)]
pub(in crate::diagnose) struct LostSyns {
    latest: VecDeque<LostSyn>,
}

impl LostSyns {
    /// A SYN to this destination was lost.
    pub fn add(&mut self, at: Timestamp, ifindex: Ifindex, peer: SocketAddr) {
        self.latest.push_back(LostSyn { at, ifindex, peer });
        if self.latest.len() > MAX_KEPT {
            self.make_room();
        }
    }

    /// Drops the oldest one of the interface that has most.
    fn make_room(&mut self) {
        let mut shares: BTreeMap<Ifindex, usize> = BTreeMap::new();
        for lost in &self.latest {
            *shares.entry(lost.ifindex).or_default() += 1;
        }
        let most = shares.iter().max_by_key(|(_, count)| **count);
        let oldest = most.and_then(|(ifindex, _)| {
            let mut latest = self.latest.iter();
            latest.position(|lost| lost.ifindex == *ifindex)
        });
        if let Some(oldest) = oldest {
            self.latest.remove(oldest);
        }
    }

    /// The number of other destinations that lost a part of their SYNs within a minute, if this one lost only a
    /// part, too. One that is not reached at all has a reason of its own.
    pub fn elsewhere(&self, at: Timestamp, peer: SocketAddr, pods: &Pods) -> usize {
        let recent = |then: Timestamp| at.since(then).max(then.since(at)) <= WINDOW;
        let reached = |socket: &SocketAddr| {
            let contact = pods.latest_contact((socket.ip(), socket.port()));
            contact.is_some_and(|contact| recent(contact.at))
        };
        if !reached(&peer) {
            return 0;
        }
        let others = self.latest.iter().filter(|lost| recent(lost.at));
        let others: BTreeSet<SocketAddr> = others
            .map(|lost| lost.peer)
            .filter(|socket| *socket != peer)
            .collect();
        others.iter().filter(|socket| reached(socket)).count()
    }
}
