//! TCP connections to DNS servers that failed, for a moment: the truncated answer that one was opened for tells it better.

use std::net::IpAddr;
use std::time::Duration;

use crate::identity::Owner;
use crate::model::connection::TcpConnection;
use crate::model::event::Ends;
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;
use crate::table::Table;

/// The exchange of the truncated answer ends with the connection; its event comes right after.
const WAIT: Duration = Duration::from_secs(1);

/// Such a connection.
#[derive(Clone, Debug)]
pub(in crate::diagnose) struct Failed {
    pub started: Timestamp,
    pub ends: Ends,
    pub connection: TcpConnection,
}

/// By pod and server.
#[derive(Debug)]
pub(in crate::diagnose) struct FailedTcp {
    of: Table<(Owner, IpAddr), Failed>,
    losses: Losses,
}

impl FailedTcp {
    pub fn new(limit: usize) -> FailedTcp {
        FailedTcp {
            of: Table::new(limit),
            losses: Losses::default(),
        }
    }

    /// One failed.
    pub fn add(&mut self, now: Timestamp, failed: Failed) {
        let key = (Owner::from_ends(&failed.ends), failed.ends.peer.ip);
        if self.of.insert(key, failed, now.after(WAIT)).is_some() {
            self.losses.add(
                Stage::Table,
                "failed connections to DNS servers, kept for findings",
                1,
            );
        }
    }

    /// It was for a truncated answer, which is told for itself.
    pub fn explained(&mut self, ends: &Ends) {
        self.of.remove(&(Owner::from_ends(ends), ends.peer.ip));
    }

    /// One that nothing explained.
    pub fn due(&mut self, now: Timestamp) -> Option<Failed> {
        self.of.pop_due(now).map(|(_, failed)| failed)
    }

    /// One of the rest, at the end of the input.
    pub fn rest(&mut self) -> Option<Failed> {
        self.of.pop_oldest().map(|(_, failed)| failed)
    }

    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}
