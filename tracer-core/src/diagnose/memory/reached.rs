//! Who reached which address and port last, of the pods of this node: whether a silence is one pod's or everybody's.

use std::net::IpAddr;
use std::time::Duration;

use crate::identity::Owner;
use crate::model::identity::PodEnd;
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;
use crate::table::Table;

/// What is older says nothing about now.
const KEEP: Duration = Duration::from_secs(300);
/// So many pods are remembered for one address and port.
const OF_ONE: usize = 4;

/// Somebody who connected.
#[derive(Clone, Debug)]
pub(in crate::diagnose) struct Visit {
    pub owner: Owner,
    pub pod: PodEnd,
    pub at: Timestamp,
}

/// The latest connections.
#[derive(Debug)]
pub(in crate::diagnose) struct Reached {
    of: Table<(IpAddr, u16), Vec<Visit>>,
    losses: Losses,
}

impl Reached {
    pub fn new(limit: usize) -> Reached {
        Reached {
            of: Table::new(limit),
            losses: Losses::default(),
        }
    }

    /// A pod connected.
    pub fn add(&mut self, peer: (IpAddr, u16), visit: Visit) {
        let due = visit.at.after(KEEP);
        if let Some(visits) = self.of.get_mut(&peer) {
            visits.retain(|known| known.owner != visit.owner);
            visits.truncate(OF_ONE - 1);
            visits.insert(0, visit);
            self.of.touch(&peer, due);
        } else if self.of.insert(peer, vec![visit], due).is_some() {
            self.losses
                .add(Stage::Table, "addresses reached, kept for findings", 1);
        }
    }

    /// The latest connection of another pod than this.
    pub fn by_another(&self, peer: (IpAddr, u16), than: &Owner) -> Option<&Visit> {
        let visits = self.of.get(&peer)?;
        visits.iter().find(|visit| visit.owner != *than)
    }

    pub fn advance(&mut self, now: Timestamp) {
        while self.of.pop_due(now).is_some() {}
    }

    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}
