//! TCP connections to DNS servers that failed within the last second. If one was opened for a truncated
//! answer, the event of that exchange explains more.

use std::net::IpAddr;
use std::time::Duration;

use crate::fair_table::{FairTable, Key, Room};
use crate::identity::Owner;
use crate::model::connection::TcpConnection;
use crate::model::event::Ends;
use crate::model::flow::Ifindex;
use crate::model::heap_bytes::HeapBytes as _;
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;

/// The event of the truncated exchange follows the end of the connection at once.
const WAIT: Duration = Duration::from_secs(1);
/// Connections of all pods: a few for each pod that a node may have.
const ROOM: Room = Room {
    entries: 2048,
    bytes: 2 << 20,
};

/// A failed connection to a DNS server.
#[derive(Clone, Debug)]
pub(in crate::diagnose) struct FailedConnection {
    pub started: Timestamp,
    pub ends: Ends,
    pub connection: TcpConnection,
}

/// A pod's server.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Server {
    ifindex: Ifindex,
    owner: Owner,
    ip: IpAddr,
}

impl Server {
    fn new(ends: &Ends, owner: &Owner) -> Server {
        Server {
            ifindex: ends.ifindex,
            owner: owner.clone(),
            ip: ends.peer.ip,
        }
    }
}

impl Key for Server {
    type Owner = Ifindex;

    fn owner(&self) -> Ifindex {
        self.ifindex
    }
}

/// Failed connections by pod and server.
#[derive(Debug)]
pub(in crate::diagnose) struct FailedTcp {
    by_server: FairTable<Server, FailedConnection>,
    losses: Losses,
}

impl FailedTcp {
    pub fn new() -> FailedTcp {
        FailedTcp {
            by_server: FairTable::new(ROOM),
            losses: Losses::default(),
        }
    }

    /// Takes in a failed connection. At the limit, one of the interface that has most is dropped.
    pub fn add(&mut self, now: Timestamp, owner: &Owner, failed: FailedConnection) {
        let server = Server::new(&failed.ends, owner);
        // Identities are the index's own.
        let heap = failed.ends.peer.names.heap_bytes();
        let evicted = self.by_server.insert(server, failed, heap, now.after(WAIT));
        for (server, _) in evicted {
            self.losses.add_on(
                server.ifindex,
                Stage::Table,
                "failed connections to DNS servers, kept for findings",
                1,
            );
        }
    }

    /// Removes a connection that belongs to a truncated exchange, which has an event of its own.
    pub fn explained(&mut self, ends: &Ends, owner: &Owner) {
        if !self.by_server.is_empty() {
            self.by_server.remove(&Server::new(ends, owner));
        }
    }

    /// The next connection without such an exchange.
    pub fn due(&mut self, now: Timestamp) -> Option<FailedConnection> {
        self.by_server.pop_due(now).map(|(_, failed)| failed)
    }

    /// Any connection that is left, at the end of the input.
    pub fn rest(&mut self) -> Option<FailedConnection> {
        self.by_server.pop_oldest().map(|(_, failed)| failed)
    }

    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}
