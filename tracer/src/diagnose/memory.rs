//! What rules need to remember beyond one event, each sort in a bounded table of its own.

mod births;
mod exchanges;

use crate::model::loss::Losses;
use crate::model::time::Timestamp;

pub(super) use self::births::Births;
pub(super) use self::exchanges::{Exchanges, Seen};

/// What was seen before.
#[derive(Debug)]
pub(super) struct Memory {
    /// Exchanges whose lookup is not decided.
    pub exchanges: Exchanges,
    /// Services that were made while it watched.
    pub births: Births,
}

impl Memory {
    pub fn new(limit: usize) -> Memory {
        Memory {
            exchanges: Exchanges::new(limit),
            births: Births::default(),
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
