//! The exchanges of undecided lookups, with the details that a lookup's steps lack.

use std::net::SocketAddr;
use std::time::Duration;

use crate::identity::Owner;
use crate::model::dns::{DnsName, RecordType, ResponseCode};
use crate::model::exchange::{ConnectionEnd, Exchange, Outcome, Transport};
use crate::model::lookup::{Lookup, SentQuery};
use crate::model::loss::{Losses, Stage};
use crate::model::observation::IcmpError;
use crate::model::time::Timestamp;
use crate::table::Table;

/// No lookup takes longer to be decided: the exchange's timeout and the wait for another candidate are
/// seconds.
const KEEP: Duration = Duration::from_secs(120);
/// Exchanges per client. A lookup has at most 64 steps by default, and a client has few undecided lookups.
const MAX_PER_CLIENT: usize = 256;

/// What rules need of an exchange.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::diagnose) struct ExchangeEvidence {
    pub asked: Timestamp,
    /// When the answer came, or the last attempt was made.
    pub last: Timestamp,
    pub name: DnsName,
    pub qtype: RecordType,
    pub outcome: Outcome,
    pub latency: Option<Duration>,
    pub attempts: u32,
    pub transport: Transport,
    /// The pod's socket, of the first attempt.
    pub from: SocketAddr,
    pub server: SocketAddr,
    /// The zone of a negative answer.
    pub zone: Option<DnsName>,
    /// How long a negative answer may be cached, in seconds, as the answer says.
    pub negative_ttl: Option<u32>,
    /// The zone's own value for that (the last field of the SOA record), in seconds. It is larger if a cache
    /// counted down.
    pub zone_negative_ttl: Option<u32>,
    /// The target at the end of the chain of aliases.
    pub alias: Option<DnsName>,
    pub icmp: Option<IcmpError>,
    /// The answer over UDP was truncated.
    pub truncated: bool,
    /// The response code.
    pub rcode: Option<ResponseCode>,
    /// The query had an OPT record.
    pub edns: bool,
    /// Answers of which only the first fragment arrived.
    pub fragments_lost: u32,
    /// How the TCP connection ended without an answer.
    pub connection: Option<ConnectionEnd>,
}

impl ExchangeEvidence {
    /// Whether the server answered, whatever the answer.
    pub fn is_answered(&self) -> bool {
        self.latency.is_some()
            && self.icmp.is_none()
            && !matches!(self.outcome, Outcome::Timeout | Outcome::IcmpError)
    }

    fn from_exchange(exchange: &Exchange) -> Option<ExchangeEvidence> {
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
        Some(ExchangeEvidence {
            asked: exchange.asked,
            last: exchange_end(exchange),
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
            rcode: exchange.rcode,
            edns: exchange.details.query_edns.is_some(),
            fragments_lost: exchange.fragments_lost,
            connection: exchange.connection,
        })
    }
}

impl ExchangeEvidence {
    /// Whether this query was its first packet. The retry over TCP has another socket, and is not the first.
    fn began_with(&self, sent: &SentQuery) -> bool {
        let socket = self.from.port() == sent.port || self.transport == Transport::Tcp;
        self.asked == sent.at && self.server.ip() == sent.server && socket
    }
}

/// When an exchange was last on the wire: its answer, or the last attempt.
pub(in crate::diagnose) fn exchange_end(exchange: &Exchange) -> Timestamp {
    let answered = exchange
        .latency
        .map(|latency| exchange.asked.after(latency));
    answered.unwrap_or(exchange.last_attempt)
}

/// Exchanges by client.
#[derive(Debug)]
pub(in crate::diagnose) struct Exchanges {
    by_client: Table<Owner, Vec<ExchangeEvidence>>,
    losses: Losses,
}

impl Exchanges {
    pub fn new(limit: usize) -> Exchanges {
        Exchanges {
            by_client: Table::new(limit),
            losses: Losses::default(),
        }
    }

    /// Takes in an exchange that ended and belongs to a lookup.
    pub fn add(&mut self, now: Timestamp, client: Owner, exchange: &Exchange) {
        let Some(evidence) = ExchangeEvidence::from_exchange(exchange) else {
            return;
        };
        let mut all = self.by_client.remove(&client).unwrap_or_default();
        if all.len() >= MAX_PER_CLIENT {
            all.remove(0);
            self.losses
                .add(Stage::Table, "exchanges kept for findings", 1);
        }
        all.push(evidence);
        if self
            .by_client
            .insert(client, all, now.after(KEEP))
            .is_some()
        {
            self.losses
                .add(Stage::Table, "clients kept for findings", 1);
        }
    }

    /// Removes and returns the exchanges of a lookup: those that one of its queries began. Other lookups of
    /// the same name can be under way.
    pub fn take(&mut self, client: &Owner, lookup: &Lookup) -> Vec<ExchangeEvidence> {
        let Some(all) = self.by_client.get_mut(client) else {
            return Vec::new();
        };
        let of_lookup = |evidence: &ExchangeEvidence| {
            lookup.steps.iter().any(|step| {
                evidence.name == step.name
                    && evidence.qtype == step.qtype
                    && step.sent.iter().any(|sent| evidence.began_with(sent))
            })
        };
        let (taken, others): (Vec<ExchangeEvidence>, Vec<ExchangeEvidence>) =
            std::mem::take(all).into_iter().partition(of_lookup);
        if others.is_empty() {
            self.by_client.remove(client);
        } else {
            *all = others;
        }
        taken
    }

    pub fn advance(&mut self, now: Timestamp) {
        while self.by_client.pop_due(now).is_some() {}
    }

    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}
