//! Decodes the bytes of a record into an observation.
//!
//! Owns the wire formats: [`packet`] reads network and transport headers, [`icmp`] ICMP messages and the
//! packets they quote, [`dns`] DNS messages; [`chunks`] finds the segment that a record without headers
//! continues. The input is a record, from the ring buffer or a capture file. Never looks at a clock, keeps no
//! other state between two records than names that may come again, and never panics. Bad input is data: the result is whatever was understood
//! plus the fault, or a [`Fault`] if nothing was.

// No packet may cause a panic.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

mod chunks;
mod dns;
mod icmp;
mod packet;
#[cfg(test)]
pub(crate) mod robustness;
#[cfg(test)]
pub(crate) mod testing;

use crate::model::dns::Message;
use crate::model::observation::Observation;
use crate::model::record::Record;
use crate::model::signal::Tuple;

use chunks::Chunks;
use dns::Names;

/// Why a record could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// Neither IPv4 nor IPv6.
    #[error("not an IP packet")]
    NotIp,
    /// The IP header or an extension header is invalid.
    #[error("the IP header is malformed")]
    IpHeader,
    /// The captured bytes or the packet end within the headers.
    #[error("the packet ends within its headers")]
    CutShort,
    /// A fragment other than the first: the ports are in the first.
    #[error("a fragment without the transport header")]
    LaterFragment,
    /// The TCP header is invalid.
    #[error("the TCP header is malformed")]
    TcpHeader,
    /// An ICMP error whose quoted packet is not recognisable.
    #[error("an ICMP error without the packet it is about")]
    IcmpQuote,
    /// A later chunk of a long TCP segment whose first chunk, with the headers, is missing.
    #[error("a chunk without its headers")]
    LaterChunk,
}

impl Fault {
    /// A fixed identifier for counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Fault::NotIp => "not ip",
            Fault::IpHeader => "ip header malformed",
            Fault::CutShort => "headers cut short",
            Fault::LaterFragment => "later fragment",
            Fault::TcpHeader => "tcp header malformed",
            Fault::IcmpQuote => "icmp quote unreadable",
            Fault::LaterChunk => "later chunk",
        }
    }
}

/// Decodes records.
#[derive(Clone, Debug)]
pub struct Decoder {
    dns_ports: Vec<u16>,
    chunks: Chunks,
    names: Names,
}

impl Decoder {
    /// Creates a decoder. A packet with one of these ports on either side is DNS.
    pub fn new(dns_ports: Vec<u16>) -> Decoder {
        Decoder {
            dns_ports,
            chunks: Chunks::default(),
            names: Names::remembering(),
        }
    }

    /// Decodes one record. A segment's first chunk must precede its other chunks.
    pub fn decode(&mut self, record: &Record) -> Result<Observation, Fault> {
        if record.chunk_offset != 0 {
            return self.chunks.go_on(record).ok_or(Fault::LaterChunk);
        }
        let (observation, headers) = packet::observe(record, &self.dns_ports, &mut self.names)?;
        self.chunks.begin(record, &observation, headers);
        Ok(observation)
    }
}

/// The ends of a packet, and its TCP flags if it is TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Transport and both ends.
    pub tuple: Tuple,
    /// TCP's flags.
    pub tcp_flags: Option<u8>,
}

/// Reads the headers of a packet alone; `None` if they are not those of an IP packet with ports, or of an ICMP
/// echo, or without both.
pub fn headers(bytes: &[u8]) -> Option<Headers> {
    icmp::headers(bytes)
}

/// Decodes a DNS message found in a TCP stream; `None` if it is not DNS.
pub fn dns_message(bytes: &[u8]) -> Option<Message> {
    dns::message(bytes, false)
}
