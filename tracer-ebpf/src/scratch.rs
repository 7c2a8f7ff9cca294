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
    pub key: FlowKey,
    /// Not 0 if the packet's flow was looked up and has no entry.
    pub missing: u32,
    pub packet: Packet,
    /// Explicit padding before the next field.
    pub zero: u32,
    /// The entry to insert for a new flow.
    pub fresh: FlowState,
    pub header: RecordHeader,
    /// The flow of the packet that an ICMP error quotes, seen from that packet's sender.
    pub quoted: FlowKey,
    /// Explicit padding.
    pub zero_at_end: u32,
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

    /// Clears the key and the packet for a packet of this interface.
    #[inline(always)]
    pub fn begin(&mut self, ifindex: u32) {
        zero(&mut self.key);
        zero(&mut self.packet);
        self.key.ifindex = ifindex;
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

/// Clears a value of integers in words. LLVM would call a function that loops over its bytes.
#[inline(always)]
pub fn zero<T>(value: &mut T) {
    const { assert!(size_of::<T>().is_multiple_of(4) && align_of::<T>() >= 4) };
    let start = core::ptr::from_mut(value);
    // SAFETY: all writes are within the value, aligned, and zero is valid for integers. They are volatile so that the
    // compiler does not merge them.
    unsafe {
        if align_of::<T>() >= 8 {
            let mut index = 0;
            while index < size_of::<T>() / 8 {
                start.cast::<u64>().add(index).write_volatile(0);
                index += 1;
            }
        } else {
            let mut index = 0;
            while index < size_of::<T>() / 4 {
                start.cast::<u32>().add(index).write_volatile(0);
                index += 1;
            }
        }
    }
}
