//! The short way for the packets that are most of the traffic: TCP data and UDP of a known flow, which can never
//! have a record. Counts them and does nothing else. At a device of the node, what others send and receive ends here
//! too.

use core::mem::offset_of;

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns};
use aya_ebpf::programs::TcContext;
use tracer_common::{FROM_POD, FlowKey, node_flow_slot};

use crate::maps::{FLOWS, TRAFFIC};
use crate::packet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, ICMP, TCP, UDP};
use crate::scratch::Scratch;
use crate::{flow, node, settings};

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
/// The part of the transport header that is read: up to the TCP flags, rounded up.
const TRANSPORT: usize = 16;
/// SYN, FIN or RST.
const TCP_CONTROL: u8 = 0x07;

/// A [`FlowKey`] of words: LLVM clears one of bytes by a call that loops over them, which costs more than the rest
/// of the key.
#[repr(C, align(8))]
struct Key {
    pod_be: [u32; 4],
    peer_be: [u32; 4],
    ifindex: u32,
    pod_port: u16,
    peer_port: u16,
    /// In the first byte; the others are zero.
    protocol_le: u32,
}

const _: () = {
    assert!(size_of::<Key>() >= size_of::<FlowKey>());
    assert!(offset_of!(Key, peer_be) == offset_of!(FlowKey, peer_addr_be));
    assert!(offset_of!(Key, ifindex) == offset_of!(FlowKey, ifindex));
    assert!(offset_of!(Key, pod_port) == offset_of!(FlowKey, pod_port));
    assert!(offset_of!(Key, peer_port) == offset_of!(FlowKey, peer_port));
    assert!(offset_of!(Key, protocol_le) == offset_of!(FlowKey, protocol));
};

/// An unfragmented packet without options.
struct Packet {
    ethertype: u16,
    protocol: u8,
    network: usize,
    transport: usize,
    end: usize,
}

/// Finds the headers; `None` if the packet needs the long way.
#[inline(always)]
fn packet(ctx: &TcContext) -> Option<Packet> {
    let (data, end) = (ctx.data(), ctx.data_end());
    if data + ETHERNET + IPV4 + TRANSPORT > end {
        return None;
    }
    let network = data + ETHERNET;
    let ethertype = u16::from_be(read(data + 12));
    let (protocol, transport): (u8, usize) = if ethertype == ETHERTYPE_IPV4 {
        let version_ihl: u8 = read(network);
        let fragment: u16 = read(network + 6);
        // Without options; not a fragment: no offset, and no more to come (RFC 791).
        if version_ihl != 0x45 || fragment & 0x3fff_u16.to_be() != 0 {
            return None;
        }
        (read(network + 9), network + IPV4)
    } else if ethertype == ETHERTYPE_IPV6 && network + IPV6 + TRANSPORT <= end {
        (read(network + 6), network + IPV6)
    } else {
        return None;
    };
    Some(Packet {
        ethertype,
        protocol,
        network,
        transport,
        end,
    })
}

impl Packet {
    /// Source and destination. Only of TCP and UDP.
    #[inline(always)]
    fn ports(&self) -> (u16, u16) {
        (
            u16::from_be(read(self.transport)),
            u16::from_be(read(self.transport + 2)),
        )
    }

    #[inline(always)]
    fn has_dns_port(&self) -> bool {
        let (src, dst) = self.ports();
        settings::is_dns_port(src) || settings::is_dns_port(dst)
    }

    /// Neither TCP nor UDP, nor ICMP: IPIP, GRE, ESP. An IPv6 packet can have extension headers.
    #[inline(always)]
    fn is_tunnel(&self) -> bool {
        self.ethertype == ETHERTYPE_IPV4 && ![TCP, UDP, ICMP].contains(&self.protocol)
    }
}

/// Whether a packet that arrives at a device of the node is of no flow of the node, as nearly all that it forwards.
/// Not inlined: so its code is in a few cache lines.
#[inline(never)]
pub fn is_foreign(mut skb: *mut __sk_buff) -> bool {
    // Without this LLVM makes the packet's bounds the arguments, as numbers, and the verifier no longer knows them.
    // SAFETY: copies a register to itself.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) skb, options(pure, nomem, nostack)) };
    let Some(packet) = packet(&TcContext::new(skb)) else {
        return false;
    };
    if packet.protocol != TCP && packet.protocol != UDP {
        return packet.is_tunnel();
    }
    if packet.protocol == UDP && !packet.has_dns_port() {
        return true;
    }
    // The last words of the addresses.
    let (dst, src) = if packet.ethertype == ETHERTYPE_IPV4 {
        (read(packet.network + 16), read(packet.network + 12))
    } else if packet.network + IPV6 + TRANSPORT <= packet.end {
        (read(packet.network + 36), read(packet.network + 20))
    } else {
        return false;
    };
    !node::may_be_own(node_flow_slot(dst, src, read(packet.transport)))
}

