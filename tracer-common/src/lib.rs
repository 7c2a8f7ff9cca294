//! The layouts that the probes and user space share. No logic, no allocation.
//!
//! Two compilers build this file for two targets, and user space embeds the probes of its own build. The
//! assertions at the end make a change of layout deliberate. All fields are in host byte order except those
//! suffixed `_be`; names contain the units. Times are `CLOCK_MONOTONIC` nanoseconds (`bpf_ktime_get_ns`).
#![no_std]

/// Incremented with every change of a layout in this file. `tracer version` prints it.
pub const LAYOUT_VERSION: u32 = 11;

/// The packet left the pod: tc ingress of the host end of its veth.
pub const FROM_POD: u8 = 0;
/// The packet enters the pod: tc egress of the host end of its veth.
pub const TO_POD: u8 = 1;

/// Maximum number of attached interfaces. The traffic table has this many slots on every CPU.
pub const MAX_INTERFACES: u32 = 1_024;

/// Maximum number of DNS ports.
pub const MAX_DNS_PORTS: usize = 8;

/// A record's size classes: the maximum number of packet bytes after the header. `bpf_ringbuf_reserve` needs
/// a constant size. Most records are headers (up to 80 bytes), questions (60 to 100) and answers (100 to 250).
pub const CAPTURE_CLASSES: [usize; 5] = [96, 160, 256, 512, 2048];

/// The reason for a record.
pub mod reason {
    /// A port of the packet is a DNS port.
    pub const DNS: u8 = 1;
    /// TCP with SYN, FIN or RST.
    pub const TCP_CONTROL: u8 = 2;
    /// ICMP or ICMPv6: echo, or an error with its quoted header.
    pub const ICMP: u8 = 3;
    /// The first packet of a flow.
    pub const FIRST: u8 = 4;
    /// The kernel dropped the packet: the entry is a [`DropRecord`](super::DropRecord).
    pub const DROP: u8 = 5;
}

/// The packets to emit records for: bits of a read-only global of the probes.
pub mod emit {
    /// DNS messages, and on DNS ports also the packets of [`TCP`].
    pub const DNS: u32 = 1 << 0;
    /// TCP with SYN, FIN or RST, and the first packet of a TCP flow.
    pub const TCP: u32 = 1 << 1;
    /// ICMP and ICMPv6 echo.
    pub const ECHO: u32 = 1 << 2;
    /// ICMP and ICMPv6 errors.
    pub const ICMP_ERROR: u32 = 1 << 3;
    /// The first packet of any other flow.
    pub const FIRST: u32 = 1 << 4;
    /// Restricts [`TCP`] and [`FIRST`] to packets with one of the listed ports.
    pub const ONLY_PORTS: u32 = 1 << 5;
    /// Interfaces can be muted: look up each in the table of muted ones.
    pub const BY_INTERFACE: u32 = 1 << 6;
    /// Every packet that can have a record.
    pub const ALL: u32 = DNS | TCP | ECHO | ICMP_ERROR | FIRST;
}

/// Maximum number of ports of [`emit::ONLY_PORTS`].
pub const MAX_EMIT_PORTS: usize = 8;

/// Bits of [`RecordHeader::flags`].
pub mod flag {
    /// A DNS packet with more payload than was captured.
    pub const TRUNCATED: u16 = 1 << 0;
    /// A chunk of a TCP segment other than the first, which alone contains the headers.
    pub const CHUNK: u16 = 1 << 1;
    /// The flow's counters are unknown: the flow table had no room for the interface.
    pub const NO_FLOW: u16 = 1 << 2;
    /// This packet created its entry in the flow table.
    pub const NEW_FLOW: u16 = 1 << 3;
    /// The packet is IPv6, else IPv4.
    pub const IPV6: u16 = 1 << 4;
}

