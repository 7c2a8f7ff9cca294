//! The description of a rule, and its check.

use super::case::Case;
use super::claim::Claim;
use crate::model::finding::Severity;

/// A rule: its description, as `tracer diagnose --explain` and docs/findings.md show it, and its check.
#[derive(Debug)]
pub struct Rule {
    /// Its stable id.
    pub id: &'static str,
    /// The severity of its findings, unless a claim sets another.
    pub severity: Severity,
    /// What it finds, in one line.
    pub finds: &'static str,
    /// What such a finding means.
    pub means: &'static str,
    /// The evidence it needs.
    pub looks_at: &'static str,
    /// Its limits.
    pub cannot_know: &'static str,
    /// Makes a claim if the rule applies to the case.
    pub(super) check: fn(&Case<'_>) -> Option<Claim>,
}
