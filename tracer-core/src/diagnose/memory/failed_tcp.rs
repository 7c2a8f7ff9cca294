//! TCP connections to DNS servers that failed within the last second. If one was opened for a truncated
//! answer, the event of that exchange explains more.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::identity::Owner;
use crate::model::connection::TcpConnection;
use crate::model::event::Ends;
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;
use crate::table::Table;

/// The event of the truncated exchange follows the end of the connection at once.
const WAIT: Duration = Duration::from_secs(1);
/// Servers per pod within that time. A resolver has three.
const MAX_PER_POD: usize = 16;
/// Connections of all pods: more than a node has pods.
const MAX_CONNECTIONS: usize = 2048;

/// A failed connection to a DNS server.
#[derive(Clone, Debug)]
pub(in crate::diagnose) struct FailedConnection {
    pub started: Timestamp,
    pub ends: Ends,
    pub connection: TcpConnection,
}

/// Failed connections by pod and server.
#[derive(Debug)]
pub(in crate::diagnose) struct FailedTcp {
    by_server: Table<(Owner, IpAddr), FailedConnection>,
    losses: Losses,
}

impl FailedTcp {
    pub fn new() -> FailedTcp {
        FailedTcp {
            by_server: Table::new(MAX_CONNECTIONS),
            losses: Losses::default(),
        }
    }

    /// Takes in a failed connection, unless there are many of the pod.
    pub fn add(&mut self, now: Timestamp, owner: &Owner, failed: FailedConnection) {
        let ifindex = failed.ends.ifindex;
        let key = (owner.clone(), failed.ends.peer.ip);
        let full = self.by_server.get(&key).is_none() && self.of_pod(owner) >= MAX_PER_POD;
        let lost = full
            || self
                .by_server
                .insert(key, failed, now.after(WAIT))
                .is_some();
        self.losses.add_on(
            ifindex,
            Stage::Table,
            "failed connections to DNS servers, kept for findings",
            u64::from(lost),
        );
    }

    fn of_pod(&self, owner: &Owner) -> usize {
        let first = (owner.clone(), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let connections = self.by_server.from(&first);
        connections
            .take_while(|((other, _), _)| other == owner)
            .count()
    }

    /// Removes a connection that belongs to a truncated exchange, which has an event of its own.
    pub fn explained(&mut self, owner: &Owner, server: IpAddr) {
        if !self.by_server.is_empty() {
            self.by_server.remove(&(owner.clone(), server));
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
