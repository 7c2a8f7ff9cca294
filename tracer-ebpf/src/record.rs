//! Decides whether a packet gets a record and how many of its bytes, and writes records to the ring buffer.
//!
//! A record is due unless the settings ([`emit`]) or the interface's mute switch exclude it. Every due record
//! ends in exactly one counter: emitted, ring full, suppressed or copy failed.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::bpf_skb_load_bytes;
use aya_ebpf::programs::TcContext;
use tracer_common::{
    CAPTURE_CLASSES, FlowKey, InterfaceState, RecordHeader, emit, flag, reason, stat,
};

use crate::maps::{MUTED, RECORDS};
use crate::packet::{self, ICMP, ICMPV6, Packet, TCP, UDP};
use crate::scratch::Scratch;
use crate::stats::{Stats, add_shared};
use crate::{bucket, settings};

const TCP_FIN: u8 = 0x01;
const TCP_SYN: u8 = 0x02;
const TCP_RST: u8 = 0x04;

/// Bytes to capture after an ICMP error's header: the quoted packet. Enough for IPv6 with extension headers.
const QUOTED_BYTES: u32 = 256;

const SMALL: usize = CAPTURE_CLASSES[0];
const MEDIUM: usize = CAPTURE_CLASSES[1];
const LARGE: usize = CAPTURE_CLASSES[2];

/// A chunk has the size of the largest class; this many hold a segment of 64 KiB.
const MAX_CHUNKS: u32 = 65_536 / LARGE as u32;

// Flags of bpf_ringbuf_submit and bpf_ringbuf_query (linux/bpf.h).
const BPF_RB_NO_WAKEUP: u64 = 1;
const BPF_RB_FORCE_WAKEUP: u64 = 2;
const BPF_RB_AVAIL_DATA: u64 = 0;
/// The ring buffer's own header in front of each record.
const RING_HEADER_BYTES: u64 = 8;

#[repr(C)]
struct Slot<const N: usize> {
    header: RecordHeader,
    bytes: [u8; N],
}

/// Emits the packet's records, if any are due.
#[inline(always)]
pub fn emit<const DIRECTION: u8>(
    ctx: &TcContext,
    stats: &Stats,
    interface: *mut InterfaceState,
    scratch: &'static mut Scratch,
    now_ns: u64,
) {
    let Some(wanted) = want(scratch) else {
        return;
    };
    if settings::emits(emit::BY_INTERFACE) && MUTED.get_ptr(scratch.key.ifindex).is_some() {
        return;
    }
    if scratch.header.flags & flag::TRUNCATED != 0 {
        stats.count(stat::TRUNCATED);
    }
    let Scratch {
        packet,
        key,
        header,
        ..
    } = scratch;
    header.ktime_ns = now_ns;
    header.ifindex = key.ifindex;
    header.wire_len_bytes = packet.len;
    header.ethertype = packet.ethertype;
    header.direction = DIRECTION;
    header.thinning = 0;
    header.reserved = 0;
    packet.wanted = wanted;
    let scratch = scratch.settle();
    let mut offset = 0;
    for _ in 0..MAX_CHUNKS {
        let left = scratch.packet.wanted.wrapping_sub(offset);
        let here = if left > LARGE as u32 {
            LARGE as u32
        } else {
            left
        };
        scratch.header.chunk_offset_bytes = offset;
        scratch.header.captured_len_bytes = here as u16;
        stats.count(stat::DUE);
        // SAFETY: `interface` points to a live map value; the verifier checks the access.
        scratch.header.lost = unsafe { (*interface).lost } as u16;
        let lost = if bucket::take(interface, now_ns) {
            match write(ctx, scratch, offset, here) {
                Written::Emitted => None,
                Written::RingFull => Some(stat::RING_FULL),
                Written::CopyFailed => Some(stat::COPY_FAILED),
            }
        } else {
            // SAFETY: `interface` points to a live map value; taking a field's address reads nothing.
            add_shared(unsafe { &raw mut (*interface).suppressed }, 1);
            Some(stat::SUPPRESSED)
        };
        match lost {
            None => stats.count(stat::EMITTED),
            Some(reason) => {
                // Before the statistics: user space looks for the interface when those have grown.
                // SAFETY: as above.
                add_shared(unsafe { &raw mut (*interface).lost }, 1);
                stats.count(reason);
            }
        }
        offset += LARGE as u32;
        if offset >= scratch.packet.wanted {
            break;
        }
        scratch.header.flags |= flag::CHUNK;
    }
}

/// The number of bytes to capture, or `None` if no record is due. Sets the header's reason.
#[inline(always)]
fn want(scratch: &mut Scratch) -> Option<u32> {
    let Scratch {
        packet,
        key,
        header,
        ..
    } = scratch;
    let headers = packet.transport - packet.network + packet.transport_len;
    if is_dns(packet, key) && (packet.protocol == UDP || packet.len > headers) {
        if !settings::emits(emit::DNS) {
            return None;
        }
        header.reason = reason::DNS;
        let mut limit = MAX_CHUNKS * LARGE as u32;
        if packet.protocol == UDP {
            // Only a TCP segment gets several records.
            limit = headers + settings::payload_cap_bytes();
            if limit > LARGE as u32 {
                limit = LARGE as u32;
            }
        }
        if packet.len > limit {
            header.flags |= flag::TRUNCATED;
            return Some(limit);
        }
        return Some(packet.len);
    }
    let (included, wanted) =
        if packet.protocol == TCP && packet.tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST) != 0 {
            header.reason = reason::TCP_CONTROL;
            (wants_tcp(key), headers)
        } else if is_icmp(packet) && packet::is_echo(packet.protocol, packet.icmp_type) {
            header.reason = reason::ICMP;
            (settings::emits(emit::ECHO), headers)
        } else if is_icmp(packet) && packet::is_icmp_error(packet.protocol, packet.icmp_type) {
            header.reason = reason::ICMP;
            (settings::emits(emit::ICMP_ERROR), headers + QUOTED_BYTES)
        } else if header.flags & flag::NEW_FLOW != 0 {
            header.reason = reason::FIRST;
            let included = if packet.protocol == TCP {
                wants_tcp(key)
            } else {
                wants(emit::FIRST, key)
            };
            (included, headers)
        } else {
            return None;
        };
    if !included {
        return None;
    }
    Some(if wanted < packet.len {
        wanted
    } else {
        packet.len
    })
}

