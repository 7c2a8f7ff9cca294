//! `tracer check`, run as a program. The facts depend on the machine; the form of the output does not.

use std::process::{Command, Output};

const TRACER: &str = env!("CARGO_BIN_EXE_tracer");

fn lines(output: &Output) -> Vec<serde_json::Value> {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("one JSON object per line"))
        .collect()
}

/// Asserts that every line is complete, and that the exit code is 1 if one of them failed.
fn well_formed(output: &Output) {
    let lines = lines(output);
    assert!(lines.len() >= 10, "{lines:?}");
    let mut blocked = false;
    for line in &lines {
        let status = line["status"].as_str().expect("a status");
        assert!(["ok", "warn", "fail"].contains(&status), "{line}");
        assert!(line["check"].is_string() && line["found"].is_string());
        // Every problem has a remedy.
        assert_eq!(line["remedy"].is_string(), status != "ok", "{line}");
        blocked |= status == "fail";
    }
    assert_eq!(output.status.code(), Some(i32::from(blocked)));
    assert!(output.stderr.is_empty());
}

#[test]
fn the_exit_code_is_1_if_a_check_fails() {
    let output = Command::new(TRACER)
        .args(["check", "-o", "json"])
        .output()
        .expect("the program runs");
    well_formed(&output);
}

#[test]
fn missing_capabilities_are_named_and_fail() {
    let root = rustix::process::geteuid().is_root();
    let output = if root {
        Command::new("setpriv")
            .args(["--inh-caps=-all", "--bounding-set=-all", TRACER])
            .args(["check", "-o", "json"])
            .output()
    } else {
        Command::new(TRACER).args(["check", "-o", "json"]).output()
    }
    .expect("the program runs");
    well_formed(&output);
    assert_eq!(output.status.code(), Some(1));
    let lines = lines(&output);
    let line = |check: &str| {
        lines
            .iter()
            .find(|line| line["check"] == check)
            .unwrap_or_else(|| panic!("no line {check}"))
    };
    assert_eq!(
        line("capabilities")["found"],
        "BPF, NET_ADMIN, PERFMON missing"
    );
    // The kernel refused these calls.
    assert_eq!(line("bpf map")["status"], "fail");
    assert_eq!(line("bpf program")["status"], "fail");
}

#[test]
fn text_output_ends_with_the_verdict() {
    let output = Command::new(TRACER)
        .arg("check")
        .output()
        .expect("the program runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let verdict = text.lines().last().expect("a line");
    let expected = match output.status.code() {
        Some(0) => "Tracer can run here",
        _ => "Tracer cannot run here",
    };
    assert!(verdict.starts_with(expected), "{verdict}");
    assert!(!text.contains('\u{1b}'), "no colour into a pipe");
}
