//! The layouts that the probes and user space share, and nothing else: no logic, no allocation.
//!
//! Both sides are built from this one file, by two compilers for two targets, and user space embeds the probes of its own
//! build; the assertions at the end make a change of layout a deliberate one. Everything is in host byte order except fields suffixed `_be`; units are in the names.
//! Times are `CLOCK_MONOTONIC` nanoseconds (`bpf_ktime_get_ns`).
#![no_std]

/// Changes whenever a layout in this file does; `tracer version` tells it.
pub const LAYOUT_VERSION: u32 = 2;

/// The packet left the pod: tc ingress of the host end of its veth.
pub const FROM_POD: u8 = 0;
/// The packet goes to the pod: tc egress of the host end of its veth.
pub const TO_POD: u8 = 1;

/// How many DNS ports can be configured.
pub const MAX_DNS_PORTS: usize = 8;

/// A record's size classes: the bytes of packet that can follow the header. `reserve` needs a constant size, and a power
/// of two lets the verifier (5.10 on) see the bound of a run-time length.
pub const CAPTURE_CLASSES: [usize; 3] = [128, 512, 2048];

/// Why a record was emitted.
pub mod reason {
    /// A port of the packet is a DNS port.
    pub const DNS: u8 = 1;
    /// TCP with SYN, FIN or RST.
    pub const TCP_CONTROL: u8 = 2;
    /// ICMP or ICMPv6: echo, or an error with its quoted header.
    pub const ICMP: u8 = 3;
    /// The first packet of a flow.
    pub const FIRST: u8 = 4;
}

/// Which packets records are emitted for: bits of a read-only global of the probes.
pub mod emit {
    /// DNS messages, and on DNS ports what TCP stands for.
    pub const DNS: u32 = 1 << 0;
    /// TCP with SYN, FIN or RST, and the first packet of a TCP flow.
    pub const TCP: u32 = 1 << 1;
    /// ICMP and ICMPv6 echo.
    pub const ECHO: u32 = 1 << 2;
    /// ICMP and ICMPv6 errors.
    pub const ICMP_ERROR: u32 = 1 << 3;
    /// The first packet of any other flow.
    pub const FIRST: u32 = 1 << 4;
    /// Of TCP and FIRST only packets with one of the listed ports.
    pub const ONLY_PORTS: u32 = 1 << 5;
    /// Interfaces can be muted: the table of those that are is looked at.
    pub const BY_INTERFACE: u32 = 1 << 6;
    /// Every packet that is worth a record.
    pub const ALL: u32 = DNS | TCP | ECHO | ICMP_ERROR | FIRST;
}

/// How many ports can be listed for [`emit::ONLY_PORTS`].
pub const MAX_EMIT_PORTS: usize = 8;

/// Bits of [`RecordHeader::flags`].
pub mod flag {
    /// A DNS packet with more payload than was captured.
    pub const TRUNCATED: u16 = 1 << 0;
    /// A chunk of a TCP segment: `chunk_offset` says where it starts; the headers are in chunk 0 only.
    pub const CHUNK: u16 = 1 << 1;
    /// The flow's counters are not known: the flow table was full.
    pub const NO_FLOW: u16 = 1 << 2;
    /// This packet created its entry in the flow table.
    pub const NEW_FLOW: u16 = 1 << 3;
}

/// What a probe writes in front of the packet's bytes in the ring buffer. `captured_len` bytes follow, from the network
/// header on (`chunk_offset` further for a chunk).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordHeader {
    /// When the probe ran.
    pub ktime_ns: u64,
    /// The flow's counters just after this packet was counted.
    pub flow: FlowTotals,
    /// The host end of the pod's veth.
    pub ifindex: u32,
    /// Length of the packet from the network header on. A GSO segment counts as the one packet it is here.
    pub wire_len_bytes: u32,
    /// Where in the packet the bytes start, from the network header; 0 unless [`flag::CHUNK`].
    pub chunk_offset_bytes: u32,
    /// How many bytes of packet follow.
    pub captured_len_bytes: u16,
    /// The EtherType of the network header, after VLAN tags, as a number in host order (0x0800, 0x86dd).
    pub ethertype: u16,
    /// [`FROM_POD`] or [`TO_POD`].
    pub direction: u8,
    /// One of [`reason`].
    pub reason: u8,
    /// [`flag`] bits.
    pub flags: u16,
    /// Keeps the size a multiple of 8 without padding that the compiler chooses.
    pub reserved: u32,
}

