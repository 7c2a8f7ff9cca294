//! ICMP (RFC 792) and ICMPv6 (RFC 4443): echo messages, and errors with the packet they quote.
//!
//! All other messages (neighbour discovery, redirects, timestamps) become [`What::Other`]: they show nothing
//! about a pod's traffic.

use std::net::IpAddr;

use etherparse::{Icmpv4Slice, Icmpv6Slice, icmpv4, icmpv6};

use super::{Fault, Headers, packet};
use crate::model::flow::{Protocol, QuotedFlow, host};
use crate::model::observation::{EchoMessage, IcmpError, What};
use crate::model::signal::Tuple;

/// The offset of the flags in a TCP header (RFC 9293 section 3.1), and two of the flags.
const TCP_FLAGS_AT: usize = 13;
const TCP_SYN: u8 = 0x02;
const TCP_ACK: u8 = 0x10;

/// The fields that ICMP and ICMPv6 share.
struct Message<'a> {
    v6: bool,
    icmp_type: u8,
    icmp_code: u8,
    /// Bytes 5 to 8, whose meaning depends on the type.
    rest: [u8; 4],
    payload: &'a [u8],
}

/// Reads a message sent by `from`.
pub(super) fn read(protocol: Protocol, from: IpAddr, bytes: &[u8]) -> Result<What, Fault> {
    if bytes.len() < 8 {
        return Err(Fault::CutShort);
    }
    let message = match protocol {
        Protocol::Icmpv6 => Icmpv6Slice::from_slice(bytes).ok().map(|icmp| Message {
            v6: true,
            icmp_type: icmp.type_u8(),
            icmp_code: icmp.code_u8(),
            rest: icmp.bytes5to8(),
            payload: icmp.payload(),
        }),
        _ => Icmpv4Slice::from_slice(bytes).ok().map(|icmp| Message {
            v6: false,
            icmp_type: icmp.type_u8(),
            icmp_code: icmp.code_u8(),
            rest: icmp.bytes5to8(),
            payload: icmp.payload(),
        }),
    };
    // Long enough, yet rejected: a timestamp message of the wrong length.
    let Some(message) = message else {
        return Ok(What::Other);
    };
    if let Some(reply) = echo_kind(&message) {
        let [id_high, id_low, sequence_high, sequence_low] = message.rest;
        return Ok(What::Echo(EchoMessage {
            reply,
            id: u16::from_be_bytes([id_high, id_low]),
            sequence: u16::from_be_bytes([sequence_high, sequence_low]),
        }));
    }
    if is_error(&message) {
        error(&message, from).map(What::IcmpError)
    } else {
        Ok(What::Other)
    }
}

/// `Some(true)` for an echo reply, `Some(false)` for a request.
fn echo_kind(message: &Message<'_>) -> Option<bool> {
    match (message.v6, message.icmp_type) {
        (false, icmpv4::TYPE_ECHO_REQUEST) | (true, icmpv6::TYPE_ECHO_REQUEST) => Some(false),
        (false, icmpv4::TYPE_ECHO_REPLY) | (true, icmpv6::TYPE_ECHO_REPLY) => Some(true),
        _ => None,
    }
}

fn is_error(message: &Message<'_>) -> bool {
    match message.v6 {
        // Source quench and redirect quote a packet that did not fail.
        false => matches!(
            message.icmp_type,
            icmpv4::TYPE_DEST_UNREACH | icmpv4::TYPE_TIME_EXCEEDED | icmpv4::TYPE_PARAMETER_PROBLEM
        ),
        true => matches!(
            message.icmp_type,
            icmpv6::TYPE_DST_UNREACH
                | icmpv6::TYPE_PACKET_TOO_BIG
                | icmpv6::TYPE_TIME_EXCEEDED
                | icmpv6::TYPE_PARAMETER_PROBLEM
        ),
    }
}

fn error(message: &Message<'_>, from: IpAddr) -> Result<IcmpError, Fault> {
    let quote = quoted(message.payload).ok_or(Fault::IcmpQuote)?;
    Ok(IcmpError {
        from: host(from),
        v6: message.v6,
        icmp_type: message.icmp_type,
        icmp_code: message.icmp_code,
        mtu: mtu(message),
        about: quote.about,
        echo_sequence: quote.echo_sequence,
        sequence: quote.sequence,
        // Until the packet is found.
        unconfirmed: true,
        opens: quote.opens,
        datagram_id: quote.datagram_id,
    })
}

