//! The heap of the program, whose allocator is mimalloc (`main.rs`).

/// Returns free memory to the system. Reading all objects of a cluster takes and frees as much as the objects need.
pub(crate) fn trim() {
    #[cfg(target_os = "linux")]
    // SAFETY: `mi_collect` only frees unused memory, and may be called at any time on any thread.
    unsafe {
        libmimalloc_sys::mi_collect(true);
    }
}
