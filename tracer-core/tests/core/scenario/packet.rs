//! A packet described in words, built with libraries that the decoder does not share its code with.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::message;
use etherparse::{Icmpv4Type, Icmpv6Type, PacketBuilder, PacketBuilderStep};

/// The packet from the network header on, and its EtherType.
pub struct Packet {
    pub ethertype: u16,
    pub bytes: Vec<u8>,
}

/// `udp SRC DST WHAT...`, `tcp SRC DST FLAGS...` or `icmp SRC DST WHAT...`.
pub fn build(words: &[&str]) -> Result<Packet, String> {
    let [protocol, src, dst, what @ ..] = words else {
        return Err(format!("a packet needs more words: {words:?}"));
    };
    match *protocol {
        "udp" => {
            let (src, dst) = (socket(src)?, socket(dst)?);
            finish(
                src.ip(),
                dst.ip(),
                Transport::Udp(src.port(), dst.port()),
                &udp_payload(what)?,
            )
        }
        "tcp" => {
            let (src, dst) = (socket(src)?, socket(dst)?);
            let segment = segment(what)?;
            finish(
                src.ip(),
                dst.ip(),
                Transport::Tcp {
                    src: src.port(),
                    dst: dst.port(),
                    flags: segment.flags,
                    sequence: segment.sequence,
                    acknowledged: segment.acknowledged,
                },
                &segment.payload,
            )
        }
        "icmp" => icmp(address(src)?, address(dst)?, what),
        other => Err(format!("unknown protocol {other:?}")),
    }
}

enum Transport {
    Udp(u16, u16),
    Tcp {
        src: u16,
        dst: u16,
        flags: String,
        sequence: u32,
        acknowledged: u32,
    },
    Icmpv4(Icmpv4Type),
    Icmpv6(Icmpv6Type),
}

fn finish(
    src: IpAddr,
    dst: IpAddr,
    transport: Transport,
    payload: &[u8],
) -> Result<Packet, String> {
    let (ethertype, ip) = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            (0x0800, PacketBuilder::ipv4(src.octets(), dst.octets(), 64))
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            (0x86dd, PacketBuilder::ipv6(src.octets(), dst.octets(), 64))
        }
        _ => return Err("the two addresses are of different families".into()),
    };
    let mut bytes = Vec::new();
    match transport {
        Transport::Udp(src, dst) => write(ip.udp(src, dst), &mut bytes, payload),
        Transport::Tcp {
            src,
            dst,
            flags,
            sequence,
            acknowledged,
        } => {
            let mut tcp = ip.tcp(src, dst, sequence, 64_000);
            for flag in flags.split('+') {
                tcp = match flag {
                    "syn" => tcp.syn(),
                    "ack" => tcp.ack(acknowledged),
                    "fin" => tcp.fin(),
                    "rst" => tcp.rst(),
                    other => return Err(format!("unknown TCP flag {other:?}")),
                };
            }
            tcp.write(&mut bytes, payload)
                .map_err(|error| error.to_string())
        }
        Transport::Icmpv4(kind) => ip
            .icmpv4(kind)
            .write(&mut bytes, payload)
            .map_err(|error| error.to_string()),
        Transport::Icmpv6(kind) => ip
            .icmpv6(kind)
            .write(&mut bytes, payload)
            .map_err(|error| error.to_string()),
    }?;
    Ok(Packet { ethertype, bytes })
}

fn write(
    step: PacketBuilderStep<etherparse::UdpHeader>,
    bytes: &mut Vec<u8>,
    payload: &[u8],
) -> Result<(), String> {
    step.write(bytes, payload)
        .map_err(|error| error.to_string())
}

fn udp_payload(words: &[&str]) -> Result<Vec<u8>, String> {
    match words {
        ["data", length] => Ok(vec![0xA5; number(length)?]),
        message => message::build(message),
    }
}

/// `[bytes FROM..TO] MESSAGE [+ MESSAGE]...`: messages with their length prefixes (RFC 1035 section 4.2.2),
/// or a part of them. Also where the part begins.
fn tcp_payload(words: &[&str]) -> Result<(u32, Vec<u8>), String> {
    let (range, messages) = match words {
        ["bytes", range, messages @ ..] => (Some(*range), messages),
        messages => (None, messages),
    };
    let mut payload = Vec::new();
    for words in messages.split(|word| *word == "+") {
        let message = match words {
            [] => continue,
            ["data", length] => vec![0xA5; number(length)?],
            words => message::build(words)?,
        };
        let length = u16::try_from(message.len()).map_err(|error| error.to_string())?;
        payload.extend(length.to_be_bytes());
        payload.extend(message);
    }
    let Some(range) = range else {
        return Ok((0, payload));
    };
    let (from, to) = range
        .split_once("..")
        .ok_or_else(|| format!("{range:?} is not FROM..TO"))?;
    let from: usize = number(from)?;
    let to = if to.is_empty() {
        payload.len()
    } else {
        number(to)?
    };
    let part = payload
        .get(from..to)
        .ok_or_else(|| format!("the payload has {} bytes, not {range}", payload.len()))?;
    let from = u32::try_from(from).map_err(|error| error.to_string())?;
    Ok((from, part.to_vec()))
}

