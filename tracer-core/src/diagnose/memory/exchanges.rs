//! The exchanges of undecided lookups, with the details that a lookup's steps lack.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::model::dns::{DnsName, Question, RecordType, ResourceRecord, ResponseCode};
use crate::model::exchange::{ConnectionEnd, Exchange, Outcome, Transport, UpstreamQuestion};
use crate::model::heap_bytes::HeapBytes as _;
use crate::model::lookup::{Lookup, SentQuery, Step};
use crate::model::observation::IcmpError;
use crate::model::time::Timestamp;

/// No lookup takes longer to be decided: the exchange's timeout and the wait for another candidate are
/// seconds.
const KEEP: Duration = Duration::from_secs(120);
/// Exchanges of a pod. A lookup has at most 64 steps by default, and a client has few undecided lookups.
const MAX_PER_POD: usize = 256;

/// Memory for the exchanges of a pod: an answer over TCP has up to 64 KiB.
const MAX_BYTES_PER_POD: usize = 256 << 10;

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
    /// What the server's pod asked for it without success.
    pub upstream: Option<Box<UpstreamQuestion>>,
}

impl ExchangeEvidence {
    pub fn from_exchange(exchange: &Exchange) -> Option<ExchangeEvidence> {
        let question = exchange.question.as_ref()?;
        let soa = exchange
            .authorities
            .iter()
            .find(|record| record.rtype == RecordType::SOA);
        let minimum = soa.and_then(|soa| soa.data.split_whitespace().next_back()?.parse().ok());
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
            alias: last_alias(exchange).map(|record| DnsName::new(&record.data)),
            icmp: exchange.icmp,
            truncated: was_truncated(exchange),
            rcode: exchange.rcode,
            edns: exchange.details.query_edns.is_some(),
            fragments_lost: exchange.fragments_lost,
            connection: exchange.connection,
            upstream: exchange.upstream.clone(),
        })
    }
}

/// Whether the server answered, whatever the answer.
pub(in crate::diagnose) fn is_answered(exchange: &Exchange) -> bool {
    exchange.latency.is_some()
        && exchange.icmp.is_none()
        && !matches!(exchange.outcome, Outcome::Timeout | Outcome::IcmpError)
}

/// Whether the answer over UDP was truncated.
pub(in crate::diagnose) fn was_truncated(exchange: &Exchange) -> bool {
    let truncated = |outcome| outcome == Outcome::Truncated;
    truncated(exchange.outcome) || exchange.steps.iter().any(|step| truncated(step.outcome))
}

/// The last alias in an answer: its data is the target at the end of the chain.
pub(in crate::diagnose) fn last_alias(exchange: &Exchange) -> Option<&ResourceRecord> {
    let mut answers = exchange.answers.iter();
    answers.rfind(|record| record.rtype == RecordType::CNAME)
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
    by_time: VecDeque<Ended>,
    bytes: usize,
    /// Exchanges so far.
    taken_in: u64,
}

#[derive(Debug)]
struct Ended {
    asked: Timestamp,
    /// Rises with every exchange that ends.
    number: u64,
    bytes: usize,
    exchange: Arc<Exchange>,
}

impl Exchanges {
    /// Takes in an exchange that ended and belongs to a lookup. Without room the oldest gives way: lookups of a
    /// client with so many undecided ones lack it as evidence.
    pub fn add(&mut self, exchange: &Arc<Exchange>) {
        let bytes = size_of::<Ended>() + exchange.heap_bytes();
        while self.by_time.len() >= MAX_PER_POD || self.bytes + bytes > MAX_BYTES_PER_POD {
            if !self.remove_oldest() {
                break;
            }
        }
        self.bytes += bytes;
        self.taken_in += 1;
        let place = self.after(exchange.asked);
        let ended = Ended {
            asked: exchange.asked,
            number: self.taken_in,
            bytes,
            exchange: Arc::clone(exchange),
        };
        self.by_time.insert(place, ended);
    }

    /// The place of the first exchange that was asked later.
    fn after(&self, asked: Timestamp) -> usize {
        self.by_time.partition_point(|ended| ended.asked <= asked)
    }

    /// Removes and returns the exchanges of a lookup, in the order in which they ended: those that one of its
    /// queries began. Other lookups of the same name can be under way.
    pub fn take(&mut self, lookup: &Lookup) -> Vec<Arc<Exchange>> {
        let mut taken: SmallVec<[(u64, Arc<Exchange>); 2]> = SmallVec::new();
        for step in &lookup.steps {
            for sent in &step.sent {
                let mut place = self.after(sent.at);
                while let Some(before) = place.checked_sub(1) {
                    place = before;
                    let ended = self.by_time.get(place);
                    let Some(ended) = ended.filter(|ended| ended.asked == sent.at) else {
                        break;
                    };
                    if is_of_query(&ended.exchange, step, sent)
                        && let Some(ended) = self.by_time.remove(place)
                    {
                        self.bytes -= ended.bytes;
                        taken.push((ended.number, ended.exchange));
                    }
                }
            }
        }
        taken.sort_unstable_by_key(|(number, _)| *number);
        taken.into_iter().map(|(_, exchange)| exchange).collect()
    }

    fn remove_oldest(&mut self) -> bool {
        let oldest = self.by_time.pop_front();
        self.bytes -= oldest.as_ref().map_or(0, |oldest| oldest.bytes);
        oldest.is_some()
    }

    pub fn expire(&mut self, now: Timestamp) {
        while let Some(oldest) = self.by_time.front()
            && exchange_end(&oldest.exchange).after(KEEP) <= now
        {
            self.remove_oldest();
        }
    }

    pub fn shrink(&mut self) {
        for _ in 0..self.by_time.len().div_ceil(2) {
            self.remove_oldest();
        }
    }

    pub fn is_empty(&self) -> bool {
        self.by_time.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Whether this query of a step was the exchange's first packet. The retry over TCP has another socket, and is
/// not the first.
fn is_of_query(exchange: &Exchange, step: &Step, sent: &SentQuery) -> bool {
    let flow = &exchange.flow;
    let socket = flow.pod.port() == sent.port || exchange.transport == Transport::Tcp;
    let asks = |question: &Question| question.name == step.name && question.qtype == step.qtype;
    socket && flow.peer.ip() == sent.server && exchange.question.as_ref().is_some_and(asks)
}
