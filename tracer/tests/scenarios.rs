//! Scenario files: packets in, events out, through the whole pure pipeline in virtual time.
//!
//! `tests/scenarios/*.txt`; the format is described in `tests/scenarios/README.md`. Packets are built with etherparse and
//! hickory-proto, so nothing of the decoder under test describes its own input. Every event must be expected, and every
//! expectation must be met: the counts are compared before the contents.
//!
//! The same files show that what the rules say of themselves is so: each speaks, and keeps silent, in the scenarios that it
//! names.

mod scenario;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use tracer::diagnose::catalogue::RULES;

#[test]
fn every_scenario_file_gives_the_events_that_it_expects() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("tests/scenarios")
        .map(|entry| entry.expect("an entry of tests/scenarios").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no scenario in {}", folder.display());
    let failures: Vec<String> = files
        .iter()
        .filter_map(|path| {
            let text = fs::read_to_string(path).expect("a readable scenario");
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            scenario::run(&text)
                .err()
                .map(|failure| format!("{name}: {failure}"))
        })
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} scenarios failed\n\n{}",
        failures.len(),
        files.len(),
        failures.join("\n\n")
    );
}

#[test]
fn a_scenario_fails_on_an_unknown_word_and_on_a_wrong_expectation() {
    let unknown = "at 0ms 7 out udp 10.0.0.1:1 10.0.0.2:53 question 1 A a.\n";
    assert!(scenario::run(unknown).unwrap_err().contains("question"));
    let query = "at 0ms 7 out udp 10.0.0.1:1 10.0.0.2:53 query 1 A a.\nend 7s\n";
    assert!(
        scenario::run(query)
            .unwrap_err()
            .contains("expected 0 events")
    );
    let wrong = format!("{query}expect dns outcome=answered\nexpect lookup\n");
    assert!(scenario::run(&wrong).unwrap_err().contains("outcome"));
    let no_such_key = format!("{query}expect dns outcom=timeout\nexpect lookup\n");
    assert!(scenario::run(&no_such_key).unwrap_err().contains("outcom"));
}

/// The rules that say something, by scenario.
fn spoken() -> BTreeMap<String, BTreeSet<&'static str>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let files = fs::read_dir(folder).expect("tests/scenarios");
    files
        .map(|entry| entry.expect("an entry of tests/scenarios").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a readable scenario");
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let rules = scenario::rules(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name.into_owned(), rules)
        })
        .collect()
}

#[test]
fn each_rule_names_every_finding_scenario_in_which_it_speaks_and_others_in_which_it_does_not() {
    let spoken = spoken();
    let mut wrong = Vec::new();
    for rule in RULES {
        let fires: BTreeSet<&str> = spoken
            .iter()
            .filter(|(name, rules)| name.starts_with("finding-") && rules.contains(rule.id))
            .map(|(name, _)| name.as_str())
            .collect();
        let named: BTreeSet<&str> = rule.fired_by.iter().copied().collect();
        if fires.is_empty() || fires != named {
            wrong.push(format!(
                "{} says something in {fires:?} and names {named:?}",
                rule.id
            ));
        }
        if rule.not_fired_by.is_empty() {
            wrong.push(format!(
                "{} names no scenario that it must not take for its own",
                rule.id
            ));
        }
        for name in rule.not_fired_by {
            match spoken.get(*name) {
                Some(rules) if !rules.contains(rule.id) => {}
                Some(_) => wrong.push(format!("{} does say something in {name}", rule.id)),
                None => wrong.push(format!("{} names {name}, which is no scenario", rule.id)),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