/// A flow's packets and bytes (from the network header on), seen from the pod.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowTotals {
    /// Packets that the pod sent.
    pub tx_packets: u64,
    /// Bytes that the pod sent.
    pub tx_bytes: u64,
    /// Packets that went to the pod.
    pub rx_packets: u64,
    /// Bytes that went to the pod.
    pub rx_bytes: u64,
}

/// A flow as the kernel counts it. IPv4 addresses are IPv4-mapped (`::ffff:a.b.c.d`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The pod's address.
    pub pod_addr_be: [u8; 16],
    /// The other end's address.
    pub peer_addr_be: [u8; 16],
    /// The host end of the pod's veth.
    pub ifindex: u32,
    /// Host order. For ICMP echo the identifier; 0 for what has no ports.
    pub pod_port: u16,
    /// Host order. 0 for what has no ports.
    pub peer_port: u16,
    /// The IP protocol number (6, 17, 1, 58, ...).
    pub protocol: u8,
    /// Always zero: keys are compared byte by byte.
    pub zero: [u8; 3],
}

/// What the kernel keeps per flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowState {
    /// Packets and bytes of both directions.
    pub totals: FlowTotals,
    /// The first packet.
    pub first_ktime_ns: u64,
    /// The latest packet.
    pub last_ktime_ns: u64,
    /// TCP flags that the pod sent so far, ORed.
    pub tx_tcp_flags: u32,
    /// TCP flags that the pod was sent so far, ORed.
    pub rx_tcp_flags: u32,
}

/// What the kernel keeps per attached interface. User space makes the entry before it attaches.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceState {
    /// All packets of the interface, exact: those of its flows and `outside`.
    pub totals: FlowTotals,
    /// The packets that no entry of the flow table counts: other than IP, malformed, or without room in the table.
    pub outside: FlowTotals,
    /// Records that the token bucket held back, exact.
    pub suppressed: u64,
    /// Token bucket: when it was last filled. Not atomic: the bound is approximate under contention.
    pub bucket_ktime_ns: u64,
    /// Token bucket: what is left in it, as time; a record costs some nanoseconds of it.
    pub bucket_credit_ns: u64,
}

/// Indices of the per-CPU statistics. Each is a sum over CPUs; none is ever reset.
pub mod stat {
    /// Packets that a probe saw.
    pub const SEEN: u32 = 0;
    /// Records that were due, as far as they were asked for ([`emit`](super::emit)): `EMITTED + RING_FULL + SUPPRESSED + COPY_FAILED` is exactly this.
    pub const DUE: u32 = 1;
    /// Records written to the ring buffer.
    pub const EMITTED: u32 = 2;
    /// Records lost because the ring buffer was full.
    pub const RING_FULL: u32 = 3;
    /// Records held back by an interface's token bucket.
    pub const SUPPRESSED: u32 = 4;
    /// Records dropped because the packet's bytes could not be copied.
    pub const COPY_FAILED: u32 = 5;
    /// Packets of a flow for which the flow table had no room.
    pub const FLOW_TABLE_FULL: u32 = 6;
    /// Packets of an interface that has no entry: counted nowhere else.
    pub const NO_INTERFACE: u32 = 7;
    /// Packets with a network header other than IPv4 and IPv6 (ARP and the like).
    pub const NOT_IP: u32 = 8;
    /// Packets whose headers made no sense or ended too early.
    pub const MALFORMED: u32 = 9;
    /// Later fragments: they have no ports.
    pub const FRAGMENT: u32 = 10;
    /// Headers read through `bpf_skb_load_bytes` because they were outside the linear part.
    pub const SLOW_LOAD: u32 = 11;
    /// DNS packets with more payload than is captured: their records are flagged truncated.
    pub const TRUNCATED: u32 = 12;
    /// How many there are.
    pub const COUNT: u32 = 13;
}

const _: () = {
    assert!(size_of::<RecordHeader>() == 64);
    assert!(core::mem::offset_of!(RecordHeader, ifindex) == 40);
    assert!(core::mem::offset_of!(RecordHeader, direction) == 56);
    assert!(size_of::<FlowTotals>() == 32);
    assert!(size_of::<FlowKey>() == 44);
    assert!(size_of::<FlowState>() == 56);
    assert!(size_of::<InterfaceState>() == 88);
};

#[cfg(all(feature = "user", target_os = "linux"))]
mod pod {
    // SAFETY: plain integers in C layout without padding, so every byte pattern is a value.
    unsafe impl aya::Pod for super::FlowKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::FlowState {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::InterfaceState {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::RecordHeader {}
}
