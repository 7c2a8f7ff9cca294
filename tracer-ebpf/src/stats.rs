//! This CPU's statistics.

use tracer_common::stat;

use crate::maps::STATS;

/// This CPU's place in [`STATS`].
pub struct Stats(*mut [u64; stat::COUNT as usize]);

impl Stats {
    /// The map has exactly one entry, so this is never `None`; the verifier wants it asked.
    #[inline(always)]
    pub fn this_cpu() -> Option<Stats> {
        STATS.get_ptr_mut(0).map(Stats)
    }

    /// Counts one. Plain addition: the place belongs to this CPU, and a tc program is not interrupted by another.
    #[inline(always)]
    pub fn count(&self, index: u32) {
        // SAFETY: the pointer is a live map value, `index` is one of `stat`'s constants, below COUNT.
        unsafe {
            let counter = self.0.cast::<u64>().add(index as usize);
            *counter += 1;
        }
    }
}

/// Adds to a counter that several CPUs share. In assembly: the target has no compare-and-swap, so core's atomics are
/// not there, and this instruction exists on every kernel (the result must not be used before 5.12).
#[inline(always)]
pub fn add_shared(counter: *mut u64, value: u64) {
    // SAFETY: callers pass a counter inside a live map value; the instruction is one atomic addition.
    unsafe {
        core::arch::asm!("lock *(u64 *)({counter} + 0) += {value}", counter = in(reg) counter, value = in(reg) value, options(nostack));
    }
}
