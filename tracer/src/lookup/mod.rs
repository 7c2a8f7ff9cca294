//! Folds the queries of one resolver call, over search path and record types, into one lookup. Pure.

use crate::identity::ResolverConfig;
use crate::model::correlated::Asked;
use crate::model::event::Ends;
use crate::model::exchange::Exchange;
use crate::model::lookup::{Lookup, Place};
use crate::model::loss::Losses;
use crate::model::settings::{Limits, Thresholds};
use crate::model::time::Timestamp;

/// A lookup that was decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// Its first query.
    pub time: Timestamp,
    /// The pod and the server of its last query.
    pub ends: Ends,
    /// The lookup.
    pub lookup: Lookup,
}

/// Folds client pods' queries into lookups.
#[derive(Debug)]
pub struct Folder {
    losses: Losses,
}

impl Folder {
    /// With no lookup open.
    pub fn new(thresholds: &Thresholds, limits: &Limits) -> Folder {
        let _ = (thresholds, limits);
        Folder { losses: Losses::default() }
    }

    /// A client pod's query was seen. `resolver` is `None` for a pod that is not known.
    pub fn asked(&mut self, at: Timestamp, ends: &Ends, asked: &Asked, resolver: Option<&ResolverConfig>) {
        let _ = (at, ends, asked, resolver);
    }

    /// A client pod's exchange ended at `at`. Says where it stands in its lookup; `out` gets lookups that this decided.
    pub fn exchange(&mut self, at: Timestamp, ends: &Ends, exchange: &Exchange, out: &mut Vec<Decided>) -> Option<Place> {
        let _ = (at, ends, exchange, out);
        None
    }

    /// Decides what the passing of time alone decides.
    pub fn advance(&mut self, now: Timestamp, out: &mut Vec<Decided>) {
        let _ = (now, out);
    }

    /// The input ended: tells the undecided with what is known.
    pub fn end(&mut self, now: Timestamp, out: &mut Vec<Decided>) {
        let _ = (now, out);
    }

    /// What was lost so far.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}
