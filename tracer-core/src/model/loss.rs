//! Losses, counted at every hop, together with suppressed output.

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

/// Counters by stage and reason. The reasons are few literals, so a list is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses(Vec<Loss>);

impl Losses {
    /// Adds `count` losses.
    pub fn add(&mut self, stage: Stage, reason: &'static str, count: u64) {
        if count == 0 {
            return;
        }
        match self
            .0
            .iter_mut()
            .find(|loss| loss.stage == stage && loss.reason == reason)
        {
            Some(loss) => loss.count += count,
            None => self.0.push(Loss {
                stage,
                reason,
                count,
            }),
        }
    }

    /// Adds another set of counters.
    pub fn merge(&mut self, other: &Losses) {
        for loss in &other.0 {
            self.add(loss.stage, loss.reason, loss.count);
        }
    }

    /// All counts.
    pub fn iter(&self) -> impl Iterator<Item = &Loss> {
        self.0.iter()
    }

    /// The sum over all stages.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|loss| loss.count).sum()
    }
}
