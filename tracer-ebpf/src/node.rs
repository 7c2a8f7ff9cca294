//! Which packets at a device of the node are of the node's own flows: those that a socket of the node opened, and
//! their answers. All others are forwarded, or come from other hosts unasked.
//!
//! A flow is known by its entry in the flow table, which its first packet gets. Only DNS questions, SYNs and echo
//! requests open one, and only if a record of them is due. The look-up costs too much for each packet that a node
//! forwards, so [`may_be_own`] comes first.

use aya_ebpf::helpers::bpf_skb_cgroup_id;
use aya_ebpf::programs::TcContext;
use tracer_common::{FROM_POD, FlowKey, NODE_FLOW_SLOTS};

use crate::maps::{FLOWS, NODE_OPENED, NODE_OVER};
use crate::packet::{self, ICMP, ICMPV6, TCP, UDP};
use crate::record::{self, TCP_ACK, TCP_SYN};
use crate::scratch::Scratch;
use crate::settings;
use crate::stats::{Stats, add_shared};

/// The id of the root cgroup. The kernel's own sockets are in it, and all sockets where only version 1 is in use.
const ROOT_CGROUP: u64 = 1;

/// Whether a packet on its way out came in through another device. One that the node itself has made did not; the
/// kernel clears this in a packet that it puts into a tunnel.
#[inline(always)]
pub fn is_forwarded(ctx: &TcContext) -> bool {
    // SAFETY: the kernel passes a valid context; the verifier checks the access.
    unsafe { (*ctx.skb.skb).ingress_ifindex != 0 }
}

/// Whether a packet has a VLAN tag: the VLAN's device sees it too, without.
#[inline(always)]
pub fn is_tagged(ctx: &TcContext) -> bool {
    // SAFETY: as in `is_forwarded`.
    unsafe { (*ctx.skb.skb).vlan_present != 0 }
}

/// Whether the flow table can have a flow of the node with this [`tracer_common::node_flow_slot`]. `false` is exact.
#[inline(always)]
pub fn may_be_own(slot: usize) -> bool {
    let (Some(opened), Some(over)) = (NODE_OPENED.get_ptr(0), NODE_OVER.get_ptr(0)) else {
        return true;
    };
    let slot = slot & (NODE_FLOW_SLOTS - 1);
    // SAFETY: live map values of plain integers, and the slot is one of theirs.
    unsafe { *opened.cast::<u64>().add(slot) != *over.cast::<u64>().add(slot) }
}

/// Notes that the flow table has a new flow of the node: its answers pass [`may_be_own`] from now on.
#[inline(always)]
pub fn opened(key: &FlowKey) {
    if let Some(opened) = NODE_OPENED.get_ptr_mut(0) {
        let slot = key.node_flow_slot() & (NODE_FLOW_SLOTS - 1);
        // SAFETY: a live map value, and the slot is one of its.
        add_shared(unsafe { opened.cast::<u64>().add(slot) }, 1);
    }
}

/// Whether a parsed packet is of a flow of the node's own, or opens one.
#[inline(always)]
pub fn is_own<const DIRECTION: u8>(ctx: &TcContext, stats: &Stats, scratch: &mut Scratch) -> bool {
    let Scratch { packet, key, .. } = scratch;
    if packet.later_fragment {
        return false;
    }
    let opens = match packet.protocol {
        TCP => packet.tcp_flags & (TCP_SYN | TCP_ACK) == TCP_SYN,
        UDP if settings::is_dns_port(key.peer_port) => true,
        UDP => return false,
        ICMP | ICMPV6 if packet::is_echo(packet.protocol, packet.icmp_type) => {
            packet::is_echo_request(packet.protocol, packet.icmp_type)
        }
        ICMP | ICMPV6 => {
            return DIRECTION != FROM_POD
                && packet::is_icmp_error(packet.protocol, packet.icmp_type)
                && packet::parse_quoted(ctx, stats, scratch)
                && is_known(&scratch.quoted);
        }
        _ => return false,
    };
    is_known(key)
        || DIRECTION == FROM_POD && opens && has_socket(ctx) && record::want(scratch).is_some()
}

#[inline(always)]
fn is_known(key: &FlowKey) -> bool {
    FLOWS.get_ptr(key).is_some()
}

/// Whether a socket of a process sent the packet.
#[inline(always)]
fn has_socket(ctx: &TcContext) -> bool {
    // SAFETY: the kernel passes a valid context; the helper accepts a packet without a socket.
    unsafe { bpf_skb_cgroup_id(ctx.skb.skb) > ROOT_CGROUP }
}
