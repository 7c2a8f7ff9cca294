//! Network and transport headers, read with etherparse: a packet's flow and kind.
//!
//! Handles IPv4 with options, IPv6 with extension headers, and first fragments; a truncated packet is still a
//! packet. Never interprets payload except through [`super::dns`] and [`super::icmp`].

use std::net::{IpAddr, SocketAddr};

use etherparse::err::ip::LaxHeaderSliceError;
use etherparse::err::tcp::HeaderSliceError;
use etherparse::{Ipv6ExtensionSlice, LaxIpSlice, TcpSlice, UdpSlice, ether_type};

use super::dns::Names;
use super::{Fault, chunks, dns, icmp};
use crate::model::flow::{Direction, Flow, Protocol, host};
use crate::model::observation::{Observation, TcpSegment, What};
use crate::model::record::Record;

/// The next header value of the fragment header (RFC 8200 section 3).
const IPV6_HEADER: u32 = 40;

/// An IP packet's addresses, protocol and captured payload.
pub(super) struct Packet<'a> {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) protocol: Protocol,
    pub(super) payload: &'a [u8],
    /// Bytes of network headers before `payload`.
    pub(super) headers: usize,
    /// The packet's length with its network headers; `None` if the header states 0.
    pub(super) announced: Option<u32>,
    /// In units of 8 bytes; 0 for a first fragment and for an unfragmented packet.
    pub(super) fragment_offset: u16,
    /// More fragments follow this one.
    pub(super) more_fragments: bool,
}

/// The transport header's ports and the packet's kind.
struct Transport {
    src_port: u16,
    dst_port: u16,
    /// For TCP, the bytes from the network header to the payload.
    headers: u32,
    what: What,
}

/// Decodes a record that begins at the network header. Also returns the number of header bytes before the
/// payload.
pub(super) fn observe(
    record: &Record,
    dns_ports: &[u16],
    names: &mut Names,
) -> Result<(Observation, u32), Fault> {
    if record.ethertype != ether_type::IPV4.0 && record.ethertype != ether_type::IPV6.0 {
        return Err(Fault::NotIp);
    }
    let packet = read(&record.bytes)?;
    if packet.fragment_offset != 0 {
        return Err(Fault::LaterFragment);
    }
    let transport = match packet.protocol {
        Protocol::Udp => udp(packet.payload, dns_ports, names)?,
        Protocol::Tcp => tcp(record, &packet, dns_ports)?,
        Protocol::Icmp | Protocol::Icmpv6 => {
            let what = icmp::read(packet.protocol, packet.src, packet.payload)?;
            let (src_port, dst_port) = match (&what, record.direction) {
                // The identifier belongs to the pod's end, whichever end pings.
                (What::Echo(echo), Direction::FromPod) => (echo.id, 0),
                (What::Echo(echo), Direction::ToPod) => (0, echo.id),
                _ => (0, 0),
            };
            Transport {
                src_port,
                dst_port,
                headers: 0,
                what,
            }
        }
        Protocol::Other(_) => Transport {
            src_port: 0,
            dst_port: 0,
            headers: 0,
            what: What::Other,
        },
    };
    let src = SocketAddr::new(packet.src, transport.src_port);
    let dst = SocketAddr::new(packet.dst, transport.dst_port);
    let (pod, peer) = match record.direction {
        Direction::FromPod => (src, dst),
        Direction::ToPod => (dst, src),
    };
    let mut what = transport.what;
    if packet.more_fragments
        && let What::Dns(message) = &mut what
    {
        message.fragment = true;
    }
    let observation = Observation {
        time: record.time,
        flow: Flow {
            ifindex: record.ifindex,
            protocol: packet.protocol,
            pod,
            peer,
        },
        direction: record.direction,
        wire_len: record.wire_len,
        totals: record.totals,
        what,
    };
    Ok((observation, transport.headers))
}

