//! Logs one line per packet, to debug the probes (`--probe-log`). A global that is off by default guards the
//! call.

use aya_ebpf::programs::TcContext;
use aya_log_ebpf::info;
use tracer_common::FlowKey;

/// Logs a packet.
#[inline(never)]
pub fn packet(ctx: &TcContext, key: &FlowKey, direction: u8, len: u32) {
    info!(
        ctx,
        "interface {} direction {} protocol {} port {} peer port {} length {}",
        key.ifindex,
        direction,
        key.protocol,
        key.pod_port,
        key.peer_port,
        len
    );
}