struct Segment {
    flags: String,
    sequence: u32,
    acknowledged: u32,
    payload: Vec<u8>,
}

/// `syn+ack 17 101 MESSAGE...`: flags, then the sequence and the acknowledgment number, then what it carries.
fn segment(words: &[&str]) -> Result<Segment, String> {
    let [flags, sequence, rest @ ..] = words else {
        return Err(format!(
            "a TCP segment is FLAGS SEQUENCE [ACKNOWLEDGED] [PAYLOAD], not {words:?}"
        ));
    };
    let (acknowledged, payload) = match rest {
        [first, payload @ ..] if first.parse::<u32>().is_ok() => (number(first)?, payload),
        payload => (0, payload),
    };
    let (from, payload) = tcp_payload(payload)?;
    Ok(Segment {
        flags: (*flags).to_owned(),
        sequence: number::<u32>(sequence)?.wrapping_add(from),
        acknowledged,
        payload,
    })
}

fn icmp(src: IpAddr, dst: IpAddr, words: &[&str]) -> Result<Packet, String> {
    let echo = |id: &str, seq: &str| -> Result<_, String> {
        Ok(etherparse::IcmpEchoHeader {
            id: number(id)?,
            seq: number(seq)?,
        })
    };
    let (transport, payload) = match (words, src.is_ipv4()) {
        (["request", id, seq], true) => (
            Transport::Icmpv4(Icmpv4Type::EchoRequest(echo(id, seq)?)),
            vec![0; 56],
        ),
        (["reply", id, seq], true) => (
            Transport::Icmpv4(Icmpv4Type::EchoReply(echo(id, seq)?)),
            vec![0; 56],
        ),
        (["request", id, seq], false) => (
            Transport::Icmpv6(Icmpv6Type::EchoRequest(echo(id, seq)?)),
            vec![0; 56],
        ),
        (["reply", id, seq], false) => (
            Transport::Icmpv6(Icmpv6Type::EchoReply(echo(id, seq)?)),
            vec![0; 56],
        ),
        // An ICMP error quotes the packet that failed: the IP header and at least 8 bytes (RFC 792).
        ([kind, quoted @ ..], true) => {
            let (kind, quoted) = icmp_error(kind, quoted)?;
            (Transport::Icmpv4(kind), build(quoted)?.bytes)
        }
        ([kind, quoted @ ..], false) => {
            let (kind, quoted) = icmpv6_error(kind, quoted)?;
            (Transport::Icmpv6(kind), build(quoted)?.bytes)
        }
        _ => return Err(format!("unknown ICMP message {words:?}")),
    };
    finish(src, dst, transport, &payload)
}

/// The error's kind, and the words that describe the packet it quotes.
fn icmp_error<'a, 'b>(
    kind: &str,
    quoted: &'a [&'b str],
) -> Result<(Icmpv4Type, &'a [&'b str]), String> {
    use etherparse::icmpv4::{DestUnreachableHeader as Unreachable, TimeExceededCode};
    let unreachable = |what| Ok((Icmpv4Type::DestinationUnreachable(what), quoted));
    match (kind, quoted) {
        ("net-unreachable", _) => unreachable(Unreachable::Network),
        ("host-unreachable", _) => unreachable(Unreachable::Host),
        ("port-unreachable", _) => unreachable(Unreachable::Port),
        ("prohibited", _) => unreachable(Unreachable::FilterProhibited),
        ("too-big", [mtu, quoted @ ..]) => Ok((
            Icmpv4Type::DestinationUnreachable(Unreachable::FragmentationNeeded {
                next_hop_mtu: number(mtu)?,
            }),
            quoted,
        )),
        ("time-exceeded", _) => Ok((
            Icmpv4Type::TimeExceeded(TimeExceededCode::TtlExceededInTransit),
            quoted,
        )),
        _ => Err(format!("unknown ICMP error {kind:?}")),
    }
}

/// The same for ICMPv6.
fn icmpv6_error<'a, 'b>(
    kind: &str,
    quoted: &'a [&'b str],
) -> Result<(Icmpv6Type, &'a [&'b str]), String> {
    use etherparse::icmpv6::{DestUnreachableCode as Unreachable, TimeExceededCode};
    let unreachable = |what| Ok((Icmpv6Type::DestinationUnreachable(what), quoted));
    match (kind, quoted) {
        ("net-unreachable", _) => unreachable(Unreachable::NoRoute),
        ("host-unreachable", _) => unreachable(Unreachable::Address),
        ("port-unreachable", _) => unreachable(Unreachable::Port),
        ("prohibited", _) => unreachable(Unreachable::Prohibited),
        ("too-big", [mtu, quoted @ ..]) => {
            Ok((Icmpv6Type::PacketTooBig { mtu: number(mtu)? }, quoted))
        }
        ("time-exceeded", _) => Ok((
            Icmpv6Type::TimeExceeded(TimeExceededCode::HopLimitExceeded),
            quoted,
        )),
        _ => Err(format!("unknown ICMPv6 error {kind:?}")),
    }
}

fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not ADDRESS:PORT"))
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not an address"))
}

pub fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not a number here"))
}
