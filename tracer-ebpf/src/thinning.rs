//! Thins the records of the interface that fills the ring buffer: a flood on one pod's veth must not displace
//! the records of others, and what is kept of it must still make sense.
//!
//! While the ring is less than half full, no level rises. Above that an interface with more records than its
//! share keeps one socket in two, four, eight, ...: both directions of a socket, so what is kept is complete.
//! The share falls with the room that is left: then many interfaces that are each below the configured rate but
//! together above what user space can read are thinned, too, the busiest first. The last eighth is only for
//! interfaces with less than a sixteenth of the share, so that they find room whatever the others do.

use tracer_common::{FlowKey, InterfaceState, socket_hash};

use crate::maps::FLOWS;
use crate::settings;

/// Length of a window of the rate estimate: 134 ms.
const WINDOW_NS: u64 = 1 << 27;
/// The level falls by one in this time.
const FALL_EVERY_NS: u64 = 1_000_000_000;
/// At this level a flood from 1,000 sockets keeps one.
const MAX_LEVEL: u32 = 10;

/// A packet's part in its conversation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It opens an exchange: kept or thinned by its socket.
    Question,
    /// It belongs to what a question has opened, and shares its fate.
    Answer,
    /// Never thinned: rare.
    Rare,
}

/// What becomes of a due record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    Keep,
    Thin,
    /// The rest of the ring is for others.
    NoRoom,
}

/// Decides about the records of a packet. `filled` is the number of bytes in the ring buffer.
#[inline(always)]
pub fn admit(
    interface: *mut InterfaceState,
    key: &FlowKey,
    part: Part,
    now_ns: u64,
    filled: u64,
) -> Admission {
    let share = settings::share_per_window();
    if share == 0 {
        return Admission::Keep;
    }
    // SAFETY: a live map value of plain integers, here and below; the verifier checks the accesses. Updates of
    // two CPUs can overwrite each other: rate and level are estimates.
    let interface = unsafe { &mut *interface };
    let rate = rate(interface, now_ns);
    let sixteenths = ((filled << 4) >> settings::ring_bits()) as u32;
    if sixteenths >= 8 {
        let tier = match sixteenths {
            8 | 9 => 0,
            10 | 11 => 1,
            12..=14 => 2,
            _ => 3,
        };
        let share = share >> (2 * tier);
        rise(interface, rate, share, tier, now_ns);
        if sixteenths >= 14 && interface.window_kept > share {
            return Admission::NoRoom;
        }
    } else if sixteenths < 4 && interface.thinning > 0 {
        fall(interface, now_ns);
    }
    let level = u32::from(interface.thinning);
    let keep = level == 0 || part == Part::Rare || keeps(key, part, level);
    if keep {
        interface.window_kept = interface.window_kept.wrapping_add(1);
        Admission::Keep
    } else {
        Admission::Thin
    }
}

/// The records due in this window or the one before, whichever is more, including this one.
#[inline(always)]
fn rate(interface: &mut InterfaceState, now_ns: u64) -> u32 {
    // Another CPU can have stored a slightly later time.
    let elapsed_ns = now_ns.saturating_sub(interface.window_ktime_ns);
    if elapsed_ns >= WINDOW_NS {
        interface.last_window_due = if elapsed_ns < 2 * WINDOW_NS {
            interface.window_due
        } else {
            0
        };
        interface.window_due = 0;
        interface.window_kept = 0;
        interface.window_ktime_ns = now_ns;
    }
    interface.window_due = interface.window_due.wrapping_add(1);
    if interface.window_due > interface.last_window_due {
        interface.window_due
    } else {
        interface.last_window_due
    }
}

/// Raises the level until the interface is within its share: at once up to a level that grows with the
/// pressure, then by one per window while less than a quarter of the ring is free.
#[inline(always)]
fn rise(interface: &mut InterfaceState, rate: u32, share: u32, tier: u32, now_ns: u64) {
    let known = u32::from(interface.thinning);
    let mut level = known;
    for step in 1..=4 {
        if step <= tier + 1 && level < step && (rate >> (level & 31)) > share {
            level = step;
        }
    }
    if level == known
        && tier >= 2
        && level < MAX_LEVEL
        && (rate >> (level & 31)) > share
        && now_ns.wrapping_sub(interface.thinned_ktime_ns) >= WINDOW_NS
    {
        level += 1;
    }
    if level != known {
        change(interface, level, now_ns);
    }
}

/// Lowers the level, by one for each second since the last change: the interface may have been silent.
#[inline(always)]
fn fall(interface: &mut InterfaceState, now_ns: u64) {
    // Another CPU can have stored a slightly later time.
    let steps = now_ns.saturating_sub(interface.thinned_ktime_ns) / FALL_EVERY_NS;
    let level = u64::from(interface.thinning);
    if steps >= level {
        change(interface, 0, now_ns);
    } else if steps > 0 {
        change(interface, (level - steps) as u32, now_ns);
    }
}

#[inline(always)]
fn change(interface: &mut InterfaceState, level: u32, now_ns: u64) {
    interface.thinning_before = interface.thinning;
    interface.thinning = level as u16;
    interface.thinned_ktime_ns = now_ns;
}

/// Whether the packet's record is kept at this level. The flow's entry remembers what became of its question.
#[inline(never)]
fn keeps(key: &FlowKey, part: Part, level: u32) -> bool {
    let by_socket = socket_hash(key) & ((1_u32 << (level & 31)).wrapping_sub(1)) == 0;
    if by_socket && part == Part::Answer {
        return true;
    }
    let Some(state) = FLOWS.get_ptr_mut(key) else {
        return by_socket;
    };
    // SAFETY: a live map value of plain integers; the verifier checks the accesses.
    unsafe {
        if part == Part::Question {
            (*state).kept = u32::from(by_socket);
            by_socket
        } else {
            (*state).kept != 0
        }
    }
}
