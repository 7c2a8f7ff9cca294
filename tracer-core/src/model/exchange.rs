//! DNS exchanges: a query with its attempts, and its answer or silence.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::dns::{DnsFault, Flags, Message, OpCode, Question, ResourceRecord, ResponseCode};
use super::edns::{Edns, ExtendedError};
use super::flow::{Flow, Role};
use super::identity::PodIdentity;
use super::observation::IcmpError;
use super::time::Timestamp;

/// The transport of a DNS message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// NOERROR with records of the requested type (or a CNAME to them).
    Answered,
    /// NOERROR without a record of the requested type (RFC 2308 section 2.2).
    Nodata,
    /// The name does not exist.
    Nxdomain,
    /// The server failed.
    Servfail,
    /// The server refused.
    Refused,
    /// The server could not read the query.
    Formerr,
    /// A truncated answer: the client should retry over TCP.
    Truncated,
    /// No answer in time.
    Timeout,
    /// Nothing is known: the input ended before the answer came or the time for it was over, or the packets
    /// that decide it were lost, or its query was not seen ([`Exchange::is_unsolicited`]).
    Undecided,
    /// An ICMP error came instead of an answer.
    IcmpError,
    /// Another response code; or none, because the TCP connection ended first ([`Exchange::connection`]); or
    /// any, in an answer from an address that was not queried ([`Exchange::asked_peer`]).
    Other,
}

/// How an exchange's TCP connection ended before the answer came, or before the query could be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionEnd {
    /// Never established: refused by a RST or an ICMP error.
    Refused,
    /// Never established: no answer.
    Timeout,
    /// A reset, from either side.
    Reset,
    /// Closed by the server, or replaced by another connection on the same ports.
    Closed,
}

impl ConnectionEnd {
    /// The value in the JSON format.
    pub fn as_str(self) -> &'static str {
        match self {
            ConnectionEnd::Refused => "refused",
            ConnectionEnd::Timeout => "timeout",
            ConnectionEnd::Reset => "reset",
            ConnectionEnd::Closed => "closed",
        }
    }
}

/// A step of an exchange that used UDP first and then TCP (RFC 7766 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its transport.
    pub transport: Transport,
    /// How it ended.
    pub outcome: Outcome,
    /// Time from this step's first query to its answer, without the TCP handshake.
    pub latency: Option<Duration>,
}

impl Transport {
    /// The value in the JSON format.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        }
    }
}

impl Outcome {
    /// The value in the JSON format.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::Nodata => "nodata",
            Outcome::Nxdomain => "nxdomain",
            Outcome::Servfail => "servfail",
            Outcome::Refused => "refused",
            Outcome::Formerr => "formerr",
            Outcome::Truncated => "truncated",
            Outcome::Timeout => "timeout",
            Outcome::Undecided => "undecided",
            Outcome::IcmpError => "icmp-error",
            Outcome::Other => "other",
        }
    }

    /// Whether the client got no usable answer. NODATA is not a failure: the name exists, the type does not.
    pub fn failed(self) -> bool {
        !matches!(
            self,
            Outcome::Answered | Outcome::Nodata | Outcome::Truncated | Outcome::Undecided
        )
    }
}

/// A client's question to a DNS server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientQuestion {
    /// The client, as the server sees it.
    pub client: SocketAddr,
    /// Its pod, if known.
    pub pod: Option<Arc<PodIdentity>>,
    /// The message's identifier.
    pub id: u16,
    /// When it came to the server.
    pub time: Timestamp,
}

/// What a DNS server's pod asked another server for a client's question, without success. Inferred, as
/// [`Exchange::caused_by`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamQuestion {
    /// The DNS server's pod.
    pub by: Arc<PodIdentity>,
    /// The other server.
    pub to: SocketAddr,
    /// How it ended; `None` for silence.
    pub outcome: Option<Outcome>,
    /// How long it had been open when it ended, or when the client's own question ended.
    pub after: Duration,
}

