//! Counts packets and bytes: exactly per interface, and per flow while the interface has a share of the table.
//!
//! An interface may hold as many entries as are free. So one alone gets half of the table, two get a third
//! each, and the table is never full: a pod with few flows always finds room, whatever the others do (dynamic
//! thresholds, as switches share their buffer among ports).

use tracer_common::{
    FROM_POD, FlowKey, FlowSide, FlowState, FlowTotals, InterfaceState, InterfaceTraffic,
    RETRANSMITS_UNKNOWN, RecordHeader, flag, flow_count, socket_hash,
};

use crate::maps::{CONTROL, FLOW_COUNT, FLOWS, INTERFACES, TRAFFIC, UNTRACKED, UNTRACKED_SLOTS};
use crate::packet::{Packet, TCP};
use crate::scratch::{Scratch, zero};
use crate::stats::add_shared;
use crate::{dropped, node, settings};

const BPF_NOEXIST: u64 = 1;
/// A flow without an entry has a record at most this often, in units of 2^30 ns.
const UNTRACKED_AGAIN: u32 = 10;

/// The interface's state and its counters; `None` if user space has not added it.
#[inline(always)]
pub fn interface(ifindex: u32) -> Option<(*mut InterfaceState, *mut InterfaceTraffic)> {
    let interface = INTERFACES.get_ptr_mut(ifindex)?;
    // SAFETY: a live map value of plain integers; the verifier checks the access.
    let traffic = TRAFFIC.get_ptr_mut(unsafe { (*interface).slot })?;
    Some((interface, traffic))
}

/// Counts a packet of the interface.
#[inline(always)]
pub fn count_interface<const DIRECTION: u8>(traffic: *mut InterfaceTraffic, bytes: u32) {
    // SAFETY: `traffic` points to a live map value; taking a field's address reads nothing.
    add_traffic::<DIRECTION>(unsafe { &raw mut (*traffic).totals }, bytes);
}

/// Counts a packet of the interface that belongs to no entry of the flow table.
#[inline(always)]
pub fn count_outside<const DIRECTION: u8>(traffic: *mut InterfaceTraffic, bytes: u32) {
    // SAFETY: `traffic` points to a live map value; taking a field's address reads nothing.
    add_traffic::<DIRECTION>(unsafe { &raw mut (*traffic).outside }, bytes);
}

/// Plain additions: the counters belong to this CPU, and no tc program interrupts another.
#[inline(always)]
fn add_traffic<const DIRECTION: u8>(totals: *mut FlowTotals, bytes: u32) {
    // SAFETY: `totals` points into a live map value of plain integers; the verifier checks the accesses.
    unsafe {
        if DIRECTION == FROM_POD {
            (*totals).tx_packets += 1;
            (*totals).tx_bytes += u64::from(bytes);
        } else {
            (*totals).rx_packets += 1;
            (*totals).rx_bytes += u64::from(bytes);
        }
    }
}

/// Counts a packet of its flow. Writes the flow's totals and [`flag::NEW_FLOW`] or [`flag::NO_FLOW`] to the
/// record's header, and whether a record is due because the packet is the first of its flow.
#[inline(always)]
pub fn count<const DIRECTION: u8, const NODE: bool>(
    scratch: &mut Scratch,
    interface: *mut InterfaceState,
    now_ns: u64,
) {
    let Scratch {
        packet,
        key,
        fresh,
        header,
        missing,
        ..
    } = scratch;
    header.flags = 0;
    packet.first = false;
    let known_missing = core::mem::take(missing) != 0;
    // SAFETY: a live map value of plain integers; the verifier checks the access.
    let slot = unsafe { (*interface).slot };
    if !known_missing && let Some(state) = FLOWS.get_ptr_mut(&*key) {
        add::<DIRECTION>(state, slot, packet, now_ns);
        set_totals(header, state);
        return;
    }
    if has_room(interface, key.ifindex) {
        fill::<DIRECTION>(fresh, slot, packet, now_ns);
        if FLOWS.insert(&*key, &*fresh, BPF_NOEXIST).is_ok() {
            added(interface);
            if NODE {
                node::opened(key);
            }
            set_totals(header, fresh);
            header.flags = flag::NEW_FLOW;
            packet.first = true;
            // An address of the node is also that of masqueraded pods.
            if !NODE && settings::drops() {
                dropped::watch(&key.pod_addr_be, interface);
            }
            return;
        }
        // Another CPU has inserted the flow, or the kernel has no memory.
        if let Some(state) = FLOWS.get_ptr_mut(&*key) {
            add::<DIRECTION>(state, slot, packet, now_ns);
            set_totals(header, state);
            return;
        }
    }
    zero(&mut header.flow);
    header.retransmits = RETRANSMITS_UNKNOWN;
    header.flags = flag::NO_FLOW;
    // A SYN has a record anyway, and the bulk of a TCP connection must not have one per packet.
    packet.first = packet.protocol != TCP && is_first_untracked(key, now_ns);
}

