//! The pods of this node that reached an address and port last: whether a silence affects one pod or all.

use std::net::IpAddr;
use std::time::Duration;

use crate::identity::Owner;
use crate::model::identity::PodEnd;
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;
use crate::table::Table;

/// An older contact says nothing about the present.
const KEEP: Duration = Duration::from_secs(300);
/// Pods per address and port.
const MAX_PER_SOCKET: usize = 4;

/// A pod that connected, or got an answer.
#[derive(Clone, Debug)]
pub(in crate::diagnose) struct Contact {
    pub owner: Owner,
    pub pod: PodEnd,
    pub at: Timestamp,
}

/// The latest contacts by address and port.
#[derive(Debug)]
pub(in crate::diagnose) struct Contacts {
    by_peer: Table<(IpAddr, u16), Vec<Contact>>,
    losses: Losses,
}

impl Contacts {
    pub fn new(limit: usize) -> Contacts {
        Contacts {
            by_peer: Table::new(limit),
            losses: Losses::default(),
        }
    }

    /// Takes in a contact.
    pub fn add(&mut self, peer: (IpAddr, u16), contact: Contact) {
        let due = contact.at.after(KEEP);
        if let Some(contacts) = self.by_peer.get_mut(&peer) {
            contacts.retain(|known| known.owner != contact.owner);
            contacts.truncate(MAX_PER_SOCKET - 1);
            contacts.insert(0, contact);
            self.by_peer.touch(&peer, due);
        } else if self.by_peer.insert(peer, vec![contact], due).is_some() {
            self.losses
                .add(Stage::Table, "addresses reached, kept for findings", 1);
        }
    }

    /// The latest contact of a pod other than this one.
    pub fn by_another(&self, peer: (IpAddr, u16), owner: &Owner) -> Option<&Contact> {
        let contacts = self.by_peer.get(&peer)?;
        contacts.iter().find(|contact| contact.owner != *owner)
    }

    /// The latest contact of this pod.
    pub fn by(&self, peer: (IpAddr, u16), owner: &Owner) -> Option<&Contact> {
        let contacts = self.by_peer.get(&peer)?;
        contacts.iter().find(|contact| contact.owner == *owner)
    }

    /// The latest contact of any pod.
    pub fn latest(&self, peer: (IpAddr, u16)) -> Option<&Contact> {
        self.by_peer.get(&peer)?.first()
    }

    pub fn advance(&mut self, now: Timestamp) {
        while self.by_peer.pop_due(now).is_some() {}
    }

    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}
