//! A DNS exchange: a query with its attempts, and its answer or its silence.

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
    /// Another response code.
    Other,
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
    /// What it ran over.
    pub transport: Transport,
    /// The message's identifier.
    pub id: u16,
    /// What was asked; `None` where the question could not be read.
    pub question: Option<Question>,
    /// The first attempt.
    pub asked: Timestamp,
    /// How often it was asked; 0 for an answer whose query was not seen.
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
    /// What was wrong with the response.
    pub fault: Option<DnsFault>,
    /// What else the messages said.
    pub details: Details,
}

impl Exchange {
    /// The server named other servers instead of answering: neither an answer nor NODATA.
    pub fn referral(&self) -> bool {
        self.outcome == Outcome::Other && self.rcode == Some(ResponseCode::NoError)
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
    pub fn answered(self, response: &Message) -> Details {
        Details {
            opcode: response.opcode,
            flags: Some(response.flags),
            edns: response.edns.clone(),
            negative_ttl: response.negative_ttl,
            ..self
        }
    }
}