/// The header of a record in the ring buffer. `captured_len_bytes` bytes of the packet follow, from the
/// network header on; for a chunk from [`RecordHeader::chunk_offset_bytes`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordHeader {
    /// When the probe ran.
    pub ktime_ns: u64,
    /// The flow's counters, including this packet.
    pub flow: FlowTotals,
    /// Index of the host end of the pod's veth.
    pub ifindex: u32,
    /// Length of the packet from the network header on. A GSO segment is one packet here.
    pub wire_len_bytes: u32,
    /// The cookie of the socket that sent the packet, see [`RecordHeader::socket`]: its lower bits.
    pub socket_low: u32,
    /// Number of packet bytes that follow.
    pub captured_len_bytes: u16,
    /// The upper bits of the cookie.
    pub socket_high: u16,
    /// [`FROM_POD`] or [`TO_POD`].
    pub direction: u8,
    /// One of the constants in [`reason`].
    pub reason: u8,
    /// [`flag`] bits.
    pub flags: u16,
    /// Records of this interface that were lost before this one, modulo 2^16: ring full, not copied or thinned.
    pub lost: u16,
    /// The interface's thinning: only one socket in 2^this is kept, see [`socket_hash`].
    pub thinning: u8,
    /// Number of the chunk; not 0 for those with [`flag::CHUNK`].
    pub chunk: u8,
    /// The id of the cgroup (version 2) of the socket of the pod, or of the node on its way to the pod, that sent the
    /// packet; 0 if no such socket did, as for resets and forwarded packets, or if the probes do not ask.
    pub cgroup_id: u64,
    /// [`FlowState::retransmits`] of the flow, or [`RETRANSMITS_UNKNOWN`].
    pub retransmits: u32,
    /// Explicit padding.
    pub zero: u32,
}

/// The value of [`RecordHeader::retransmits`] of a flow whose retransmissions are not counted.
pub const RETRANSMITS_UNKNOWN: u32 = u32::MAX;

impl RecordHeader {
    /// Sets the cookie of the socket that sent the packet. The kernel counts cookies up from 1; those that it counts
    /// down from 2^64, where an interrupt needs one, do not fit, and are as none.
    #[inline(always)]
    pub fn set_socket(&mut self, cookie: u64) {
        let cookie = if cookie >> 48 == 0 { cookie } else { 0 };
        self.socket_low = cookie as u32;
        self.socket_high = (cookie >> 32) as u16;
    }

    /// The cookie of the socket that sent the packet; 0 for none, or if the probes do not ask.
    pub fn socket(&self) -> u64 {
        u64::from(self.socket_low) | u64::from(self.socket_high) << 32
    }

    /// Offset of the captured bytes from the network header.
    pub fn chunk_offset_bytes(&self) -> u32 {
        let [.., chunk] = CAPTURE_CLASSES;
        u32::from(self.chunk) * chunk as u32
    }
}

/// The process that a socket belongs to: that connected it (TCP), or that alone has sent from it (UDP, ICMP). The value
/// of the table of sockets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketOwner {
    /// When its latest send ended, all ones if it connected the socket: its packets from before that are on their way,
    /// and no other process has sent before it.
    pub sent_ktime_ns: u64,
    /// Its id in the initial PID namespace.
    pub tgid: u32,
    /// Its id in the PID namespace of the node; 0 if it is not in it, or if several processes have sent.
    pub pid: u32,
    /// Its name, that of its first thread, padded with zeros: `/proc/PID/comm`.
    pub comm: [u8; 16],
}

/// Number of packet bytes in a [`DropRecord`]: the network header and the transport's ports and flags.
pub const DROP_BYTES: usize = 96;

/// A packet that the kernel dropped, in the ring buffer. The bytes in `header` count from the network header on.
/// It has no interface.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropRecord {
    /// Time, lengths, EtherType, device.
    pub header: RecordHeader,
    /// Address of the instruction that dropped the packet.
    pub location: u64,
    /// Drops of packets of the same address since the last record that had none of their own.
    pub unreported: u64,
    /// [`drop_place`]: whose network namespace the packet was in.
    pub place: u32,
    /// The kernel's `enum skb_drop_reason`. Its numbers differ between kernels.
    pub reason: u32,
    /// The device's name, padded with zeros.
    pub device: [u8; 16],
    /// The packet.
    pub bytes: [u8; DROP_BYTES],
}

