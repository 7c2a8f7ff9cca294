//! A conclusion in words, with the evidence it rests on.

use std::sync::Arc;

use super::time::Timestamp;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Something works badly.
    Warning,
    /// Something does not work.
    Error,
}

/// A conclusion in words.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Stable for the same cause and pod.
    pub id: String,
    /// The rule's stable name.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Its cause is gone.
    pub resolved: bool,
    /// First seen.
    pub first: Timestamp,
    /// Last seen.
    pub last: Timestamp,
    /// How often.
    pub count: u64,
    /// What failed, in one sentence; of a resolved one, what shows that.
    pub summary: String,
    /// What had failed, of a resolved one.
    pub was: Option<String>,
    /// Names that it is about, for those who choose by name: what was looked up, or what the other end is called.
    pub names: Vec<Arc<str>>,
    /// Why, with the evidence.
    pub why: String,
    /// What to do.
    pub remedies: Vec<String>,
    /// What it rests on, a line each.
    pub evidence: Vec<Arc<str>>,
}
