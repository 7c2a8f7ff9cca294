//! TCP connections to DNS servers that failed within the last second. If one was opened for a truncated
//! answer, the event of that exchange explains more.

use std::net::IpAddr;
use std::time::Duration;

use crate::identity::Owner;
use crate::model::connection::TcpConnection;
use crate::model::event::Ends;
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;
use crate::table::Table;

/// The event of the truncated exchange follows the end of the connection at once.
const WAIT: Duration = Duration::from_secs(1);

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
    pub fn new(limit: usize) -> FailedTcp {
        FailedTcp {
            by_server: Table::new(limit),
            losses: Losses::default(),
        }
    }

    /// Takes in a failed connection.
    pub fn add(&mut self, now: Timestamp, failed: FailedConnection) {
        let key = (Owner::from_ends(&failed.ends), failed.ends.peer.ip);
        if self
            .by_server
            .insert(key, failed, now.after(WAIT))
            .is_some()
        {
            self.losses.add(
                Stage::Table,
                "failed connections to DNS servers, kept for findings",
                1,
            );
        }
    }

    /// Removes a connection that belongs to a truncated exchange, which has an event of its own.
    pub fn explained(&mut self, ends: &Ends) {
        self.by_server
            .remove(&(Owner::from_ends(ends), ends.peer.ip));
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
