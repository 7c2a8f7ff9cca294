//! The exchanges of undecided lookups, with the details that a lookup's steps lack.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::model::dns::{DnsName, RecordType, ResponseCode};
use crate::model::exchange::{ConnectionEnd, Exchange, Outcome, Transport};
use crate::model::lookup::{Lookup, SentQuery};
use crate::model::observation::IcmpError;
use crate::model::time::Timestamp;

/// No lookup takes longer to be decided: the exchange's timeout and the wait for another candidate are
/// seconds.
const KEEP: Duration = Duration::from_secs(120);
/// Exchanges of a pod. A lookup has at most 64 steps by default, and a client has few undecided lookups.
const MAX_PER_POD: usize = 256;

/// An entry's size, with its names.
const ENTRY_BYTES: usize = size_of::<ExchangeEvidence>() + 200;

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

/// A pod's exchanges by the time of their first query, which a lookup's steps have too.
#[derive(Debug, Default)]
pub(in crate::diagnose) struct Exchanges {
    by_time: BTreeMap<(Timestamp, u64), Box<ExchangeEvidence>>,
    /// Exchanges so far: their numbers distinguish those of one instant.
    taken_in: u64,
}

impl Exchanges {
    /// Takes in an exchange that ended and belongs to a lookup. Without room the oldest gives way: lookups of a
    /// client with so many undecided ones lack it as evidence.
    pub fn add(&mut self, exchange: &Exchange) {
        let Some(evidence) = ExchangeEvidence::from_exchange(exchange) else {
            return;
        };
        if self.by_time.len() >= MAX_PER_POD {
            self.by_time.pop_first();
        }
        self.taken_in += 1;
        let key = (evidence.asked, self.taken_in);
        self.by_time.insert(key, Box::new(evidence));
    }

    /// Removes and returns the exchanges of a lookup, in the order in which they ended: those that one of its
    /// queries began. Other lookups of the same name can be under way.
    pub fn take(&mut self, lookup: &Lookup) -> Vec<ExchangeEvidence> {
        let mut taken: Vec<(u64, Box<ExchangeEvidence>)> = Vec::new();
        for step in &lookup.steps {
            for sent in &step.sent {
                let of_query = |evidence: &ExchangeEvidence| {
                    evidence.name == step.name
                        && evidence.qtype == step.qtype
                        && evidence.began_with(sent)
                };
                let of_instant = (sent.at, 0)..=(sent.at, u64::MAX);
                loop {
                    let mut all = self.by_time.range(of_instant.clone());
                    let Some((&key, _)) = all.find(|(_, evidence)| of_query(evidence)) else {
                        break;
                    };
                    taken.extend(self.by_time.remove(&key).map(|evidence| (key.1, evidence)));
                }
            }
        }
        taken.sort_unstable_by_key(|(number, _)| *number);
        taken.into_iter().map(|(_, evidence)| *evidence).collect()
    }

    pub fn expire(&mut self, now: Timestamp) {
        while let Some(oldest) = self.by_time.first_entry() {
            if oldest.get().last.after(KEEP) > now {
                break;
            }
            oldest.remove();
        }
    }

    pub fn shrink(&mut self) {
        for _ in 0..self.by_time.len().div_ceil(2) {
            self.by_time.pop_first();
        }
    }

    pub fn is_empty(&self) -> bool {
        self.by_time.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.by_time.len() * ENTRY_BYTES
    }
}
