//! Which packets at a device of the node are of the node's own flows: those that a socket of the node opened, and
//! their answers. All others are forwarded, or come from other hosts unasked.
//!
//! A flow is known by its entry in the flow table, which its first packet gets. Only DNS questions, SYNs and echo
//! requests open one, and only if a record of them is due.

use aya_ebpf::helpers::bpf_skb_cgroup_id;
use aya_ebpf::programs::TcContext;
use tracer_common::{FROM_POD, FlowKey};

use crate::maps::FLOWS;
use crate::packet::{self, ICMP, ICMPV6, TCP, UDP};
use crate::record::{self, TCP_ACK, TCP_SYN};
use crate::scratch::Scratch;
use crate::settings;
use crate::stats::Stats;

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
