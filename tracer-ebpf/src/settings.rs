//! Read-only globals that user space sets before it loads the object. The verifier knows their values and
//! removes the code that they disable.

use tracer_common::{
    KernelOffsets, MAX_DNS_PORTS, MAX_EMIT_PORTS, ProcessOffsets, SocketOffsets, TaskOffsets, emit,
};

/// UDP and TCP ports that carry DNS. Unused slots repeat a port in use, as 0 could be a packet's port.
#[unsafe(no_mangle)]
static DNS_PORTS: [u16; MAX_DNS_PORTS] = [53; MAX_DNS_PORTS];

/// The packets to emit records for: [`emit`] bits.
#[unsafe(no_mangle)]
static EMIT: u32 = emit::ALL;

/// The ports of [`emit::ONLY_PORTS`], at least one. Unused slots are as in [`DNS_PORTS`].
#[unsafe(no_mangle)]
static EMIT_PORTS: [u16; MAX_EMIT_PORTS] = [53; MAX_EMIT_PORTS];

/// Bytes to capture of a DNS message over UDP.
#[unsafe(no_mangle)]
static PAYLOAD_CAP_BYTES: u32 = 1_232;

/// Number of different ports in [`DNS_PORTS`], from its start.
#[unsafe(no_mangle)]
static DNS_PORT_COUNT: u32 = 1;

/// An interface's share of the ring buffer while that is half full: records per window of
/// [`crate::thinning`]. 0 disables thinning.
#[unsafe(no_mangle)]
static SHARE_PER_WINDOW: u32 = 1_342;

/// Size of the ring buffer: the exponent of a power of two.
#[unsafe(no_mangle)]
static RING_BITS: u32 = 23;

/// Number of entries that the flow table can have.
#[unsafe(no_mangle)]
static FLOW_ENTRIES: u64 = 65_536;

/// Whether the kernel has `bpf_ktime_get_coarse_ns` (Linux 5.11), which costs a fraction of the exact clock.
#[unsafe(no_mangle)]
static COARSE_CLOCK: u32 = 0;

/// Whether records have the sender's cgroup.
#[unsafe(no_mangle)]
static SENDERS: u32 = 0;

/// Whether dropped packets get records.
#[unsafe(no_mangle)]
static DROPS: u32 = 0;

/// The drop reasons up to this number stand for no drop, or for none in particular.
#[unsafe(no_mangle)]
static NO_DROP_REASON: u32 = 2;

/// The inode number of the node's network namespace.
#[unsafe(no_mangle)]
static NODE_NETNS: u32 = 0;

/// Where the fields are that the probes of drops and retransmissions read.
#[unsafe(no_mangle)]
static OFFSETS: KernelOffsets = KernelOffsets {
    skb_head: 0,
    skb_network_header: 0,
    skb_dev: 0,
    skb_sk: 0,
    dev_name: 0,
    dev_ifindex: 0,
    dev_net: 0,
    dev_link_ops: 0,
    dev_private: 0,
    link_ops_kind: 0,
    sock_net: 0,
    net_inum: 0,
};

/// Whether the segments are counted that sockets of pods send again.
#[unsafe(no_mangle)]
static RETRANSMITS: u32 = 0;

/// Whether the tracepoint of retransmissions also shows those that failed, with their error (Linux 6.18).
#[unsafe(no_mangle)]
static RETRANSMIT_ERRORS: u32 = 0;

/// Where the fields are that the probe of retransmissions alone reads.
#[unsafe(no_mangle)]
static SOCKET_OFFSETS: SocketOffsets = SocketOffsets {
    sock_route: 0,
    route_dev: 0,
    sock_local: 0,
    sock_remote: 0,
    sock_local_port: 0,
    sock_remote_port_be: 0,
    skb_segments: 0,
};

/// Whether records have the sender's socket, and the table of sockets their processes.
#[unsafe(no_mangle)]
static PROCESSES: u32 = 0;

