//! What rules need to remember beyond one event, each sort in a bounded table of its own.

mod exchanges;

use crate::model::loss::Losses;
use crate::model::time::Timestamp;

pub(super) use self::exchanges::{Exchanges, Seen};

/// What was seen before.
#[derive(Debug)]
pub(super) struct Memory {
    /// Exchanges whose lookup is not decided.
    pub exchanges: Exchanges,
}

impl Memory {
    pub fn new(limit: usize) -> Memory {
        Memory {
            exchanges: Exchanges::new(limit),
        }
    }

    /// Forgets what is too old to matter.
    pub fn advance(&mut self, now: Timestamp) {
        self.exchanges.advance(now);
    }

    /// What the limits cost so far.
    pub fn losses(&self) -> &Losses {
        self.exchanges.losses()
    }
}
