//! Records of packets that the kernel dropped: those from or to an address that a pod used lately.
//!
//! Runs wherever the kernel frees a packet, also between two instructions of the other programs, so it uses none
//! of their per-CPU state. Kernel memory is read by [`read`] at offsets from the running kernel's
//! BTF.

use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_probe_read_kernel_buf};
use aya_ebpf::programs::BtfTracePointContext;
use tracer_common::{
    DROP_BYTES, DropRecord, InterfaceState, WatchedAddress, drop_place, flag, reason, stat,
};

use crate::device::{host_end, is_node};
use crate::kernel_memory::read;
use crate::maps::{RECORDS, WATCHED};
use crate::record::{BPF_RB_NO_WAKEUP, wake_up};
use crate::scratch::zero;
use crate::settings;
use crate::stats::{Stats, add_shared};

const BPF_NOEXIST: u64 = 1;
/// An interface's share of the watched addresses.
const ADDRESSES_PER_INTERFACE: u32 = 16;
/// The limit of an address: records per window.
const RECORDS_PER_WINDOW: u64 = 64;
/// About a second.
const WINDOW_NS: u64 = 1 << 30;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const IPV6_HEADER: u32 = 40;

/// Adds an address that a pod uses. Beyond its share an interface adds none, so that no pod displaces another's.
#[inline(always)]
pub fn watch(address: &[u8; 16], interface: *mut InterfaceState) {
    if WATCHED.get_ptr(address).is_some() {
        return;
    }
    // SAFETY: a live map value of plain integers; the verifier checks the accesses. Two CPUs can both count one: the
    // share is an estimate.
    let added = unsafe { (*interface).addresses_added };
    if added >= ADDRESSES_PER_INTERFACE {
        if let Some(stats) = Stats::this_cpu() {
            stats.count(stat::UNWATCHED);
        }
        return;
    }
    // SAFETY: as above.
    unsafe { (*interface).addresses_added = added + 1 };
    let fresh = WatchedAddress {
        window_ktime_ns: 0,
        unreported: 0,
        records: 0,
    };
    // Fails if another CPU was faster.
    let _ = WATCHED.insert(address, &fresh, BPF_NOEXIST);
}

/// The IP packet in an `sk_buff`.
struct Ip {
    /// Kernel address of its header.
    at: usize,
    ethertype: u16,
    len: u32,
}

/// Emits a record of the dropped packet if it is from or to a pod.
#[inline(always)]
pub fn observe(ctx: &BtfTracePointContext) {
    let reason: u32 = ctx.arg(2);
    if reason <= settings::no_drop_reason() {
        return;
    }
    let skb: *const u8 = ctx.arg(0);
    let location: u64 = ctx.arg(1);
    let Some(ip) = ip(skb as usize) else {
        return;
    };
    let Some(watched) = watched(&ip) else {
        return;
    };
    let (Some(place), Some(stats)) = (place(skb as usize), Stats::this_cpu()) else {
        return;
    };
    // SAFETY: the helper has no preconditions.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    if !admit(watched, now_ns) {
        stats.count(stat::DROPS_UNREPORTED);
        return;
    }
    if emit(&ip, &place, (location, reason), watched, now_ns) {
        stats.count(stat::DROPS);
    } else {
        stats.count(stat::DROPS_LOST);
    }
}

/// The packet's network header. `None` if the packet has none, or is not IP.
#[inline(always)]
fn ip(skb: usize) -> Option<Ip> {
    let offsets = settings::offsets();
    let head: usize = read(skb + offsets.skb_head as usize)?;
    let network: u16 = read(skb + offsets.skb_network_header as usize)?;
    // The kernel's mark for "not set".
    if network == u16::MAX {
        return None;
    }
    let at = head + usize::from(network);
    let first: u8 = read(at)?;
    match first >> 4 {
        4 => Some(Ip {
            at,
            ethertype: IPV4,
            len: u32::from(u16::from_be(read(at + 2)?)),
        }),
        6 => Some(Ip {
            at,
            ethertype: IPV6,
            len: IPV6_HEADER + u32::from(u16::from_be(read(at + 4)?)),
        }),
        _ => None,
    }
}

