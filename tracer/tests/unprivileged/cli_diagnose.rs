//! `tracer diagnose` as a user runs it, on captures: what it says, in which form, and its exit code.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A session in the lab: names found and not found; a server that fails, refuses, is slow, and does not answer.
const SESSION: &str = "dns-session.pcap.gz";
/// Pings, lookups, and a refused connection.
const REFUSED: &str = "ethernet.pcap";

fn capture(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tracer-core/tests/fixtures/captures")
        .join(file)
}

fn tracer(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TRACER_") {
            command.env_remove(name);
        }
    }
    command
        .arg("diagnose")
        .args(arguments)
        .env("TZ", "UTC")
        .stdin(Stdio::null());
    command
}

struct ProgramOutput {
    out: String,
    err: String,
    code: Option<i32>,
}

impl ProgramOutput {
    fn from_command(command: &mut Command) -> ProgramOutput {
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().expect("the program runs");
        ProgramOutput {
            out: String::from_utf8(stdout).expect("text"),
            err: String::from_utf8(stderr).expect("text"),
            code: status.code(),
        }
    }

    fn findings(&self) -> Vec<Value> {
        let lines = self.out.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }
}

/// Diagnoses a capture with the scenario's inventory.
fn diagnose(file: &str, arguments: &[&str]) -> ProgramOutput {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("inventory.yaml");
    let inventory = testbed::lab::Inventory::scenario().expect("the scenario's inventory");
    fs::write(&path, inventory.to_yaml().expect("YAML")).expect("there is room");
    ProgramOutput::from_command(
        tracer(arguments)
            .arg("--replay")
            .arg(capture(file))
            .arg("--inventory")
            .arg(path),
    )
}

fn rules(findings: &[Value]) -> Vec<&str> {
    let rules = findings.iter().map(|finding| finding["rule"].as_str());
    rules.map(|rule| rule.expect("a rule")).collect()
}

#[test]
fn each_finding_is_printed_once_the_worst_first_with_causes_and_commands() {
    let output = diagnose(SESSION, &[]);
    assert_eq!(output.code, Some(1), "{}", output.err);
    insta::assert_snapshot!("diagnose_session", output.out);
    assert!(
        output
            .err
            .contains("32 lookups, 6 connections, 0 pings looked at; 4 errors"),
        "{}",
        output.err
    );
    assert!(
        !output.out.contains('\u{1b}'),
        "no colour but on a terminal"
    );
    let coloured = diagnose(SESSION, &["--color", "always"]);
    assert!(coloured.out.contains('\u{1b}'));
}

#[test]
fn the_wide_form_has_evidence() {
    let output = diagnose(SESSION, &["-o", "wide", "--name", "clusterip-apache2*"]);
    assert!(
        output
            .out
            .contains("clusterip-apache2-ds-myns.default.svc.cluster.local. A: NXDOMAIN in"),
        "{}",
        output.out
    );
    assert!(
        output.out.contains("on node k8s-worker03"),
        "{}",
        output.out
    );
}

#[test]
fn json_has_one_finding_per_line() {
    let output = diagnose(REFUSED, &["-o", "json"]);
    let findings = output.findings();
    assert_eq!(
        rules(&findings),
        [
            "connection-refused",
            "connection-refused",
            "nodata-not-found"
        ],
        "{}",
        output.out
    );
    for finding in &findings {
        assert_eq!(finding["type"], "finding");
        assert_eq!(finding["state"], "active");
        assert_eq!(finding["count"], 1);
    }
    assert_eq!(findings[0]["peer"]["pod"]["namespace"], "kube-system");
}

#[test]
fn the_exit_code_depends_on_the_worst_finding_and_on_fail_on() {
    for (arguments, code) in [
        (&[][..], 1),
        (&["--fail-on", "error"], 1),
        // The remaining finding has severity info.
        (&["--name", "clusterip-nginx-ds*"], 0),
        (&["--name", "clusterip-nginx-ds*", "--fail-on", "info"], 1),
        (&["-n", "no-such-namespace"], 3),
    ] {
        let output = diagnose(REFUSED, arguments);
        assert_eq!(output.code, Some(code), "{arguments:?}: {}", output.err);
    }
}

#[test]
fn the_summary_counts_what_was_looked_at_if_nothing_is_found() {
    let output = diagnose(REFUSED, &["--peer", "10.1.235.206", "--port", "53"]);
    assert_eq!((output.out.as_str(), output.code), ("", Some(0)));
    assert!(
        output.err.contains("lookups, ") && output.err.contains("looked at; nothing found"),
        "{}",
        output.err
    );
    let output = diagnose(REFUSED, &["-n", "no-such-namespace"]);
    assert!(output.err.contains("nothing to diagnose"), "{}", output.err);
}

#[test]
fn without_an_inventory_a_note_and_the_findings_say_what_is_unknown() {
    let output = ProgramOutput::from_command(tracer(&["--replay"]).arg(capture(REFUSED)));
    assert_eq!(output.code, Some(1));
    assert!(output.err.contains("without --inventory"), "{}", output.err);
    assert!(
        output.out.contains("there is no inventory"),
        "the finding says so too: {}",
        output.out
    );
}

#[test]
fn wrong_usage_ends_with_exit_code_2_and_an_explanation() {
    for (arguments, says) in [
        (&[][..], "--local"),
        (&["--local", "--replay", "x"], "leave one out"),
        (&["--replay", "/no/such/file"], "No such file"),
        (&["--replay", "x", "-o", "markdown"], "--explain"),
        (&["--fail-on", "critical"], "possible values"),
    ] {
        let output = ProgramOutput::from_command(&mut tracer(arguments));
        assert_eq!(
            (output.out.as_str(), output.code),
            ("", Some(2)),
            "{arguments:?}"
        );
        assert!(output.err.contains(says), "{arguments:?}: {}", output.err);
    }
}

