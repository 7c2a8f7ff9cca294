//! Finds a packet's headers: VLAN tags, IPv4 with options, IPv6 with extension headers, TCP, UDP, ICMP.
//!
//! Uses direct packet access for headers in the linear part, where nearly all are; else one helper call per
//! header, which is counted. Never changes the packet, so it does not use `bpf_skb_pull_data`.

use aya_ebpf::programs::TcContext;
use tracer_common::{FROM_POD, FlowKey, stat};

use crate::scratch::{Scratch, zero};
use crate::stats::Stats;

pub const ETHERTYPE_IPV4: u16 = 0x0800;
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_QINQ: u16 = 0x88a8;
const ETHERNET_LEN: u32 = 14;
const VLAN_LEN: u32 = 4;
const VLAN_TAGS: usize = 2;
const IPV6_EXTENSIONS: usize = 6;
/// Upper bound for the offset of a transport header: two VLAN tags, IPv6 and six extension headers of 2,048
/// bytes.
const MAX_OFFSET: u32 = 1 << 14;

pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;

// IPv6 extension headers (RFC 8200, RFC 4302, RFC 6275, RFC 7401, RFC 5533).
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
const MOBILITY: u8 = 135;
const HIP: u8 = 139;
const SHIM6: u8 = 140;

/// The layout of a packet. Offsets are from the start of the frame.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Packet {
    /// The length from the network header on.
    pub len: u32,
    /// Offset of the network header.
    pub network: u32,
    /// Offset of the transport header.
    pub transport: u32,
    /// Length of the transport header. A record of a packet whose payload is not captured ends with it.
    pub transport_len: u32,
    /// The number of bytes to capture from the network header on.
    pub wanted: u32,
    pub ethertype: u16,
    pub protocol: u8,
    /// A fragment other than the first, which has no transport header.
    pub later_fragment: bool,
    /// The flags byte of the TCP header, 0 for other protocols.
    pub tcp_flags: u8,
    /// 0 for other protocols; an IPv4 echo reply is also 0.
    pub icmp_type: u8,
    /// The first packet of its flow, as far as the flow table knows.
    pub first: bool,
}

