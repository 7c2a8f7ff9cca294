//! Answers that came from another address than the one asked. No resolver accepts them, so the lookup continues
//! as if there were none, and its steps do not show them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::identity::Owner;
use crate::model::dns::{DnsName, RecordType};
use crate::model::exchange::Exchange;
use crate::model::lookup::Lookup;
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;
use crate::table::Table;

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

/// The answers by pod.
#[derive(Debug)]
pub(in crate::diagnose) struct MisdirectedReplies {
    by_pod: Table<Owner, Vec<Misdirected>>,
    losses: Losses,
}

impl MisdirectedReplies {
    pub fn new(limit: usize) -> MisdirectedReplies {
        MisdirectedReplies {
            by_pod: Table::new(limit),
            losses: Losses::default(),
        }
    }

    /// Takes in an answer that came from elsewhere.
    pub fn add(&mut self, now: Timestamp, owner: Owner, exchange: &Exchange) {
        let (Some(question), Some(asked)) = (&exchange.question, exchange.asked_peer) else {
            return;
        };
        let mut replies = self.by_pod.remove(&owner).unwrap_or_default();
        if replies.len() >= MAX_PER_POD {
            replies.remove(0);
            self.losses
                .add(Stage::Table, "misdirected answers kept for findings", 1);
        }
        replies.push(Misdirected {
            at: exchange.asked,
            name: question.name.clone(),
            qtype: question.qtype,
            port: exchange.flow.pod.port(),
            from: exchange.flow.peer.ip(),
            asked,
        });
        let due = now.after(KEEP);
        if self.by_pod.insert(owner, replies, due).is_some() {
            self.losses
                .add(Stage::Table, "misdirected answers kept for findings", 1);
        }
    }

    /// The answers to a lookup's questions, from addresses that it did not ask; none of them is kept.
    pub fn take(&mut self, owner: &Owner, lookup: &Lookup) -> Vec<Misdirected> {
        let Some(all) = self.by_pod.get_mut(owner) else {
            return Vec::new();
        };
        let sent = || lookup.steps.iter().flat_map(|step| &step.sent);
        let of_lookup = |reply: &Misdirected| {
            lookup.steps.iter().any(|step| {
                let mut sent = step.sent.iter();
                reply.name == step.name
                    && reply.qtype == step.qtype
                    && sent.any(|query| query.port == reply.port && query.at <= reply.at)
            })
        };
        let (taken, others): (Vec<Misdirected>, Vec<Misdirected>) =
            std::mem::take(all).into_iter().partition(of_lookup);
        if others.is_empty() {
            self.by_pod.remove(owner);
        } else {
            *all = others;
        }
        // A resolver that asks several servers at once from one socket accepts an answer from each.
        let asked = |ip: IpAddr| sent().any(|query| query.server == ip);
        let mut taken = taken;
        taken.retain(|reply| !asked(reply.from));
        taken
    }

    pub fn advance(&mut self, now: Timestamp) {
        while self.by_pod.pop_due(now).is_some() {}
    }

    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}