/// Whether the settings include records of this kind and of this flow's ports.
#[inline(always)]
fn wants(bit: u32, key: &FlowKey) -> bool {
    settings::emits(bit)
        && (!settings::emits(emit::ONLY_PORTS)
            || settings::is_emit_port(key.peer_port)
            || settings::is_emit_port(key.pod_port))
}

/// Like [`wants`] for TCP; a connection on a DNS port also counts as DNS.
#[inline(always)]
fn wants_tcp(key: &FlowKey) -> bool {
    (settings::emits(emit::DNS) && has_dns_port(key)) || wants(emit::TCP, key)
}

#[inline(always)]
fn is_icmp(packet: &Packet) -> bool {
    (packet.protocol == ICMP || packet.protocol == ICMPV6) && !packet.later_fragment
}

#[inline(always)]
fn is_dns(packet: &Packet, key: &FlowKey) -> bool {
    (packet.protocol == UDP || packet.protocol == TCP)
        && !packet.later_fragment
        && has_dns_port(key)
}

#[inline(always)]
fn has_dns_port(key: &FlowKey) -> bool {
    settings::is_dns_port(key.peer_port) || settings::is_dns_port(key.pod_port)
}

/// The outcome of writing a record. The functions of the size classes return it as a number.
#[derive(PartialEq, Eq)]
enum Written {
    Emitted,
    RingFull,
    CopyFailed,
}

#[inline(always)]
fn write(ctx: &TcContext, scratch: &Scratch, offset: u32, len: u32) -> Written {
    let start = scratch.packet.network + offset;
    let code = if len <= SMALL as u32 {
        write_small(ctx, &scratch.header, start, len)
    } else if len <= MEDIUM as u32 {
        write_medium(ctx, &scratch.header, start, len)
    } else {
        write_large(ctx, &scratch.header, start, len)
    };
    match code {
        0 => Written::Emitted,
        1 => Written::RingFull,
        _ => Written::CopyFailed,
    }
}

#[inline(never)]
fn write_small(ctx: &TcContext, header: &RecordHeader, start: u32, len: u32) -> u32 {
    write_class::<SMALL>(ctx, header, start, len)
}

#[inline(never)]
fn write_medium(ctx: &TcContext, header: &RecordHeader, start: u32, len: u32) -> u32 {
    write_class::<MEDIUM>(ctx, header, start, len)
}

#[inline(never)]
fn write_large(ctx: &TcContext, header: &RecordHeader, start: u32, len: u32) -> u32 {
    write_class::<LARGE>(ctx, header, start, len)
}

#[inline(always)]
fn write_class<const N: usize>(
    ctx: &TcContext,
    header: &RecordHeader,
    start: u32,
    len: u32,
) -> u32 {
    let Some(mut entry) = RECORDS.reserve::<Slot<N>>(0) else {
        return 1;
    };
    let slot = entry.as_mut_ptr();
    // SAFETY: the reservation has the size of `Slot<N>`, and the helper copies at most N bytes into `bytes`.
    // The rest of `bytes` stays uninitialised and user space does not read it: `captured_len_bytes` is the
    // valid length.
    let copied = unsafe {
        (&raw mut (*slot).header).write(*header);
        len == 0
            || bpf_skb_load_bytes(
                ctx.as_ptr(),
                start,
                (&raw mut (*slot).bytes).cast(),
                clamp::<N>(len),
            ) == 0
    };
    if !copied {
        entry.discard(BPF_RB_NO_WAKEUP);
        return 2;
    }
    entry.submit(wake_up(size_of::<Slot<N>>() as u64));
    0
}

/// The flag that wakes the consumer once, when the ring crosses the watermark. Other records wait for the
/// consumer's next poll: a wake-up costs ten times as much as the record.
#[inline(always)]
fn wake_up(record_bytes: u64) -> u64 {
    let waiting = RECORDS.query(BPF_RB_AVAIL_DATA);
    let watermark = settings::ring_watermark_bytes();
    let before = waiting.wrapping_sub(record_bytes + RING_HEADER_BYTES);
    if waiting >= watermark && before < watermark {
        BPF_RB_FORCE_WAKEUP
    } else {
        BPF_RB_NO_WAKEUP
    }
}

/// Limits `len` (not 0) to N, a power of two, in a form whose bound every verifier from 5.10 on recognises.
#[inline(always)]
fn clamp<const N: usize>(len: u32) -> u32 {
    let mut limited = u64::from(len);
    if limited > N as u64 {
        limited = N as u64;
    }
    limited = limited.wrapping_sub(1);
    // SAFETY: a bitwise AND on one register, without memory access. LLVM would remove it as redundant without
    // assembly.
    unsafe {
        core::arch::asm!("{0} &= {mask}", inout(reg) limited, mask = const N as u64 - 1, options(pure, nomem, nostack));
    }
    (limited + 1) as u32
}
