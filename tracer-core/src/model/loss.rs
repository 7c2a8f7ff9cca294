//! Losses, counted at every hop, together with suppressed output.

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