/// A query with its attempts and its answer or silence.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// The number of its query among those of its capture, which [`Asked`](super::correlated::Asked) has too; 0
    /// without a query.
    pub number: u64,
    /// The flow of the first attempt.
    pub flow: Flow,
    /// The pod's role: client or server.
    pub role: Role,
    /// Its transport; with several steps, the last one's.
    pub transport: Transport,
    /// The identifier of the first attempt.
    pub id: u16,
    /// The question; `None` if it could not be read.
    pub question: Option<Question>,
    /// Time of the first attempt.
    pub asked: Timestamp,
    /// Time of the latest attempt.
    pub last_attempt: Timestamp,
    /// Number of attempts; 0 for an answer whose query was not seen. A retry over TCP after a truncated
    /// answer is a step, not an attempt.
    pub attempts: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// The response code, if a response came.
    pub rcode: Option<ResponseCode>,
    /// The answer section.
    pub answers: Vec<ResourceRecord>,
    /// The authority section: for a negative answer the SOA with the negative TTL.
    pub authorities: Vec<ResourceRecord>,
    /// Time from first query to answer; `None` for silence, and if the query was not seen.
    pub latency: Option<Duration>,
    /// It was reported as a timeout before.
    pub late: bool,
    /// The ICMP error that came instead of an answer.
    pub icmp: Option<IcmpError>,
    /// How the TCP connection ended before the answer.
    pub connection: Option<ConnectionEnd>,
    /// For an answer from another address than the queried one, the queried address. No resolver accepts such
    /// an answer (RFC 5452 section 9.1): the query keeps waiting and has an event of its own.
    pub asked_peer: Option<SocketAddr>,
    /// Answers of which only the first IP fragment arrived: no resolver gets such an answer, so the query kept
    /// waiting and was repeated.
    pub fragments_lost: u32,
    /// The truncated answer over UDP and the retry over TCP; empty for a single step.
    pub steps: Vec<Step>,
    /// The fault in the response.
    pub fault: Option<DnsFault>,
    /// Of a DNS server's own query: the client's question that it was sent for. Inferred from name, type and time, where
    /// these leave one choice.
    pub caused_by: Option<Box<ClientQuestion>>,
    /// Of a client's query that failed: what its DNS server's pod asked for it without success. Only for the rules:
    /// no event shows it.
    pub upstream: Option<Box<UpstreamQuestion>>,
    /// Further content of the messages.
    pub details: Details,
}

impl Exchange {
    /// An answer to no query that was seen. The query preceded the start or was lost, or nobody asked: any host
    /// can send such a message, so it shows nothing about the pod's lookups.
    pub fn is_unsolicited(&self) -> bool {
        self.attempts == 0 && self.asked_peer.is_none()
    }

    /// A referral: the server names other servers instead of answering, which is neither an answer nor
    /// NODATA.
    pub fn referral(&self) -> bool {
        self.outcome == Outcome::Other
            && self.rcode == Some(ResponseCode::NoError)
            && self.asked_peer.is_none()
    }

    /// How long the absence of the name, or of the type, may be cached.
    pub fn negative_ttl(&self) -> Option<u32> {
        match self.outcome {
            Outcome::Nodata | Outcome::Nxdomain => self.details.negative_ttl,
            _ => None,
        }
    }

    /// The server's reasons for its answer (RFC 8914).
    pub fn extended_errors(&self) -> &[ExtendedError] {
        self.details
            .edns
            .as_ref()
            .map_or(&[], |edns| edns.errors.as_slice())
    }
}

/// Content of an exchange's messages besides question, response code and sections.
#[derive(Clone, Debug, PartialEq)]
pub struct Details {
    /// Kind of query.
    pub opcode: OpCode,
    /// The fault in the query's last attempt.
    pub query_fault: Option<DnsFault>,
    /// The OPT record of the query's last attempt, without options.
    pub query_edns: Option<Box<Edns>>,
    /// The flags of the response.
    pub flags: Option<Flags>,
    /// The OPT record of the response.
    pub edns: Option<Box<Edns>>,
    /// The negative TTL of the response, if it has one.
    pub negative_ttl: Option<u32>,
    /// The start of the query or response in its TCP stream was guessed: the stream was not seen from its
    /// start, or a part of it is missing. The content may be other bytes that look like a message.
    pub resynchronised: bool,
}

impl Default for Details {
    fn default() -> Details {
        Details {
            opcode: OpCode::Query,
            query_fault: None,
            query_edns: None,
            flags: None,
            edns: None,
            negative_ttl: None,
            resynchronised: false,
        }
    }
}

impl Details {
    /// Details of a query without its answer.
    pub fn asked(query: &Message) -> Details {
        Details {
            opcode: query.opcode,
            query_fault: query.fault.clone(),
            query_edns: query
                .edns
                .as_ref()
                .map(|edns| Box::new(edns.capabilities())),
            ..Details::default()
        }
    }

    /// Adds the response's details.
    pub fn answered(self, response: Message) -> Details {
        Details {
            opcode: response.opcode,
            flags: Some(response.flags),
            edns: response.edns,
            negative_ttl: response.negative_ttl,
            ..self
        }
    }
}
