//! How often each DNS server answered each pod: whether a query that got no answer is an exception.

use std::net::IpAddr;
use std::time::Duration;

use crate::identity::Owner;
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;
use crate::table::Table;

/// A server that has not answered the pod for this long counts anew.
const KEEP: Duration = Duration::from_secs(600);

#[derive(Debug)]
struct Count {
    answers: u64,
    first: Timestamp,
    last: Timestamp,
}

/// The answers by pod and server.
#[derive(Debug)]
pub(in crate::diagnose) struct Answers {
    by_pod: Table<(Owner, IpAddr), Count>,
    losses: Losses,
}

impl Answers {
    pub fn new(limit: usize) -> Answers {
        Answers {
            by_pod: Table::new(limit),
            losses: Losses::default(),
        }
    }

    /// Takes in an answer.
    pub fn add(&mut self, at: Timestamp, owner: Owner, server: IpAddr) {
        let key = (owner, server);
        let due = at.after(KEEP);
        if let Some(count) = self.by_pod.get_mut(&key) {
            count.answers = count.answers.saturating_add(1);
            count.last = count.last.max(at);
            self.by_pod.touch(&key, due);
            return;
        }
        let count = Count {
            answers: 1,
            first: at,
            last: at,
        };
        if self.by_pod.insert(key, count, due).is_some() {
            self.losses
                .add(Stage::Table, "answers counted for findings", 1);
        }
    }

    /// The number of answers, and the time between the first and the last.
    pub fn count(&self, owner: &Owner, server: IpAddr) -> Option<(u64, Duration)> {
        let count = self.by_pod.get(&(owner.clone(), server))?;
        Some((count.answers, count.last.since(count.first)))
    }

    pub fn advance(&mut self, now: Timestamp) {
        while self.by_pod.pop_due(now).is_some() {}
    }

    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}