/// The ends and the TCP flags of any packet.
pub(super) fn headers(bytes: &[u8]) -> Option<Headers> {
    let Quote {
        about: QuotedFlow { protocol, src, dst },
        tcp_flags,
        ..
    } = quoted(bytes)?;
    Some(Headers {
        tuple: Tuple { protocol, src, dst },
        tcp_flags,
    })
}

fn mtu(message: &Message<'_>) -> Option<u32> {
    let [_, _, high, low] = message.rest;
    let mtu = match (message.v6, message.icmp_type, message.icmp_code) {
        (false, icmpv4::TYPE_DEST_UNREACH, icmpv4::CODE_DST_UNREACH_NEED_FRAG) => {
            u32::from(u16::from_be_bytes([high, low]))
        }
        (true, icmpv6::TYPE_PACKET_TOO_BIG, _) => u32::from_be_bytes(message.rest),
        _ => return None,
    };
    // Routers older than RFC 1191 leave it zero.
    Some(mtu).filter(|&mtu| mtu != 0)
}

/// The facts about the quoted packet.
struct Quote {
    about: QuotedFlow,
    /// The sequence number of an echo request.
    echo_sequence: Option<u16>,
    /// The sequence number of a TCP segment.
    sequence: Option<u32>,
    /// TCP flags; `None` if it is not TCP, or too few bytes are quoted.
    tcp_flags: Option<u8>,
    /// Whether it is a SYN without ACK.
    opens: bool,
    /// The first payload bytes of a datagram.
    datagram_id: Option<u16>,
}

/// Reads the quoted packet. It has at least the IP header and 8 bytes (RFC 792): TCP's ports without its
/// flags.
fn quoted(bytes: &[u8]) -> Option<Quote> {
    let quote = packet::read(bytes).ok()?;
    let protocol = quote.protocol;
    let (mut src, mut dst) = packet::hosts(&quote);
    let mut echo_sequence = None;
    let mut sequence = None;
    let mut tcp_flags = None;
    let mut datagram_id = None;
    match protocol {
        Protocol::Tcp | Protocol::Udp if quote.fragment_offset == 0 => {
            (src, dst) = packet::ports(&quote)?;
            if protocol == Protocol::Tcp {
                if let [_, _, _, _, number @ ..] = quote.payload {
                    sequence = number.first_chunk().copied().map(u32::from_be_bytes);
                }
                tcp_flags = quote.payload.get(TCP_FLAGS_AT).copied();
            }
            if protocol == Protocol::Udp
                && let [_, _, _, _, _, _, _, _, high, low, ..] = *quote.payload
            {
                datagram_id = Some(u16::from_be_bytes([high, low]));
            }
        }
        Protocol::Icmp | Protocol::Icmpv6 if quote.fragment_offset == 0 => {
            let [
                icmp_type,
                _,
                _,
                _,
                id_high,
                id_low,
                sequence_high,
                sequence_low,
                ..,
            ] = *quote.payload
            else {
                return Some(Quote {
                    about: QuotedFlow { protocol, src, dst },
                    echo_sequence,
                    sequence,
                    tcp_flags,
                    opens: false,
                    datagram_id,
                });
            };
            let (request, reply) = match protocol {
                Protocol::Icmp => (icmpv4::TYPE_ECHO_REQUEST, icmpv4::TYPE_ECHO_REPLY),
                _ => (icmpv6::TYPE_ECHO_REQUEST, icmpv6::TYPE_ECHO_REPLY),
            };
            if icmp_type == request || icmp_type == reply {
                src.set_port(u16::from_be_bytes([id_high, id_low]));
            }
            if icmp_type == request {
                echo_sequence = Some(u16::from_be_bytes([sequence_high, sequence_low]));
            }
        }
        _ => {}
    }
    Some(Quote {
        about: QuotedFlow { protocol, src, dst },
        echo_sequence,
        sequence,
        tcp_flags,
        opens: tcp_flags.is_some_and(|flags| flags & (TCP_SYN | TCP_ACK) == TCP_SYN),
        datagram_id,
    })
}
