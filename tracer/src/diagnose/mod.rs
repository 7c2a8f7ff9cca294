//! Findings: one file per rule. Comes with the rules.
