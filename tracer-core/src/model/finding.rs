//! A conclusion, with the evidence it rests on.

use std::sync::Arc;

use super::path::Path;
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

/// Whether the cause of a finding still exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// The latest attempts failed.
    Active,
    /// Some attempts fail and some succeed.
    Intermittent,
    /// So many attempts in a row succeeded that the cause is gone.
    Resolved,
}

/// Pods of one workload that have the same finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodGroup {
    /// The workload's kind, namespace and name: `Deployment shop/web`.
    pub workload: String,
    /// How many pods.
    pub count: u64,
    /// The names of the first ones, with their namespace.
    pub names: Vec<Arc<str>>,
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
    /// Whether the cause still exists.
    pub state: State,
    /// What distinguishes its cause from others of the same rule, for any pod.
    pub cause: String,
    /// The pods that share it, where a report has combined them; `None`: the pod of its event.
    pub pods: Option<PodGroup>,
    /// When it was first seen.
    pub first: Timestamp,
    /// When it was last seen.
    pub last: Timestamp,
    /// How many attempts failed: lookups, connections, pings, UDP flows.
    pub count: u64,
    /// How many attempts there were, those that succeeded included.
    pub of: u64,
    /// Symptom, cause and fix in one line of at most 160 characters.
    pub headline: Sentence,
    /// The headline without cause and fix, if a path can be known that shows another cause.
    pub symptom: Option<Sentence>,
    /// What failed; for a resolved finding, what shows that.
    pub summary: Sentence,
    /// For a resolved finding, what had failed.
    pub was: Option<Sentence>,
    /// The names that filters and silences match: what was looked up, or the names of the other end.
    pub names: Vec<Arc<str>>,
    /// Why it failed.
    pub why: Vec<Sentence>,
    /// The fix, if it is known.
    pub fix: Option<Sentence>,
    /// What to do: commands and names, ready to be copied.
    pub remedies: Vec<Sentence>,
    /// What it rests on, a line each.
    pub evidence: Vec<Sentence>,
    /// The path of the latest attempt, where the agents of both nodes were asked.
    pub path: Option<Box<Path>>,
}

impl Finding {
    /// Whether the cause is gone.
    pub fn is_resolved(&self) -> bool {
        self.state == State::Resolved
    }
}
