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

/// The rules that find one cause in two degrees, the worse first: the attempt failed, or it took seconds.
const DEGREES: [(&str, &str); 2] = [
    ("dns-timeout", "dns-retried"),
    ("connect-timeout", "connect-slow"),
];

/// The rule under whose name the findings of a cause are kept.
pub(super) fn group(rule: &'static str) -> &'static str {
    let mut degrees = DEGREES.iter();
    degrees
        .find(|(_, milder)| *milder == rule)
        .map_or(rule, |(worse, _)| worse)
}

/// Whether a finding of this rule is about packets that can be followed to another node.
pub fn can_be_followed(rule: &str) -> bool {
    matches!(
        rule,
        "connect-timeout"
            | "connect-slow"
            | "connection-refused"
            | "connection-reset"
            | "denied-by-policy"
            | "dns-retried"
            | "dns-timeout"
            | "dropped-on-node"
            | "reply-not-translated"
            | "udp-unanswered"
    ) || rule.starts_with("ping-")
}

/// Whether the first rule finds the same cause as the second, and less of it.
pub(super) fn is_milder(rule: &str, than: &str) -> bool {
    DEGREES.contains(&(than, rule))
}