/// The inode number of the node's PID namespace: that of this process.
#[unsafe(no_mangle)]
static NODE_PID_NS: u32 = 0;

/// Where the fields are that name a process.
#[unsafe(no_mangle)]
static PROCESS_OFFSETS: ProcessOffsets = ProcessOffsets {
    task_group_leader: 0,
    task_thread_pid: 0,
    task_comm: 0,
    pid_numbers: 0,
    pid_level: 0,
    upid_ns: 0,
    upid_size: 0,
    pid_ns_inum: 0,
    sock_protocol: 0,
};

/// Where the fields are that show a process's cgroup.
#[unsafe(no_mangle)]
static TASK_OFFSETS: TaskOffsets = TaskOffsets {
    task_pid: 0,
    task_tgid: 0,
    task_cgroups: 0,
    css_set_default: 0,
    cgroup_node: 0,
    node_id: 0,
};

/// Whether to log every packet.
#[unsafe(no_mangle)]
static PROBE_LOG: u32 = 0;

/// Reads a global's value as set at load time; the compiler must not assume the initial value.
macro_rules! global {
    ($name:ident $([$index:expr])? $(.$field:ident)?) => {
        // SAFETY: a valid static of this program, which nothing writes while the program runs.
        unsafe { core::ptr::read_volatile(&raw const $name $([$index])? $(.$field)?) }
    };
}

/// Whether the port is one of [`DNS_PORTS`]. Mostly there is one, and then the verifier removes the loop.
#[inline(always)]
pub fn is_dns_port(port: u16) -> bool {
    let mut found = global!(DNS_PORTS[0]) == port;
    if global!(DNS_PORT_COUNT) > 1 {
        let mut index = 1;
        while index < MAX_DNS_PORTS {
            found |= global!(DNS_PORTS[index]) == port;
            index += 1;
        }
    }
    found
}

/// Whether all of these bits of [`EMIT`] are set.
#[inline(always)]
pub fn emits(bits: u32) -> bool {
    global!(EMIT) & bits == bits
}

/// Whether the port is one of [`EMIT_PORTS`].
#[inline(always)]
pub fn is_emit_port(port: u16) -> bool {
    let mut found = false;
    let mut index = 0;
    while index < MAX_EMIT_PORTS {
        found |= global!(EMIT_PORTS[index]) == port;
        index += 1;
    }
    found
}

/// The value of [`PAYLOAD_CAP_BYTES`].
#[inline(always)]
pub fn payload_cap_bytes() -> u32 {
    global!(PAYLOAD_CAP_BYTES)
}

/// The value of [`SHARE_PER_WINDOW`].
#[inline(always)]
pub fn share_per_window() -> u32 {
    global!(SHARE_PER_WINDOW)
}

/// The value of [`RING_BITS`].
#[inline(always)]
pub fn ring_bits() -> u32 {
    global!(RING_BITS)
}

/// The value of [`FLOW_ENTRIES`].
#[inline(always)]
pub fn flow_entries() -> u64 {
    global!(FLOW_ENTRIES)
}

/// Whether [`COARSE_CLOCK`] is set.
#[inline(always)]
pub fn coarse_clock() -> bool {
    global!(COARSE_CLOCK) != 0
}

/// Whether [`SENDERS`] is set.
#[inline(always)]
pub fn senders() -> bool {
    global!(SENDERS) != 0
}

/// Whether [`DROPS`] is set.
#[inline(always)]
pub fn drops() -> bool {
    global!(DROPS) != 0
}

/// The value of [`NO_DROP_REASON`].
#[inline(always)]
pub fn no_drop_reason() -> u32 {
    global!(NO_DROP_REASON)
}

/// The value of [`NODE_NETNS`].
#[inline(always)]
pub fn node_netns() -> u32 {
    global!(NODE_NETNS)
}

