//! Read-only globals that user space sets before it loads the object. The verifier knows their values and
//! removes the code that they disable.

use tracer_common::{MAX_DNS_PORTS, MAX_EMIT_PORTS, emit};

/// UDP and TCP ports that carry DNS. Unused slots repeat a port in use, as 0 could be a packet's port.
#[unsafe(no_mangle)]
static DNS_PORTS: [u16; MAX_DNS_PORTS] = [53; MAX_DNS_PORTS];

/// The packets to emit records for: [`emit`] bits.
#[unsafe(no_mangle)]
static EMIT: u32 = emit::ALL;

/// The ports of [`emit::ONLY_PORTS`], at least one. Unused slots are as in [`DNS_PORTS`].
#[unsafe(no_mangle)]
static EMIT_PORTS: [u16; MAX_EMIT_PORTS] = [53; MAX_EMIT_PORTS];

/// Bytes to capture of a DNS message over UDP.
#[unsafe(no_mangle)]
static PAYLOAD_CAP_BYTES: u32 = 1_232;

/// Token bucket: the cost of a record. 0 disables the bucket.
#[unsafe(no_mangle)]
static BUCKET_COST_NS: u64 = 100_000;

/// Token bucket: the maximum credit.
#[unsafe(no_mangle)]
static BUCKET_BURST_NS: u64 = 2_000_000_000;

/// The amount of data in the ring buffer at which the probes wake the consumer. Below it the consumer polls
/// every few milliseconds.
#[unsafe(no_mangle)]
static RING_WATERMARK_BYTES: u64 = 1 << 20;

/// Whether to log every packet.
#[unsafe(no_mangle)]
static PROBE_LOG: u32 = 0;

/// Reads a global's value as set at load time; the compiler must not assume the initial value.
macro_rules! global {
    ($name:ident $([$index:expr])?) => {
        // SAFETY: a valid static of this program, which nothing writes while the program runs.
        unsafe { core::ptr::read_volatile(&raw const $name $([$index])?) }
    };
}

/// Whether the port is one of [`DNS_PORTS`].
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

/// Whether all of these bits of [`EMIT`] are set.
#[inline(always)]
pub fn emits(bits: u32) -> bool {
    global!(EMIT) & bits == bits
}

/// Whether the port is one of [`EMIT_PORTS`].
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

/// The value of [`PAYLOAD_CAP_BYTES`].
#[inline(always)]
pub fn payload_cap_bytes() -> u32 {
    global!(PAYLOAD_CAP_BYTES)
}

/// The value of [`BUCKET_COST_NS`].
#[inline(always)]
pub fn bucket_cost_ns() -> u64 {
    global!(BUCKET_COST_NS)
}

/// The value of [`BUCKET_BURST_NS`].
#[inline(always)]
pub fn bucket_burst_ns() -> u64 {
    global!(BUCKET_BURST_NS)
}

/// The value of [`RING_WATERMARK_BYTES`].
#[inline(always)]
pub fn ring_watermark_bytes() -> u64 {
    global!(RING_WATERMARK_BYTES)
}

/// Whether [`PROBE_LOG`] is set.
#[inline(always)]
pub fn probe_log() -> bool {
    global!(PROBE_LOG) != 0
}