/// The entry of its source or destination, if one of them is a pod's.
#[inline(always)]
fn watched(ip: &Ip) -> Option<*mut WatchedAddress> {
    let mut src = [0_u8; 16];
    let mut dst = [0_u8; 16];
    if ip.ethertype == IPV4 {
        let addresses: [[u8; 4]; 2] = read(ip.at + 12)?;
        mapped(&mut src, addresses[0]);
        mapped(&mut dst, addresses[1]);
    } else {
        src = read(ip.at + 8)?;
        dst = read(ip.at + 24)?;
    }
    WATCHED
        .get_ptr_mut(&src)
        .or_else(|| WATCHED.get_ptr_mut(&dst))
}

/// Writes `::ffff:a.b.c.d`.
#[inline(always)]
fn mapped(address: &mut [u8; 16], v4: [u8; 4]) {
    address[10] = 0xff;
    address[11] = 0xff;
    address[12] = v4[0];
    address[13] = v4[1];
    address[14] = v4[2];
    address[15] = v4[3];
}

/// Whether the address may have another record. If not, the drop is counted.
#[inline(always)]
fn admit(watched: *mut WatchedAddress, now_ns: u64) -> bool {
    // SAFETY: a live map value of plain integers; the verifier checks the accesses.
    unsafe {
        if now_ns.wrapping_sub((*watched).window_ktime_ns) > WINDOW_NS {
            (*watched).window_ktime_ns = now_ns;
            (*watched).records = 0;
        }
        if (*watched).records >= RECORDS_PER_WINDOW {
            add_shared(&raw mut (*watched).unreported, 1);
            return false;
        }
        (*watched).records += 1;
    }
    true
}

#[inline(always)]
fn emit(
    ip: &Ip,
    place: &Place,
    (location, drop_reason): (u64, u32),
    watched: *mut WatchedAddress,
    now_ns: u64,
) -> bool {
    let Some(mut entry) = RECORDS.reserve::<DropRecord>(0) else {
        return false;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: a live map value of plain integers; the verifier checks the access.
    let unreported = unsafe { (*watched).unreported };
    // SAFETY: the reservation has the size of `DropRecord`, all of which is written below.
    let copied = unsafe {
        zero(&mut *(&raw mut (*record).header));
        let header = &raw mut (*record).header;
        (*header).ktime_ns = now_ns;
        (*header).wire_len_bytes = ip.len;
        (*header).captured_len_bytes = if ip.len < DROP_BYTES as u32 {
            ip.len as u16
        } else {
            DROP_BYTES as u16
        };
        if ip.ethertype == IPV6 {
            (*header).flags = flag::IPV6;
        }
        (*header).reason = reason::DROP;
        (*record).location = location;
        (*record).reason = drop_reason;
        (*record).unreported = unreported;
        (*record).place = place.whose;
        zero(&mut *(&raw mut (*record).device).cast::<[u32; 4]>());
        if place.device != 0 {
            let name = place.device + settings::offsets().dev_name as usize;
            // Without a name the record has none.
            let _ = bpf_probe_read_kernel_buf(name as *const u8, &mut (*record).device);
        }
        bpf_probe_read_kernel_buf(ip.at as *const u8, &mut (*record).bytes).is_ok()
    };
    if !copied {
        entry.discard(BPF_RB_NO_WAKEUP);
        return false;
    }
    entry.submit(wake_up());
    // SAFETY: `watched` points to a live map value; taking a field's address reads nothing.
    add_shared(
        unsafe { &raw mut (*watched).unreported },
        unreported.wrapping_neg(),
    );
    true
}

/// Where a packet was dropped.
struct Place {
    /// One of [`drop_place`].
    whose: u32,
    /// The device; 0 if the packet had none.
    device: usize,
}

/// Where the packet is, if that is the node's namespace or one of its pods'. A packet without a device has its
/// socket's namespace.
#[inline(always)]
fn place(skb: usize) -> Option<Place> {
    let offsets = settings::offsets();
    let device: usize = read(skb + offsets.skb_dev as usize)?;
    let net: usize = if device != 0 {
        read(device + offsets.dev_net as usize)?
    } else {
        let socket: usize = read(skb + offsets.skb_sk as usize)?;
        if socket == 0 {
            return None;
        }
        read(socket + offsets.sock_net as usize)?
    };
    if is_node(net) {
        return Some(Place {
            whose: drop_place::NODE,
            device,
        });
    }
    if device == 0 {
        return None;
    }
    host_end(device).map(|_| Place {
        whose: drop_place::POD,
        device,
    })
}
