//! Tracer's probes: sense, stamp, emit. No policy, no protocol state: that lives in user space.
//!
//! Two programs sit on the host end of every pod's veth: `from_pod` at tc ingress, `to_pod` at tc egress (kernel 5.10 on;
//! TCX or clsact, to the program it is the same). They see what passes the hook: what another program takes away before
//! it (`bpf_redirect_peer` delivers to a pod without the host end's egress) they miss. They change nothing: the verdict
//! is always "next".
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(
    unstable_features,
    reason = "inline assembly for BPF: atomics, and pointers the verifier can follow"
)]

mod bucket;
mod flow;
mod log;
mod maps;
mod packet;
mod record;
mod scratch;
mod settings;
mod stats;

use aya_ebpf::bindings::TC_ACT_UNSPEC;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use tracer_common::{FROM_POD, FlowKey, TO_POD, flag, stat};

use crate::packet::{Packet, Parsed};
use crate::scratch::Scratch;
use crate::stats::Stats;

/// What the pod sends: tc ingress of the host end.
#[classifier]
pub fn from_pod(ctx: TcContext) -> i32 {
    observe::<FROM_POD>(&ctx);
    TC_ACT_UNSPEC
}

/// What goes to the pod: tc egress of the host end.
#[classifier]
pub fn to_pod(ctx: TcContext) -> i32 {
    observe::<TO_POD>(&ctx);
    TC_ACT_UNSPEC
}

/// Counts one packet and emits what is due for it. `TC_ACT_UNSPEC` (-1, also TCX_NEXT) follows whatever happens here.
#[inline(always)]
fn observe<const DIRECTION: u8>(ctx: &TcContext) {
    let (Some(stats), Some(scratch)) = (Stats::this_cpu(), Scratch::this_cpu()) else {
        return;
    };
    let ifindex = ifindex(ctx);
    let Some(interface) = maps::INTERFACES.get_ptr_mut(ifindex) else {
        stats.count(stat::NO_INTERFACE);
        return;
    };
    // SAFETY: BPF reads the clock without any precondition.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    stats.count(stat::SEEN);

    scratch.packet = Packet::default();
    scratch.key = FlowKey {
        ifindex,
        ..FlowKey::default()
    };
    let mut scratch = scratch.settle();
    let parsed = packet::parse_network::<DIRECTION>(ctx, &stats, scratch);
    scratch = scratch.settle();
    flow::count_interface::<DIRECTION>(interface, scratch.packet.len);
    let parsed = match parsed {
        Parsed::Ip => packet::parse_transport::<DIRECTION>(ctx, &stats, scratch),
        other => other,
    };
    match parsed {
        Parsed::Ip => {}
        Parsed::NotIp => {
            stats.count(stat::NOT_IP);
            flow::count_outside::<DIRECTION>(interface, scratch.packet.len);
            return;
        }
        Parsed::Malformed => {
            stats.count(stat::MALFORMED);
            flow::count_outside::<DIRECTION>(interface, scratch.packet.len);
            return;
        }
    }
    scratch = scratch.settle();
    if scratch.packet.later_fragment {
        stats.count(stat::FRAGMENT);
    }

    flow::count::<DIRECTION>(scratch, now_ns);
    scratch = scratch.settle();
    if scratch.header.flags & flag::NO_FLOW != 0 {
        stats.count(stat::FLOW_TABLE_FULL);
        flow::count_outside::<DIRECTION>(interface, scratch.packet.len);
    }
    if settings::probe_log() {
        log::packet(ctx, &scratch.key, DIRECTION, scratch.packet.len);
    }
    record::emit::<DIRECTION>(ctx, &stats, interface, scratch, now_ns);
}

/// The interface that the packet crosses.
#[inline(always)]
fn ifindex(ctx: &TcContext) -> u32 {
    // SAFETY: the context is the kernel's own; the verifier checks the access.
    unsafe { (*ctx.skb.skb).ifindex }
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Never reached: nothing here panics, and the verifier refuses a program that could.
    loop {}
}
