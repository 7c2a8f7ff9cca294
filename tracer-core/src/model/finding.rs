//! A conclusion, with the evidence it rests on.

use std::sync::Arc;

use super::sentence::Sentence;
use super::time::Timestamp;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Something works badly.
    Warning,
    /// Something does not work.
    Error,
}

/// A conclusion in sentences.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Stable for one cause and pod (or workload).
    pub id: String,
    /// The rule's stable id.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The cause is gone.
    pub resolved: bool,
    /// When it was first seen.
    pub first: Timestamp,
    /// When it was last seen.
    pub last: Timestamp,
    /// How many times it was seen.
    pub count: u64,
    /// What failed; for a resolved finding, what shows that.
    pub summary: Sentence,
    /// For a resolved finding, what had failed.
    pub was: Option<Sentence>,
    /// The names that filters and silences match: what was looked up, or the names of the other end.
    pub names: Vec<Arc<str>>,
    /// Why it failed.
    pub why: Vec<Sentence>,
    /// What to do: commands and names, ready to be copied.
    pub remedies: Vec<Sentence>,
    /// What it rests on, a line each.
    pub evidence: Vec<Sentence>,
}
