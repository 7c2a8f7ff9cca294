//! A diagnosed cause, with its evidence.

use std::sync::Arc;

use super::time::Timestamp;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Informational.
    Info,
    /// Something works poorly.
    Warning,
    /// Something does not work.
    Error,
}

/// A diagnosed cause of failures.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Stable for the same cause and pod.
    pub id: String,
    /// The rule's stable name.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The cause is gone.
    pub resolved: bool,
    /// First occurrence.
    pub first: Timestamp,
    /// Last occurrence.
    pub last: Timestamp,
    /// Number of failures.
    pub count: u64,
    /// The failure in one sentence; in a resolved finding, what shows the recovery.
    pub summary: String,
    /// The original failure, in a resolved finding.
    pub was: Option<String>,
    /// Names that a name filter can match: the queried name, or the names of the other end.
    pub names: Vec<Arc<str>>,
    /// The cause and its evidence.
    pub why: String,
    /// Remedies.
    pub remedies: Vec<String>,
    /// The evidence, one line per item.
    pub evidence: Vec<Arc<str>>,
}
