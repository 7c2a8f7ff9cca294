//! This CPU's statistics.

use tracer_common::stat;

use crate::maps::STATS;

/// This CPU's counters in [`STATS`].
pub struct Stats(*mut [u64; stat::COUNT as usize]);

impl Stats {
    /// Never `None`, as the map has exactly one entry; the verifier requires the check.
    #[inline(always)]
    pub fn this_cpu() -> Option<Stats> {
        STATS.get_ptr_mut(0).map(Stats)
    }

    /// Adds one. A plain addition suffices: the counters belong to this CPU, and no tc program interrupts
    /// another.
    #[inline(always)]
    pub fn count(&self, index: u32) {
        // SAFETY: the pointer is to a live map value, and `index` is one of `stat`'s constants, which are
        // below COUNT.
        unsafe {
            let counter = self.0.cast::<u64>().add(index as usize);
            *counter += 1;
        }
    }
}

/// Adds to a statistic in a program that can interrupt itself.
#[inline(always)]
pub fn add(index: u32, value: u64) {
    if let Some(stats) = STATS.get_ptr_mut(0) {
        // SAFETY: as in `Stats::count`; taking an element's address reads nothing.
        add_shared(unsafe { stats.cast::<u64>().add(index as usize) }, value);
    }
}

/// Adds to a counter that several CPUs share. In assembly: the target has no compare-and-swap, so `core` has
/// no atomics for it. This instruction exists on every kernel; a variant that returns the result needs Linux
/// 5.12.
#[inline(always)]
pub fn add_shared(counter: *mut u64, value: u64) {
    // SAFETY: callers pass an aligned counter inside a live map value; the instruction is one atomic addition
    // to it.
    unsafe {
        core::arch::asm!("lock *(u64 *)({counter} + 0) += {value}", counter = in(reg) counter, value = in(reg) value, options(nostack));
    }
}