#[test]
fn every_rule_is_listed_and_has_an_explanation() {
    let list = ProgramOutput::from_command(&mut tracer(&["--list"]));
    assert_eq!(list.code, Some(0));
    insta::assert_snapshot!("diagnose_list", list.out);
    let json = ProgramOutput::from_command(&mut tracer(&["--list", "-o", "json"])).findings();
    let ids: Vec<&str> = json.iter().filter_map(|line| line["id"].as_str()).collect();
    let listed: Vec<&str> = list
        .out
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(ids, listed);
    for id in ids {
        let output = ProgramOutput::from_command(&mut tracer(&["--explain", id]));
        assert_eq!(output.code, Some(0), "{id}: {}", output.err);
        for title in ["means", "looks at", "cannot know"] {
            assert!(output.out.contains(title), "{id}: {}", output.out);
        }
    }
    let output = ProgramOutput::from_command(&mut tracer(&["--explain", "ping-clusterip"]));
    insta::assert_snapshot!("diagnose_explain", output.out);
}

#[test]
fn similar_rules_are_suggested_for_an_unknown_one() {
    for (asked, offered) in [
        ("nxdomain-other-namepsace", "nxdomain-other-namespace"),
        ("dns-timout", "dns-timeout"),
        ("endpoints", "service-no-endpoints"),
        ("zzz", "--list"),
    ] {
        let output = ProgramOutput::from_command(&mut tracer(&["--explain", asked]));
        assert_eq!((output.out.as_str(), output.code), ("", Some(2)));
        assert!(
            output.err.contains(&format!("there is no rule '{asked}'"))
                && output.err.contains(offered),
            "{}",
            output.err
        );
    }
}

#[test]
fn a_rules_file_silences_findings_and_the_summary_counts_them() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let rules_file = |text: &str| {
        let path = directory.path().join("rules.yaml");
        fs::write(&path, text).expect("there is room");
        path.to_str().expect("text").to_owned()
    };
    let all = diagnose(SESSION, &["-o", "json"]).findings();
    let file =
        rules_file("silence:\n- rule: nxdomain-*\n  namespace: default\n  name: '*.example.com'\n");
    let output = diagnose(SESSION, &["-o", "json", "--rules", &file]);
    let silenced: Vec<Value> = all
        .iter()
        .filter(|finding| !output.findings().contains(finding))
        .cloned()
        .collect();
    assert_eq!(rules(&silenced), ["nxdomain-unknown-name"], "{silenced:#?}");
    let names = silenced[0]["summary"].as_str().expect("a sentence");
    assert!(names.contains("never.example.com"), "{names}");
    assert!(
        output
            .err
            .contains("silenced by the rules file: 1 finding\n"),
        "{}",
        output.err
    );

    let file = rules_file("silence:\n- rule: '*'\n");
    let output = diagnose(SESSION, &["--rules", &file]);
    assert_eq!(
        (output.out.as_str(), output.code),
        ("", Some(3)),
        "the query without an answer is no finding: {}",
        output.err
    );

    let file = rules_file("silence:\n- rul: dns-slow\n");
    let output = diagnose(SESSION, &["--rules", &file]);
    assert_eq!(output.code, Some(2));
    for says in ["rules.yaml", "line 2", "did you mean rule?"] {
        assert!(output.err.contains(says), "{says}: {}", output.err);
    }
}

#[test]
fn a_threshold_in_the_rules_file_changes_when_a_rule_fires() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("rules.yaml");
    let text = "thresholds:\n  dns-slow: {longer-than: 1ms, times-normal: 1, answers: 1}\n";
    fs::write(&path, text).expect("there is room");
    let slow = |arguments: &[&str]| {
        let findings = diagnose(SESSION, arguments).findings();
        rules(&findings).contains(&"dns-slow")
    };
    assert!(!slow(&["-o", "json"]));
    let path = path.to_str().expect("text");
    assert!(slow(&["-o", "json", "--rules", path]));
}

#[test]
fn the_example_in_the_documentation_is_a_valid_rules_file() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rules-file.md");
    let page = fs::read_to_string(page).expect("docs/rules-file.md");
    let example = page.split("```").nth(1).expect("an example");
    let example = example.strip_prefix("yaml").expect("YAML");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("rules.yaml");
    fs::write(&path, example).expect("there is room");
    let output = diagnose(REFUSED, &["--rules", path.to_str().expect("text")]);
    assert_eq!(output.code, Some(1), "{}", output.err);
}

#[test]
fn a_closed_pipe_ends_the_output_quietly() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output =
        ProgramOutput::from_command(tracer(&["--replay"]).arg(capture(REFUSED)).stdout(writer));
    assert!(!output.err.contains("tracer:"), "{}", output.err);
    assert_ne!(output.code, Some(2), "{}", output.err);
}

#[test]
fn without_a_cluster_the_error_names_the_missing_kubeconfig_and_the_alternatives() {
    let home = tempfile::tempdir().expect("a directory");
    let output = ProgramOutput::from_command(
        tracer(&[])
            .env("HOME", home.path())
            .env_remove("KUBECONFIG")
            .env_remove("KUBERNETES_SERVICE_HOST"),
    );
    assert_eq!(output.code, Some(2));
    assert_eq!(output.out, "");
    let file = home.path().join(".kube/config");
    for word in [&*file.to_string_lossy(), "--kubeconfig", "--local"] {
        assert!(output.err.contains(word), "{word}: {}", output.err);
    }
    // The error does not mention in-cluster configuration: the tracer does not run in a pod.
    assert!(!output.err.contains("in-cluster"), "{}", output.err);
}
