//! The short way for the packets that are most of the traffic: TCP data and UDP of a known flow, which can never
//! have a record. Counts them and does nothing else.

use aya_ebpf::helpers::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns};
use aya_ebpf::programs::TcContext;
use tracer_common::{FROM_POD, FlowKey};

use crate::maps::{FLOWS, TRAFFIC};
use crate::packet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, TCP, UDP};
use crate::flow::Known;
use crate::{flow, settings};

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
/// The part of the transport header that is read: up to the TCP flags, rounded up.
const TRANSPORT: usize = 16;
/// SYN, FIN or RST.
const TCP_CONTROL: u8 = 0x07;

/// A key on the stack, written in words.
#[repr(C, align(8))]
struct Key(FlowKey);

/// What became of a packet.
pub enum Bulk {
    /// It is counted.
    Counted,
    /// It needs the long way, which then has to do everything.
    LongWay(Known),
}

/// Counts the packet if it is such a packet.
#[inline(always)]
pub fn count<const DIRECTION: u8>(ctx: &TcContext, ifindex: u32) -> Bulk {
    const OTHER: Bulk = Bulk::LongWay(Known::Unknown);
    let (data, end) = (ctx.data(), ctx.data_end());
    if data + ETHERNET + IPV4 + TRANSPORT > end {
        return OTHER;
    }
    let network = data + ETHERNET;
    let ethertype = u16::from_be(read(data + 12));
    let (protocol, transport): (u8, usize) = if ethertype == ETHERTYPE_IPV4 {
        let version_ihl: u8 = read(network);
        let fragment: u16 = read(network + 6);
        // Without options; not a fragment: no offset, and no more to come (RFC 791).
        if version_ihl != 0x45 || fragment & 0x3fff_u16.to_be() != 0 {
            return OTHER;
        }
        (read(network + 9), network + IPV4)
    } else if ethertype == ETHERTYPE_IPV6 && network + IPV6 + TRANSPORT <= end {
        (read(network + 6), network + IPV6)
    } else {
        return OTHER;
    };
    let mut tcp_flags = 0;
    if protocol == TCP {
        tcp_flags = read(transport + 13);
        if tcp_flags & TCP_CONTROL != 0 {
            return OTHER;
        }
    } else if protocol != UDP {
        return OTHER;
    }
    let (src, dst) = (
        u16::from_be(read(transport)),
        u16::from_be(read(transport + 2)),
    );
    if settings::is_dns_port(src) || settings::is_dns_port(dst) {
        return OTHER;
    }

    let mut key = Key(FlowKey {
        ifindex,
        protocol,
        ..FlowKey::default()
    });
    (key.0.pod_port, key.0.peer_port) = by_direction::<DIRECTION, u16>(src, dst);
    if ethertype == ETHERTYPE_IPV4 {
        let (pod, peer) = by_direction::<DIRECTION, u32>(read(network + 12), read(network + 16));
        key.0.pod_addr_be = mapped(pod);
        key.0.peer_addr_be = mapped(peer);
    } else {
        if network + IPV6 + TRANSPORT > end {
            return OTHER;
        }
        let (pod, peer) =
            by_direction::<DIRECTION, [u32; 4]>(read(network + 8), read(network + 24));
        key.0.pod_addr_be = bytes(pod);
        key.0.peer_addr_be = bytes(peer);
    }
    let Some(state) = FLOWS.get_ptr_mut(&key.0) else {
        return Bulk::LongWay(Known::Missing);
    };
    let side = flow::side::<DIRECTION>(state);
    // SAFETY: live map values of plain integers; the verifier checks the accesses.
    let Some(traffic) = TRAFFIC
        .get_ptr_mut(unsafe { (*side).slot })
        .filter(|traffic| unsafe { (**traffic).ifindex } == ifindex)
    else {
        // The interface has had another slot meanwhile. The long way corrects the flow's.
        return OTHER;
    };
    let len = ctx.len().saturating_sub(ETHERNET as u32);
    flow::count_interface::<DIRECTION>(traffic, len);
    flow::add_to(side, len, tcp_flags, coarse_now_ns());
    Bulk::Counted
}

/// The pod's side and the peer's of a pair of source and destination.
#[inline(always)]
fn by_direction<const DIRECTION: u8, T>(src: T, dst: T) -> (T, T) {
    if DIRECTION == FROM_POD {
        (src, dst)
    } else {
        (dst, src)
    }
}

/// The IPv4-mapped form of an address in network byte order.
#[inline(always)]
fn mapped(address_be: u32) -> [u8; 16] {
    bytes([0, 0, 0xffff_u32.to_be(), address_be])
}

/// The bytes of an address that was read in words.
#[inline(always)]
fn bytes(words: [u32; 4]) -> [u8; 16] {
    // SAFETY: both types are 16 bytes without padding, and every bit pattern is valid for both.
    unsafe { core::mem::transmute::<[u32; 4], [u8; 16]>(words) }
}

/// The time of a packet without a record: a sweep needs it to some milliseconds.
#[inline(always)]
fn coarse_now_ns() -> u64 {
    // SAFETY: the helpers have no preconditions.
    unsafe {
        if settings::coarse_clock() {
            bpf_ktime_get_coarse_ns()
        } else {
            bpf_ktime_get_ns()
        }
    }
}

#[inline(always)]
fn read<T: Copy>(at: usize) -> T {
    // SAFETY: the callers have compared the end of the read with the end of the packet's linear part, and the
    // verifier rejects the program otherwise. BPF loads may be unaligned on the supported architectures.
    unsafe { *(at as *const T) }
}
