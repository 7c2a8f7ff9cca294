//! All maps. User space creates them, with sizes from its options, and reads them. It adds and removes
//! interfaces, removes flows, and alone writes [`CONTROL`].

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf};
use tracer_common::{
    CGROUP_SLOTS, FlowKey, FlowState, InterfaceControl, InterfaceState, InterfaceTraffic, MAX_INTERFACES,
    NODE_FLOW_SLOTS, SocketOwner, WatchedAddress, stat,
};

use crate::scratch::Scratch;

/// Records on their way to user space.
#[map]
pub static RECORDS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// Counters per flow. User space removes flows that are over. Preallocated: to allocate an entry costs more than
/// the rest of the probe. The price is the memory (192 bytes an entry), and that the kernel reuses a removed
/// entry at once: a probe that has just found it can count its packet in another flow. User space removes only
/// flows that have been silent for seconds, so hardly any packet comes at that moment.
#[map]
pub static FLOWS: HashMap<FlowKey, FlowState> = HashMap::with_max_entries(65_536, 0);

/// Packets and bytes per attached interface, by slot. Per CPU, so that a packet costs no atomic addition and no
/// cache line that another CPU has just written. An array: a hash table costs a known flow's packet as much again as
/// the flow table does. [`INTERFACES`] and each flow have the interface's slot.
#[map]
pub static TRAFFIC: PerCpuArray<InterfaceTraffic> =
    PerCpuArray::with_max_entries(MAX_INTERFACES, 0);

/// Losses, thinning and slot per attached interface. Packets on the short way do not read it.
#[map]
pub static INTERFACES: HashMap<u32, InterfaceState> =
    HashMap::with_max_entries(MAX_INTERFACES, BPF_F_NO_PREALLOC);

/// What user space says about an interface. A map of its own, as user space can only write a whole entry of
/// [`INTERFACES`], which would overwrite concurrent counts. Without an entry, nothing.
#[map]
pub static CONTROL: HashMap<u32, InterfaceControl> =
    HashMap::with_max_entries(MAX_INTERFACES, BPF_F_NO_PREALLOC);

/// The number of entries in [`FLOWS`], see [`tracer_common::flow_count`].
#[map]
pub static FLOW_COUNT: Array<u64> = Array::with_max_entries(2, 0);

/// How many flows of the node itself were opened so far, by [`tracer_common::node_flow_slot`]. A slot that has the same
/// number in [`NODE_OVER`] has no flow: a packet that arrives at an uplink and belongs to no flow, as most do, needs no
/// look-up in [`FLOWS`].
#[map]
pub static NODE_OPENED: Array<[u64; NODE_FLOW_SLOTS]> = Array::with_max_entries(1, 0);

/// How many of them are over. User space writes it after it has listed [`FLOWS`].
#[map]
pub static NODE_OVER: Array<[u64; NODE_FLOW_SLOTS]> = Array::with_max_entries(1, 0);

/// The flows without an entry in [`FLOWS`] whose first packet had a record lately, by hash: the hash and when.
#[map]
pub static UNTRACKED: Array<u64> = Array::with_max_entries(UNTRACKED_SLOTS, 0);
/// A power of two.
pub const UNTRACKED_SLOTS: u32 = 4_096;

/// The addresses that pods used: only drops of their packets get a record. Room for the shares of all interfaces; those
/// of interfaces that are gone are displaced first.
#[map]
pub static WATCHED: LruHashMap<[u8; 16], WatchedAddress> =
    LruHashMap::with_max_entries(16 * MAX_INTERFACES, 0);

/// The processes of sockets by cookie, of all connections that processes of the node opened, and of all UDP and ICMP
/// sockets that they sent from. The least recently used is removed first: its later packets name no process. The reader
/// of [`RECORDS`] looks it up.
#[map]
pub static SOCKETS: LruHashMap<u64, SocketOwner> = LruHashMap::with_max_entries(16_384, 0);

/// When a cgroup last got a process, by [`tracer_common::cgroup_slot`]. A slot is of all cgroups that share it: a process
/// can only be taken for newer than it is, and none is missed.
#[map]
pub static CGROUP_CHANGES: Array<u64> = Array::with_max_entries(CGROUP_SLOTS, 0);

/// Not 0 while the reader sleeps until a record comes.
#[map]
pub static READER_WAITS: Array<u32> = Array::with_max_entries(1, 0);

/// The statistics of [`tracer_common::stat`]. One entry contains all of them, so a packet costs one lookup.
#[map]
pub static STATS: PerCpuArray<[u64; stat::COUNT as usize]> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's [`Scratch`].
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);
