//! `tracer diagnose` as a user runs it, on captures: what it says, in which form, and its exit code.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A session in the lab: names found and not found, a server that fails, refuses, is slow and silent.
const SESSION: &str = "dns-session.pcap.gz";
/// Among pings and lookups a connection that is refused.
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

struct Said {
    out: String,
    err: String,
    code: Option<i32>,
}

impl Said {
    fn by(command: &mut Command) -> Said {
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().expect("the program runs");
        Said {
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
fn diagnose(file: &str, arguments: &[&str]) -> Said {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("inventory.yaml");
    let inventory = testbed::lab::Inventory::scenario().expect("the scenario's inventory");
    fs::write(&path, inventory.to_yaml().expect("YAML")).expect("there is room");
    Said::by(
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
fn findings_stand_once_the_worst_first_with_why_and_what_to_try() {
    let said = diagnose(SESSION, &[]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    insta::assert_snapshot!("diagnose_session", said.out);
    assert!(
        said.err
            .contains("31 lookups, 6 connections, 0 pings looked at; 4 errors"),
        "{}",
        said.err
    );
    assert!(!said.out.contains('\u{1b}'), "no colour but on a terminal");
    let coloured = diagnose(SESSION, &["--color", "always"]);
    assert!(coloured.out.contains('\u{1b}'));
}

#[test]
fn the_wide_form_has_the_evidence() {
    let said = diagnose(SESSION, &["-o", "wide", "--name", "clusterip-apache2*"]);
    assert!(
        said.out
            .contains("saw  clusterip-apache2-ds-myns.default.svc.cluster.local. A: NXDOMAIN in"),
        "{}",
        said.out
    );
    assert!(said.out.contains("on node k8s-worker03"), "{}", said.out);
}

#[test]
fn json_is_one_finding_a_line() {
    let said = diagnose(REFUSED, &["-o", "json"]);
    let findings = said.findings();
    assert_eq!(
        rules(&findings),
        ["connection-refused", "nodata-not-found"],
        "{}",
        said.out
    );
    for finding in &findings {
        assert_eq!(finding["type"], "finding");
        assert_eq!(finding["state"], "active");
        assert_eq!(finding["count"], 1);
    }
    assert_eq!(findings[0]["peer"]["pod"]["namespace"], "kube-system");
}

#[test]
fn the_exit_code_is_that_of_the_worst_finding_and_the_line_moves() {
    for (arguments, code) in [
        (&[][..], 1),
        (&["--fail-on", "error"], 1),
        // An info is left: the other one was about a connection.
        (&["--name", "clusterip-nginx-ds*"], 0),
        (&["--name", "clusterip-nginx-ds*", "--fail-on", "info"], 1),
        (&["-n", "no-such-namespace"], 0),
    ] {
        let said = diagnose(REFUSED, arguments);
        assert_eq!(said.code, Some(code), "{arguments:?}: {}", said.err);
    }
}

#[test]
fn where_nothing_is_found_it_says_in_what() {
    let said = diagnose(REFUSED, &["--peer", "10.1.235.206", "--port", "53"]);
    assert_eq!((said.out.as_str(), said.code), ("", Some(0)));
    assert!(
        said.err.contains("lookups, ") && said.err.contains("looked at; nothing found"),
        "{}",
        said.err
    );
    let said = diagnose(REFUSED, &["-n", "no-such-namespace"]);
    assert!(said.err.contains("nothing to diagnose"), "{}", said.err);
}

#[test]
fn without_an_inventory_it_says_what_that_costs() {
    let said = Said::by(tracer(&["--replay"]).arg(capture(REFUSED)));
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("without --inventory"), "{}", said.err);
    assert!(
        said.out.contains("there is no inventory"),
        "the finding says so too: {}",
        said.out
    );
}

#[test]
fn what_it_cannot_do_is_an_error_of_its_own() {
    for (arguments, says) in [
        (&[][..], "--local"),
        (&["--local", "--replay", "x"], "leave one out"),
        (&["--replay", "/no/such/file"], "No such file"),
        (&["--replay", "x", "-o", "markdown"], "--explain"),
        (&["--fail-on", "critical"], "possible values"),
    ] {
        let said = Said::by(&mut tracer(arguments));
        assert_eq!(
            (said.out.as_str(), said.code),
            ("", Some(2)),
            "{arguments:?}"
        );
        assert!(said.err.contains(says), "{arguments:?}: {}", said.err);
    }
}

#[test]
fn the_list_has_every_rule_and_each_can_be_explained() {
    let list = Said::by(&mut tracer(&["--list"]));
    assert_eq!(list.code, Some(0));
    insta::assert_snapshot!("diagnose_list", list.out);
    let json = Said::by(&mut tracer(&["--list", "-o", "json"])).findings();
    let ids: Vec<&str> = json.iter().filter_map(|line| line["id"].as_str()).collect();
    let listed: Vec<&str> = list
        .out
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(ids, listed);
    for id in ids {
        let said = Said::by(&mut tracer(&["--explain", id]));
        assert_eq!(said.code, Some(0), "{id}: {}", said.err);
        for title in ["means", "looks at", "cannot know"] {
            assert!(said.out.contains(title), "{id}: {}", said.out);
        }
    }
    let said = Said::by(&mut tracer(&["--explain", "ping-clusterip"]));
    insta::assert_snapshot!("diagnose_explain", said.out);
}

#[test]
fn of_a_rule_that_there_is_not_near_ones_are_offered() {
    for (asked, offered) in [
        ("nxdomain-other-namepsace", "nxdomain-other-namespace"),
        ("dns-timout", "dns-timeout"),
        ("endpoints", "service-no-endpoints"),
        ("zzz", "--list"),
    ] {
        let said = Said::by(&mut tracer(&["--explain", asked]));
        assert_eq!((said.out.as_str(), said.code), ("", Some(2)));
        assert!(
            said.err.contains(&format!("there is no rule '{asked}'")) && said.err.contains(offered),
            "{}",
            said.err
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
    let said = diagnose(SESSION, &["-o", "json", "--rules", &file]);
    let silenced: Vec<Value> = all
        .iter()
        .filter(|finding| !said.findings().contains(finding))
        .cloned()
        .collect();
    assert_eq!(rules(&silenced), ["nxdomain-unknown-name"], "{silenced:#?}");
    let names = silenced[0]["summary"].as_str().expect("a sentence");
    assert!(names.contains("never.example.com"), "{names}");
    assert!(
        said.err.contains("silenced by the rules file: 1 finding\n"),
        "{}",
        said.err
    );

    let file = rules_file("silence:\n- rule: '*'\n");
    let said = diagnose(SESSION, &["--rules", &file]);
    assert_eq!(
        (said.out.as_str(), said.code),
        ("", Some(0)),
        "{}",
        said.err
    );

    let file = rules_file("silence:\n- rul: dns-slow\n");
    let said = diagnose(SESSION, &["--rules", &file]);
    assert_eq!(said.code, Some(2));
    for says in ["rules.yaml", "line 2", "did you mean rule?"] {
        assert!(said.err.contains(says), "{says}: {}", said.err);
    }
}

#[test]
fn a_threshold_of_the_rules_file_moves_when_a_rule_speaks() {
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
fn the_example_of_the_documentation_is_a_rules_file() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rules-file.md");
    let page = fs::read_to_string(page).expect("docs/rules-file.md");
    let example = page.split("```").nth(1).expect("an example");
    let example = example.strip_prefix("yaml").expect("YAML");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("rules.yaml");
    fs::write(&path, example).expect("there is room");
    let said = diagnose(REFUSED, &["--rules", path.to_str().expect("text")]);
    assert_eq!(said.code, Some(1), "{}", said.err);
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let said = Said::by(tracer(&["--replay"]).arg(capture(REFUSED)).stdout(writer));
    assert!(!said.err.contains("tracer:"), "{}", said.err);
    assert_ne!(said.code, Some(2), "{}", said.err);
}

#[test]
fn without_a_cluster_it_says_which_kubeconfig_is_missing_and_what_else_there_is() {
    let home = tempfile::tempdir().expect("a directory");
    let said = Said::by(
        tracer(&[])
            .env("HOME", home.path())
            .env_remove("KUBECONFIG")
            .env_remove("KUBERNETES_SERVICE_HOST"),
    );
    assert_eq!(said.code, Some(2));
    assert_eq!(said.out, "");
    let file = home.path().join(".kube/config");
    for word in [&*file.to_string_lossy(), "--kubeconfig", "--local"] {
        assert!(said.err.contains(word), "{word}: {}", said.err);
    }
    // Nobody claimed to be in a pod.
    assert!(!said.err.contains("in-cluster"), "{}", said.err);
}
