//! The exchanges of lookups that are not decided yet: what a lookup's steps do not say of them.

use std::net::SocketAddr;
use std::time::Duration;

use crate::diagnose::words;
use crate::identity::Owner;
use crate::model::dns::{DnsName, RecordType};
use crate::model::exchange::{ConnectionEnd, Exchange, Outcome, Transport};
use crate::model::lookup::Lookup;
use crate::model::loss::{Losses, Stage};
use crate::model::observation::IcmpError;
use crate::model::time::Timestamp;
use crate::table::Table;

/// No lookup waits longer for its decision: the exchange's own timeout and the wait for another candidate are both seconds.
const KEEP: Duration = Duration::from_secs(120);
/// A lookup has at most so many steps (64 by default), and few are open at once.
const OF_ONE_CLIENT: usize = 256;

/// What rules ask of an exchange.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::diagnose) struct Seen {
    pub asked: Timestamp,
    /// The answer, or the last attempt to get one.
    pub last: Timestamp,
    pub name: DnsName,
    pub qtype: RecordType,
    pub outcome: Outcome,
    pub latency: Option<Duration>,
    pub attempts: u32,
    pub transport: Transport,
    /// The pod's socket; of the first attempt.
    pub from: SocketAddr,
    pub server: SocketAddr,
    /// The zone that a negative answer comes from.
    pub zone: Option<DnsName>,
    /// How long a negative answer may be remembered, as the wire says it.
    pub negative_ttl: Option<u32>,
    /// The zone's own figure for that (the SOA's last field): more than the wire says if a cache counted it down.
    pub zone_negative_ttl: Option<u32>,
    /// What the name is an alias for, at the end of the chain.
    pub alias: Option<DnsName>,
    pub icmp: Option<IcmpError>,
    /// Its answer over UDP was truncated.
    pub truncated: bool,
    /// How the TCP connection for it ended without an answer.
    pub connection: Option<ConnectionEnd>,
}

impl Seen {
    fn of(exchange: &Exchange) -> Option<Seen> {
        let question = exchange.question.as_ref()?;
        let soa = exchange
            .authorities
            .iter()
            .find(|record| record.rtype == RecordType::SOA);
        let minimum = soa.and_then(|soa| soa.data.split_whitespace().next_back()?.parse().ok());
        let alias = exchange
            .answers
            .iter()
            .rfind(|record| record.rtype == RecordType::CNAME);
        Some(Seen {
            asked: exchange.asked,
            last: words::ended(exchange),
            name: question.name.clone(),
            qtype: question.qtype,
            outcome: exchange.outcome,
            latency: exchange.latency,
            attempts: exchange.attempts,
            transport: exchange.transport,
            from: exchange.flow.pod,
            server: exchange.flow.peer,
            zone: soa.map(|soa| soa.name.clone()),
            negative_ttl: exchange.negative_ttl(),
            zone_negative_ttl: minimum,
            alias: alias.map(|record| DnsName::new(&record.data)),
            icmp: exchange.icmp,
            truncated: exchange.outcome == Outcome::Truncated
                || exchange
                    .steps
                    .iter()
                    .any(|step| step.outcome == Outcome::Truncated),
            connection: exchange.connection,
        })
    }
}

/// Exchanges by client.
#[derive(Debug)]
pub(in crate::diagnose) struct Exchanges {
    of: Table<Owner, Vec<Seen>>,
    losses: Losses,
}

impl Exchanges {
    pub fn new(limit: usize) -> Exchanges {
        Exchanges {
            of: Table::new(limit),
            losses: Losses::default(),
        }
    }

    /// An exchange of a lookup ended.
    pub fn add(&mut self, now: Timestamp, client: Owner, exchange: &Exchange) {
        let Some(seen) = Seen::of(exchange) else {
            return;
        };
        let mut all = self.of.remove(&client).unwrap_or_default();
        if all.len() >= OF_ONE_CLIENT {
            all.remove(0);
            self.losses
                .add(Stage::Table, "exchanges kept for findings", 1);
        }
        all.push(seen);
        if self.of.insert(client, all, now.after(KEEP)).is_some() {
            self.losses
                .add(Stage::Table, "clients kept for findings", 1);
        }
    }

    /// Takes out those of a lookup that ended at `ended`: of each step all that asked its question. Not what was asked between
    /// its end and its decision: that is another lookup's.
    pub fn take(&mut self, client: &Owner, lookup: &Lookup, ended: Timestamp) -> Vec<Seen> {
        let Some(all) = self.of.get_mut(client) else {
            return Vec::new();
        };
        // Where nothing was answered the end is no later than the last question.
        let asked = lookup.steps.iter().map(|step| step.asked).max();
        let until = asked.map_or(ended, |asked| asked.max(ended));
        let of_lookup = |seen: &Seen| {
            lookup.steps.iter().any(|step| {
                seen.name == step.name
                    && seen.qtype == step.qtype
                    && (step.asked..=until).contains(&seen.asked)
            })
        };
        let (taken, others): (Vec<Seen>, Vec<Seen>) =
            std::mem::take(all).into_iter().partition(of_lookup);
        if others.is_empty() {
            self.of.remove(client);
        } else {
            *all = others;
        }
        taken
    }

    pub fn advance(&mut self, now: Timestamp) {
        while self.of.pop_due(now).is_some() {}
    }

    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}
