//! `tracer check` as it is run. What it finds depends on the machine; how it says it does not.

use std::process::{Command, Output};

const TRACER: &str = env!("CARGO_BIN_EXE_tracer");

fn lines(output: &Output) -> Vec<serde_json::Value> {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON object a line"))
        .collect()
}

/// Every line is complete, and the exit code says whether one of them is a blocker.
fn well_formed(output: &Output) {
    let lines = lines(output);
    assert!(lines.len() >= 10, "{lines:?}");
    let mut blocked = false;
    for line in &lines {
        let status = line["status"].as_str().expect("a status");
        assert!(["ok", "warn", "fail"].contains(&status), "{line}");
        assert!(line["check"].is_string() && line["found"].is_string());
        // What is wrong always comes with what to do.
        assert_eq!(line["remedy"].is_string(), status != "ok", "{line}");
        blocked |= status == "fail";
    }
    assert_eq!(output.status.code(), Some(i32::from(blocked)));
    assert!(output.stderr.is_empty());
}

#[test]
fn the_exit_code_says_whether_something_blocks() {
    let output = Command::new(TRACER)
        .args(["check", "-o", "json"])
        .output()
        .expect("the program runs");
    well_formed(&output);
}

#[test]
fn without_capabilities_it_names_them_and_fails() {
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
    let of = |check: &str| {
        lines
            .iter()
            .find(|line| line["check"] == check)
            .unwrap_or_else(|| panic!("no line {check}"))
    };
    assert_eq!(
        of("capabilities")["found"],
        "BPF, NET_ADMIN, PERFMON missing"
    );
    // It was really tried: the kernel itself said no.
    assert_eq!(of("bpf map")["status"], "fail");
    assert_eq!(of("bpf program")["status"], "fail");
}

#[test]
fn text_ends_with_the_verdict() {
    let output = Command::new(TRACER)
        .arg("check")
        .output()
        .expect("the program runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let verdict = text.lines().last().expect("a line");
    let expected = match output.status.code() {
        Some(0) => "It can run here",
        _ => "It cannot run here",
    };
    assert!(verdict.starts_with(expected), "{verdict}");
    assert!(!text.contains('\u{1b}'), "no colour into a pipe");
}