#[inline(always)]
fn fill<const DIRECTION: u8>(fresh: &mut FlowState, slot: u32, packet: &Packet, now_ns: u64) {
    zero(fresh);
    fresh.tx.slot = slot;
    fresh.rx.slot = slot;
    fresh.first_ktime_ns = now_ns;
    fresh.kept = 1;
    let side = if DIRECTION == FROM_POD {
        &mut fresh.tx
    } else {
        &mut fresh.rx
    };
    side.packets = 1;
    side.bytes = u64::from(packet.len);
    side.last_ktime_ns = now_ns;
    side.tcp_flags = u32::from(packet.tcp_flags);
}

/// Whether the interface may add an entry. User space removes entries, so what it has removed since its last
/// count still occupies the share.
#[inline(always)]
fn has_room(interface: *const InterfaceState, ifindex: u32) -> bool {
    let (Some(added), Some(base)) = (
        FLOW_COUNT.get_ptr(flow_count::ADDED),
        FLOW_COUNT.get_ptr(flow_count::BASE),
    ) else {
        return false;
    };
    // SAFETY: live map values of plain integers; the verifier checks the accesses.
    let (held, entries) = unsafe { ((*interface).flows_added, (*added).wrapping_add(*base)) };
    let free = settings::flow_entries().wrapping_sub(entries) as i64;
    if (held as i64) < free {
        // Removals only make it less.
        return true;
    }
    let Some(control) = CONTROL.get_ptr(ifindex) else {
        return false;
    };
    // SAFETY: as above.
    (held.wrapping_add(unsafe { (*control).flows_base }) as i64) < free
}

#[inline(always)]
fn added(interface: *mut InterfaceState) {
    // SAFETY: a live map value; taking a field's address reads nothing.
    add_shared(unsafe { &raw mut (*interface).flows_added }, 1);
    if let Some(entries) = FLOW_COUNT.get_ptr_mut(flow_count::ADDED) {
        add_shared(entries, 1);
    }
}

/// Whether this flow without an entry had no record lately. Two flows of one slot can displace each other; the
/// cost is a record too many.
#[inline(always)]
fn is_first_untracked(key: &FlowKey, now_ns: u64) -> bool {
    let hash = socket_hash(key);
    let now = (now_ns >> 30) as u32;
    let Some(slot) = UNTRACKED.get_ptr_mut(hash & (UNTRACKED_SLOTS - 1)) else {
        return true;
    };
    // SAFETY: a live map value of one integer.
    let known = unsafe { *slot };
    if (known >> 32) as u32 == hash && now.wrapping_sub(known as u32) < UNTRACKED_AGAIN {
        return false;
    }
    // SAFETY: as above.
    unsafe { *slot = u64::from(hash) << 32 | u64::from(now) };
    true
}

/// Adds a packet to its flow. The flow outlives a change of its interface's slot, so this also renews that.
#[inline(always)]
fn add<const DIRECTION: u8>(state: *mut FlowState, slot: u32, packet: &Packet, now_ns: u64) {
    let side = side::<DIRECTION>(state);
    // SAFETY: `side` points into a live map value of plain integers; the verifier checks the accesses.
    unsafe {
        if (*side).slot != slot {
            (*side).slot = slot;
        }
    }
    add_to(side, packet.len, packet.tcp_flags, now_ns);
}

/// The counters of one direction of a flow.
#[inline(always)]
pub fn side<const DIRECTION: u8>(state: *mut FlowState) -> *mut FlowSide {
    // SAFETY: `state` points to a live map value; taking a field's address reads nothing.
    unsafe {
        if DIRECTION == FROM_POD {
            &raw mut (*state).tx
        } else {
            &raw mut (*state).rx
        }
    }
}

/// Adds a packet to its direction. Atomic additions: the packets of one direction can come on several CPUs.
#[inline(always)]
pub fn add_to(side: *mut FlowSide, len: u32, tcp_flags: u8, now_ns: u64) {
    // SAFETY: `side` points into a live map value of plain integers; the verifier checks the accesses.
    unsafe {
        add_shared(&raw mut (*side).packets, 1);
        add_shared(&raw mut (*side).bytes, u64::from(len));
        (*side).last_ktime_ns = now_ns;
        // Not atomic (an atomic OR needs Linux 5.12), so a concurrent update can lose a bit. User space uses
        // the flags only to drop a closed flow sooner.
        let seen = (*side).tcp_flags | u32::from(tcp_flags);
        if seen != (*side).tcp_flags {
            (*side).tcp_flags = seen;
        }
    }
}

/// Writes the flow's counters to the record's header.
#[inline(always)]
fn set_totals(header: &mut RecordHeader, state: *const FlowState) {
    // SAFETY: as in `add_to`.
    unsafe {
        header.flow = FlowTotals {
            tx_packets: (*state).tx.packets,
            tx_bytes: (*state).tx.bytes,
            rx_packets: (*state).rx.packets,
            rx_bytes: (*state).rx.bytes,
        };
        header.retransmits = if (*state).counts_retransmits != 0 {
            (*state).retransmits as u32
        } else {
            RETRANSMITS_UNKNOWN
        };
    }
}
