//! The process that owns a socket: kept by the socket's cookie when it connects, read for the packets that it sends.
//!
//! A packet is sent from wherever the kernel is at that time, so only connect() itself, which runs in the process, can
//! tell. Kernel memory is read at offsets from the running kernel's BTF.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::{bpf_get_current_task, bpf_get_socket_cookie};
use aya_ebpf::programs::{BtfTracePointContext, TcContext};
use tracer_common::Process;

use crate::kernel_memory::read;
use crate::maps::SOCKETS;
use crate::settings;

// States of a TCP socket (net/tcp_states.h).
const TCP_SYN_SENT: i32 = 2;
const TCP_CLOSE: i32 = 7;

/// PID namespaces in each other: at most 32 in the kernel; a node in a container is in the second.
const MAX_LEVELS: u32 = 8;

/// Keeps the process of a socket that begins to connect.
#[inline(always)]
pub fn connect(ctx: &BtfTracePointContext) {
    let (old, new): (i32, i32) = (ctx.arg(1), ctx.arg(2));
    if (old, new) != (TCP_CLOSE, TCP_SYN_SENT) {
        return;
    }
    let Some(process) = current() else {
        return;
    };
    let socket: *mut core::ffi::c_void = ctx.arg(0);
    // SAFETY: the tracepoint passes a valid socket; the verifier checks its type.
    let cookie = unsafe { bpf_get_socket_cookie(socket) };
    // Fails while another CPU changes the same part of the table: the process then stays unknown.
    let _ = SOCKETS.insert(&cookie, &process, 0);
}

/// The process that runs, as the node sees it. `None` if it is in none of the node's PID namespaces.
#[inline(always)]
fn current() -> Option<Process> {
    let offsets = settings::process_offsets();
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task() } as usize;
    // A thread can have a name of its own.
    let leader: usize = read(task + offsets.task_group_leader as usize)?;
    let pid: usize = read(leader + offsets.task_thread_pid as usize)?;
    let levels: u32 = read(pid + offsets.pid_level as usize)?;
    let mut number = pid + offsets.pid_numbers as usize;
    for level in 0..MAX_LEVELS {
        if level > levels {
            return None;
        }
        let namespace: usize = read(number + offsets.upid_ns as usize)?;
        if read(namespace + offsets.pid_ns_inum as usize) == Some(settings::node_pid_ns()) {
            return Some(Process {
                // The first field of `struct upid`.
                pid: read(number)?,
                comm: read(leader + offsets.task_comm as usize)?,
            });
        }
        number += offsets.upid_size as usize;
    }
    None
}

/// The process of the socket that sent the packet; no process if no socket did, or if it is unknown.
#[inline(always)]
pub fn of_sender(ctx: &TcContext) -> Process {
    // SAFETY: the kernel passes a valid context; the helper gives 0 for a packet without a socket.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    let found = match cookie {
        0 => None,
        cookie => SOCKETS.get_ptr(&cookie),
    };
    match found {
        // SAFETY: a live map value of plain integers. The kernel can give an entry that is removed meanwhile to another
        // socket: it does so only after thousands of newer connections.
        Some(process) => unsafe { *process },
        None => Process {
            pid: 0,
            comm: [0; 16],
        },
    }
}
