//! Questions that a DNS server forwards and that come back to it: forwarding loops.
//!
//! A question that comes back has a new socket and identifier, so nothing but its name and type shows that it
//! is the same. What separates a loop from many clients with one question: it comes from the address to which
//! it was sent, or from the server itself, each time soon after the server has forwarded it once more, and
//! before that is answered.

use std::net::IpAddr;
use std::time::Duration;

use crate::identity::Owner;
use crate::model::dns::{DnsName, Question, RecordType};
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;
use crate::table::Table;

/// A question that is on its way for longer has been given up.
const KEEP: Duration = Duration::from_secs(10);
/// A question comes back within this time. A client waits for longer before it asks again.
const MAX_ROUND: Duration = Duration::from_millis(500);
/// A pod that got no query for this long is no server.
const SERVES: Duration = Duration::from_secs(60);

/// A question on its way around.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::diagnose) struct Round {
    /// The server that it was forwarded to.
    pub to: IpAddr,
    /// The address that it came back from.
    pub from: Option<IpAddr>,
    /// How often it came back.
    pub returns: u64,
    /// When it was forwarded first.
    pub first: Timestamp,
    /// When it came back last.
    pub last: Timestamp,
    /// When it was forwarded last, if neither an answer nor the question has come back since.
    forwarded: Option<Timestamp>,
}

/// The questions that servers forward.
#[derive(Debug)]
pub(in crate::diagnose) struct Loops {
    servers: Table<Owner, ()>,
    rounds: Table<(Owner, DnsName, RecordType), Round>,
    losses: Losses,
}

impl Loops {
    pub fn new(limit: usize) -> Loops {
        Loops {
            servers: Table::new(limit),
            rounds: Table::new(limit),
            losses: Losses::default(),
        }
    }

    /// A server got a question from this address; `plausible`: the address can be that of its own question.
    pub fn received(
        &mut self,
        at: Timestamp,
        server: Owner,
        question: &Question,
        from: IpAddr,
        plausible: bool,
    ) {
        let key = (server.clone(), question.name.clone(), question.qtype);
        if let Some(round) = self.rounds.get_mut(&key)
            && round
                .forwarded
                .is_some_and(|forwarded| at.since(forwarded) <= MAX_ROUND)
            && (plausible || from == round.to)
            && round.from.is_none_or(|known| known == from)
        {
            round.forwarded = None;
            round.from = Some(from);
            round.returns = round.returns.saturating_add(1);
            round.last = at;
            self.rounds.touch(&key, at.after(KEEP));
        }
        let due = at.after(SERVES);
        if self.servers.get(&server).is_some() {
            self.servers.touch(&server, due);
        } else if self.servers.insert(server, (), due).is_some() {
            self.losses
                .add(Stage::Table, "DNS servers kept for findings", 1);
        }
    }

    /// A pod sent a question. Only a server can forward it.
    pub fn sent(&mut self, at: Timestamp, pod: &Owner, question: &Question, to: IpAddr) {
        if self.servers.get(pod).is_none() {
            return;
        }
        let key = (pod.clone(), question.name.clone(), question.qtype);
        let due = at.after(KEEP);
        if let Some(round) = self.rounds.get_mut(&key) {
            if round.to == to {
                round.forwarded = Some(at);
            }
            self.rounds.touch(&key, due);
            return;
        }
        let round = Round {
            to,
            from: None,
            returns: 0,
            first: at,
            last: at,
            forwarded: Some(at),
        };
        if self.rounds.insert(key, round, due).is_some() {
            self.losses
                .add(Stage::Table, "forwarded questions kept for findings", 1);
        }
    }

    /// A forwarded question was answered: if it comes again, a client has asked again.
    pub fn answered(&mut self, pod: &Owner, question: &Question) {
        let key = (pod.clone(), question.name.clone(), question.qtype);
        if let Some(round) = self.rounds.get_mut(&key) {
            round.forwarded = None;
        }
    }

    /// What became of a question.
    pub fn round(&self, pod: &Owner, name: &DnsName, qtype: RecordType) -> Option<&Round> {
        self.rounds.get(&(pod.clone(), name.clone(), qtype))
    }

    pub fn advance(&mut self, now: Timestamp) {
        while self.servers.pop_due(now).is_some() {}
        while self.rounds.pop_due(now).is_some() {}
    }

    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}
