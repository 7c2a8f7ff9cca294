//! Loss, counted at every hop, and other things that were not told.

/// Where something was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The probe could not count or copy a packet, or held its record back.
    Kernel,
    /// The ring buffer was full.
    Ring,
    /// A record could not be decoded.
    Decode,
    /// A table was full and its oldest entry made room.
    Table,
    /// A queue between two tasks was full.
    Queue,
    /// A client of the stream was too slow.
    Stream,
}

impl Stage {
    /// The word of the JSON contract.
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

/// A number of things lost at a stage, for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Where.
    pub stage: Stage,
    /// Why, in words of the code ("dns table full").
    pub reason: &'static str,
    /// How many since the last time it was told.
    pub count: u64,
}

/// Counters by stage and reason. Few distinct reasons exist, all of them literals, so a list will do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses(Vec<Loss>);

impl Losses {
    /// Counts `count` more.
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

    /// Takes over another's counts.
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
