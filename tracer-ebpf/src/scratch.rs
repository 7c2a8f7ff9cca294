//! What the probe knows about the packet at hand, in a map value of this CPU instead of on the stack.
//!
//! The verifier follows what is on the stack: every path through the parser would go on as a state of its own, and their
//! number multiplies. What is in a map it does not follow: all paths are one again after [`Scratch::settle`].

use tracer_common::{FlowKey, FlowState, RecordHeader};

use crate::maps::SCRATCH;
use crate::packet::Packet;

/// One packet at a time: a tc program runs with bottom halves off, so it has its CPU to itself.
#[repr(C)]
pub struct Scratch {
    pub packet: Packet,
    pub key: FlowKey,
    /// Zero, for the compiler's alignment of what follows.
    pub zero: u32,
    /// For a flow that is not in the table yet.
    pub fresh: FlowState,
    pub header: RecordHeader,
}

impl Scratch {
    /// This CPU's, with what the last packet left in it. The map has exactly one entry, so this is never `None`.
    #[inline(always)]
    pub fn this_cpu() -> Option<&'static mut Scratch> {
        let scratch = SCRATCH.get_ptr_mut(0)?;
        // SAFETY: a live map value, plain integers, nobody else's while the program runs (see the type).
        Some(unsafe { &mut *scratch })
    }

    /// Forgets, for compiler and verifier alike, how the values came about: they are in memory, and are read from there.
    #[inline(always)]
    pub fn settle(&'static mut self) -> &'static mut Scratch {
        let mut scratch = core::ptr::from_mut(self);
        // SAFETY: copies a register onto itself. Without `nomem` the compiler must have stored everything by here.
        unsafe { core::arch::asm!("{0} = {0}", inout(reg) scratch, options(nostack)) };
        // SAFETY: the same pointer.
        unsafe { &mut *scratch }
    }
}
