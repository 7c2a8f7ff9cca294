//! Sockets that several connections share: a server's. A client opens each connection from another port.

use crate::fair_table::{FairTable, Room};
use crate::model::flow::{Flow, Ifindex, Role};
use crate::model::time::Timestamp;
use std::net::SocketAddr;

/// A socket that accepted a connection, or is an end of this many, is a server's.
const SHARED: u8 = 2;

/// How many connections each socket is an end of.
#[derive(Debug)]
pub(super) struct Sockets {
    counts: FairTable<(Ifindex, SocketAddr), u8>,
}

impl Sockets {
    pub(super) fn new(room: Room) -> Sockets {
        Sockets {
            counts: FairTable::new(room),
        }
    }

    /// A connection was seen to be opened by its SYN, or accepted by its SYN-ACK.
    pub(super) fn opened(&mut self, flow: &Flow, role: Role) {
        let server = match role {
            Role::Client => flow.peer,
            Role::Server => flow.pod,
        };
        self.add((flow.ifindex, server), SHARED);
    }

    /// A connection was first seen in the middle.
    pub(super) fn picked_up(&mut self, flow: &Flow) {
        self.add((flow.ifindex, flow.pod), 1);
        self.add((flow.ifindex, flow.peer), 1);
    }

    /// The pod's role in a connection seen from the middle, if one end is a server's socket and the other is
    /// not.
    pub(super) fn role(&self, flow: &Flow) -> Option<Role> {
        let shared = |end: SocketAddr| {
            self.counts
                .get(&(flow.ifindex, end))
                .is_some_and(|count| *count >= SHARED)
        };
        match (shared(flow.pod), shared(flow.peer)) {
            (true, false) => Some(Role::Server),
            (false, true) => Some(Role::Client),
            _ => None,
        }
    }

    fn add(&mut self, key: (Ifindex, SocketAddr), count: u8) {
        // An evicted socket may be guessed by its port again; nothing is lost that was certain.
        let never = Timestamp(u64::MAX);
        match self.counts.get_mut(&key) {
            Some(known) => {
                *known = known.saturating_add(count);
                self.counts.touch(&key, never);
            }
            None => {
                drop(self.counts.insert(key, count, 0, never));
            }
        }
    }
}
