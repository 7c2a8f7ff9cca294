//! Tracer's probes: they read packets, stamp them with a time and emit records. Policy and protocol state are
//! in user space.
//!
//! Two programs, and at the end a third in their place, are attached to the host end of every pod's veth or netkit
//! pair: `from_pod` to tc ingress and `to_pod` to tc egress, through TCX (Linux 6.6) or clsact. `from_node` and
//! `to_node` do the same for the node's own sockets at its uplinks, `from_lo` and `to_lo` for their DNS at `lo`.
//! Minimum kernel: 5.10. They miss packets that bypass the hook: `bpf_redirect_peer` delivers to a pod without
//! passing the host end's egress, and an earlier program in the chain can consume a packet. They never change a
//! packet, and the verdict is always "next".
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(
    unstable_features,
    reason = "inline assembly for BPF: atomics, and pointers that the verifier can follow"
)]

mod bulk;
mod cgroups;
mod device;
mod dropped;
mod flow;
mod kernel_memory;
mod log;
mod maps;
mod node;
mod packet;
mod process;
mod record;
mod retransmitted;
mod scratch;
mod settings;
mod stats;
mod task_cgroup;
mod thinning;

use aya_ebpf::bindings::TC_ACT_UNSPEC;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{btf_tracepoint, classifier};
use aya_ebpf::programs::{BtfTracePointContext, TcContext};
use tracer_common::{FROM_POD, TO_POD, flag, stat};

use crate::packet::Parsed;
use crate::scratch::Scratch;
use crate::stats::Stats;

/// Sees what the pod sends.
///
/// Hook: tc ingress of the host end. Minimum kernel: 5.10. Misses packets that an earlier ingress program
/// consumes.
#[classifier]
pub fn from_pod(ctx: TcContext) -> i32 {
    observe::<FROM_POD, false>(&ctx);
    TC_ACT_UNSPEC
}

/// Sees what the pod receives.
///
/// Hook: tc egress of the host end. Minimum kernel: 5.10. Misses packets delivered by `bpf_redirect_peer`
/// (Cilium's eBPF host routing), and those that an earlier egress program consumes.
#[classifier]
pub fn to_pod(ctx: TcContext) -> i32 {
    observe::<TO_POD, false>(&ctx);
    TC_ACT_UNSPEC
}

/// Sees what sockets of the node send to other hosts: the node is the pod here.
///
/// Hook: tc egress of an uplink. Minimum kernel: 5.10, cgroup version 2. Misses what stays on the node, and sockets
/// of processes in the root cgroup.
#[classifier]
pub fn from_node(ctx: TcContext) -> i32 {
    if !node::is_forwarded(&ctx) && !node::is_tagged(&ctx) {
        observe::<FROM_POD, true>(&ctx);
    }
    TC_ACT_UNSPEC
}

/// Sees the answers to what [`from_node`] saw.
///
/// Hook: tc ingress of an uplink. Minimum kernel: 5.10.
#[classifier]
pub fn to_node(ctx: TcContext) -> i32 {
    if !node::is_tagged(&ctx) && !bulk::is_foreign(ctx.skb.skb) {
        observe::<TO_POD, true>(&ctx);
    }
    TC_ACT_UNSPEC
}

/// Sees what sockets of the node ask a DNS server on the node, at an address that is not a loopback address.
///
/// Hook: tc egress of `lo`. Minimum kernel: 5.10, cgroup version 2. Misses sockets of processes in the root cgroup.
#[classifier]
pub fn from_lo(ctx: TcContext) -> i32 {
    if bulk::is_local_dns::<FROM_POD>(&ctx) {
        observe::<FROM_POD, true>(&ctx);
    }
    TC_ACT_UNSPEC
}

/// Sees the answers to what [`from_lo`] saw.
///
/// Hook: tc egress of `lo`: at its ingress, where the same packets come again, they have no socket. Minimum kernel:
/// 5.10.
#[classifier]
pub fn to_lo(ctx: TcContext) -> i32 {
    if bulk::is_local_dns::<TO_POD>(&ctx) {
        observe::<TO_POD, true>(&ctx);
    }
    TC_ACT_UNSPEC
}

/// Sees packets that the kernel drops anywhere on the node, and reports those of pods.
///
/// Hook: tracepoint skb:kfree_skb by BTF. Minimum kernel: 5.17, whose tracepoint has a reason. Misses packets
/// that leave the kernel otherwise: dropped by a device, or by a program that frees them as consumed.
#[btf_tracepoint(function = "kfree_skb")]
pub fn kfree_skb(ctx: BtfTracePointContext) -> i32 {
    if settings::drops() {
        dropped::observe(&ctx);
    }
    0
}

/// Sees the TCP segments that sockets of pods send again.
///
/// Hook: tracepoint tcp:tcp_retransmit_skb by BTF. Minimum kernel: 5.10. Misses repeated SYN-ACKs, which another
/// tracepoint shows, and sockets of the node, whose packets have other addresses at its uplink.
#[btf_tracepoint(function = "tcp_retransmit_skb")]
pub fn tcp_retransmit_skb(ctx: BtfTracePointContext) -> i32 {
    if settings::retransmits() {
        retransmitted::count(&ctx);
    }
    0
}

