//! The section about NetworkPolicies.

use super::Page;
use crate::explain::policies::{PolicyFacts, Ruling};

/// Policies' answers that are listed.
const MAX_POLICIES: usize = 6;

impl Page<'_> {
    pub(super) fn policies(&mut self, policies: &[PolicyFacts]) {
        self.label("policies");
        let lines = policy_lines(policies);
        for (mark, line) in lines.iter().take(MAX_POLICIES) {
            self.marked(mark, line);
        }
        self.more(lines.len(), MAX_POLICIES);
    }
}

/// A line for each pod, direction and answer, with the destinations that share it.
fn policy_lines(policies: &[PolicyFacts]) -> Vec<(&'static str, String)> {
    let mut lines: Vec<(PolicyFacts, Vec<&str>)> = Vec::new();
    for one in policies {
        // The answers about egress differ in their destination, those about ingress in their pod.
        let named = if one.direction == "egress" {
            &one.with
        } else {
            &one.of
        };
        let general = PolicyFacts {
            of: String::new(),
            with: String::new(),
            ..one.clone()
        };
        match lines.iter_mut().find(|(known, _)| *known == general) {
            Some((_, names)) => names.push(named),
            None => lines.push((general, vec![named])),
        }
    }
    lines
        .into_iter()
        .map(|(facts, names)| policy_line(&facts, &names))
        .collect()
}

fn policy_line(facts: &PolicyFacts, names: &[&str]) -> (&'static str, String) {
    let shown = names.iter().take(3).copied().collect::<Vec<_>>().join(", ");
    let names = match names.len().saturating_sub(3) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    };
    let port = facts
        .port
        .as_ref()
        .map(|port| format!(" at {port}"))
        .unwrap_or_default();
    let subject = match (facts.direction, facts.dns) {
        ("egress", true) => format!("egress to its DNS server, {names}{port}"),
        ("egress", false) => format!("egress to {names}{port}"),
        (_, true) => format!("ingress of its DNS server, {names}{port}"),
        // Without a port these are the pod's own.
        (_, false) => format!("ingress of {names}{port}"),
    };
    let selecting = facts.selecting.join(", ");
    let (mark, says) = match facts.ruling {
        Ruling::NotIsolated => ("✓", "no NetworkPolicy selects the pod".to_owned()),
        Ruling::Allowed => {
            let by = facts.by.as_deref().unwrap_or_default();
            ("✓", format!("allowed by {by}"))
        }
        Ruling::AlwaysAllowed => (
            "✓",
            "always allowed (the pod's node, or the pod itself)".to_owned(),
        ),
        Ruling::Denied => (
            "✗",
            format!("allowed by none of {selecting}, which select the pod"),
        ),
        Ruling::Undecided => {
            let doubt = facts.doubt.unwrap_or_default();
            ("·", format!("undecided: {doubt}"))
        }
        Ruling::Isolated => (
            "·",
            format!("limited by {selecting}; --to NAME:PORT evaluates them"),
        ),
    };
    (mark, format!("{subject}: {says}"))
}