/// The kind of a frame.
pub enum Parsed {
    Ip,
    NotIp,
    Malformed,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Ipv4 {
    version_ihl: u8,
    tos: u8,
    total_len_be: u16,
    id_be: u16,
    fragment_be: u16,
    ttl: u8,
    protocol: u8,
    checksum_be: u16,
    src: [u8; 4],
    dst: [u8; 4],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Ipv6 {
    version_class_flow: u32,
    payload_len_be: u16,
    next_header: u8,
    hop_limit: u8,
    src: [u32; 4],
    dst: [u32; 4],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Extension {
    next_header: u8,
    len: u8,
    fragment_be: u16,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Tcp {
    src_be: u16,
    dst_be: u16,
    sequence: u32,
    acknowledgment: u32,
    data_offset: u8,
    flags: u8,
    window: u16,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Udp {
    src_be: u16,
    dst_be: u16,
    len_be: u16,
    checksum: u16,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Icmp {
    icmp_type: u8,
    code: u8,
    checksum: u16,
    id_be: u16,
    sequence: u16,
}

/// Reads a header. `offset` needs a bound that the verifier recognises.
#[inline(always)]
fn load<T: Copy>(ctx: &TcContext, stats: &Stats, offset: u32) -> Option<T> {
    let mut start = ctx.data() + offset as usize;
    // Without this LLVM recomputes the pointer after the comparison, and the verifier no longer knows that it
    // is checked. SAFETY: copies a register to itself.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) start, options(pure, nomem, nostack)) };
    if start + size_of::<T>() <= ctx.data_end() {
        // SAFETY: the comparison above keeps the read within the packet's linear part. A header can be
        // unaligned; BPF loads permit that on the supported architectures, and the verifier rejects the
        // program elsewhere.
        return Some(unsafe { *(start as *const T) });
    }
    let header = ctx.load(offset as usize).ok()?;
    stats.count(stat::SLOW_LOAD);
    Some(header)
}

/// Parses the link and network headers: sets `packet` as far as it can (`len` always), and the addresses and
/// the protocol of `key`.
#[inline(always)]
pub fn parse_network<const DIRECTION: u8>(
    ctx: &TcContext,
    stats: &Stats,
    scratch: &mut Scratch,
) -> Parsed {
    let Scratch { packet, key, .. } = scratch;
    let mut network = ETHERNET_LEN;
    packet.len = ctx.len().saturating_sub(network);
    let Some(ethertype_be) = load::<u16>(ctx, stats, network - 2) else {
        return Parsed::Malformed;
    };
    let mut ethertype = u16::from_be(ethertype_be);
    for _ in 0..VLAN_TAGS {
        if ethertype != ETHERTYPE_VLAN && ethertype != ETHERTYPE_QINQ {
            break;
        }
        network += VLAN_LEN;
        packet.len = ctx.len().saturating_sub(network);
        let Some(inner_be) = load::<u16>(ctx, stats, network - 2) else {
            return Parsed::Malformed;
        };
        ethertype = u16::from_be(inner_be);
    }
    packet.ethertype = ethertype;
    packet.network = network;
    let found = match ethertype {
        ETHERTYPE_IPV4 => ipv4::<DIRECTION>(ctx, stats, packet, key),
        ETHERTYPE_IPV6 => ipv6::<DIRECTION>(ctx, stats, packet, key),
        _ => return Parsed::NotIp,
    };
    match found {
        Some(()) => {
            key.protocol = packet.protocol;
            Parsed::Ip
        }
        None => Parsed::Malformed,
    }
}

#[inline(always)]
fn ipv4<const DIRECTION: u8>(
    ctx: &TcContext,
    stats: &Stats,
    packet: &mut Packet,
    key: &mut FlowKey,
) -> Option<()> {
    let header = load::<Ipv4>(ctx, stats, packet.network)?;
    let header_len = u32::from(header.version_ihl & 0xf) * 4;
    if header.version_ihl >> 4 != 4 || header_len < 20 {
        return None;
    }
    packet.transport = packet.network + header_len;
    packet.protocol = header.protocol;
    // The low 13 bits are the offset (RFC 791).
    packet.later_fragment = u16::from_be(header.fragment_be) & 0x1fff != 0;
    let (pod, peer) = if DIRECTION == FROM_POD {
        (header.src, header.dst)
    } else {
        (header.dst, header.src)
    };
    put_mapped(&mut key.pod_addr_be, pod);
    put_mapped(&mut key.peer_addr_be, peer);
    Some(())
}

/// Writes the IPv4-mapped form `::ffff:a.b.c.d`. The other bytes of `to` are already zero.
#[inline(always)]
fn put_mapped(to: &mut [u8; 16], address: [u8; 4]) {
    to[10] = 0xff;
    to[11] = 0xff;
    to[12] = address[0];
    to[13] = address[1];
    to[14] = address[2];
    to[15] = address[3];
}

#[inline(always)]
fn ipv6<const DIRECTION: u8>(
    ctx: &TcContext,
    stats: &Stats,
    packet: &mut Packet,
    key: &mut FlowKey,
) -> Option<()> {
    let header = load::<Ipv6>(ctx, stats, packet.network)?;
    if header.version_class_flow.to_be() >> 28 != 6 {
        return None;
    }
    let (pod, peer) = if DIRECTION == FROM_POD {
        (header.src, header.dst)
    } else {
        (header.dst, header.src)
    };
    key.pod_addr_be = address_bytes(pod);
    key.peer_addr_be = address_bytes(peer);

    let mut offset = packet.network + size_of::<Ipv6>() as u32;
    let mut next = header.next_header;
    for _ in 0..IPV6_EXTENSIONS {
        let fixed = match next {
            HOP_BY_HOP | ROUTING | DESTINATION | MOBILITY | HIP | SHIM6 | AUTHENTICATION
            | FRAGMENT => load::<Extension>(ctx, stats, offset)?,
            _ => break,
        };
        if next == FRAGMENT {
            // The high 13 bits are the offset (RFC 8200 section 4.5).
            if u16::from_be(fixed.fragment_be) >> 3 != 0 {
                packet.later_fragment = true;
            }
            offset += 8;
        } else if next == AUTHENTICATION {
            // The length is in units of four bytes, minus two (RFC 4302 section 2.2).
            offset += (u32::from(fixed.len) + 2) * 4;
        } else {
            offset += (u32::from(fixed.len) + 1) * 8;
        }
        next = fixed.next_header;
        if packet.later_fragment {
            break;
        }
    }
    packet.transport = offset;
    packet.protocol = next;
    Some(())
}

#[inline(always)]
fn address_bytes(words: [u32; 4]) -> [u8; 16] {
    // SAFETY: both types are 16 bytes without padding, and every bit pattern is valid for both.
    unsafe { core::mem::transmute(words) }
}

/// Parses the transport header: sets the rest of `packet` and the ports of `key`.
#[inline(always)]
pub fn parse_transport<const DIRECTION: u8>(
    ctx: &TcContext,
    stats: &Stats,
    scratch: &mut Scratch,
) -> Parsed {
    let Scratch { packet, key, .. } = scratch;
    if packet.later_fragment {
        return Parsed::Ip;
    }
    // The offset is already below the bound. The verifier does not track values in a map, so it needs the
    // mask.
    let offset = packet.transport & (MAX_OFFSET - 1);
    match transport::<DIRECTION>(ctx, stats, offset, packet, key) {
        Some(()) => Parsed::Ip,
        None => Parsed::Malformed,
    }
}

#[inline(always)]
fn transport<const DIRECTION: u8>(
    ctx: &TcContext,
    stats: &Stats,
    offset: u32,
    packet: &mut Packet,
    key: &mut FlowKey,
) -> Option<()> {
    let (src, dst) = match packet.protocol {
        TCP => {
            let header = load::<Tcp>(ctx, stats, offset)?;
            packet.transport_len = u32::from(header.data_offset >> 4) * 4;
            if packet.transport_len < 20 {
                return None;
            }
            packet.tcp_flags = header.flags;
            (u16::from_be(header.src_be), u16::from_be(header.dst_be))
        }
        UDP => {
            let header = load::<Udp>(ctx, stats, offset)?;
            packet.transport_len = size_of::<Udp>() as u32;
            (u16::from_be(header.src_be), u16::from_be(header.dst_be))
        }
        ICMP | ICMPV6 => {
            let header = load::<Icmp>(ctx, stats, offset)?;
            packet.transport_len = size_of::<Icmp>() as u32;
            packet.icmp_type = header.icmp_type;
            if is_echo(packet.protocol, header.icmp_type) {
                key.pod_port = u16::from_be(header.id_be);
            }
            return Some(());
        }
        _ => return Some(()),
    };
    let (pod, peer) = if DIRECTION == FROM_POD {
        (src, dst)
    } else {
        (dst, src)
    };
    key.pod_port = pod;
    key.peer_port = peer;
    Some(())
}

/// Parses the packet that an ICMP error quotes as far as its flow, into `quoted`. Not behind IPv6 extension headers.
#[inline(always)]
pub fn parse_quoted(ctx: &TcContext, stats: &Stats, scratch: &mut Scratch) -> bool {
    quoted(ctx, stats, scratch).is_some()
}

#[inline(always)]
fn quoted(ctx: &TcContext, stats: &Stats, scratch: &mut Scratch) -> Option<()> {
    let Scratch {
        packet,
        key,
        quoted,
        ..
    } = scratch;
    zero(quoted);
    quoted.ifindex = key.ifindex;
    let network = (packet.transport & (MAX_OFFSET - 1)) + size_of::<Icmp>() as u32;
    let transport = if packet.ethertype == ETHERTYPE_IPV4 {
        let header = load::<Ipv4>(ctx, stats, network)?;
        put_mapped(&mut quoted.pod_addr_be, header.src);
        put_mapped(&mut quoted.peer_addr_be, header.dst);
        quoted.protocol = header.protocol;
        network + u32::from(header.version_ihl & 0xf) * 4
    } else {
        let header = load::<Ipv6>(ctx, stats, network)?;
        quoted.pod_addr_be = address_bytes(header.src);
        quoted.peer_addr_be = address_bytes(header.dst);
        quoted.protocol = header.next_header;
        network + size_of::<Ipv6>() as u32
    };
    let header = load::<Icmp>(ctx, stats, transport)?;
    if quoted.protocol == TCP || quoted.protocol == UDP {
        // The first four bytes are the ports.
        quoted.pod_port = u16::from(header.icmp_type) << 8 | u16::from(header.code);
        quoted.peer_port = u16::from_be(header.checksum);
    } else {
        quoted.pod_port = u16::from_be(header.id_be);
    }
    Some(())
}

/// Whether this is an echo request or reply.
#[inline(always)]
pub fn is_echo(protocol: u8, icmp_type: u8) -> bool {
    if protocol == ICMP {
        icmp_type == 0 || icmp_type == 8
    } else {
        icmp_type == 128 || icmp_type == 129
    }
}

/// Whether this is an echo request.
#[inline(always)]
pub fn is_echo_request(protocol: u8, icmp_type: u8) -> bool {
    icmp_type == if protocol == ICMP { 8 } else { 128 }
}

/// Whether this is an error that quotes its packet: destination unreachable, source quench, redirect, time
/// exceeded or parameter problem (RFC 792); destination unreachable, packet too big, time exceeded or
/// parameter problem (RFC 4443).
#[inline(always)]
pub fn is_icmp_error(protocol: u8, icmp_type: u8) -> bool {
    if protocol == ICMP {
        icmp_type == 3 || icmp_type == 4 || icmp_type == 5 || icmp_type == 11 || icmp_type == 12
    } else {
        icmp_type >= 1 && icmp_type <= 4
    }
}