/// The value of [`OFFSETS`].
#[inline(always)]
pub fn offsets() -> KernelOffsets {
    KernelOffsets {
        skb_head: global!(OFFSETS.skb_head),
        skb_network_header: global!(OFFSETS.skb_network_header),
        skb_dev: global!(OFFSETS.skb_dev),
        skb_sk: global!(OFFSETS.skb_sk),
        dev_name: global!(OFFSETS.dev_name),
        dev_ifindex: global!(OFFSETS.dev_ifindex),
        dev_net: global!(OFFSETS.dev_net),
        dev_link_ops: global!(OFFSETS.dev_link_ops),
        dev_private: global!(OFFSETS.dev_private),
        link_ops_kind: global!(OFFSETS.link_ops_kind),
        sock_net: global!(OFFSETS.sock_net),
        net_inum: global!(OFFSETS.net_inum),
    }
}

/// Whether [`RETRANSMITS`] is set.
#[inline(always)]
pub fn retransmits() -> bool {
    global!(RETRANSMITS) != 0
}

/// Whether [`RETRANSMIT_ERRORS`] is set.
#[inline(always)]
pub fn retransmit_errors() -> bool {
    global!(RETRANSMIT_ERRORS) != 0
}

/// The value of [`SOCKET_OFFSETS`].
#[inline(always)]
pub fn socket_offsets() -> SocketOffsets {
    SocketOffsets {
        sock_route: global!(SOCKET_OFFSETS.sock_route),
        route_dev: global!(SOCKET_OFFSETS.route_dev),
        sock_local: global!(SOCKET_OFFSETS.sock_local),
        sock_remote: global!(SOCKET_OFFSETS.sock_remote),
        sock_local_port: global!(SOCKET_OFFSETS.sock_local_port),
        sock_remote_port_be: global!(SOCKET_OFFSETS.sock_remote_port_be),
        skb_segments: global!(SOCKET_OFFSETS.skb_segments),
    }
}

/// Whether [`PROCESSES`] is set.
#[inline(always)]
pub fn processes() -> bool {
    global!(PROCESSES) != 0
}

/// The value of [`NODE_PID_NS`].
#[inline(always)]
pub fn node_pid_ns() -> u32 {
    global!(NODE_PID_NS)
}

/// The value of [`PROCESS_OFFSETS`].
#[inline(always)]
pub fn process_offsets() -> ProcessOffsets {
    ProcessOffsets {
        task_group_leader: global!(PROCESS_OFFSETS.task_group_leader),
        task_thread_pid: global!(PROCESS_OFFSETS.task_thread_pid),
        task_comm: global!(PROCESS_OFFSETS.task_comm),
        pid_numbers: global!(PROCESS_OFFSETS.pid_numbers),
        pid_level: global!(PROCESS_OFFSETS.pid_level),
        upid_ns: global!(PROCESS_OFFSETS.upid_ns),
        upid_size: global!(PROCESS_OFFSETS.upid_size),
        pid_ns_inum: global!(PROCESS_OFFSETS.pid_ns_inum),
        sock_protocol: global!(PROCESS_OFFSETS.sock_protocol),
    }
}

/// The value of [`TASK_OFFSETS`].
#[inline(always)]
pub fn task_offsets() -> TaskOffsets {
    TaskOffsets {
        task_pid: global!(TASK_OFFSETS.task_pid),
        task_tgid: global!(TASK_OFFSETS.task_tgid),
        task_cgroups: global!(TASK_OFFSETS.task_cgroups),
        css_set_default: global!(TASK_OFFSETS.css_set_default),
        cgroup_node: global!(TASK_OFFSETS.cgroup_node),
        node_id: global!(TASK_OFFSETS.node_id),
    }
}

/// Whether [`PROBE_LOG`] is set.
#[inline(always)]
pub fn probe_log() -> bool {
    global!(PROBE_LOG) != 0
}
