//! Lists the processes with the ids of their cgroups (version 2), for kernels before Linux 6.13, where no system call
//! gives the id of another process's cgroup.
//!
//! An object of its own: it is loaded only on such kernels, and shares no map with the probes.
#![no_std]
#![no_main]

mod kernel_memory;
mod task_cgroup;

use aya_ebpf::bindings::seq_file;
use aya_ebpf::helpers::generated::bpf_seq_write;
use tracer_common::{TaskCgroup, TaskOffsets};

/// Where the fields are. User space sets it before it loads the object.
#[unsafe(no_mangle)]
static TASK_OFFSETS: TaskOffsets = TaskOffsets {
    task_pid: 0,
    task_tgid: 0,
    task_cgroups: 0,
    css_set_default: 0,
    cgroup_node: 0,
    node_id: 0,
};

/// `struct bpf_iter__task` (kernel/bpf/task_iter.c).
#[repr(C)]
pub struct TaskContext {
    meta: *const Meta,
    /// Null after the last task.
    task: *const u8,
}

/// The first field of `struct bpf_iter_meta`.
#[repr(C)]
struct Meta {
    seq: *mut seq_file,
}

/// Writes a [`TaskCgroup`] for each process.
///
/// Hook: the iterator over the tasks of the reader's PID namespace. Minimum kernel: 5.8. Misses processes that start
/// while the file is read.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub extern "C" fn task_cgroups(context: *const TaskContext) -> i32 {
    // SAFETY: the kernel passes a valid context; the verifier checks the accesses.
    let (seq, task) = unsafe { ((*(*context).meta).seq, (*context).task) };
    if !task.is_null()
        && let Some(found) = task_cgroup::of_process(task as usize, &offsets())
    {
        // Where the kernel's buffer is full, it comes back with this task.
        // SAFETY: the record is on the stack and has no padding.
        unsafe {
            bpf_seq_write(
                seq,
                (&raw const found).cast(),
                size_of::<TaskCgroup>() as u32,
            )
        };
    }
    0
}

/// The value of [`TASK_OFFSETS`] as set at load time; the compiler must not assume the initial value.
#[inline(always)]
fn offsets() -> TaskOffsets {
    /// Reads a field.
    macro_rules! field {
        ($name:ident) => {
            // SAFETY: a valid static of this program, which nothing writes while the program runs.
            unsafe { core::ptr::read_volatile(&raw const TASK_OFFSETS.$name) }
        };
    }
    TaskOffsets {
        task_pid: field!(task_pid),
        task_tgid: field!(task_tgid),
        task_cgroups: field!(task_cgroups),
        css_set_default: field!(css_set_default),
        cgroup_node: field!(cgroup_node),
        node_id: field!(node_id),
    }
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Unreachable: no code here panics, and the verifier rejects a program with an endless loop.
    loop {}
}
