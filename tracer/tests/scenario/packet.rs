//! A packet described in words, built with libraries that the decoder does not share its code with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use etherparse::{Icmpv4Type, Icmpv6Type, PacketBuilder, PacketBuilderStep};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType, rdata};

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
            let (flags, sequence, acknowledged) = tcp_flags(what)?;
            finish(
                src.ip(),
                dst.ip(),
                Transport::Tcp {
                    src: src.port(),
                    dst: dst.port(),
                    flags,
                    sequence,
                    acknowledged,
                },
                &[],
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
        ["query", id, qtype, name] => dns(id, qtype, name, None, &[]),
        ["answer", id, rcode, qtype, name, records @ ..] => {
            dns(id, qtype, name, Some(rcode), records)
        }
        ["data", length] => Ok(vec![0xA5; number(length)?]),
        _ => Err(format!("unknown UDP payload {words:?}")),
    }
}

/// `records` are groups of TTL, TYPE, DATA; the owner is the name asked for, after a CNAME its target.
fn dns(
    id: &str,
    qtype: &str,
    name: &str,
    rcode: Option<&str>,
    records: &[&str],
) -> Result<Vec<u8>, String> {
    let name = Name::from_str(name).map_err(|error| format!("{name:?}: {error}"))?;
    let qtype = RecordType::from_str(qtype).map_err(|error| format!("{qtype:?}: {error}"))?;
    let kind = if rcode.is_some() {
        MessageType::Response
    } else {
        MessageType::Query
    };
    let mut message = Message::new(number(id)?, kind, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name.clone(), qtype));
    if let Some(rcode) = rcode {
        message.metadata.response_code = match rcode {
            "NOERROR" => ResponseCode::NoError,
            "NXDOMAIN" => ResponseCode::NXDomain,
            "SERVFAIL" => ResponseCode::ServFail,
            "REFUSED" => ResponseCode::Refused,
            other => return Err(format!("unknown rcode {other:?}")),
        };
    }
    let mut owner = name;
    let groups = records.chunks_exact(3);
    if !groups.remainder().is_empty() {
        return Err(format!("records are groups of TTL TYPE DATA: {records:?}"));
    }
    for group in groups {
        let (ttl, data) = (number(group[0])?, group[2]);
        let data = match group[1] {
            "A" => RData::A(rdata::A(
                data.parse::<Ipv4Addr>()
                    .map_err(|error| error.to_string())?,
            )),
            "AAAA" => RData::AAAA(rdata::AAAA(
                data.parse::<Ipv6Addr>()
                    .map_err(|error| error.to_string())?,
            )),
            "CNAME" => RData::CNAME(rdata::CNAME(
                Name::from_str(data).map_err(|error| error.to_string())?,
            )),
            other => return Err(format!("unknown record type {other:?}")),
        };
        let target = match &data {
            RData::CNAME(target) => Some(target.0.clone()),
            _ => None,
        };
        message.add_answer(Record::from_rdata(owner.clone(), ttl, data));
        owner = target.unwrap_or(owner);
    }
    message.to_vec().map_err(|error| error.to_string())
}

/// `syn+ack 17 101`: flags, then the sequence and the acknowledgment number.
fn tcp_flags(words: &[&str]) -> Result<(String, u32, u32), String> {
    match words {
        [flags, sequence] => Ok(((*flags).to_owned(), number(sequence)?, 0)),
        [flags, sequence, acknowledged] => Ok((
            (*flags).to_owned(),
            number(sequence)?,
            number(acknowledged)?,
        )),
        _ => Err(format!(
            "a TCP segment is FLAGS SEQUENCE [ACKNOWLEDGED], not {words:?}"
        )),
    }
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
        (["port-unreachable", quoted @ ..], true) => {
            let kind =
                Icmpv4Type::DestinationUnreachable(etherparse::icmpv4::DestUnreachableHeader::Port);
            (Transport::Icmpv4(kind), build(quoted)?.bytes)
        }
        (["port-unreachable", quoted @ ..], false) => {
            let kind =
                Icmpv6Type::DestinationUnreachable(etherparse::icmpv6::DestUnreachableCode::Port);
            (Transport::Icmpv6(kind), build(quoted)?.bytes)
        }
        _ => return Err(format!("unknown ICMP message {words:?}")),
    };
    finish(src, dst, transport, &payload)
}

fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not ADDRESS:PORT"))
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not an address"))
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not a number here"))
}