/// Reads IP headers. A quoted packet or a truncated capture may end within them.
pub(super) fn read(bytes: &[u8]) -> Result<Packet<'_>, Fault> {
    let (ip, stopped) = LaxIpSlice::from_slice(bytes).map_err(|error| match error {
        LaxHeaderSliceError::Len(_) => Fault::CutShort,
        LaxHeaderSliceError::Content(_) => Fault::IpHeader,
    })?;
    if let Some((error, _)) = stopped {
        use etherparse::err::ipv6_exts::HeaderSliceError;
        return Err(match error {
            HeaderSliceError::Len(_) => Fault::CutShort,
            HeaderSliceError::Content(_) => Fault::IpHeader,
        });
    }
    let (fragment_offset, more_fragments) = match &ip {
        LaxIpSlice::Ipv4(ip) => {
            let header = ip.header();
            (header.fragments_offset().value(), header.more_fragments())
        }
        LaxIpSlice::Ipv6(ip) => ip
            .extensions()
            .clone()
            .into_iter()
            .find_map(|extension| match extension {
                Ipv6ExtensionSlice::Fragment(fragment) => Some((
                    fragment.fragment_offset().value(),
                    fragment.more_fragments(),
                )),
                _ => None,
            })
            .unwrap_or((0, false)),
    };
    let (payload, announced) = match &ip {
        LaxIpSlice::Ipv4(ip) => (ip.payload(), u32::from(ip.header().total_len())),
        LaxIpSlice::Ipv6(ip) => match ip.header().payload_length() {
            0 => (ip.payload(), 0),
            length => (ip.payload(), IPV6_HEADER + u32::from(length)),
        },
    };
    Ok(Packet {
        src: ip.source_addr(),
        dst: ip.destination_addr(),
        protocol: Protocol::from_number(payload.ip_number.0),
        payload: payload.payload,
        // The payload is a part of `bytes`; an empty one may point anywhere.
        headers: (payload.payload.as_ptr().addr())
            .wrapping_sub(bytes.as_ptr().addr())
            .min(bytes.len()),
        announced: Some(announced).filter(|&announced| announced != 0),
        fragment_offset,
        more_fragments,
    })
}

fn udp(payload: &[u8], dns_ports: &[u16], names: &mut Names) -> Result<Transport, Fault> {
    let udp = UdpSlice::from_slice_lax(payload).map_err(|_| Fault::CutShort)?;
    let (src_port, dst_port) = (udp.source_port(), udp.destination_port());
    let what = if dns_ports.contains(&src_port) || dns_ports.contains(&dst_port) {
        let announced = usize::from(udp.length()).saturating_sub(udp.header_len());
        dns::read(udp.payload(), announced, names)?
    } else {
        What::Other
    };
    Ok(Transport {
        src_port,
        dst_port,
        headers: 0,
        what,
    })
}

fn tcp(record: &Record, packet: &Packet<'_>, dns_ports: &[u16]) -> Result<Transport, Fault> {
    let tcp = TcpSlice::from_slice(packet.payload).map_err(|error| match error {
        HeaderSliceError::Len(_) => Fault::CutShort,
        HeaderSliceError::Content(_) => Fault::TcpHeader,
    })?;
    let (src_port, dst_port) = (tcp.source_port(), tcp.destination_port());
    let dns = dns_ports.contains(&src_port) || dns_ports.contains(&dst_port);
    let headers = packet.headers + tcp.slice().len() - tcp.payload().len();
    let headers = u32::try_from(headers).unwrap_or(u32::MAX);
    // The header states the packet's end (Ethernet pads short frames), except where the segment is too long
    // for the field, or the kernel left it to the network card.
    let end = packet
        .announced
        .filter(|&announced| announced <= record.wire_len)
        .unwrap_or(record.wire_len);
    let length = end.saturating_sub(headers);
    let captured = u32::try_from(tcp.payload().len()).unwrap_or(u32::MAX);
    let what = What::Tcp(TcpSegment {
        sequence: tcp.sequence_number(),
        acknowledgment: tcp.acknowledgment_number(),
        syn: tcp.syn(),
        ack: tcp.ack(),
        fin: tcp.fin(),
        rst: tcp.rst(),
        dns,
        payload: if dns {
            tcp.payload().to_vec()
        } else {
            Vec::new()
        },
        payload_offset: 0,
        length,
        cut: dns && captured < length && !chunks::goes_on(record),
    });
    Ok(Transport {
        src_port,
        dst_port,
        headers,
        what,
    })
}

/// Both ports from the first four bytes of a UDP or TCP header; an ICMP error quotes little more.
pub(super) fn ports(packet: &Packet<'_>) -> Option<(SocketAddr, SocketAddr)> {
    let [a, b, c, d, ..] = *packet.payload else {
        return None;
    };
    Some((
        SocketAddr::new(packet.src, u16::from_be_bytes([a, b])),
        SocketAddr::new(packet.dst, u16::from_be_bytes([c, d])),
    ))
}

/// Both addresses, for a protocol without ports.
pub(super) fn hosts(packet: &Packet<'_>) -> (SocketAddr, SocketAddr) {
    (host(packet.src), host(packet.dst))
}

#[cfg(test)]
mod tests;
