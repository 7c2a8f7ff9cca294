//! The probes' statistics and totals, converted for user space.

use aya::maps::{MapData, MapError, PerCpuArray};
use tracer_common::{FlowState, stat};

use super::traced::InterfaceStatus;
use tracer_core::model::flow::{FlowTotals, Traffic};
use tracer_core::model::loss::{Losses, Stage};

const THINNED: &str = "thinned under pressure";
const RING_FULL: &str = "ring buffer full";

/// All statistics of the probes, per CPU.
pub(super) type StatsMap = PerCpuArray<MapData, [u64; stat::COUNT as usize]>;

/// The probes' statistics since they were loaded, summed over CPUs, plus the ring reader's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelStats {
    /// Packets that a probe saw on an attached interface.
    pub seen: u64,
    /// Records that were due: always `emitted + ring_full + suppressed + copy_failed`.
    pub due: u64,
    /// Records written to the ring buffer.
    pub emitted: u64,
    /// Records lost because the ring buffer was full.
    pub ring_full: u64,
    /// Records that thinning suppressed.
    pub suppressed: u64,
    /// Records dropped because the packet's bytes could not be copied.
    pub copy_failed: u64,
    /// Packets of a flow without an entry, as its interface had its share of the flow table.
    pub flow_table_full: u64,
    /// Packets of an interface without a table entry.
    pub no_interface: u64,
    /// Packets that are neither IPv4 nor IPv6.
    pub not_ip: u64,
    /// Packets with invalid or truncated headers.
    pub malformed: u64,
    /// Fragments other than the first.
    pub fragments: u64,
    /// Headers outside the linear part, read through `bpf_skb_load_bytes`.
    pub slow_loads: u64,
    /// DNS packets with more payload than was captured.
    pub truncated: u64,
    /// Packets of pods that the kernel dropped: those with a record.
    pub drops: u64,
    /// Drop records lost because the ring buffer was full or the packet could not be read.
    pub drops_lost: u64,
    /// Drops of any packets that the probe missed, because it ran already on that CPU.
    pub drops_missed: u64,
    /// Dropped packets without a record of their own. The next record of their address counts them.
    pub drops_unreported: u64,
    /// New flows of addresses whose drops are not seen, as their interface had its share of the watched ones.
    pub unwatched: u64,
    /// TCP segments that sockets of pods sent again.
    pub retransmits: u64,
    /// Those of them that no flow counts.
    pub retransmits_outside: u64,
    /// Retransmissions of any sockets that the probe missed, because it ran already on that CPU.
    pub retransmits_missed: u64,
    /// Ring entries that are no records.
    pub undecodable: u64,
    /// Records without the process that the kernel has shown: too many newer sockets, or too many records to wait.
    pub unnamed: u64,
}

impl KernelStats {
    /// Those of the probes.
    pub(super) fn new(
        sums: &[u64; stat::COUNT as usize],
        seen: u64,
        [drops_missed, retransmits_missed]: [u64; 2],
    ) -> KernelStats {
        let at = |index: u32| sums[index as usize];
        KernelStats {
            seen,
            due: at(stat::DUE),
            emitted: at(stat::EMITTED),
            ring_full: at(stat::RING_FULL),
            suppressed: at(stat::SUPPRESSED),
            copy_failed: at(stat::COPY_FAILED),
            flow_table_full: at(stat::FLOW_TABLE_FULL),
            no_interface: at(stat::NO_INTERFACE),
            not_ip: at(stat::NOT_IP),
            malformed: at(stat::MALFORMED),
            fragments: at(stat::FRAGMENT),
            slow_loads: at(stat::SLOW_LOAD),
            truncated: at(stat::TRUNCATED),
            drops: at(stat::DROPS),
            drops_lost: at(stat::DROPS_LOST),
            drops_missed,
            drops_unreported: at(stat::DROPS_UNREPORTED),
            unwatched: at(stat::UNWATCHED),
            retransmits: at(stat::RETRANSMITS),
            retransmits_outside: at(stat::RETRANSMITS_OUTSIDE),
            retransmits_missed,
            undecodable: 0,
            unnamed: 0,
        }
    }

    /// Records lost in the kernel, for any reason.
    pub fn lost_records(&self) -> u64 {
        self.ring_full + self.suppressed + self.copy_failed
    }

    /// The statistics that mean missing results.
    pub fn losses(&self) -> Losses {
        self.losses_of(&[])
    }

    /// The same, with the records that each of these interfaces lost. Read the interfaces first.
    pub fn losses_of(&self, interfaces: &[InterfaceStatus]) -> Losses {
        let mut losses = Losses::default();
        let (mut thinned, mut others) = (self.suppressed, self.ring_full);
        for interface in interfaces {
            let ifindex = interface.link.ifindex;
            let lost = interface
                .lost
                .saturating_sub(interface.suppressed)
                .min(others);
            let suppressed = interface.suppressed.min(thinned);
            losses.add_on(ifindex, Stage::Ring, RING_FULL, lost);
            losses.add_on(ifindex, Stage::Kernel, THINNED, suppressed);
            (thinned, others) = (thinned - suppressed, others - lost);
        }
        losses.add(Stage::Ring, RING_FULL, others);
        losses.add(Stage::Kernel, THINNED, thinned);
        losses.add(
            Stage::Kernel,
            "packet could not be copied",
            self.copy_failed,
        );
        losses.add(Stage::Ring, "drop record lost", self.drops_lost);
        losses.add(Stage::Kernel, "drop not seen", self.drops_missed);
        losses.add(
            Stage::Kernel,
            "address not watched for drops",
            self.unwatched,
        );
        losses.add(
            Stage::Kernel,
            "retransmission of no known flow",
            self.retransmits_outside,
        );
        losses.add(
            Stage::Kernel,
            "retransmission not seen",
            self.retransmits_missed,
        );
        losses.add(Stage::Kernel, "flow table full", self.flow_table_full);
        losses.add(Stage::Kernel, "packet headers malformed", self.malformed);
        losses.add(Stage::Decode, "ring entry is no record", self.undecodable);
        losses.add(Stage::Table, "process of a socket", self.unnamed);
        losses
    }
}

/// Sums the statistics over CPUs.
pub(super) fn read_stats(map: &StatsMap) -> Result<[u64; stat::COUNT as usize], MapError> {
    let mut sums = [0_u64; stat::COUNT as usize];
    for cpu in map.get(&0, 0)?.iter() {
        for (sum, value) in sums.iter_mut().zip(cpu) {
            *sum = sum.wrapping_add(*value);
        }
    }
    Ok(sums)
}

/// A flow's totals. Without `counts_retransmits` the kernel shows none.
pub(super) fn flow_totals(state: &FlowState, counts_retransmits: bool) -> FlowTotals {
    let [tx, rx] = [state.tx, state.rx].map(|side| Traffic {
        packets: side.packets,
        bytes: side.bytes,
    });
    let known = counts_retransmits && state.counts_retransmits != 0;
    FlowTotals {
        tx,
        rx,
        retransmits: known.then_some(state.retransmits),
    }
}

/// Converts the probes' totals to the model's.
pub(super) fn totals(totals: &tracer_common::FlowTotals) -> FlowTotals {
    FlowTotals {
        tx: Traffic {
            packets: totals.tx_packets,
            bytes: totals.tx_bytes,
        },
        rx: Traffic {
            packets: totals.rx_packets,
            bytes: totals.rx_bytes,
        },
        retransmits: None,
    }
}
