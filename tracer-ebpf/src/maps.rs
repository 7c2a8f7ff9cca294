//! All maps. User space creates them (sizes are its options) and reads them; only the interface tables are
//! written from there.

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{HashMap, PerCpuArray, RingBuf};
use tracer_common::{FlowKey, FlowState, InterfaceState, stat};

use crate::scratch::Scratch;

/// Records on their way to user space.
#[map]
pub static RECORDS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// Counters per flow. User space removes what is over. Not preallocated: a deleted entry is then freed after a grace
/// period instead of being used for another flow at once, so a probe that still holds it cannot write into another's.
#[map]
pub static FLOWS: HashMap<FlowKey, FlowState> =
    HashMap::with_max_entries(65_536, BPF_F_NO_PREALLOC);

/// Totals and token bucket per attached interface. User space makes the entry before it attaches.
#[map]
pub static INTERFACES: HashMap<u32, InterfaceState> =
    HashMap::with_max_entries(4_096, BPF_F_NO_PREALLOC);

/// Attached interfaces of which nobody wants records just now; the value says nothing. A table of its own: user space
/// cannot write a part of an interface's entry, and writing the whole would undo what was counted meanwhile.
#[map]
pub static MUTED: HashMap<u32, u8> = HashMap::with_max_entries(4_096, BPF_F_NO_PREALLOC);

/// The statistics of [`tracer_common::stat`]. One entry that holds them all: one look-up per packet.
#[map]
pub static STATS: PerCpuArray<[u64; stat::COUNT as usize]> = PerCpuArray::with_max_entries(1, 0);

/// See [`Scratch`].
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);
