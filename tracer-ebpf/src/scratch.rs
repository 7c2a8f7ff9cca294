//! The probe's working state for the current packet, in a per-CPU map value instead of on the stack.
//!
//! The verifier tracks values on the stack, so every path through the parser would be a separate state, and
//! their number multiplies. It does not track values in a map: all paths merge after [`Scratch::settle`].

use tracer_common::{FlowKey, FlowState, RecordHeader};

use crate::maps::SCRATCH;
use crate::packet::Packet;

/// The state of one packet. A tc program runs with bottom halves disabled, so no other packet uses this CPU's
/// state.
#[repr(C)]
pub struct Scratch {
    pub packet: Packet,
    pub key: FlowKey,
    /// Explicit padding before the next field.
    pub zero: u32,
    /// The entry to insert for a new flow.
    pub fresh: FlowState,
    pub header: RecordHeader,
}

impl Scratch {
    /// This CPU's state, with the values of the previous packet. Never `None`, as the map has exactly one
    /// entry.
    #[inline(always)]
    pub fn this_cpu() -> Option<&'static mut Scratch> {
        let scratch = SCRATCH.get_ptr_mut(0)?;
        // SAFETY: the pointer is to a live map value of plain integers, and no other code uses it while the
        // program runs (see the type).
        Some(unsafe { &mut *scratch })
    }

    /// Makes compiler and verifier forget how the values were computed: later code reads them from memory.
    #[inline(always)]
    pub fn settle(&'static mut self) -> &'static mut Scratch {
        let mut scratch = core::ptr::from_mut(self);
        // SAFETY: copies a register to itself. Without `nomem` the compiler must store all values before it.
        unsafe { core::arch::asm!("{0} = {0}", inout(reg) scratch, options(nostack)) };
        // SAFETY: the pointer is that of the exclusive reference `self`, unchanged.
        unsafe { &mut *scratch }
    }
}