/// Values of [`DropRecord::place`]. A packet in any other namespace has no record: the kernel may run other nodes
/// too, whose pods have the same addresses.
pub mod drop_place {
    /// The node's namespace.
    pub const NODE: u32 = 1;
    /// That of a pod: the peer of its device is in the node's.
    pub const POD: u32 = 2;
}

/// The value of the table of addresses whose dropped packets get a record.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchedAddress {
    /// When the current window of the limit began. Not atomic, like all that follow: an estimate is enough.
    pub window_ktime_ns: u64,
    /// Drops without a record since the last one that had one.
    pub unreported: u64,
    /// Records in the window.
    pub records: u64,
}

/// Offsets of kernel structs' fields in bytes, from the running kernel's BTF. A read-only global of the probes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelOffsets {
    /// `struct sk_buff`: `head`.
    pub skb_head: u32,
    /// `network_header`.
    pub skb_network_header: u32,
    /// `dev`.
    pub skb_dev: u32,
    /// `sk`.
    pub skb_sk: u32,
    /// `struct net_device`: `name`.
    pub dev_name: u32,
    /// `ifindex`.
    pub dev_ifindex: u32,
    /// `nd_net.net`.
    pub dev_net: u32,
    /// `rtnl_link_ops`.
    pub dev_link_ops: u32,
    /// Its private data, which begins with the peer for veth and netkit.
    pub dev_private: u32,
    /// `struct rtnl_link_ops`: `kind`.
    pub link_ops_kind: u32,
    /// `struct sock`: `__sk_common.skc_net.net`.
    pub sock_net: u32,
    /// `struct net`: `ns.inum`.
    pub net_inum: u32,
}

/// Offsets of kernel structs' fields in bytes, from the running kernel's BTF. A read-only global of the probe of
/// retransmissions.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketOffsets {
    /// `struct sock`: `sk_dst_cache`.
    pub sock_route: u32,
    /// `struct dst_entry`: `dev`.
    pub route_dev: u32,
    /// `struct sock_common`: `skc_v6_rcv_saddr`, for IPv4 the mapped address.
    pub sock_local: u32,
    /// `skc_v6_daddr`, for IPv4 the mapped address.
    pub sock_remote: u32,
    /// `skc_num`: the local port.
    pub sock_local_port: u32,
    /// `skc_dport`: the remote port, in network byte order.
    pub sock_remote_port_be: u32,
    /// `struct sk_buff`: `tcp_gso_segs` of the `struct tcp_skb_cb` in its `cb`.
    pub skb_segments: u32,
}

/// Offsets of kernel structs' fields in bytes, from the running kernel's BTF. A read-only global of the iterator over
/// tasks.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskOffsets {
    /// `struct task_struct`: `pid`.
    pub task_pid: u32,
    /// `tgid`.
    pub task_tgid: u32,
    /// `cgroups`.
    pub task_cgroups: u32,
    /// `struct css_set`: `dfl_cgrp`.
    pub css_set_default: u32,
    /// `struct cgroup`: `kn`.
    pub cgroup_node: u32,
    /// `struct kernfs_node`: `id`.
    pub node_id: u32,
}

/// Offsets of kernel structs' fields in bytes, from the running kernel's BTF. A read-only global of the probes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessOffsets {
    /// `struct task_struct`: `group_leader`.
    pub task_group_leader: u32,
    /// `thread_pid`.
    pub task_thread_pid: u32,
    /// `comm`.
    pub task_comm: u32,
    /// `struct pid`: `numbers`, one for each PID namespace, from the initial one on.
    pub pid_numbers: u32,
    /// `level`: the index of the innermost.
    pub pid_level: u32,
    /// `struct upid`: `ns`.
    pub upid_ns: u32,
    /// The size of the struct.
    pub upid_size: u32,
    /// `struct pid_namespace`: `ns.inum`.
    pub pid_ns_inum: u32,
    /// `struct sock`: `sk_protocol`, two bytes since Linux 5.6.
    pub sock_protocol: u32,
}

/// A process and its cgroup of version 2, as the iterator over tasks writes them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskCgroup {
    /// The id that `bpf_skb_cgroup_id` gives for packets of its sockets.
    pub cgroup_id: u64,
    /// The process's id in the initial PID namespace.
    pub tgid: u32,
    /// Explicit padding.
    pub zero: u32,
}

