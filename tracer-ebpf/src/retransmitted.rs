//! Counts the TCP segments that sockets of pods send again, in their flow.
//!
//! A packet does not show that it was sent before. The kernel does, for a socket. The socket's addresses and ports are
//! those of a flow at the pod's interface, unless the pod itself translates them, as a sidecar's redirection does. So a
//! flow counts only once a packet that the pod sent in it was seen with a socket that has the same. Then none sent
//! again is an answer, too.
//!
//! The kernel sends again in an interrupt's context or in a process's, so this also runs between two instructions of the
//! other programs, and uses none of their per-CPU state.

use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::programs::{BtfTracePointContext, TcContext};
use tracer_common::{FlowKey, RETRANSMITS_UNKNOWN, flag, stat};

use crate::device::host_end;
use crate::kernel_memory::read;
use crate::maps::FLOWS;
use crate::packet::{ETHERTYPE_IPV4, TCP};
use crate::scratch::Scratch;
use crate::stats::{self, add_shared};
use crate::settings;

/// Counts what a socket sent again, if it is a pod's.
#[inline(always)]
pub fn count(ctx: &BtfTracePointContext) {
    if settings::retransmit_errors() {
        let error: i32 = ctx.arg(2);
        if error != 0 {
            return;
        }
    }
    let socket: *const u8 = ctx.arg(0);
    let skb: *const u8 = ctx.arg(1);
    let Some(key) = key(socket as usize) else {
        return;
    };
    let at = skb as usize + settings::socket_offsets().skb_segments as usize;
    let segments = u64::from(read::<u16>(at).unwrap_or(1));
    stats::add(stat::RETRANSMITS, segments);
    let Some(state) = FLOWS.get_ptr_mut(&key) else {
        stats::add(stat::RETRANSMITS_OUTSIDE, segments);
        return;
    };
    // SAFETY: a live map value of plain integers; the verifier checks the accesses.
    unsafe {
        add_shared(&raw mut (*state).retransmits, segments);
        (*state).counts_retransmits = 1;
    }
}

/// The flow of a pod's socket, at the interface that its route leads to.
#[inline(always)]
fn key(socket: usize) -> Option<FlowKey> {
    let offsets = settings::socket_offsets();
    let route: usize = read(socket + offsets.sock_route as usize)?;
    if route == 0 {
        return None;
    }
    let device: usize = read(route + offsets.route_dev as usize)?;
    Some(FlowKey {
        ifindex: host_end(device)?,
        pod_addr_be: read(socket + offsets.sock_local as usize)?,
        peer_addr_be: read(socket + offsets.sock_remote as usize)?,
        pod_port: read(socket + offsets.sock_local_port as usize)?,
        peer_port: u16::from_be(read(socket + offsets.sock_remote_port_be as usize)?),
        protocol: TCP,
        zero: [0; 3],
    })
}

/// Looks whether the socket that sent this packet of a pod has the packet's addresses and ports. Its flow counts from
/// then on.
#[inline(always)]
pub fn recognise(ctx: &TcContext, scratch: &mut Scratch) {
    let Scratch {
        packet,
        key,
        header,
        ..
    } = scratch;
    if packet.protocol != TCP
        || packet.later_fragment
        || header.retransmits != RETRANSMITS_UNKNOWN
        || header.flags & flag::NO_FLOW != 0
        || !is_of_socket(ctx, key, packet.ethertype)
    {
        return;
    }
    if let Some(state) = FLOWS.get_ptr_mut(&*key) {
        // SAFETY: a live map value of plain integers; the verifier checks the accesses.
        unsafe {
            (*state).counts_retransmits = 1;
            header.retransmits = (*state).retransmits as u32;
        }
    }
}

/// A packet keeps its socket on its way through the veth pair. One that is bound to a device can have its route through
/// that instead of the interface.
#[inline(always)]
fn is_of_socket(ctx: &TcContext, key: &FlowKey, ethertype: u16) -> bool {
    // SAFETY: the kernel passes a valid context; the verifier checks the access.
    let socket: *const bpf_sock = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    if socket.is_null() {
        return false;
    }
    // The kernel allows loads of whole fields only.
    // SAFETY: a socket that is not null; the verifier checks the accesses.
    unsafe {
        let word = |field: *const u32| field.read_volatile();
        let remote_port_be = word((&raw const (*socket).dst_port).cast()) as u16;
        if word(&raw const (*socket).bound_dev_if) != 0
            || word(&raw const (*socket).src_port) != u32::from(key.pod_port)
            || u16::from_be(remote_port_be) != key.peer_port
        {
            return false;
        }
        if ethertype == ETHERTYPE_IPV4 {
            return word(&raw const (*socket).src_ip4) == word_of(&key.pod_addr_be, 3)
                && word(&raw const (*socket).dst_ip4) == word_of(&key.peer_addr_be, 3);
        }
        let mut index = 0;
        while index < 4 {
            if word(&raw const (*socket).src_ip6[index]) != word_of(&key.pod_addr_be, index)
                || word(&raw const (*socket).dst_ip6[index]) != word_of(&key.peer_addr_be, index)
            {
                return false;
            }
            index += 1;
        }
    }
    true
}

#[inline(always)]
fn word_of(address: &[u8; 16], index: usize) -> u32 {
    let at = index * 4;
    u32::from_ne_bytes([address[at], address[at + 1], address[at + 2], address[at + 3]])
}
