//! ICMP errors that quote a TCP connection which the pod does not have: an endpoint's address instead of the
//! Service's, because nothing translated the error back. By pod and its port, for the connection that fails.

use std::time::Duration;

use crate::identity::Owner;
use crate::model::loss::{Losses, Stage};
use crate::model::observation::IcmpError;
use crate::model::time::Timestamp;
use crate::table::Table;

/// The verdict on the connection comes sooner.
const KEEP: Duration = Duration::from_secs(60);

/// The latest errors.
#[derive(Debug)]
pub(in crate::diagnose) struct StrayErrors {
    by_socket: Table<(Owner, u16), IcmpError>,
    losses: Losses,
}

impl StrayErrors {
    pub fn new(limit: usize) -> StrayErrors {
        StrayErrors {
            by_socket: Table::new(limit),
            losses: Losses::default(),
        }
    }

    /// Takes in an error.
    pub fn add(&mut self, now: Timestamp, owner: Owner, error: &IcmpError) {
        let key = (owner, error.about.src.port());
        if self
            .by_socket
            .insert(key, *error, now.after(KEEP))
            .is_some()
        {
            self.losses
                .add(Stage::Table, "stray ICMP errors, kept for findings", 1);
        }
    }

    /// The latest error about a connection from this port.
    pub fn get(&self, owner: &Owner, port: u16) -> Option<IcmpError> {
        self.by_socket.get(&(owner.clone(), port)).copied()
    }

    pub fn advance(&mut self, now: Timestamp) {
        while self.by_socket.pop_due(now).is_some() {}
    }

    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}