/// Slots of the table of cgroups that got a process. A power of two.
pub const CGROUP_SLOTS: u32 = 16_384;

/// The slot of a cgroup. The kernel numbers cgroups, with their files, one after the other: few of a node share one.
pub const fn cgroup_slot(cgroup_id: u64) -> u32 {
    cgroup_id as u32 & (CGROUP_SLOTS - 1)
}

/// A flow's packets and bytes (from the network header on), from the pod's side.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowTotals {
    /// Packets that the pod sent.
    pub tx_packets: u64,
    /// Bytes that the pod sent.
    pub tx_bytes: u64,
    /// Packets that the pod received.
    pub rx_packets: u64,
    /// Bytes that the pod received.
    pub rx_bytes: u64,
}

/// The key of the flow table. IPv4 addresses are IPv4-mapped (`::ffff:a.b.c.d`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The pod's address.
    pub pod_addr_be: [u8; 16],
    /// The other end's address.
    pub peer_addr_be: [u8; 16],
    /// Index of the host end of the pod's veth.
    pub ifindex: u32,
    /// The pod's port; for ICMP echo the identifier; 0 for protocols without ports.
    pub pod_port: u16,
    /// The other end's port; 0 for protocols without ports.
    pub peer_port: u16,
    /// The IP protocol number (6, 17, 1, 58, ...).
    pub protocol: u8,
    /// Always zero: the kernel compares keys bytewise.
    pub zero: [u8; 3],
}

/// The hash by which thinning keeps a socket or drops it: kept at level n if its n lowest bits are zero. Both
/// directions of a conversation have the same key, and so the same hash.
#[inline(always)]
pub fn socket_hash(key: &FlowKey) -> u32 {
    let mut hash = 0x811c_9dc5_u32 ^ u32::from(key.protocol);
    let mut index = 0;
    while index < 16 {
        hash = (hash ^ u32::from(key.pod_addr_be[index])).wrapping_mul(0x0100_0193);
        hash = (hash ^ u32::from(key.peer_addr_be[index])).wrapping_mul(0x0100_0193);
        index += 1;
    }
    hash = (hash ^ (u32::from(key.pod_port) | u32::from(key.peer_port) << 16))
        .wrapping_mul(0x0100_0193);
    // FNV's low bits depend on the low bits of the input alone.
    hash ^ (hash >> 15)
}

/// Number of slots of the tables that exclude flows of the node itself.
pub const NODE_FLOW_SLOTS: usize = 1 << 13;

/// The slot of a flow of the node itself, from what a packet has that arrives: the last words of its destination and
/// source, and the word of its ports. The probes compute it for each, so it is little. The highest bits of a product
/// depend on all bits.
#[inline(always)]
pub fn node_flow_slot(pod_word: u32, peer_word: u32, ports_word: u32) -> usize {
    let all = u64::from(ports_word) << 32 ^ u64::from(peer_word) << 16 ^ u64::from(pod_word);
    let product = all.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (product >> (u64::BITS - NODE_FLOW_SLOTS.trailing_zeros())) as usize
}

impl FlowKey {
    /// See [`node_flow_slot`].
    #[inline(always)]
    pub fn node_flow_slot(&self) -> usize {
        let last = |address: &[u8; 16]| {
            u32::from_ne_bytes([address[12], address[13], address[14], address[15]])
        };
        let ([a, b], [c, d]) = (self.peer_port.to_be_bytes(), self.pod_port.to_be_bytes());
        node_flow_slot(
            last(&self.pod_addr_be),
            last(&self.peer_addr_be),
            u32::from_ne_bytes([a, b, c, d]),
        )
    }
}

/// The value of the flow table. Each direction's counters are apart, as a direction's packets mostly come on one
/// CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowState {
    /// What the pod sent.
    pub tx: FlowSide,
    /// What the pod received.
    pub rx: FlowSide,
    /// Time of the first packet.
    pub first_ktime_ns: u64,
    /// TCP segments that the pod's socket sent again.
    pub retransmits: u64,
    /// Not 0 if `retransmits` counts: a socket in the pod has the flow's addresses and ports. Where the pod itself
    /// translates them, none has.
    pub counts_retransmits: u32,
    /// Not 0 if the record of the flow's latest question was not thinned: then its answer's is not, either.
    pub kept: u32,
    /// Explicit padding. With it the kernel's entry, key included, is three whole cache lines.
    pub zero: [u32; 2],
}

