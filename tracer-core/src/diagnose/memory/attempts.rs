//! How often each pod has tried a name, a server or a destination, before anything failed.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::identity::Owner;
use crate::model::dns::DnsName;
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;
use crate::table::Table;

/// A pod that has not tried for this long starts anew.
const KEEP: Duration = Duration::from_secs(3600);

/// What a pod tries, again and again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::diagnose) enum Target {
    /// Lookups at a DNS server.
    Server(IpAddr),
    /// Lookups at a DNS server of names in a domain.
    Domain(IpAddr, DnsName),
    /// Lookups of a name, as the application asks for it.
    Name(String),
    /// Lookups of a name behind a search domain.
    SearchDomain(DnsName),
    /// Connections, or UDP flows, to a destination.
    Socket(SocketAddr, &'static str),
    /// Pings of an address.
    Ping(IpAddr),
}

/// The number of attempts by pod and target.
#[derive(Debug)]
pub(in crate::diagnose) struct Attempts {
    by_target: Table<(Owner, Target), u64>,
    losses: Losses,
}

impl Attempts {
    pub fn new(limit: usize) -> Attempts {
        Attempts {
            by_target: Table::new(limit),
            losses: Losses::default(),
        }
    }

    /// Takes in an attempt.
    pub fn add(&mut self, now: Timestamp, owner: &Owner, target: Target) {
        let key = (owner.clone(), target);
        let due = now.after(KEEP);
        if let Some(attempts) = self.by_target.get_mut(&key) {
            *attempts += 1;
            self.by_target.touch(&key, due);
        } else if self.by_target.insert(key, 1, due).is_some() {
            self.losses
                .add(Stage::Table, "attempts counted for findings", 1);
        }
    }

    /// The attempts so far.
    pub fn count(&self, owner: &Owner, target: &Target) -> u64 {
        let key = (owner.clone(), target.clone());
        self.by_target.get(&key).copied().unwrap_or(0)
    }

    pub fn advance(&mut self, now: Timestamp) {
        while self.by_target.pop_due(now).is_some() {}
    }

    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}
