//! Losses, counted at every hop, together with suppressed output.

use std::collections::BTreeMap;

use super::flow::Ifindex;
use super::time::Timestamp;

/// The reason for a DNS query whose answer could still come when the input ended. It is counted among the
/// losses, but nothing was lost.
pub const UNDECIDED_AT_END: &str = "dns undecided at the end";

/// Where something was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The probe could not count or copy a packet, or suppressed its record.
    Kernel,
    /// The ring buffer was full.
    Ring,
    /// A record could not be decoded.
    Decode,
    /// A full table evicted its oldest entry.
    Table,
    /// A queue between two tasks was full.
    Queue,
    /// A client of the stream was too slow.
    Stream,
}

impl Stage {
    /// The value in the JSON format.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Kernel => "kernel",
            Stage::Ring => "ring",
            Stage::Decode => "decode",
            Stage::Table => "table",
            Stage::Queue => "queue",
            Stage::Stream => "stream",
        }
    }
}

/// The probes' count of lost records of one interface, as it stood when a record was written. A count that
/// differs from the previous record's means that records between the two were lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Lost records of this interface, modulo 2^16: the ring buffer was full, the packet could not be copied,
    /// or the interface was thinned.
    pub count: u16,
    /// The interface's thinning at that time. It rises at once and falls by one level a second at most.
    pub thinning: Thinning,
}

/// Under pressure the probes keep only some sockets of the interface that fills the ring, but those whole:
/// level n keeps one socket in 2^n. 0 keeps all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Thinning(pub u8);

/// Lost records of one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceLoss {
    /// The interface.
    pub ifindex: Ifindex,
    /// Nothing was lost between the previous report and this time.
    pub from: Timestamp,
    /// The end of the period in which the records were lost.
    pub until: Timestamp,
    /// The number of records.
    pub count: u64,
    /// What may have been lost: [`None`] for records of any socket, else only those of sockets that this
    /// thinning drops.
    pub thinning: Option<Thinning>,
}

/// A number of losses at one stage for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The stage.
    pub stage: Stage,
    /// The reason, a fixed text in the code ("dns table full").
    pub reason: &'static str,
    /// Losses since the last report.
    pub count: u64,
}

/// Counters kept by interface. The reasons are few literals, so this is enough for hundreds of interfaces.
const MAX_INTERFACE_LOSSES: usize = 4_096;

/// Counters by stage and reason. The reasons are few literals, so a list is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    losses: Vec<Loss>,
    interfaces: InterfaceLosses,
}

impl Losses {
    /// Adds `count` losses.
    pub fn add(&mut self, stage: Stage, reason: &'static str, count: u64) {
        if count == 0 {
            return;
        }
        match self
            .losses
            .iter_mut()
            .find(|loss| loss.stage == stage && loss.reason == reason)
        {
            Some(loss) => loss.count += count,
            None => self.losses.push(Loss {
                stage,
                reason,
                count,
            }),
        }
    }

    /// Adds `count` losses of one interface's traffic: to the sum and to that interface.
    pub fn add_on(&mut self, ifindex: Ifindex, stage: Stage, reason: &'static str, count: u64) {
        self.add(stage, reason, count);
        self.interfaces.add(ifindex, stage, reason, count);
    }

    /// Adds another set of counters.
    pub fn merge(&mut self, other: &Losses) {
        for loss in &other.losses {
            self.add(loss.stage, loss.reason, loss.count);
        }
        for (ifindex, loss) in other.interfaces.iter() {
            self.interfaces
                .add(ifindex, loss.stage, loss.reason, loss.count);
        }
    }

    /// All counts.
    pub fn iter(&self) -> impl Iterator<Item = &Loss> {
        self.losses.iter()
    }

    /// The part of the counts that is attributed to interfaces.
    pub fn interfaces(&self) -> &InterfaceLosses {
        &self.interfaces
    }

    /// The sum over all stages.
    pub fn total(&self) -> u64 {
        self.losses.iter().map(|loss| loss.count).sum()
    }
}

/// Counters by interface, stage and reason: whose flood it was. Not all losses have an interface, so the sums
/// may be less than those of [`Losses::iter`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceLosses(BTreeMap<(Ifindex, Stage, &'static str), u64>);

impl InterfaceLosses {
    /// Adds `count` losses. Without room the counters of the lowest interface are dropped: indexes rise, so it
    /// is the oldest.
    pub fn add(&mut self, ifindex: Ifindex, stage: Stage, reason: &'static str, count: u64) {
        if count == 0 {
            return;
        }
        *self.0.entry((ifindex, stage, reason)).or_default() += count;
        while self.0.len() > MAX_INTERFACE_LOSSES {
            self.0.pop_first();
        }
    }

    /// All counts, by interface.
    pub fn iter(&self) -> impl Iterator<Item = (Ifindex, Loss)> {
        self.0.iter().map(|(&(ifindex, stage, reason), &count)| {
            let loss = Loss {
                stage,
                reason,
                count,
            };
            (ifindex, loss)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_of_an_interface_count_in_the_sum_too_and_survive_a_merge() {
        let mut losses = Losses::default();
        losses.add_on(Ifindex(7), Stage::Table, "full", 3);
        losses.add_on(Ifindex(2), Stage::Table, "full", 1);
        losses.add(Stage::Table, "full", 10);
        let mut all = losses.clone();
        all.merge(&losses);
        assert_eq!(all.total(), 28);
        let shares: Vec<(u32, u64)> = (all.interfaces().iter())
            .map(|(ifindex, loss)| (ifindex.0, loss.count))
            .collect();
        assert_eq!(shares, [(2, 2), (7, 6)]);
    }

    #[test]
    fn counters_by_interface_are_bounded_and_the_sum_stays_exact() {
        let mut losses = Losses::default();
        for ifindex in 0..10_000 {
            losses.add_on(Ifindex(ifindex), Stage::Table, "full", 1);
        }
        assert_eq!(losses.total(), 10_000);
        assert_eq!(losses.interfaces().iter().count(), MAX_INTERFACE_LOSSES);
        let last = losses.interfaces().iter().last();
        assert_eq!(last.map(|(ifindex, _)| ifindex), Some(Ifindex(9_999)));
    }
}