/// One direction of a flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowSide {
    /// Number of packets.
    pub packets: u64,
    /// Their bytes from the network header on.
    pub bytes: u64,
    /// Time of the latest packet, some milliseconds early where the kernel has a coarse clock (5.11).
    pub last_ktime_ns: u64,
    /// TCP flags, ORed.
    pub tcp_flags: u32,
    /// The interface's slot in the traffic table, as of the latest packet that looked it up.
    pub slot: u32,
}

/// A slot of the traffic table, per CPU. User space assigns it before it attaches the probes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceTraffic {
    /// The interface that has the slot.
    pub ifindex: u32,
    /// Explicit padding.
    pub zero: u32,
    /// All packets of the interface, exact: those of its flows plus `outside`.
    pub totals: FlowTotals,
    /// Packets that no flow counts: neither IPv4 nor IPv6, malformed, or without an entry in the flow table.
    pub outside: FlowTotals,
}

/// The value of the interface table, which only the probes change. User space adds the entry before it attaches
/// them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceState {
    /// Records lost for any reason, exact: ring full, not copied or thinned. A record's header has its low 16
    /// bits.
    pub lost: u64,
    /// Those of them that were thinned, exact.
    pub suppressed: u64,
    /// Entries that its flows have added to the flow table.
    pub flows_added: u64,
    /// When the thinning changed last.
    pub thinned_ktime_ns: u64,
    /// When the current window of the rate estimate began. Not atomic, like all that follow: an estimate is
    /// enough.
    pub window_ktime_ns: u64,
    /// Records due in the window.
    pub window_due: u32,
    /// Records due in the window before it.
    pub last_window_due: u32,
    /// Records of the window that were not thinned.
    pub window_kept: u32,
    /// The thinning: one socket in 2^this keeps its records, see [`socket_hash`].
    pub thinning: u16,
    /// The thinning before its last change.
    pub thinning_before: u16,
    /// The interface's slot in the traffic table. The probes only read it.
    pub slot: u32,
    /// Addresses that the interface's flows have added to the watched ones.
    pub addresses_added: u32,
    /// Not 0: a device of the node, and its peer is no pod's. The probes only read it.
    pub is_node: u32,
    /// Explicit padding.
    pub zero: u32,
}

/// The value of the control table, which only user space writes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceControl {
    /// The interface's entries in the flow table are this plus `flows_added`, in 64-bit wrapping arithmetic.
    pub flows_base: u64,
    /// Not 0: the interface causes no records.
    pub muted: u32,
    /// Explicit padding.
    pub zero: u32,
}

/// Indices of the flow table's counts. Entries of the table = `ADDED` + `BASE`, in wrapping arithmetic.
pub mod flow_count {
    /// Entries that the probes have added.
    pub const ADDED: u32 = 0;
    /// The difference, which user space writes after it has counted the entries.
    pub const BASE: u32 = 1;
}

