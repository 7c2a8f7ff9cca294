//! Names from an API server instead of a file: real probes, real pods, `tracer observe --local --kubeconfig`.
//! The server runs in the node's network.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::lab::{NewPod, ProxyMode};
use testbed::stage::{CLIENT, NODE, Stage, asked, name, program};
use testbed::watch::Watch;

use testbed::api::Api;

/// Time limit for anything that a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The next matching event.
fn wait_for(watch: &mut Watch, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = watch.line(left).expect("the tracer runs");
        let line = line.unwrap_or_else(|| panic!("no {what}"));
        let event: Value = serde_json::from_str(&line).expect("a line of JSON");
        if fits(&event) {
            return event;
        }
    }
}

/// The client asks for this name. Returns its event.
fn ask(stage: &Stage, watch: &mut Watch, pod: &str, question: &str) -> Value {
    stage.run_in(pod, &["dig", "+tries=1", question, "A"]);
    wait_for(watch, question, asked(question, "A"))
}

#[test]
fn names_come_from_the_cluster_follow_it_and_outlast_its_api_server() {
    let mut stage = Stage::new(ProxyMode::Iptables);
    let api = Api::start_in(&stage.lab.node_netns(NODE).expect("a node"));
    for object in stage.lab.inventory().objects() {
        api.put_object(object);
    }
    // No answer at the start.
    api.hold("pods", true);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("kubeconfig");
    std::fs::write(&file, api.kubeconfig("t")).expect("a kubeconfig");
    let program = program().to_str().expect("a path");
    let file = file.to_str().expect("a path");
    let observe = [program, "observe", "--local", "--node-name", NODE];
    let cluster = ["-o", "json", "--kubeconfig", file];
    let command = stage.on_node(NODE, &[observe.as_slice(), &cluster].concat());
    let mut watch = Watch::spawn(command).expect("the tracer starts");
    watch.wait_for_log("tracing ").expect("it traces");

    // Before the API server has answered: events are reported, without names.
    let event = ask(&stage, &mut watch, CLIENT, "unnamed.example.");
    assert_eq!(
        event["pod"]["unknown"], "the API server has not answered yet",
        "{event}"
    );
    api.hold("pods", false);
    let mut number = 0;
    let event = loop {
        let event = ask(
            &stage,
            &mut watch,
            CLIENT,
            &format!("named-{number}.example."),
        );
        if event["pod"]["unknown"].is_null() {
            break event;
        }
        number += 1;
        assert!(number < 1_000, "it never has a name: {event}");
    };
    assert_eq!(name(&event["pod"]), CLIENT, "{event}");
    assert_eq!(
        name(&event["peer"]["service"]),
        "kube-system/kube-dns",
        "{event}"
    );

    // A new pod: the API knows it once it is scheduled, without an address.
    let pod = NewPod {
        namespace: "default".to_owned(),
        name: "newcomer".to_owned(),
        uid: "0badcafe-0000-4000-8000-000000000001".to_owned(),
        node: NODE.to_owned(),
        ipv4: [10, 1, 39, 200].into(),
        ipv6: None,
    };
    api.put(
        "pods",
        json!({"metadata": {"namespace": pod.namespace, "name": pod.name, "uid": pod.uid},
            "spec": {"nodeName": NODE, "containers": []}, "status": {"phase": "Pending"}}),
    );
    stage.lab.add_pod(&pod, false).expect("a new pod");
    let event = ask(&stage, &mut watch, "default/newcomer", "first.example.");
    assert_eq!(
        name(&event["pod"]),
        "default/newcomer",
        "its very first query: {event}"
    );

    // The API server becomes unreachable: known names stay.
    drop(api);
    watch
        .wait_for_log("warning: cannot reach http://127.0.0.1:")
        .expect("the summary");
    let event = ask(&stage, &mut watch, CLIENT, "stale.example.");
    assert_eq!(name(&event["pod"]), CLIENT, "{event}");
    // A conclusion from old data states its age.
    stage.run(&["nslookup", "no-such-name"]);
    // The names asked for above have findings, too.
    let finding = wait_for(&mut watch, "finding", |event| {
        event["type"] == "finding" && event.to_string().contains("no-such-name")
    });
    let why = finding["why"].as_str().expect("a text");
    assert!(why.contains("There is no Service no-such-name"), "{why}");
    assert!(
        why.contains("may be out of date: the API server could not be watched for "),
        "{why}"
    );
    let ended = watch.stop().expect("it ends");
    let says = |text: &str| ended.log.iter().any(|line| line.contains(text));
    assert!(says("stale since "), "{:?}", ended.log);
    assert_eq!(ended.code, Some(0), "{:?}", ended.log);
}