/// Sees which process opens a TCP connection.
///
/// Hook: tracepoint sock:inet_sock_set_state by BTF. Minimum kernel: 5.12, which gives a tracing program a socket's
/// cookie. Misses connections that were opened before it was attached, and those that the kernel accepts.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    if settings::processes() {
        process::connect(&ctx);
    }
    0
}

/// Sees which process sends from a UDP or ICMP socket.
///
/// Hook: tracepoint sock:sock_send_length by BTF. Minimum kernel: 6.3. It runs at the end of each send of any socket,
/// when the packet has passed the pod's interface. Misses what the kernel sends other than through a socket's send.
#[btf_tracepoint(function = "sock_send_length")]
pub fn sock_send_length(ctx: BtfTracePointContext) -> i32 {
    if settings::processes() {
        process::send(&ctx);
    }
    0
}

/// Sees that a cgroup gets a process by fork() or clone().
///
/// Hook: tracepoint sched:sched_process_fork by BTF. Minimum kernel: 5.10. It runs for each new thread of the node,
/// before the new one runs.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    cgroups::forked(&ctx);
    0
}

/// Sees that a cgroup gets a process that was in another one.
///
/// Hook: tracepoint cgroup:cgroup_attach_task by BTF. Minimum kernel: 5.10.
#[btf_tracepoint(function = "cgroup_attach_task")]
pub fn cgroup_attach_task(ctx: BtfTracePointContext) -> i32 {
    cgroups::entered(&ctx);
    0
}

/// Sees nothing. At the end of a capture it replaces the others: the kernel replaces a program at once, but detaches
/// none within less than a grace period.
///
/// Hook: TCX, both directions.
#[classifier]
pub fn idle(_ctx: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// Counts a packet and emits its records, if any are due. At a device of the node (`NODE`) only packets of the node's
/// own flows. The caller returns `TC_ACT_UNSPEC` (-1, equal to `TCX_NEXT`) in any case.
#[inline(always)]
fn observe<const DIRECTION: u8, const NODE: bool>(ctx: &TcContext) {
    let ifindex = ifindex(ctx);
    if !settings::probe_log() && bulk::count::<DIRECTION, NODE>(ctx, ifindex) {
        return;
    }
    let (Some(stats), Some(scratch)) = (Stats::this_cpu(), Scratch::this_cpu()) else {
        return;
    };
    let Some((interface, traffic)) = flow::interface(ifindex) else {
        stats.count(stat::NO_INTERFACE);
        return;
    };
    // SAFETY: the helper has no preconditions.
    let now_ns = unsafe { bpf_ktime_get_ns() };

    scratch.begin(ifindex);
    let mut scratch = scratch.settle();
    let parsed = packet::parse_network::<DIRECTION>(ctx, &stats, scratch);
    scratch = scratch.settle();
    if !NODE {
        flow::count_interface::<DIRECTION>(traffic, scratch.packet.len);
    }
    let parsed = match parsed {
        Parsed::Ip => packet::parse_transport::<DIRECTION>(ctx, &stats, scratch),
        other => other,
    };
    if NODE {
        scratch = scratch.settle();
        if !matches!(parsed, Parsed::Ip) || !node::is_own::<DIRECTION>(ctx, &stats, scratch) {
            return;
        }
        flow::count_interface::<DIRECTION>(traffic, scratch.packet.len);
    }
    match parsed {
        Parsed::Ip => {}
        Parsed::NotIp => {
            stats.count(stat::NOT_IP);
            flow::count_outside::<DIRECTION>(traffic, scratch.packet.len);
            return;
        }
        Parsed::Malformed => {
            stats.count(stat::MALFORMED);
            flow::count_outside::<DIRECTION>(traffic, scratch.packet.len);
            return;
        }
    }
    scratch = scratch.settle();
    if scratch.packet.later_fragment {
        stats.count(stat::FRAGMENT);
    }

    flow::count::<DIRECTION, NODE>(scratch, interface, now_ns);
    scratch = scratch.settle();
    if scratch.header.flags & flag::NO_FLOW != 0 {
        stats.count(stat::FLOW_TABLE_FULL);
        flow::count_outside::<DIRECTION>(traffic, scratch.packet.len);
        if NODE {
            // Its answer would not be recognised.
            return;
        }
    }
    if DIRECTION == FROM_POD && !NODE && settings::retransmits() {
        retransmitted::recognise(ctx, scratch);
        scratch = scratch.settle();
    }
    if settings::probe_log() {
        log::packet(ctx, &scratch.key, DIRECTION, scratch.packet.len);
    }
    record::emit::<DIRECTION>(ctx, &stats, interface, scratch, now_ns);
}

/// The interface that the program is attached to.
#[inline(always)]
fn ifindex(ctx: &TcContext) -> u32 {
    // SAFETY: the kernel passes a valid context; the verifier checks the access.
    unsafe { (*ctx.skb.skb).ifindex }
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Unreachable: no code here panics, and the verifier rejects a program with an endless loop.
    loop {}
}
