//! What each capability is for: as root, but with one of deploy/'s capabilities missing from the bounding
//! set, `tracer check` names it and the tracer does not start. docs/operations.md explains the same.

use std::process::Output;

use serde_json::Value;
use testbed::lab::ProxyMode;
use testbed::stage::{NODE, Stage, program};

/// What deploy/base/daemonset.yaml adds.
const GRANTED: [&str; 3] = ["bpf", "net_admin", "perfmon"];

/// Runs the tracer in the node's network as root with exactly these capabilities.
fn with(stage: &Stage, capabilities: &[&str], arguments: &[&str]) -> Output {
    let added: String = capabilities
        .iter()
        .map(|name| format!(",+{name}"))
        .collect();
    let bounds = format!("--bounding-set=-all{added}");
    let program = program().to_str().expect("a path that is UTF-8");
    let argv = [
        &["setpriv", "--inh-caps=-all", bounds.as_str(), program],
        arguments,
    ]
    .concat();
    let mut command = stage.lab.exec_node(NODE, &argv).expect("a node of the lab");
    command.output().expect("it runs")
}

/// A line of `tracer check`.
fn checked(output: &Output, check: &str) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let mut of = lines.filter(|line| line["check"] == check);
    of.next()
        .unwrap_or_else(|| panic!("no line {check} in {text}"))
}

#[test]
fn the_tracer_runs_with_the_granted_capabilities_and_with_none_of_them_missing() {
    let stage = Stage::new(ProxyMode::Iptables);
    let check = with(&stage, &GRANTED, &["check", "-o", "json"]);
    assert_eq!(check.status.code(), Some(0), "{check:?}");
    assert_eq!(
        checked(&check, "capabilities")["found"],
        "BPF, NET_ADMIN, PERFMON"
    );
    let observe = ["observe", "--local", "--duration", "100ms"];
    let traced = with(&stage, &GRANTED, &observe);
    assert_eq!(traced.status.code(), Some(0), "{traced:?}");
    assert!(
        String::from_utf8_lossy(&traced.stderr).contains("tracing the pod interfaces"),
        "{traced:?}"
    );

    for missing in GRANTED {
        let rest: Vec<&str> = GRANTED
            .into_iter()
            .filter(|name| *name != missing)
            .collect();
        let check = with(&stage, &rest, &["check", "-o", "json"]);
        assert_eq!(check.status.code(), Some(1), "{check:?}");
        let line = checked(&check, "capabilities");
        assert_eq!(line["found"], format!("{} missing", missing.to_uppercase()));
        assert!(
            line["remedy"]
                .as_str()
                .is_some_and(|remedy| remedy.contains("capabilities.add"))
        );

        let refused = with(&stage, &rest, &observe);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(
            refused.status.code(),
            Some(2),
            "without {missing} it started: {said}"
        );
        assert!(
            said.contains(&format!("CAP_{}", missing.to_uppercase())),
            "{said}"
        );
        assert!(said.contains("tracer check"), "{said}");
    }
}
