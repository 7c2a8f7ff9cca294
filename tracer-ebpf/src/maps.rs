//! All maps. User space creates them, with sizes from its options, and reads them; of these it writes only
//! the interface tables, and removes flows.

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{HashMap, PerCpuArray, RingBuf};
use tracer_common::{FlowKey, FlowState, InterfaceState, stat};

use crate::scratch::Scratch;

/// Records on their way to user space.
#[map]
pub static RECORDS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// Counters per flow. User space removes flows that are over. Not preallocated: the kernel then frees a
/// deleted entry after a grace period instead of reusing it at once, so a probe that still uses it cannot
/// write into another flow's entry.
#[map]
pub static FLOWS: HashMap<FlowKey, FlowState> =
    HashMap::with_max_entries(65_536, BPF_F_NO_PREALLOC);

/// Totals and token bucket per attached interface. User space adds the entry before it attaches the probes.
#[map]
pub static INTERFACES: HashMap<u32, InterfaceState> =
    HashMap::with_max_entries(4_096, BPF_F_NO_PREALLOC);

/// Muted interfaces: they cause no records. The value has no meaning. A map of its own, as user space can
/// only write a whole entry of [`INTERFACES`], which would overwrite concurrent counts.
#[map]
pub static MUTED: HashMap<u32, u8> = HashMap::with_max_entries(4_096, BPF_F_NO_PREALLOC);

/// The statistics of [`tracer_common::stat`]. One entry contains all of them, so a packet costs one lookup.
#[map]
pub static STATS: PerCpuArray<[u64; stat::COUNT as usize]> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's [`Scratch`].
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);
