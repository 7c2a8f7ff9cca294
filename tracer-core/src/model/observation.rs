//! One decoded packet.

use std::net::SocketAddr;

use super::dns::Message;
use super::flow::{Direction, Flow, FlowTotals, QuotedFlow};
use super::time::Timestamp;

/// One packet, decoded as far as possible.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// When it was seen.
    pub time: Timestamp,
    /// Its flow, seen from the pod.
    pub flow: Flow,
    /// Its direction.
    pub direction: Direction,
    /// The packet's length from the network header on.
    pub wire_len: u32,
    /// The flow's counters including this packet, if known.
    pub totals: Option<FlowTotals>,
    /// The packet's content.
    pub what: What,
}

/// The content of a packet.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A DNS message over UDP.
    Dns(Box<Message>),
    /// A TCP segment.
    Tcp(TcpSegment),
    /// An ICMP echo request or reply.
    Echo(EchoMessage),
    /// An ICMP error.
    IcmpError(IcmpError),
    /// Any other packet: UDP that is not DNS, or another protocol.
    Other,
}

/// A TCP segment's control information and, on a DNS port, its payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpSegment {
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgment number; meaningful with `ack`.
    pub acknowledgment: u32,
    /// SYN flag.
    pub syn: bool,
    /// ACK flag.
    pub ack: bool,
    /// FIN flag.
    pub fin: bool,
    /// RST flag.
    pub rst: bool,
    /// One of its ports is a DNS port, so its payload is kept.
    pub dns: bool,
    /// On a DNS port: the payload from `payload_offset` on.
    pub payload: Vec<u8>,
    /// Where `payload` starts within the segment's payload. Not 0 for the later chunks of a GSO segment, which repeat its
    /// numbers and flags: the segment is counted once, with its first chunk.
    pub payload_offset: u32,
    /// The whole segment's payload on the wire, of which `payload` may be a part.
    pub length: u32,
    /// The capture cut off the rest of the segment after `payload`, so no record has it. Not set for a chunk
    /// that others follow.
    pub cut: bool,
}

/// An ICMP or ICMPv6 echo request or reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchoMessage {
    /// Reply rather than request.
    pub reply: bool,
    /// Identifier.
    pub id: u16,
    /// Sequence number.
    pub sequence: u16,
}

/// An ICMP or ICMPv6 error with the packet it quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// Its sender: often a node or a router rather than an end of the quoted flow.
    pub from: SocketAddr,
    /// ICMPv6 rather than ICMP; type and code have other meanings.
    pub v6: bool,
    /// ICMP type.
    pub icmp_type: u8,
    /// ICMP code.
    pub icmp_code: u8,
    /// The next hop's MTU in "fragmentation needed" and "packet too big".
    pub mtu: Option<u32>,
    /// The packet that failed.
    pub about: QuotedFlow,
    /// Sequence number of a quoted echo request.
    pub echo_sequence: Option<u16>,
    /// Sequence number of a quoted TCP segment.
    pub sequence: Option<u32>,
    /// The pod is not known to have sent the quoted packet: any host can send such an error, so it shows
    /// nothing about the pod.
    pub unconfirmed: bool,
    /// The quoted packet is a TCP SYN, and the quote is long enough to show it.
    pub opens: bool,
    /// First two payload bytes of a quoted datagram, if the quote includes them: a DNS message's identifier.
    pub datagram_id: Option<u16>,
}

impl IcmpError {
    /// Whether it is "fragmentation needed" (RFC 1191) or "packet too big" (RFC 4443).
    pub fn is_too_big(&self) -> bool {
        matches!(
            (self.v6, self.icmp_type, self.icmp_code),
            (false, 3, 4) | (true, 2, _)
        )
    }

    /// Whether it is "time exceeded in transit" (RFC 792, RFC 4443): a router used up the hop limit.
    pub fn is_time_exceeded(&self) -> bool {
        matches!(
            (self.v6, self.icmp_type, self.icmp_code),
            (false, 11, 0) | (true, 3, 0)
        )
    }
}