/// Whether a packet on `lo` goes to a DNS port (`FROM_POD`), or comes from one, at an address that is not a loopback
/// address. Between two DNS ports it does neither. `false` for packets with options or extension headers, which no DNS
/// client or server sends by itself.
#[inline(always)]
pub fn is_local_dns<const DIRECTION: u8>(ctx: &TcContext) -> bool {
    let Some(packet) = packet(ctx) else {
        return false;
    };
    if packet.protocol != TCP && packet.protocol != UDP {
        return false;
    }
    let to_itself = if packet.ethertype == ETHERTYPE_IPV4 {
        // 127.0.0.0/8
        read::<u8>(packet.network + 16) == 127
    } else {
        packet.network + IPV6 + TRANSPORT > packet.end
            || words(packet.network + 24) == [0, 0, 0, 1_u32.to_be()]
    };
    if to_itself {
        return false;
    }
    let (src, dst) = packet.ports();
    let (own, peer) = by_direction::<DIRECTION, u16>(src, dst);
    settings::is_dns_port(peer) && !settings::is_dns_port(own)
}

/// Counts the packet if it is such a packet; `false` if it needs the long way, which then has to do everything. At a
/// device of the node (`NODE`) also `true` for packets that cannot be of a flow of the node's own.
#[inline(always)]
pub fn count<const DIRECTION: u8, const NODE: bool>(ctx: &TcContext, ifindex: u32) -> bool {
    let Some(packet) = packet(ctx) else {
        return false;
    };
    let protocol = packet.protocol;
    let mut tcp_flags = 0;
    if protocol == TCP {
        tcp_flags = read(packet.transport + 13);
        if tcp_flags & TCP_CONTROL != 0 {
            return false;
        }
    } else if protocol != UDP {
        return NODE && packet.is_tunnel();
    }
    if packet.has_dns_port() {
        return false;
    }
    if NODE && protocol == UDP {
        // Of the node's own UDP only DNS is recorded. VXLAN, Geneve and WireGuard leave here.
        return true;
    }

    let (src, dst) = packet.ports();
    let (pod_port, peer_port) = by_direction::<DIRECTION, u16>(src, dst);
    let network = packet.network;
    let (pod_be, peer_be) = if packet.ethertype == ETHERTYPE_IPV4 {
        let (pod, peer) = by_direction::<DIRECTION, usize>(network + 12, network + 16);
        (mapped(read(pod)), mapped(read(peer)))
    } else {
        if network + IPV6 + TRANSPORT > packet.end {
            return false;
        }
        let (pod, peer) = by_direction::<DIRECTION, usize>(network + 8, network + 24);
        (words(pod), words(peer))
    };
    let key = Key {
        pod_be,
        peer_be,
        ifindex,
        pod_port,
        peer_port,
        protocol_le: u32::from(protocol).to_le(),
    };
    // SAFETY: `Key` begins with the layout of a `FlowKey` (see the assertions), and consists of integers.
    let key = unsafe { &*(&raw const key).cast::<FlowKey>() };
    let Some(state) = FLOWS.get_ptr_mut(key) else {
        if NODE {
            return true;
        }
        if let Some(scratch) = Scratch::this_cpu() {
            scratch.missing = 1;
        }
        return false;
    };
    let side = flow::side::<DIRECTION>(state);
    // SAFETY: live map values of plain integers; the verifier checks the accesses.
    let Some(traffic) = TRAFFIC
        .get_ptr_mut(unsafe { (*side).slot })
        .filter(|traffic| unsafe { (**traffic).ifindex } == ifindex)
    else {
        // The interface has had another slot meanwhile. The long way corrects the flow's.
        return false;
    };
    let len = ctx.len().saturating_sub(ETHERNET as u32);
    flow::count_interface::<DIRECTION>(traffic, len);
    flow::add_to(side, len, tcp_flags, coarse_now_ns());
    true
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
fn mapped(address_be: u32) -> [u32; 4] {
    [0, 0, 0xffff_u32.to_be(), address_be]
}

/// An IPv6 address in network byte order.
#[inline(always)]
fn words(at: usize) -> [u32; 4] {
    [read(at), read(at + 4), read(at + 8), read(at + 12)]
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
