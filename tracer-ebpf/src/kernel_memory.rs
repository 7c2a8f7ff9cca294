//! Reads kernel memory whose layout only the running kernel knows.

use aya_ebpf::helpers::bpf_probe_read_kernel;

/// Reads an integer, or an array of integers, at an address of the kernel.
#[inline(always)]
pub fn read<T>(address: usize) -> Option<T> {
    // SAFETY: the helper checks the address and copies nothing if it is invalid. Callers read integers.
    unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
}
