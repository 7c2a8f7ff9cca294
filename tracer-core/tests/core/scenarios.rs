//! Scenario files: packets in, events out, through the whole pure pipeline in virtual time.
//!
//! `tests/scenarios/README.md` describes the format of `tests/scenarios/*.txt`. etherparse and hickory-proto
//! build the packets, so the decoder under test does not define its own input. Every event must be expected,
//! and every expectation must be met: the counts are compared before the contents.
//!
//! The header of a file declares which rules fire in it and which must stay silent. The same declarations and
//! the rules' descriptions make docs/findings.md.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use super::findings_page;
use super::scenario::{self, Declared, Played};
use serde_json::Value;
use tracer_core::diagnose::catalogue::RULES;
use tracer_core::view::privacy::{Key, Privacy, PrivacySettings};

/// A scenario file, played.
pub(super) struct Scenario {
    /// The file's name without its extension.
    pub name: String,
    pub played: Played,
}

/// All scenario files, in order. They are played once, for all tests of this program.
pub(super) fn all() -> &'static [Scenario] {
    static ALL: LazyLock<Vec<Scenario>> = LazyLock::new(|| {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
        let mut files: Vec<PathBuf> = fs::read_dir(&folder)
            .expect("tests/scenarios")
            .map(|entry| entry.expect("an entry of tests/scenarios").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
            .collect();
        files.sort();
        assert!(!files.is_empty(), "no scenario in {}", folder.display());
        let scenario = |path: &PathBuf| {
            let text = fs::read_to_string(path).expect("a readable scenario");
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let played = scenario::play(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            Scenario {
                name: name.into_owned(),
                played,
            }
        };
        files.iter().map(scenario).collect()
    });
    &ALL
}

#[test]
fn every_scenario_file_gives_the_events_that_it_expects() {
    let failures: Vec<String> = all()
        .iter()
        .filter_map(|Scenario { name, played }| {
            let failure = played.expected.as_ref().err()?;
            Some(format!("{name}: {failure}"))
        })
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} scenarios failed\n\n{}",
        failures.len(),
        all().len(),
        failures.join("\n\n")
    );
}

#[test]
fn a_scenario_fails_on_an_unknown_word_and_on_a_wrong_expectation() {
    let run = |text: &str| scenario::play(text)?.expected;
    let unknown = "at 0ms 7 out udp 10.0.0.1:1 10.0.0.2:53 question 1 A a.\n";
    assert!(run(unknown).unwrap_err().contains("question"));
    let query = "at 0ms 7 out udp 10.0.0.1:1 10.0.0.2:53 query 1 A a.\nend 7s\n";
    assert!(run(query).unwrap_err().contains("expected 0 events"));
    let wrong = format!("{query}expect dns outcome=answered\nexpect lookup\n");
    assert!(run(&wrong).unwrap_err().contains("outcome"));
    let no_such_key = format!("{query}expect dns outcom=timeout\nexpect lookup\n");
    assert!(run(&no_such_key).unwrap_err().contains("outcom"));
}

