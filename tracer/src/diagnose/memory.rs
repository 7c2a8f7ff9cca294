//! What rules need to remember beyond one event, each sort in a bounded table of its own.

mod births;
mod exchanges;
mod reached;
mod too_big;

use crate::model::loss::Losses;
use crate::model::time::Timestamp;

pub(super) use self::births::Births;
pub(super) use self::exchanges::{Exchanges, Seen};
pub(super) use self::reached::{Reached, Visit};
pub(super) use self::too_big::{Told, TooBig};

/// What was seen before.
#[derive(Debug)]
pub(super) struct Memory {
    /// Exchanges whose lookup is not decided.
    pub exchanges: Exchanges,
    /// Services that were made while it watched.
    pub births: Births,
    /// Who connected to what.
    pub reached: Reached,
    /// Who was told that packets are too big.
    pub too_big: TooBig,
}

impl Memory {
    pub fn new(limit: usize) -> Memory {
        Memory {
            exchanges: Exchanges::new(limit),
            births: Births::default(),
            reached: Reached::new(limit),
            too_big: TooBig::new(limit),
        }
    }

    /// Forgets what is too old to matter.
    pub fn advance(&mut self, now: Timestamp) {
        self.exchanges.advance(now);
        self.reached.advance(now);
        self.too_big.advance(now);
    }

    /// What the limits cost so far.
    pub fn losses(&self) -> Losses {
        let mut losses = self.exchanges.losses().clone();
        losses.merge(self.reached.losses());
        losses.merge(self.too_big.losses());
        losses
    }
}
