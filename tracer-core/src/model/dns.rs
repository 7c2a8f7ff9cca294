//! DNS in the terms of RFC 1035 and RFC 8499: names, messages, outcomes. `decode::dns` reads the wire format.

use std::fmt;
use std::sync::Arc;

use super::edns::Edns;

mod mnemonics;

pub use self::mnemonics::{opcode_mnemonic, rcode_from_mnemonic, rcode_mnemonic, type_mnemonic};

pub use hickory_proto::op::{OpCode, ResponseCode};
pub use hickory_proto::rr::RecordType;

/// An absolute domain name in presentation format: lower case, trailing dot, everything but printable ASCII
/// escaped (`\DDD`, RFC 1035 section 5.1), so that it is safe on a terminal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(Arc<str>);

impl DnsName {
    /// From presentation format that the caller has escaped; lower-cases it and makes it absolute.
    pub fn new(presentation: &str) -> DnsName {
        let mut name = presentation.to_ascii_lowercase();
        if !name.ends_with('.') {
            name.push('.');
        }
        DnsName(name.into())
    }

    /// From presentation format that is absolute and in lower case already.
    pub(crate) fn from_presentation(name: &str) -> DnsName {
        DnsName(name.into())
    }

    /// With the trailing dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the trailing dot; the root stays ".".
    pub fn relative(&self) -> &str {
        if &*self.0 == "." {
            "."
        } else {
            &self.0[..self.0.len() - 1]
        }
    }

    /// The labels before `.suffix.`, or `None` if the name does not end in it. A name is not below itself.
    pub fn below(&self, suffix: &DnsName) -> Option<&str> {
        let head = self.0.strip_suffix(&*suffix.0)?;
        head.strip_suffix('.').filter(|head| !head.is_empty())
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A question (RFC 1035 section 4.1.2). Its class is not kept: queries of another class than IN are
/// recognisable by their type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Question {
    /// The name asked for.
    pub name: DnsName,
    /// The type asked for.
    pub qtype: RecordType,
}

/// One resource record of the answer, authority or additional section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceRecord {
    /// Owner name.
    pub name: DnsName,
    /// Type.
    pub rtype: RecordType,
    /// Time to live, seconds.
    pub ttl: u32,
    /// The record's data in presentation format, safe to print.
    pub data: String,
}

/// A message, as far as it was understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The message's identifier.
    pub id: u16,
    /// Response rather than query (QR).
    pub response: bool,
    /// Kind of query.
    pub opcode: OpCode,
    /// Response code, with the extended bits of EDNS where there are any.
    pub rcode: ResponseCode,
    /// The flags of the header.
    pub flags: Flags,
    /// The first question; nearly always the only one.
    pub question: Option<Question>,
    /// Answer section.
    pub answers: Vec<ResourceRecord>,
    /// Authority section.
    pub authorities: Vec<ResourceRecord>,
    /// Number of answer records that the header announces.
    pub answer_count: u16,
    /// How long the negative answer may be cached: the lesser of the SOA's own TTL and its last field (RFC
    /// 2308 section 5). `None` without a SOA in the authority section.
    pub negative_ttl: Option<u32>,
    /// The OPT record.
    pub edns: Option<Box<Edns>>,
    /// The message is in the first of several IP fragments, so only its beginning is there. Where all fragments
    /// are at hand they are joined before.
    pub fragment: bool,
    /// The fault in the message; the other fields were understood all the same.
    pub fault: Option<DnsFault>,
}

/// The flags of a header (RFC 1035 section 4.1.1, RFC 4035 section 3), QR aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Authoritative answer (AA).
    pub authoritative: bool,
    /// Truncated (TC).
    pub truncated: bool,
    /// Recursion desired (RD).
    pub recursion_desired: bool,
    /// Recursion available (RA).
    pub recursion_available: bool,
    /// The server has authenticated the data (AD).
    pub authentic_data: bool,
    /// The client asks the server not to validate (CD).
    pub checking_disabled: bool,
}

impl Flags {
    /// The set flags, in dig's spelling and order.
    pub fn mnemonics(self) -> impl Iterator<Item = &'static str> {
        [
            (self.authoritative, "aa"),
            (self.truncated, "tc"),
            (self.recursion_desired, "rd"),
            (self.recursion_available, "ra"),
            (self.authentic_data, "ad"),
            (self.checking_disabled, "cd"),
        ]
        .into_iter()
        .filter_map(|(set, mnemonic)| set.then_some(mnemonic))
    }
}

/// The fault in a message that was understood in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsFault {
    /// The capture truncated the message.
    CutShort,
    /// It has this many questions, and a message has at most one (RFC 9619). The first was used.
    Questions(u16),
    /// The question section is malformed.
    Question(String),
    /// A record is malformed. If its data is, the data is kept in the form of RFC 3597 and the next records
    /// were read; if its header is, nothing after it could be read.
    Record(String),
    /// The OPT record is malformed.
    Edns(String),
    /// More records or options than are read per message.
    TooMany,
}

impl fmt::Display for DnsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DnsFault::CutShort => f.write_str("cut short by the capture"),
            DnsFault::Questions(count) => {
                write!(f, "{count} questions, of which the first was used")
            }
            DnsFault::Question(what) => write!(f, "malformed question: {what}"),
            DnsFault::Record(what) => write!(f, "malformed record: {what}"),
            DnsFault::Edns(what) => write!(f, "malformed EDNS: {what}"),
            DnsFault::TooMany => f.write_str("more records than are read"),
        }
    }
}
