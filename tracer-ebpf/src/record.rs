//! Decides whether a packet gets a record and how many of its bytes, and writes records to the ring buffer.
//!
//! A record is due unless the settings ([`emit`]) or the interface's mute switch exclude it. Every due record
//! ends in exactly one counter: emitted, ring full, thinned or copy failed.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::{bpf_get_socket_cookie, bpf_skb_cgroup_id, bpf_skb_load_bytes};
use aya_ebpf::programs::TcContext;
use tracer_common::{
    CAPTURE_CLASSES, FROM_POD, FlowKey, InterfaceState, RecordHeader, emit, flag, reason, stat,
};

use crate::maps::{CONTROL, READER_WAITS, RECORDS};
use crate::packet::{self, ETHERTYPE_IPV6, ICMP, ICMPV6, Packet, TCP, UDP};
use crate::scratch::Scratch;
use crate::stats::{Stats, add_shared};
use crate::thinning::{Admission, Part};
use crate::{node, settings, thinning};

const TCP_FIN: u8 = 0x01;
pub const TCP_SYN: u8 = 0x02;
const TCP_RST: u8 = 0x04;
pub const TCP_ACK: u8 = 0x10;

/// Bytes to capture after an ICMP error's header: the quoted packet. Enough for IPv6 with extension headers.
const QUOTED_BYTES: u32 = 256;

const CLASS_0: usize = CAPTURE_CLASSES[0];
const CLASS_1: usize = CAPTURE_CLASSES[1];
const CLASS_2: usize = CAPTURE_CLASSES[2];
const CLASS_3: usize = CAPTURE_CLASSES[3];
const LARGE: usize = CAPTURE_CLASSES[4];

/// A chunk has the size of the largest class; this many hold a segment of 64 KiB.
const MAX_CHUNKS: u32 = 65_536 / LARGE as u32;

// Flags of bpf_ringbuf_submit and bpf_ringbuf_query (linux/bpf.h).
pub const BPF_RB_NO_WAKEUP: u64 = 1;
const BPF_RB_FORCE_WAKEUP: u64 = 2;
const BPF_RB_AVAIL_DATA: u64 = 0;

/// A record of a size class.
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
    if settings::emits(emit::BY_INTERFACE) && is_muted(scratch.key.ifindex) {
        return;
    }
    if scratch.header.flags & flag::TRUNCATED != 0 {
        stats.count(stat::TRUNCATED);
    }
    let part = part::<DIRECTION>(scratch);
    let Scratch {
        packet,
        key,
        header,
        ..
    } = scratch;
    header.ktime_ns = now_ns;
    header.ifindex = key.ifindex;
    header.wire_len_bytes = packet.len;
    if packet.ethertype == ETHERTYPE_IPV6 {
        header.flags |= flag::IPV6;
    }
    header.direction = DIRECTION;
    header.chunk = 0;
    packet.wanted = wanted;
    set_sender::<DIRECTION>(ctx, header, part);
    let filled = RECORDS.query(BPF_RB_AVAIL_DATA);
    let admission = thinning::admit(interface, key, part, now_ns, filled);
    // SAFETY: `interface` points to a live map value; the verifier checks the access.
    header.thinning = unsafe { (*interface).thinning } as u8;
    let scratch = scratch.settle();
    let mut offset = 0;
    for _ in 0..MAX_CHUNKS {
        let left = scratch.packet.wanted.wrapping_sub(offset);
        let here = if left > LARGE as u32 {
            LARGE as u32
        } else {
            left
        };
        scratch.header.captured_len_bytes = here as u16;
        stats.count(stat::DUE);
        // SAFETY: as above.
        scratch.header.lost = unsafe { (*interface).lost } as u16;
        let lost = match admission {
            Admission::Keep => match write(ctx, scratch, offset, here) {
                Written::Emitted => None,
                Written::RingFull => Some(stat::RING_FULL),
                Written::CopyFailed => Some(stat::COPY_FAILED),
            },
            Admission::NoRoom => Some(stat::RING_FULL),
            Admission::Thin => {
                // SAFETY: `interface` points to a live map value; taking a field's address reads nothing.
                add_shared(unsafe { &raw mut (*interface).suppressed }, 1);
                Some(stat::SUPPRESSED)
            }
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
        scratch.header.chunk += 1;
    }
}

/// Adds cgroup and cookie of the socket that sent the packet. A packet keeps its socket on its way through the veth pair.
/// To a pod, only packets of the node's own sockets have a cgroup, and none has a cookie.
/// Resets, ICMP replies and acknowledgments of closed connections have none: the kernel sends them. The answers of a DNS
/// server need no process.
#[inline(always)]
fn set_sender<const DIRECTION: u8>(ctx: &TcContext, header: &mut RecordHeader, part: Part) {
    header.cgroup_id = 0;
    header.set_socket(0);
    // What comes to a pod from another one can still have that one's socket. It was forwarded.
    if settings::senders() && (DIRECTION == FROM_POD || !node::is_forwarded(ctx)) {
        // SAFETY: the kernel passes a valid context; the helper accepts a packet without a socket.
        header.cgroup_id = unsafe { bpf_skb_cgroup_id(ctx.skb.skb) };
    }
    let is_answer = header.reason == reason::DNS && part == Part::Answer;
    if DIRECTION == FROM_POD && settings::processes() && !is_answer {
        // SAFETY: as above; the helper gives 0 for a packet without a socket.
        header.set_socket(unsafe { bpf_get_socket_cookie(ctx.as_ptr()) });
    }
}