/// Indices of the per-CPU statistics. They are never reset.
pub mod stat {
    /// Records that were due under the settings ([`emit`](super::emit)): exactly
    /// `EMITTED + RING_FULL + SUPPRESSED + COPY_FAILED`.
    pub const DUE: u32 = 0;
    /// Records written to the ring buffer.
    pub const EMITTED: u32 = 1;
    /// Records lost because the ring buffer was full.
    pub const RING_FULL: u32 = 2;
    /// Records that thinning suppressed.
    pub const SUPPRESSED: u32 = 3;
    /// Records dropped because the packet's bytes could not be copied.
    pub const COPY_FAILED: u32 = 4;
    /// Packets of a flow without an entry: the interface had its share of the flow table.
    pub const FLOW_TABLE_FULL: u32 = 5;
    /// Packets of an interface without a table entry. They are counted nowhere else.
    pub const NO_INTERFACE: u32 = 6;
    /// Packets that are neither IPv4 nor IPv6, such as ARP.
    pub const NOT_IP: u32 = 7;
    /// Packets with invalid or truncated headers.
    pub const MALFORMED: u32 = 8;
    /// Fragments other than the first. They have no ports.
    pub const FRAGMENT: u32 = 9;
    /// Headers read through `bpf_skb_load_bytes` because they were outside the linear part.
    pub const SLOW_LOAD: u32 = 10;
    /// DNS packets with more payload than was captured. Their records have
    /// [`flag::TRUNCATED`](super::flag::TRUNCATED).
    pub const TRUNCATED: u32 = 11;
    /// Drop records written to the ring buffer.
    pub const DROPS: u32 = 12;
    /// Drop records lost because the ring buffer was full or the packet could not be read.
    pub const DROPS_LOST: u32 = 13;
    /// Dropped packets without a record of their own: their address had had its share.
    pub const DROPS_UNREPORTED: u32 = 14;
    /// New flows of an address whose drops are not seen: its interface had had its share of the watched addresses.
    pub const UNWATCHED: u32 = 15;
    /// TCP segments that a pod's socket sent again.
    pub const RETRANSMITS: u32 = 16;
    /// Those of them that no flow counts: it has no entry, or the pod translates its addresses or ports.
    pub const RETRANSMITS_OUTSIDE: u32 = 17;
    /// The number of statistics.
    pub const COUNT: u32 = 18;
}

const _: () = {
    assert!(size_of::<RecordHeader>() == 80);
    assert!(size_of::<SocketOwner>() == 32);
    assert!(size_of::<ProcessOffsets>() == 36);
    assert!(core::mem::offset_of!(RecordHeader, ifindex) == 40);
    assert!(core::mem::offset_of!(RecordHeader, direction) == 56);
    assert!(core::mem::offset_of!(RecordHeader, reason) == 57);
    assert!(size_of::<DropRecord>() == 80 + 40 + DROP_BYTES);
    assert!(size_of::<WatchedAddress>() == 24);
    assert!(size_of::<KernelOffsets>() == 48);
    assert!(size_of::<SocketOffsets>() == 28);
    assert!(size_of::<TaskOffsets>() == 24);
    assert!(size_of::<TaskCgroup>() == 16);
    assert!(core::mem::offset_of!(TaskCgroup, tgid) == 8);
    assert!(size_of::<FlowTotals>() == 32);
    assert!(size_of::<FlowKey>() == 44);
    assert!(size_of::<FlowState>() == 96);
    assert!(size_of::<InterfaceTraffic>() == 72);
    assert!(size_of::<InterfaceState>() == 72);
    assert!(size_of::<InterfaceControl>() == 16);
};

#[cfg(all(feature = "user", target_os = "linux"))]
mod pod {
    // SAFETY: `repr(C)`, integers only, no padding: every bit pattern is valid and all bytes are initialised.
    unsafe impl aya::Pod for super::FlowKey {}
    // SAFETY: as for `FlowKey`.
    unsafe impl aya::Pod for super::FlowState {}
    // SAFETY: as for `FlowKey`.
    unsafe impl aya::Pod for super::InterfaceState {}
    // SAFETY: as for `FlowKey`.
    unsafe impl aya::Pod for super::InterfaceTraffic {}
    // SAFETY: as for `FlowKey`.
    unsafe impl aya::Pod for super::InterfaceControl {}
    // SAFETY: as for `FlowKey`.
    unsafe impl aya::Pod for super::RecordHeader {}
    // SAFETY: as for `FlowKey`.
    unsafe impl aya::Pod for super::SocketOwner {}
    // SAFETY: as for `FlowKey`.
    unsafe impl aya::Pod for super::KernelOffsets {}
    // SAFETY: as for `FlowKey`.
    unsafe impl aya::Pod for super::SocketOffsets {}
    // SAFETY: as for `FlowKey`.
    unsafe impl aya::Pod for super::TaskOffsets {}
    // SAFETY: as for `FlowKey`.
    unsafe impl aya::Pod for super::ProcessOffsets {}
}
