//! Reads what the kernel sends: conntrack entries and counters. Pure, and never panics.
//!
//! Formats: include/uapi/linux/netfilter/nfnetlink_conntrack.h and nfnetlink.h. Attributes that are not needed
//! are skipped, those that cannot be read make the entry unreadable.

use std::net::{IpAddr, SocketAddr};

use netlink_packet_core::{
    NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NlaBuffer, NlasIterator, parse_ip, parse_u16_be,
    parse_u32_be,
};

use tracer_core::model::flow::Protocol;
use tracer_core::model::signal::{Translation, Tuple};

/// `NFNL_SUBSYS_CTNETLINK`, in the upper byte of a message's type.
const SUBSYSTEM: u16 = 1 << 8;
/// `struct nfgenmsg`: family, version, resource id.
pub(super) const NFGEN_BYTES: usize = 4;

/// `enum cntl_msg_types`.
pub(super) mod kind {
    pub const NEW: u8 = 0;
    pub const GET: u8 = 1;
    pub const STATS_PER_CPU: u8 = 4;
    pub const STATS: u8 = 5;
}

/// `enum ctattr_type` and those below it.
pub(super) mod attribute {
    pub const TUPLE_ORIGINAL: u16 = 1;
    pub const TUPLE_REPLY: u16 = 2;
    pub const STATUS: u16 = 3;
    pub const STATUS_MASK: u16 = 26;
    pub const TUPLE_IP: u16 = 1;
    pub const TUPLE_PROTO: u16 = 2;
    pub const V4_SOURCE: u16 = 1;
    pub const V4_DESTINATION: u16 = 2;
    pub const V6_SOURCE: u16 = 3;
    pub const V6_DESTINATION: u16 = 4;
    pub const PROTO_NUMBER: u16 = 1;
    pub const SOURCE_PORT: u16 = 2;
    pub const DESTINATION_PORT: u16 = 3;
}

/// One message of a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// An entry whose destination is translated.
    Translated(Translation),
    /// An entry without a translated destination, or of a protocol without ports.
    Other,
    /// Counters: the attributes' numbers and values.
    Counters(Vec<(u16, u64)>),
    /// The end of a dump.
    Done,
    /// An errno, or 0 for an acknowledgement.
    Error(i32),
    /// A message that cannot be read.
    Unreadable,
}

/// The messages of a datagram. After one without a readable length the rest is unknown.
pub(super) fn messages(datagram: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut rest = datagram;
    while !rest.is_empty() {
        let Ok(buffer) = NetlinkBuffer::new_checked(rest) else {
            messages.push(Message::Unreadable);
            break;
        };
        messages.push(message(buffer.message_type(), buffer.payload()));
        // Messages are aligned to four bytes; the last one need not be padded.
        let length = (buffer.length() as usize).next_multiple_of(4);
        rest = rest.get(length..).unwrap_or_default();
    }
    messages
}

fn message(kind: u16, payload: &[u8]) -> Message {
    if kind == NLMSG_DONE {
        return Message::Done;
    }
    if kind == NLMSG_ERROR {
        return errno(payload).map_or(Message::Unreadable, Message::Error);
    }
    let Some(attributes) = payload.get(NFGEN_BYTES..) else {
        return Message::Unreadable;
    };
    let read = match u8::try_from(kind ^ SUBSYSTEM) {
        Ok(kind::NEW) => entry(attributes),
        Ok(kind::STATS_PER_CPU | kind::STATS) => counters(attributes).map(Message::Counters),
        _ => Some(Message::Other),
    };
    read.unwrap_or(Message::Unreadable)
}

/// The errno at the beginning of `struct nlmsgerr`, which is negative there.
fn errno(payload: &[u8]) -> Option<i32> {
    let bytes = payload.first_chunk()?;
    Some(i32::from_ne_bytes(*bytes).saturating_neg())
}

fn entry(attributes: &[u8]) -> Option<Message> {
    let (mut original, mut reply) = (None, None);
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.ok()?;
        match attribute.kind() {
            attribute::TUPLE_ORIGINAL => original = Some(tuple(value(&attribute))?),
            attribute::TUPLE_REPLY => reply = Some(tuple(value(&attribute))?),
            _ => {}
        }
    }
    let (Some(original), Some(reply)) = (original?, reply?) else {
        return Some(Message::Other);
    };
    if reply.src == original.dst {
        return Some(Message::Other);
    }
    Some(Message::Translated(Translation { original, reply }))
}

/// One direction of an entry: `None` if it cannot be read, `Some(None)` if its protocol has no ports.
#[expect(
    clippy::option_option,
    reason = "unreadable and without ports are two answers"
)]
fn tuple(attributes: &[u8]) -> Option<Option<Tuple>> {
    let (mut source, mut destination): (Option<IpAddr>, Option<IpAddr>) = (None, None);
    let (mut protocol, mut from, mut to) = (None, None, None);
    for outer in NlasIterator::new(attributes) {
        let outer = outer.ok()?;
        for inner in NlasIterator::new(value(&outer)) {
            let inner = inner.ok()?;
            let value = value(&inner);
            match (outer.kind(), inner.kind()) {
                (attribute::TUPLE_IP, attribute::V4_SOURCE | attribute::V6_SOURCE) => {
                    source = Some(parse_ip(value).ok()?);
                }
                (attribute::TUPLE_IP, attribute::V4_DESTINATION | attribute::V6_DESTINATION) => {
                    destination = Some(parse_ip(value).ok()?);
                }
                (attribute::TUPLE_PROTO, attribute::PROTO_NUMBER) => {
                    protocol = Some(Protocol::from_number(*value.first()?));
                }
                (attribute::TUPLE_PROTO, attribute::SOURCE_PORT) => {
                    from = Some(parse_u16_be(value).ok()?);
                }
                (attribute::TUPLE_PROTO, attribute::DESTINATION_PORT) => {
                    to = Some(parse_u16_be(value).ok()?);
                }
                _ => {}
            }
        }
    }
    let protocol = protocol?;
    if !matches!(protocol, Protocol::Tcp | Protocol::Udp) {
        return Some(None);
    }
    Some(Some(Tuple {
        protocol,
        src: SocketAddr::new(source?, from?),
        dst: SocketAddr::new(destination?, to?),
    }))
}

/// All attributes with 32 bits, which every counter has.
fn counters(attributes: &[u8]) -> Option<Vec<(u16, u64)>> {
    let mut counters = Vec::new();
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.ok()?;
        if let Ok(count) = parse_u32_be(value(&attribute)) {
            counters.push((attribute.kind(), count.into()));
        }
    }
    Some(counters)
}

/// An attribute's value. The iterator has checked its length.
fn value<'a>(attribute: &NlaBuffer<&'a [u8]>) -> &'a [u8] {
    let length = usize::from(attribute.length());
    let bytes: &'a [u8] = attribute.into_inner();
    bytes.get(4..length).unwrap_or_default()
}

/// The type of a request.
pub(super) fn request_type(kind: u8) -> u16 {
    SUBSYSTEM | u16::from(kind)
}

#[cfg(test)]
mod tests;