#[inline(always)]
fn is_muted(ifindex: u32) -> bool {
    // SAFETY: a live map value of plain integers.
    CONTROL
        .get_ptr(ifindex)
        .is_some_and(|control| unsafe { (*control).muted } != 0)
}

/// The packet's part in its conversation. A DNS packet towards the DNS port is a question, even if both ports
/// are DNS ports.
#[inline(always)]
fn part<const DIRECTION: u8>(scratch: &Scratch) -> Part {
    let Scratch {
        packet,
        key,
        header,
        ..
    } = scratch;
    let opens = match header.reason {
        reason::DNS => settings::is_dns_port(if DIRECTION == FROM_POD {
            key.peer_port
        } else {
            key.pod_port
        }),
        reason::TCP_CONTROL => packet.tcp_flags & (TCP_SYN | TCP_ACK) == TCP_SYN,
        reason::ICMP => {
            if !packet::is_echo(packet.protocol, packet.icmp_type) {
                return Part::Rare;
            }
            packet::is_echo_request(packet.protocol, packet.icmp_type)
        }
        _ => true,
    };
    if opens { Part::Question } else { Part::Answer }
}

/// The number of bytes to capture, or `None` if no record is due. Sets the header's reason.
#[inline(always)]
pub fn want(scratch: &mut Scratch) -> Option<u32> {
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
        } else if packet.first {
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
    let code = if len <= CLASS_0 as u32 {
        write_0(ctx, &scratch.header, start, len)
    } else if len <= CLASS_1 as u32 {
        write_1(ctx, &scratch.header, start, len)
    } else if len <= CLASS_2 as u32 {
        write_2(ctx, &scratch.header, start, len)
    } else if len <= CLASS_3 as u32 {
        write_3(ctx, &scratch.header, start, len)
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
fn write_0(ctx: &TcContext, header: &RecordHeader, start: u32, len: u32) -> u32 {
    write_class::<CLASS_0, { CLASS_0.next_power_of_two() as u64 - 1 }>(ctx, header, start, len)
}

#[inline(never)]
fn write_1(ctx: &TcContext, header: &RecordHeader, start: u32, len: u32) -> u32 {
    write_class::<CLASS_1, { CLASS_1.next_power_of_two() as u64 - 1 }>(ctx, header, start, len)
}

#[inline(never)]
fn write_2(ctx: &TcContext, header: &RecordHeader, start: u32, len: u32) -> u32 {
    write_class::<CLASS_2, { CLASS_2.next_power_of_two() as u64 - 1 }>(ctx, header, start, len)
}

#[inline(never)]
fn write_3(ctx: &TcContext, header: &RecordHeader, start: u32, len: u32) -> u32 {
    write_class::<CLASS_3, { CLASS_3.next_power_of_two() as u64 - 1 }>(ctx, header, start, len)
}

#[inline(never)]
fn write_large(ctx: &TcContext, header: &RecordHeader, start: u32, len: u32) -> u32 {
    write_class::<LARGE, { LARGE as u64 - 1 }>(ctx, header, start, len)
}

/// Writes a record of the size class N. `MASK` is the next power of two minus one.
#[inline(always)]
fn write_class<const N: usize, const MASK: u64>(
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
                clamp::<N, MASK>(len),
            ) == 0
    };
    if !copied {
        entry.discard(BPF_RB_NO_WAKEUP);
        return 2;
    }
    entry.submit(wake_up());
    0
}

/// The flag that wakes the reader if it waits for a record. It waits only after the ring has run empty, so a
/// wake-up, which costs ten times as much as a record, comes once for each time without traffic.
#[inline(always)]
pub fn wake_up() -> u64 {
    let Some(waits) = READER_WAITS.get_ptr_mut(0) else {
        return BPF_RB_NO_WAKEUP;
    };
    // SAFETY: a live map value of one integer. Two CPUs can both see it set: the second wake-up does no harm.
    unsafe {
        if waits.read_volatile() == 0 {
            return BPF_RB_NO_WAKEUP;
        }
        waits.write_volatile(0);
    }
    BPF_RB_FORCE_WAKEUP
}

/// Limits `len` (not 0) to N in a form whose bound every verifier from 5.10 on recognises: `MASK` first, in
/// assembly, as LLVM would remove it as redundant.
#[inline(always)]
fn clamp<const N: usize, const MASK: u64>(len: u32) -> u32 {
    let mut limited = u64::from(len).wrapping_sub(1);
    // SAFETY: a bitwise AND on one register, without memory access.
    unsafe {
        core::arch::asm!("{0} &= {mask}", inout(reg) limited, mask = const MASK, options(pure, nomem, nostack));
    }
    if limited > N as u64 - 1 {
        limited = N as u64 - 1;
    }
    (limited + 1) as u32
}
