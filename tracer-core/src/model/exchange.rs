//! A DNS exchange: a query with its attempts, and its answer or its silence.

use std::net::SocketAddr;
use std::time::Duration;

use super::dns::{DnsFault, Flags, Message, OpCode, Question, ResourceRecord, ResponseCode};
use super::edns::{Edns, ExtendedError};
use super::flow::{Flow, Role};
use super::observation::IcmpError;
use super::time::Timestamp;

/// What DNS ran over.
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
    /// NOERROR with records of the type asked for (or a CNAME to them).
    Answered,
    /// NOERROR without a record of the type asked for (RFC 2308 section 2.2).
    Nodata,
    /// The name does not exist.
    Nxdomain,
    /// The server failed.
    Servfail,
    /// The server refused.
    Refused,
    /// The server could not read the query.
    Formerr,
    /// A truncated answer: the client should ask again over TCP.
    Truncated,
    /// No answer in time.
    Timeout,
    /// An ICMP error came instead of an answer.
    IcmpError,
    /// Another response code; or none, because the TCP connection ended first ([`Exchange::connection`]); or any, in an
    /// answer that nobody had asked for there ([`Exchange::asked_peer`]).
    Other,
}

/// How the TCP connection of an exchange ended before the answer came, or before the query could be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionEnd {
    /// It was never established: refused by a reset or an ICMP error.
    Refused,
    /// It was never established: nobody answered.
    Timeout,
    /// A reset, from either side.
    Reset,
    /// Closed in order by the server, or another connection took its ports.
    Closed,
}

impl ConnectionEnd {
    /// The word of the JSON form.
    pub fn as_str(self) -> &'static str {
        match self {
            ConnectionEnd::Refused => "refused",
            ConnectionEnd::Timeout => "timeout",
            ConnectionEnd::Reset => "reset",
            ConnectionEnd::Closed => "closed",
        }
    }
}

/// A part of an exchange that went over UDP first and then over TCP (RFC 7766 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it ran over.
    pub transport: Transport,
    /// How it ended.
    pub outcome: Outcome,
    /// This step's first query to its answer; without the handshake of TCP.
    pub latency: Option<Duration>,
}

impl Transport {
    /// The word of the JSON contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        }
    }
}

impl Outcome {
    /// The word of the JSON contract.
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
            Outcome::IcmpError => "icmp-error",
            Outcome::Other => "other",
        }
    }

    /// Whether the asker got nothing to work with. NODATA is not a failure: the name exists, the type does not.
    pub fn failed(self) -> bool {
        !matches!(
            self,
            Outcome::Answered | Outcome::Nodata | Outcome::Truncated
        )
    }
}

/// A query with its attempts and its answer or its silence.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// Where it was seen; of the first attempt.
    pub flow: Flow,
    /// Whether the pod asked or was asked.
    pub role: Role,
    /// What it ran over; with several steps, the last one.
    pub transport: Transport,
    /// The identifier of the first attempt.
    pub id: u16,
    /// What was asked; `None` where the question could not be read.
    pub question: Option<Question>,
    /// The first attempt.
    pub asked: Timestamp,
    /// The latest attempt.
    pub last_attempt: Timestamp,
    /// How often it was asked; 0 for an answer whose query was not seen. That a truncated answer is asked for again over
    /// TCP is a step and no further attempt.
    pub attempts: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// The response code, if a response came.
    pub rcode: Option<ResponseCode>,
    /// The answer section.
    pub answers: Vec<ResourceRecord>,
    /// The authority section: for a negative answer the SOA with the negative TTL.
    pub authorities: Vec<ResourceRecord>,
    /// First query to answer; `None` for silence and where the query was not seen.
    pub latency: Option<Duration>,
    /// It was announced as a timeout before.
    pub late: bool,
    /// The ICMP error that came instead of an answer.
    pub icmp: Option<IcmpError>,
    /// Over TCP: the connection ended like this, so no answer came.
    pub connection: Option<ConnectionEnd>,
    /// Of an answer that came from another address than the pod had asked: whom it had asked. No resolver takes such an
    /// answer (RFC 5452 section 9.1): the query goes on to wait and has an event of its own.
    pub asked_peer: Option<SocketAddr>,
    /// The truncated answer over UDP and what became of asking again over TCP; empty where there was one step only.
    pub steps: Vec<Step>,
    /// What was wrong with the response.
    pub fault: Option<DnsFault>,
    /// What else the messages said.
    pub details: Details,
}

impl Exchange {
    /// The server named other servers instead of answering: neither an answer nor NODATA.
    pub fn referral(&self) -> bool {
        self.outcome == Outcome::Other
            && self.rcode == Some(ResponseCode::NoError)
            && self.asked_peer.is_none()
    }

    /// How long it may be remembered that the name, or the type, does not exist.
    pub fn negative_ttl(&self) -> Option<u32> {
        match self.outcome {
            Outcome::Nodata | Outcome::Nxdomain => self.details.negative_ttl,
            _ => None,
        }
    }

    /// Why the server says it answered as it did.
    pub fn extended_errors(&self) -> &[ExtendedError] {
        self.details
            .edns
            .as_ref()
            .map_or(&[], |edns| edns.errors.as_slice())
    }
}

/// What the messages of an exchange said beside question, response code and sections.
#[derive(Clone, Debug, PartialEq)]
pub struct Details {
    /// Kind of query.
    pub opcode: OpCode,
    /// What was wrong with the query, in its last attempt.
    pub query_fault: Option<DnsFault>,
    /// What the query, in its last attempt, said in its OPT record, options aside.
    pub query_edns: Option<Edns>,
    /// The flags of the response.
    pub flags: Option<Flags>,
    /// The OPT record of the response.
    pub edns: Option<Edns>,
    /// The negative TTL of the response, if it has one.
    pub negative_ttl: Option<u32>,
    /// Where a message begins in its TCP stream was guessed, of the query or the response: the stream was not seen from its
    /// start, or a part of it is missing. What it says may be something else that looks like a message.
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
    /// Of a query without its answer.
    pub fn asked(query: &Message) -> Details {
        Details {
            opcode: query.opcode,
            query_fault: query.fault.clone(),
            query_edns: query.edns.as_ref().map(Edns::capabilities),
            ..Details::default()
        }
    }

    /// With what the response says.
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