#[test]
fn every_finding_scenario_declares_exactly_the_rules_that_fire() {
    let mut wrong = Vec::new();
    for Scenario { name, played } in all() {
        let (fired, declared) = (played.fired(), &played.declared);
        let about_findings = name.starts_with("finding-") || !declared.is_empty();
        if about_findings && declared.fires != fired {
            wrong.push(format!(
                "{name}: {fired:?} fire, the header declares `fires` {:?}",
                declared.fires
            ));
        }
        for rule in declared.silent.intersection(&fired) {
            wrong.push(format!(
                "{name}: {rule} fires, the header declares it silent"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_fires_in_one_scenario_and_stays_silent_in_another() {
    let declared = |choose: fn(&Declared) -> &BTreeSet<&'static str>, rule| {
        let mut declared = all().iter().map(|scenario| &scenario.played.declared);
        declared.any(|declared| choose(declared).contains(rule))
    };
    let mut missing = Vec::new();
    for rule in RULES {
        if !declared(|declared| &declared.fires, rule.id) {
            missing.push(format!("no scenario has `fires {}`", rule.id));
        }
        if !declared(|declared| &declared.silent, rule.id) {
            missing.push(format!("no scenario has `silent {}`", rule.id));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn a_header_with_an_unknown_rule_or_a_rule_in_both_lists_is_rejected() {
    for (header, error) in [
        ("fires dns-tiemout\n", "dns-tiemout"),
        ("fires dns-timeout\nsilent dns-timeout\n", "twice"),
        ("fires\n", "names no rule"),
    ] {
        let rejected = scenario::play(header).err().expect(header);
        assert!(rejected.contains(error), "{header}: {rejected}");
    }
}

#[test]
fn findings_page_is_up_to_date() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/findings.md");
    let headers = all()
        .iter()
        .map(|Scenario { name, played }| (name.as_str(), &played.declared))
        .collect();
    let page = findings_page::page(&headers);
    if std::env::var_os("TRACER_BLESS").is_some() {
        fs::write(&path, &page).expect("docs/findings.md is writable");
        return;
    }
    let current = fs::read_to_string(&path).expect("docs/findings.md");
    assert!(
        current == page,
        "docs/findings.md does not match the rules and the scenario files. Write it again:\n  \
         TRACER_BLESS=1 cargo test -p tracer-core --all-features --test core findings_page"
    );
}

/// Every text of a JSON value, except keys.
fn texts<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => into.push(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, into)),
        Value::Object(fields) => fields.values().for_each(|field| texts(field, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The names below a domain anywhere in a text. Written byte by byte, so that it shares nothing with the code
/// under test.
fn names_below(text: &str, domain: &str, into: &mut BTreeSet<String>) {
    let text = text.to_ascii_lowercase();
    let of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*\\".contains(&byte);
    let bytes = text.as_bytes();
    for (at, _) in text.match_indices(&format!(".{domain}")) {
        let end = at + 1 + domain.len();
        if bytes
            .get(end)
            .is_some_and(|byte| of_a_name(*byte) && *byte != b'.')
        {
            continue;
        }
        let before = bytes[..at]
            .iter()
            .rev()
            .take_while(|byte| of_a_name(**byte));
        let start = at - before.count();
        if start < at {
            into.insert(text[start..end].to_owned());
        }
    }
}

#[test]
fn no_event_of_any_scenario_holds_a_name_that_is_to_be_redacted() {
    const DOMAINS: [&str; 5] = ["cluster.local", "com", "example", "net", "org"];
    let settings = PrivacySettings {
        exclude_namespaces: Vec::new(),
        redact: DOMAINS
            .map(|domain| domain.parse().expect("a domain"))
            .into(),
    };
    let mut privacy = Privacy::new(settings, Key::from_bytes([7; 32]));
    let (mut originals, mut hashed) = (0, 0);
    for Scenario { name, played } in all() {
        // No event may leak a name of another one: every name of the file is searched in all of its events.
        let mut secrets = BTreeSet::new();
        let mut lines = Vec::new();
        for event in &played.events {
            let line = scenario::expected::encode(event).expect("a line");
            let mut all = Vec::new();
            texts(&line, &mut all);
            for text in all {
                for domain in DOMAINS {
                    names_below(text, domain, &mut secrets);
                }
            }
            let redacted = privacy
                .pass(event.clone())
                .expect("no namespace is excluded");
            lines.push(
                scenario::expected::encode(&redacted)
                    .expect("a line")
                    .to_string(),
            );
        }
        // A sentence explains the form of a full name. That is no name of the wire.
        secrets.retain(|secret| !secret.starts_with("name.namespace.svc."));
        originals += secrets.len();
        for line in lines {
            let line = line.to_ascii_lowercase();
            hashed += line.matches("h-").count();
            for secret in &secrets {
                assert!(!line.contains(secret), "{name}: {secret} in {line}");
            }
        }
    }
    assert!(
        originals > 50 && hashed > 100,
        "{originals} names, {hashed} hashes"
    );
}
