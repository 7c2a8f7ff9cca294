//! Decides whether a packet is worth a record and how much of it, and writes it to the ring buffer.
//!
//! What nobody asked for ([`emit`], muted interfaces) is not due. Every record that is due ends in exactly one counter: emitted, ring full, suppressed, copy failed.

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

/// Of an ICMP error, what follows its header: the quoted packet. Enough for IPv6 with extension headers and then some.
const QUOTED_BYTES: u32 = 256;

const SMALL: usize = CAPTURE_CLASSES[0];
const MEDIUM: usize = CAPTURE_CLASSES[1];
const LARGE: usize = CAPTURE_CLASSES[2];

/// A chunk is as long as the largest class: 64 KiB of segment are this many.
const MAX_CHUNKS: u32 = 65_536 / LARGE as u32;

// bpf_ringbuf_submit and bpf_ringbuf_query (linux/bpf.h).
const BPF_RB_NO_WAKEUP: u64 = 1;
const BPF_RB_FORCE_WAKEUP: u64 = 2;
const BPF_RB_AVAIL_DATA: u64 = 0;
/// What the ring adds to each record.
const RING_HEADER_BYTES: u64 = 8;

#[repr(C)]
struct Slot<const N: usize> {
    header: RecordHeader,
    bytes: [u8; N],
}

/// Emits the packet's record, or records, if any is due.
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
        if bucket::take(interface, now_ns) {
            match write(ctx, scratch, offset, here) {
                Written::Emitted => stats.count(stat::EMITTED),
                Written::RingFull => stats.count(stat::RING_FULL),
                Written::CopyFailed => stats.count(stat::COPY_FAILED),
            }
        } else {
            stats.count(stat::SUPPRESSED);
            // SAFETY: a live map value; taking a field's address reads nothing.
            add_shared(unsafe { &raw mut (*interface).suppressed }, 1);
        }
        offset += LARGE as u32;
        if offset >= scratch.packet.wanted {
            break;
        }
        scratch.header.flags |= flag::CHUNK;
    }
}

/// How many bytes of the packet are wanted, if any. Says why in the record's header.
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
        let mut most = MAX_CHUNKS * LARGE as u32;
        if packet.protocol == UDP {
            // Only TCP is worth several records.
            most = headers + settings::payload_cap_bytes();
            if most > LARGE as u32 {
                most = LARGE as u32;
            }
        }
        if packet.len > most {
            header.flags |= flag::TRUNCATED;
            return Some(most);
        }
        return Some(packet.len);
    }
    let (asked, wanted) =
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
            let asked = if packet.protocol == TCP {
                wants_tcp(key)
            } else {
                wants(emit::FIRST, key)
            };
            (asked, headers)
        } else {
            return None;
        };
    if !asked {
        return None;
    }
    Some(if wanted < packet.len {
        wanted
    } else {
        packet.len
    })
}

/// Whether records of this kind are asked for, and of this flow's ports.
#[inline(always)]
fn wants(bit: u32, key: &FlowKey) -> bool {
    settings::emits(bit)
        && (!settings::emits(emit::ONLY_PORTS)
            || settings::is_emit_port(key.peer_port)
            || settings::is_emit_port(key.pod_port))
}

/// As [`wants`], and a connection that DNS can run over goes with DNS.
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

/// What became of a record. A number across the call, because the classes are functions of their own.
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
    // SAFETY: the reservation is exactly a `Slot<N>` long; the copy is at most N bytes; the rest of `bytes` stays as it
    // is and is not read: `captured_len_bytes` says how much counts.
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

/// Wakes the consumer once, when the watermark is crossed. Every other record waits for the consumer's own next look: a
/// wake-up costs ten times what the record does.
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

/// `len` (not 0) limited to N, a power of two, in a form whose bound every verifier from 5.10 on sees.
#[inline(always)]
fn clamp<const N: usize>(len: u32) -> u32 {
    let mut most = u64::from(len);
    if most > N as u64 {
        most = N as u64;
    }
    most = most.wrapping_sub(1);
    // SAFETY: one AND on one register. In assembly, or LLVM drops it as redundant.
    unsafe {
        core::arch::asm!("{0} &= {mask}", inout(reg) most, mask = const N as u64 - 1, options(pure, nomem, nostack));
    }
    (most + 1) as u32
}
