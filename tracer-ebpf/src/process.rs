//! The process that a socket belongs to, kept by the socket's cookie. A record has the cookie, and its reader looks the
//! process up.
//!
//! A packet is sent from wherever the kernel is at that time, so only a system call, which runs in the process, can
//! tell: connect() for TCP, the sends for UDP and ICMP. Kernel memory is read at offsets from the running kernel's BTF.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_get_current_task, bpf_get_socket_cookie, bpf_ktime_get_ns,
};
use aya_ebpf::programs::BtfTracePointContext;
use tracer_common::SocketOwner;

use crate::kernel_memory::read;
use crate::maps::SOCKETS;
use crate::packet::{ICMP, ICMPV6, UDP};
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
    let socket: *mut core::ffi::c_void = ctx.arg(0);
    // SAFETY: the tracepoint passes a valid socket; the verifier checks its type.
    let cookie = unsafe { bpf_get_socket_cookie(socket) };
    keep(cookie, current_tgid(), u64::MAX);
}

/// Keeps the process that sends from a UDP or ICMP socket. One from which several processes have sent has none: it is
/// not known which of them sent a packet.
#[inline(always)]
pub fn send(ctx: &BtfTracePointContext) {
    let socket: *mut core::ffi::c_void = ctx.arg(0);
    let protocol = socket.wrapping_byte_add(settings::process_offsets().sock_protocol as usize);
    // SAFETY: the tracepoint passes a valid socket; the verifier checks the access.
    let protocol = unsafe { *protocol.cast::<u16>() };
    if ![UDP, ICMP, ICMPV6].map(u16::from).contains(&protocol) {
        return;
    }
    // SAFETY: as in `connect`.
    let cookie = unsafe { bpf_get_socket_cookie(socket) };
    let tgid = current_tgid();
    // SAFETY: the helper has no preconditions.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    match SOCKETS.get_ptr_mut(&cookie) {
        None => keep(cookie, tgid, now_ns),
        // SAFETY: a live map value of plain integers. The kernel can give an entry that is removed meanwhile to another
        // socket, of which the process is then unknown; it does so only after thousands of newer sockets.
        Some(owner) => unsafe {
            if (*owner).tgid != tgid {
                (*owner).pid = 0;
            }
            (*owner).sent_ktime_ns = now_ns;
        },
    }
}

/// The process that runs, by its id in the initial PID namespace.
#[inline(always)]
fn current_tgid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

#[inline(always)]
fn keep(cookie: u64, tgid: u32, sent_ktime_ns: u64) {
    let mut owner = SocketOwner {
        sent_ktime_ns,
        tgid,
        pid: 0,
        comm: [0; 16],
    };
    if let Some((pid, comm)) = current() {
        (owner.pid, owner.comm) = (pid, comm);
    }
    // Fails while another CPU changes the same part of the table: the process then stays unknown.
    let _ = SOCKETS.insert(&cookie, &owner, 0);
}

/// The id and the name of the process that runs, as the node sees it. `None` if it is in none of the node's PID namespaces.
#[inline(always)]
fn current() -> Option<(u32, [u8; 16])> {
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
            // The id is the first field of `struct upid`.
            return Some((read(number)?, read(leader + offsets.task_comm as usize)?));
        }
        number += offsets.upid_size as usize;
    }
    None
}
