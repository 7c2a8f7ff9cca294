//! What rules need to remember beyond one event, each sort in a bounded table of its own.

mod births;
mod exchanges;
mod pace;
mod reached;
mod refused;
mod too_big;
mod unnamed;
mod waste;

use super::settings::RuleThresholds;
use crate::model::loss::Losses;
use crate::model::time::Timestamp;

pub(super) use self::births::Births;
pub(super) use self::exchanges::{Exchanges, Seen};
pub(super) use self::pace::{Course, Pace, Paces};
pub(super) use self::reached::{Reached, Visit};
pub(super) use self::refused::{Failed, FailedTcp};
pub(super) use self::too_big::{Told, TooBig};
pub(super) use self::unnamed::Unnamed;
pub(super) use self::waste::{Balance, Spent, Wastes};

/// What was seen before.
#[derive(Debug)]
pub(super) struct Memory {
    /// Exchanges whose lookup is not decided.
    pub exchanges: Exchanges,
    /// Services that were made while it watched.
    pub births: Births,
    /// Who connected to what.
    pub reached: Reached,
    /// Whom DNS servers answered.
    pub answered: Reached,
    /// How fast.
    pub paces: Paces,
    /// What the search path costs.
    pub wastes: Wastes,
    /// Connections to DNS servers that failed just now.
    pub failed_tcp: FailedTcp,
    /// Who was told that packets are too big.
    pub too_big: TooBig,
    /// Who asked before its name was known.
    pub unnamed: Unnamed,
}

impl Memory {
    pub fn new(limit: usize, thresholds: &RuleThresholds) -> Memory {
        Memory {
            exchanges: Exchanges::new(limit),
            births: Births::default(),
            reached: Reached::new(limit),
            answered: Reached::new(limit),
            paces: Paces::new(thresholds, limit),
            wastes: Wastes::new(thresholds, limit),
            failed_tcp: FailedTcp::new(limit),
            too_big: TooBig::new(limit),
            unnamed: Unnamed::new(limit),
        }
    }

    /// What is slow, and what a waste, is decided by these from now on.
    pub fn set(&mut self, thresholds: &RuleThresholds) {
        self.paces.set(thresholds);
        self.wastes.set(thresholds);
    }

    /// Forgets what is too old to matter.
    pub fn advance(&mut self, now: Timestamp) {
        self.exchanges.advance(now);
        self.reached.advance(now);
        self.too_big.advance(now);
        self.answered.advance(now);
        self.paces.advance(now);
        self.wastes.advance(now);
        self.unnamed.advance(now);
    }

    /// What the limits cost so far.
    pub fn losses(&self) -> Losses {
        let mut losses = Losses::default();
        for table in [
            self.exchanges.losses(),
            self.reached.losses(),
            self.answered.losses(),
            self.paces.losses(),
            self.wastes.losses(),
            self.failed_tcp.losses(),
            self.too_big.losses(),
            self.unnamed.losses(),
        ] {
            losses.merge(table);
        }
        losses
    }
}
