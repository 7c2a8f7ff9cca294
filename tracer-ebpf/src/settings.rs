//! Read-only globals that the loader sets before the object is loaded. The verifier knows their values: what they switch
//! off is not even in the program that runs.

use tracer_common::{MAX_DNS_PORTS, MAX_EMIT_PORTS, emit};

/// UDP and TCP ports that carry DNS. The loader fills unused places with one that is used: 0 could be a packet's port.
#[unsafe(no_mangle)]
static DNS_PORTS: [u16; MAX_DNS_PORTS] = [53; MAX_DNS_PORTS];

/// Which packets records are emitted for: [`emit`] bits.
#[unsafe(no_mangle)]
static EMIT: u32 = emit::ALL;

/// With [`emit::ONLY_PORTS`]: those, at least one. The loader fills unused places as it does with [`DNS_PORTS`].
#[unsafe(no_mangle)]
static EMIT_PORTS: [u16; MAX_EMIT_PORTS] = [53; MAX_EMIT_PORTS];

/// How much of a DNS message over UDP is captured.
#[unsafe(no_mangle)]
static PAYLOAD_CAP_BYTES: u32 = 1_232;

/// Token bucket: what a record costs. 0 switches the bucket off.
#[unsafe(no_mangle)]
static BUCKET_COST_NS: u64 = 100_000;

/// Token bucket: the most that can be saved up.
#[unsafe(no_mangle)]
static BUCKET_BURST_NS: u64 = 2_000_000_000;

/// The consumer is woken when this much waits in the ring buffer; below, it looks by itself every few milliseconds.
#[unsafe(no_mangle)]
static RING_WATERMARK_BYTES: u64 = 1 << 20;

/// Whether every packet is logged.
#[unsafe(no_mangle)]
static PROBE_LOG: u32 = 0;

/// Reads a global as the loader left it: the compiler must not take the initial value for granted.
macro_rules! global {
    ($name:ident $([$index:expr])?) => {
        // SAFETY: a static of this program, initialised, never written while it runs.
        unsafe { core::ptr::read_volatile(&raw const $name $([$index])?) }
    };
}

/// See [`DNS_PORTS`].
#[inline(always)]
pub fn is_dns_port(port: u16) -> bool {
    let mut found = false;
    let mut index = 0;
    while index < MAX_DNS_PORTS {
        found |= global!(DNS_PORTS[index]) == port;
        index += 1;
    }
    found
}

/// Whether all these bits of [`EMIT`] are set.
#[inline(always)]
pub fn emits(bits: u32) -> bool {
    global!(EMIT) & bits == bits
}

/// See [`EMIT_PORTS`].
#[inline(always)]
pub fn is_emit_port(port: u16) -> bool {
    let mut found = false;
    let mut index = 0;
    while index < MAX_EMIT_PORTS {
        found |= global!(EMIT_PORTS[index]) == port;
        index += 1;
    }
    found
}

/// See [`PAYLOAD_CAP_BYTES`].
#[inline(always)]
pub fn payload_cap_bytes() -> u32 {
    global!(PAYLOAD_CAP_BYTES)
}

/// See [`BUCKET_COST_NS`].
#[inline(always)]
pub fn bucket_cost_ns() -> u64 {
    global!(BUCKET_COST_NS)
}

/// See [`BUCKET_BURST_NS`].
#[inline(always)]
pub fn bucket_burst_ns() -> u64 {
    global!(BUCKET_BURST_NS)
}

/// See [`RING_WATERMARK_BYTES`].
#[inline(always)]
pub fn ring_watermark_bytes() -> u64 {
    global!(RING_WATERMARK_BYTES)
}

/// See [`PROBE_LOG`].
#[inline(always)]
pub fn probe_log() -> bool {
    global!(PROBE_LOG) != 0
}
