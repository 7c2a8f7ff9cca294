//! Counts packets and bytes: exactly per interface, and per flow while the table has room.

use tracer_common::{FROM_POD, FlowState, FlowTotals, InterfaceState, flag};

use crate::maps::FLOWS;
use crate::packet::Packet;
use crate::scratch::Scratch;
use crate::stats::add_shared;

const BPF_NOEXIST: u64 = 1;

/// Counts a packet of the interface.
#[inline(always)]
pub fn count_interface<const DIRECTION: u8>(interface: *mut InterfaceState, bytes: u32) {
    // SAFETY: `interface` points to a live map value; taking a field's address reads nothing.
    add::<DIRECTION>(unsafe { &raw mut (*interface).totals }, bytes);
}

/// Counts a packet of the interface that belongs to no entry of the flow table.
#[inline(always)]
pub fn count_outside<const DIRECTION: u8>(interface: *mut InterfaceState, bytes: u32) {
    // SAFETY: `interface` points to a live map value; taking a field's address reads nothing.
    add::<DIRECTION>(unsafe { &raw mut (*interface).outside }, bytes);
}

/// Counts a packet of its flow. Writes the flow's totals and [`flag::NEW_FLOW`] or [`flag::NO_FLOW`] to the
/// record's header.
#[inline(always)]
pub fn count<const DIRECTION: u8>(scratch: &mut Scratch, now_ns: u64) {
    let Scratch {
        packet,
        key,
        fresh,
        header,
        ..
    } = scratch;
    header.flags = 0;
    if let Some(state) = FLOWS.get_ptr_mut(&*key) {
        header.flow = add_to::<DIRECTION>(state, packet, now_ns);
        return;
    }
    *fresh = FlowState {
        first_ktime_ns: now_ns,
        last_ktime_ns: now_ns,
        ..FlowState::default()
    };
    if DIRECTION == FROM_POD {
        fresh.totals.tx_packets = 1;
        fresh.totals.tx_bytes = u64::from(packet.len);
        fresh.tx_tcp_flags = u32::from(packet.tcp_flags);
    } else {
        fresh.totals.rx_packets = 1;
        fresh.totals.rx_bytes = u64::from(packet.len);
        fresh.rx_tcp_flags = u32::from(packet.tcp_flags);
    }
    if FLOWS.insert(&*key, &*fresh, BPF_NOEXIST).is_ok() {
        header.flow = fresh.totals;
        header.flags = flag::NEW_FLOW;
        return;
    }
    // The table is full, or another CPU has inserted the flow.
    match FLOWS.get_ptr_mut(&*key) {
        Some(state) => header.flow = add_to::<DIRECTION>(state, packet, now_ns),
        None => {
            header.flow = FlowTotals::default();
            header.flags = flag::NO_FLOW;
        }
    }
}

#[inline(always)]
fn add_to<const DIRECTION: u8>(state: *mut FlowState, packet: &Packet, now_ns: u64) -> FlowTotals {
    // SAFETY: `state` points to a live map value of plain integers; the verifier checks the accesses.
    unsafe {
        add::<DIRECTION>(&raw mut (*state).totals, packet.len);
        (*state).last_ktime_ns = now_ns;
        let flags = if DIRECTION == FROM_POD {
            &raw mut (*state).tx_tcp_flags
        } else {
            &raw mut (*state).rx_tcp_flags
        };
        // Not atomic (an atomic OR needs Linux 5.12), so a concurrent update can lose a bit. User space uses
        // the flags only to drop a closed flow sooner.
        let seen = *flags | u32::from(packet.tcp_flags);
        if seen != *flags {
            *flags = seen;
        }
        (*state).totals
    }
}

#[inline(always)]
fn add<const DIRECTION: u8>(totals: *mut FlowTotals, bytes: u32) {
    // SAFETY: `totals` points into a live map value; taking a field's address reads nothing.
    let (packet_count, byte_count) = unsafe {
        if DIRECTION == FROM_POD {
            (&raw mut (*totals).tx_packets, &raw mut (*totals).tx_bytes)
        } else {
            (&raw mut (*totals).rx_packets, &raw mut (*totals).rx_bytes)
        }
    };
    add_shared(packet_count, 1);
    add_shared(byte_count, u64::from(bytes));
}
