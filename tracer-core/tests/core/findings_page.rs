//! docs/findings.md, generated from the rules' descriptions and the headers of the scenario files.

use std::collections::{BTreeMap, BTreeSet};

use tracer_core::diagnose::catalogue::RULES;
use tracer_core::view::words;

use super::scenario::Declared;

const INTRODUCTION: &str = "\
# What Tracer finds, and how far it can be trusted

<!-- Generated from the rules and the scenario files:
     TRACER_BLESS=1 cargo test -p tracer-core --all-features --test core findings_page -->

A finding states what failed, why, and what to try. Its claims rest on packets or on the inventory; a supposition is marked
as possible. If several rules apply to one failure, the first in this list wins. A finding covers one cause of one pod (or
workload). It is emitted once, again with a new count, and once more when its cause is gone. No rule concludes anything from
silence while only one direction of a pod's traffic is visible.

`tracer diagnose --list` and `tracer diagnose --explain RULE` print the same. The scenario files under \"Tested\" are packets in
virtual time; `cargo test -p tracer-core --all-features --test core scenarios` plays them and checks that each rule fires, or
stays silent, where this page says so.
[rules-file.md](rules-file.md) describes how to silence findings and set thresholds.

";

/// The whole page. `headers` has the declarations of each scenario file.
pub fn page(headers: &BTreeMap<&str, &Declared>) -> String {
    let mut page = INTRODUCTION.to_owned();
    page.push_str("| rule | severity | finds |\n|---|---|---|\n");
    for rule in RULES {
        let severity = words::severity(rule.severity);
        page.push_str(&format!(
            "| [{0}](#{0}) | {severity} | {1} |\n",
            rule.id, rule.finds
        ));
    }
    for rule in RULES {
        let fires = links(headers, |declared| &declared.fires, rule.id);
        let silent = links(headers, |declared| &declared.silent, rule.id);
        page.push_str(&format!(
            "\n## {}\n\n{}\n\n**Looks at:** {}\n\n**Cannot know:** {}\n\n**Tested:** fires in {fires}; stays silent in {silent}.\n",
            rule.id, rule.means, rule.looks_at, rule.cannot_know,
        ));
    }
    page
}

/// Links to the scenario files that declare a rule.
fn links(
    headers: &BTreeMap<&str, &Declared>,
    choose: fn(&Declared) -> &BTreeSet<&'static str>,
    rule: &str,
) -> String {
    let links: Vec<String> = headers
        .iter()
        .filter(|(_, declared)| choose(declared).contains(rule))
        .map(|(name, _)| format!("[{name}](../tracer-core/tests/scenarios/{name}.txt)"))
        .collect();
    links.join(", ")
}
