//! Questions that a DNS server forwards and that come back to it: forwarding loops.
//!
//! A question that comes back has a new socket and identifier, so nothing but its name and type shows that it
//! is the same. What separates a loop from many clients with one question: it comes from the address to which
//! it was sent, or from the server itself, each time soon after the server has forwarded it once more, and
//! before that is answered.

use std::net::IpAddr;
use std::time::Duration;

use super::recent::Recent;
use crate::model::dns::{DnsName, Question, RecordType};
use crate::model::time::Timestamp;

/// A question that is on its way for longer has been given up.
const KEEP: Duration = Duration::from_secs(10);
/// A question comes back within this time. A client waits for longer before it asks again.
const MAX_ROUND: Duration = Duration::from_millis(500);
/// A pod that got no query for this long is no server.
const SERVES: Duration = Duration::from_secs(60);
/// Questions of a server, on their way at one time.
const MAX_ROUNDS: usize = 1024;
/// The usual size of a name.
const NAME_BYTES: usize = 64;

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

/// The questions that a pod forwards, if it is a server.
#[derive(Debug)]
pub(in crate::diagnose) struct Loops {
    /// When it got a query last.
    served: Option<Timestamp>,
    rounds: Recent<Question, Round>,
}

impl Loops {
    pub fn new() -> Loops {
        Loops {
            served: None,
            rounds: Recent::new(MAX_ROUNDS),
        }
    }

    /// The server got a question from this address; `plausible`: the address can be that of its own question.
    pub fn received(&mut self, at: Timestamp, question: &Question, from: IpAddr, plausible: bool) {
        self.served = self.served.max(Some(at));
        if let Some(round) = self.rounds.get_mut(question)
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
            self.rounds.touch(at, question);
        }
    }

    /// The pod sent a question. Only a server can forward it.
    pub fn sent(&mut self, at: Timestamp, question: &Question, to: IpAddr) {
        if !self.serves(at) {
            return;
        }
        if let Some(round) = self.rounds.touch(at, question) {
            if round.to == to {
                round.forwarded = Some(at);
            }
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
        self.rounds.insert(at, question.clone(), round);
    }

    /// A forwarded question was answered: if it comes again, a client has asked again.
    pub fn answered(&mut self, question: &Question) {
        if self.rounds.is_empty() {
            return;
        }
        if let Some(round) = self.rounds.get_mut(question) {
            round.forwarded = None;
        }
    }

    /// What became of a question.
    pub fn round(&self, name: &DnsName, qtype: RecordType) -> Option<&Round> {
        if self.rounds.is_empty() {
            return None;
        }
        let name = name.clone();
        self.rounds.get(&Question { name, qtype })
    }

    fn serves(&self, at: Timestamp) -> bool {
        self.served.is_some_and(|served| served.after(SERVES) > at)
    }

    pub fn expire(&mut self, now: Timestamp) {
        self.rounds.expire(now, KEEP);
        if !self.serves(now) {
            self.served = None;
        }
    }

    pub fn shrink(&mut self) {
        self.rounds.shrink();
    }

    pub fn is_empty(&self) -> bool {
        self.served.is_none() && self.rounds.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.rounds.bytes() + self.rounds.len() * NAME_BYTES
    }
}
