//! Ordinary traffic in the lab, and a count of what tracers report about it.

pub mod tally;
pub mod traffic;

use crate::watch::Watch;

use self::tally::Figures;

/// A running tracer and its use of the machine.
#[derive(Debug)]
pub struct Traced {
    /// The node it runs on.
    pub node: &'static str,
    /// The tracer.
    pub watch: Watch,
    /// Its figures when the traffic began.
    pub first: Figures,
}
