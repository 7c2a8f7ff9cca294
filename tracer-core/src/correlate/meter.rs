//! Traffic of a connection or UDP flow, from the kernel's flow counters where they are known.
//!
//! The kernel's entry for a flow (addresses and ports) outlives one connection, and the kernel may drop it
//! and create a new one. Without counters (a capture file, a full flow table) the meter counts the observed
//! packets.

use std::time::Duration;

use crate::model::flow::{Direction, FlowTotals, Traffic};
use crate::model::observation::Observation;
use crate::model::time::Timestamp;

/// Counters that decrease within this time come from two CPUs' records that overtook each other; after a
/// longer silence the kernel dropped the flow's entry and created a new one.
const REORDERING: Duration = Duration::from_secs(1);

/// Counts one connection's traffic.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter {
    /// The kernel's counters before the first packet.
    base: FlowTotals,
    /// Sum over kernel entries that are gone.
    carried: FlowTotals,
    /// The kernel's latest counters.
    kernel: Option<FlowTotals>,
    /// The observed packets.
    own: FlowTotals,
    last: Timestamp,
}

impl Meter {
    /// Starts a connection with this packet: earlier kernel counts belong to another connection.
    pub(super) fn starting(first: &Observation) -> Meter {
        let mut meter = Meter::default();
        if let Some(totals) = first.totals {
            meter.base = minus(totals, packet(first));
        }
        meter.observe(first);
        meter
    }

    /// Starts in the middle of a connection: all kernel counts belong to it.
    pub(super) fn picked_up(first: &Observation) -> Meter {
        let mut meter = Meter::default();
        meter.observe(first);
        meter
    }

    /// Counts a packet.
    pub(super) fn observe(&mut self, observation: &Observation) {
        self.own = plus(self.own, packet(observation));
        if let Some(totals) = observation.totals {
            self.count(observation.time, totals);
        }
    }

    /// Takes the kernel's counters as of `at`.
    pub(super) fn count(&mut self, at: Timestamp, totals: FlowTotals) {
        let before = self.kernel.unwrap_or_default();
        let backwards =
            totals.tx.packets < before.tx.packets || totals.rx.packets < before.rx.packets;
        if backwards && at.since(self.last) > REORDERING {
            self.carried = plus(self.carried, minus(before, self.base));
            self.base = FlowTotals::default();
            self.kernel = Some(totals);
        } else {
            self.kernel = Some(FlowTotals {
                tx: greater(before.tx, totals.tx),
                rx: greater(before.rx, totals.rx),
                // The probes recognise the flow's socket only with a packet that it sends.
                retransmits: before.retransmits.max(totals.retransmits),
            });
        }
        self.last = self.last.max(at);
    }

    /// Totals of both directions.
    pub(super) fn totals(&self) -> FlowTotals {
        match self.kernel {
            Some(kernel) => plus(self.carried, minus(kernel, self.base)),
            None => self.own,
        }
    }

    /// Whether the kernel's entry counts only this connection, so that its TCP flags are this connection's.
    pub(super) fn is_alone(&self) -> bool {
        self.kernel.is_some()
            && [self.base, self.carried].map(|totals| (totals.tx, totals.rx))
                == [Default::default(); 2]
    }

    /// Packets that the kernel counted without a record: suppressed in a flood, or lost.
    pub(super) fn unseen(&self) -> FlowTotals {
        match self.kernel {
            Some(_) => minus(self.totals(), self.own),
            None => FlowTotals::default(),
        }
    }

    /// Whether the kernel counts the flow, so that some packets are never observed.
    pub(super) fn counted_by_kernel(&self) -> bool {
        self.kernel.is_some()
    }
}

fn packet(observation: &Observation) -> FlowTotals {
    let packet = Traffic {
        packets: 1,
        bytes: u64::from(observation.wire_len),
    };
    match observation.direction {
        Direction::FromPod => FlowTotals {
            tx: packet,
            ..FlowTotals::default()
        },
        Direction::ToPod => FlowTotals {
            rx: packet,
            ..FlowTotals::default()
        },
    }
}

fn plus(a: FlowTotals, b: FlowTotals) -> FlowTotals {
    combine(a, b, u64::saturating_add)
}

fn minus(a: FlowTotals, b: FlowTotals) -> FlowTotals {
    combine(a, b, u64::saturating_sub)
}

/// Retransmissions that one of them does not count are none there: before a connection, or in an entry that is gone.
fn combine(a: FlowTotals, b: FlowTotals, with: impl Fn(u64, u64) -> u64) -> FlowTotals {
    let traffic = |a: Traffic, b: Traffic| Traffic {
        packets: with(a.packets, b.packets),
        bytes: with(a.bytes, b.bytes),
    };
    FlowTotals {
        tx: traffic(a.tx, b.tx),
        rx: traffic(a.rx, b.rx),
        retransmits: (a.retransmits.or(b.retransmits))
            .map(|_| with(a.retransmits.unwrap_or(0), b.retransmits.unwrap_or(0))),
    }
}

fn greater(a: Traffic, b: Traffic) -> Traffic {
    Traffic {
        packets: a.packets.max(b.packets),
        bytes: a.bytes.max(b.bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::testing::{counted, flow, ms, packet, totals};
    use crate::model::flow::Protocol;
    use crate::model::observation::What;

    fn sent(milliseconds: u64) -> Observation {
        packet(
            milliseconds,
            Direction::FromPod,
            flow(Protocol::Udp, 1, 2),
            What::Other,
        )
    }

    #[test]
    fn without_kernel_counters_observed_packets_count() {
        let mut meter = Meter::starting(&sent(0));
        meter.observe(&sent(1));
        meter.observe(&Observation {
            direction: Direction::ToPod,
            ..sent(2)
        });
        assert_eq!(meter.totals(), totals(2, 1));
    }

    #[test]
    fn kernel_counts_before_the_start_are_excluded() {
        let mut meter = Meter::starting(&counted(sent(0), 8, 5));
        meter.count(ms(1_000), totals(20, 15));
        assert_eq!(meter.totals(), totals(13, 10));
    }

    #[test]
    fn a_connection_picked_up_in_the_middle_counts_from_the_kernels_first_packet() {
        assert_eq!(
            Meter::picked_up(&counted(sent(0), 8, 5)).totals(),
            totals(8, 5)
        );
    }

    #[test]
    fn new_kernel_counters_after_a_silence_are_added() {
        let mut meter = Meter::starting(&counted(sent(0), 3, 0));
        meter.count(ms(1_000), totals(12, 10));
        meter.observe(&counted(sent(100_000), 1, 0));
        assert_eq!(meter.totals(), totals(11, 10));
    }

    #[test]
    fn records_that_overtake_each_other_are_not_new_counters() {
        let mut meter = Meter::starting(&counted(sent(0), 1, 0));
        meter.observe(&counted(sent(2), 5, 1));
        meter.observe(&counted(sent(1), 4, 0));
        assert_eq!(meter.totals(), totals(5, 1));
    }
}
