//! Answers that came from another address than the one asked. No resolver accepts them, so the lookup continues
//! as if there were none, and its steps do not show them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::model::dns::{DnsName, RecordType};
use crate::model::exchange::Exchange;
use crate::model::lookup::Lookup;
use crate::model::time::Timestamp;

/// No lookup takes longer to be decided.
const KEEP: Duration = Duration::from_secs(120);
/// Answers per pod.
const MAX_PER_POD: usize = 64;

/// One such answer.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::diagnose) struct Misdirected {
    pub at: Timestamp,
    pub name: DnsName,
    pub qtype: RecordType,
    /// The pod's port that it came to.
    port: u16,
    /// The address that it came from.
    pub from: IpAddr,
    /// The server asked.
    pub asked: SocketAddr,
}

/// A pod's answers from elsewhere.
#[derive(Debug, Default)]
pub(in crate::diagnose) struct MisdirectedReplies {
    replies: Vec<Misdirected>,
}

impl MisdirectedReplies {
    /// Takes in an answer that came from elsewhere. Returns the number of those that gave way.
    pub fn add(&mut self, exchange: &Exchange) -> u64 {
        let (Some(question), Some(asked)) = (&exchange.question, exchange.asked_peer) else {
            return 0;
        };
        let full = self.replies.len() >= MAX_PER_POD;
        if full {
            self.replies.remove(0);
        }
        self.replies.push(Misdirected {
            at: exchange.asked,
            name: question.name.clone(),
            qtype: question.qtype,
            port: exchange.flow.pod.port(),
            from: exchange.flow.peer.ip(),
            asked,
        });
        u64::from(full)
    }

    /// The answers to a lookup's questions, from addresses that it did not ask; none of them is kept.
    pub fn take(&mut self, lookup: &Lookup) -> Vec<Misdirected> {
        if self.replies.is_empty() {
            return Vec::new();
        }
        let sent = || lookup.steps.iter().flat_map(|step| &step.sent);
        let of_lookup = |reply: &Misdirected| {
            lookup.steps.iter().any(|step| {
                let mut sent = step.sent.iter();
                reply.name == step.name
                    && reply.qtype == step.qtype
                    && sent.any(|query| query.port == reply.port && query.at <= reply.at)
            })
        };
        let mut taken: Vec<Misdirected> = self
            .replies
            .extract_if(.., |reply| of_lookup(reply))
            .collect();
        // A resolver that asks several servers at once from one socket accepts an answer from each.
        let asked = |ip: IpAddr| sent().any(|query| query.server == ip);
        taken.retain(|reply| !asked(reply.from));
        taken
    }

    pub fn expire(&mut self, now: Timestamp) {
        self.replies.retain(|reply| reply.at.after(KEEP) > now);
    }

    pub fn is_empty(&self) -> bool {
        self.replies.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.replies.capacity() * size_of::<Misdirected>()
    }
}
