//! Observations to exchanges, connections and echo runs. Pure: time is an argument, every table is bounded and expires.

use crate::model::correlated::Correlated;
use crate::model::flow::FlowSnapshot;
use crate::model::loss::Losses;
use crate::model::observation::Observation;
use crate::model::settings::{Limits, Thresholds};
use crate::model::time::Timestamp;

/// All correlators.
#[derive(Debug)]
pub struct Correlator {
    losses: Losses,
}

impl Correlator {
    /// With nothing seen yet.
    pub fn new(thresholds: Thresholds, limits: &Limits) -> Correlator {
        let _ = (thresholds, limits);
        Correlator { losses: Losses::default() }
    }

    /// Takes one observation in.
    pub fn observe(&mut self, observation: Observation, out: &mut Vec<Correlated>) {
        let _ = (observation, out);
    }

    /// Takes a sweep of the kernel's flow counters in.
    pub fn counters(&mut self, now: Timestamp, snapshots: &[FlowSnapshot], out: &mut Vec<Correlated>) {
        let _ = (now, snapshots, out);
    }

    /// Tells what became true by the passing of time alone.
    pub fn advance(&mut self, now: Timestamp, out: &mut Vec<Correlated>) {
        let _ = (now, out);
    }

    /// The input ended: tells what the design's table says about that moment.
    pub fn end(&mut self, now: Timestamp, out: &mut Vec<Correlated>) {
        let _ = (now, out);
    }

    /// What was lost or left undecided so far.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}
