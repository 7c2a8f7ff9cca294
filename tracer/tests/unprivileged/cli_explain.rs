//! `tracer explain` as a user runs it: on an inventory with a capture, and with the objects of an API server.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use testbed::api::{Api, Fault};
use tracer::stream::event::unix_clock;
use tracer::stream::hub::{AgentIdentity, Hub};
use tracer::stream::listen::Listeners;
use tracer_core::model::event::{Body, Event};
use tracer_core::model::time::Timestamp;

const CAPTURE: &str = "tracer-core/tests/fixtures/captures/dns-session.pcap.gz";
const INVENTORY: &str = "testbed/lab/inventory.yaml";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

struct Answer {
    out: String,
    err: String,
    code: Option<i32>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.err))
    }
}

fn explain(arguments: &[&str]) -> Answer {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TRACER_") {
            command.env_remove(name);
        }
    }
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .current_dir(root())
        .arg("explain")
        .args(arguments)
        .env("TZ", "UTC")
        .env("KUBECONFIG", "/no/such/kubeconfig")
        .env_remove("KUBERNETES_SERVICE_HOST")
        .stdin(Stdio::null())
        .output()
        .expect("the program runs");
    Answer {
        out: String::from_utf8(stdout).expect("text"),
        err: String::from_utf8(stderr).expect("text"),
        code: status.code(),
    }
}

/// Explains with the lab's inventory and a capture of it.
fn of_capture(arguments: &[&str]) -> Answer {
    let sources = ["--inventory", INVENTORY, "--replay", CAPTURE];
    explain(&[arguments, &sources].concat())
}

#[test]
fn a_name_of_another_namespace_is_explained_on_one_screen() {
    let answer = of_capture(&["deb-ubuntu", "--to", "clusterip-apache2-ds-myns"]);
    assert_eq!(answer.code, Some(1), "{}", answer.err);
    insta::assert_snapshot!("explain_name", answer.out);
    assert!(
        !answer.out.contains('\u{1b}'),
        "no colour but on a terminal"
    );
    let last = answer
        .out
        .lines()
        .rev()
        .take(2)
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        last.contains("use clusterip-apache2-ds-myns.myns"),
        "{last}"
    );
}

#[test]
fn json_is_one_object_with_every_section() {
    let answer = of_capture(&[
        "deb-ubuntu",
        "--to",
        "clusterip-apache2-ds-myns",
        "-o",
        "json",
    ]);
    assert_eq!(answer.code, Some(1), "{}", answer.err);
    assert_eq!(answer.out.lines().count(), 1);
    let pretty = serde_json::to_string_pretty(&answer.json()).expect("JSON");
    insta::assert_snapshot!("explain_json", pretty);
}

#[test]
fn the_document_shows_what_the_program_prints() {
    let document = fs::read_to_string(root().join("docs/explain.md")).expect("docs/explain.md");
    let answer = of_capture(&["deb-ubuntu", "--to", "clusterip-apache2-ds-myns"]);
    let shown = document
        .split("```text\n")
        .nth(1)
        .and_then(|rest| rest.split("\n```").next());
    assert_eq!(shown, Some(answer.out.trim_end()), "docs/explain.md");
    // It names every field of the object.
    let json = of_capture(&["deb-ubuntu", "--to", "clusterip-nginx-ds", "-o", "json"]).json();
    for field in fields(&json) {
        assert!(
            document.contains(&format!("`{field}`")),
            "docs/explain.md lacks {field}"
        );
    }
}

fn fields(value: &Value) -> Vec<String> {
    match value {
        Value::Object(object) => {
            // The outcomes are those of events.
            let inner = object.iter().filter(|(name, _)| *name != "outcomes");
            let names = object.keys().cloned();
            names
                .chain(inner.flat_map(|(_, value)| fields(value)))
                .collect()
        }
        Value::Array(all) => all.iter().flat_map(fields).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn the_exit_code_is_that_of_the_answer() {
    for (arguments, code) in [
        // Connected to, and no name is involved.
        (
            &[
                "deb-ubuntu",
                "--to",
                "kube-system/coredns-6f5f9b5d74-pf4ld:53",
            ][..],
            0,
        ),
        (&["deb-ubuntu", "--to", "servfail.example"], 1),
        (&["deb-ubuntu"], 1),
        (&["deb-ubuntu", "--to", "clusterip-nginx-ds:81"], 1),
        (&["ds/nginx-ds", "--to", "kubernetes:443"], 3),
    ] {
        let answer = of_capture(arguments);
        assert_eq!(
            answer.code,
            Some(code),
            "{arguments:?}: {}{}",
            answer.out,
            answer.err
        );
    }
}

#[test]
fn what_does_not_exist_is_said_with_what_may_be_meant() {
    for (arguments, says) in [
        (
            &["deb-ubunto"][..],
            "there is no pod deb-ubunto in namespace default: did you mean deb-ubuntu?",
        ),
        (
            &["myns/deb-ubuntu"],
            "there is no pod deb-ubuntu in namespace myns: it is default/deb-ubuntu",
        ),
        (
            &["deploy/nginx"],
            "no pod in namespace default belongs to deploy/nginx",
        ),
        (
            &["deb-ubuntu", "--to", "svc/clusterip-nginx"],
            "did you mean default/clusterip-nginx-ds?",
        ),
        (
            &["deb-ubuntu", "--to", "default/clusterip-apache2-ds-myns"],
            "there is myns/clusterip-apache2-ds-myns",
        ),
        (
            &["deb-ubuntu", "--to", "nowhere/web"],
            "there is no namespace nowhere",
        ),
        (
            &["deb-ubuntu", "--to", "web:http"],
            "with :PORT or :PORT/udp",
        ),
        (&["deb-ubuntu", "--watch"], "--watch waits for new attempts"),
    ] {
        let answer = of_capture(arguments);
        assert_eq!(answer.code, Some(2), "{arguments:?}: {}", answer.out);
        assert!(answer.out.is_empty(), "{arguments:?}");
        assert!(answer.err.contains(says), "{arguments:?}: {}", answer.err);
    }
    let nameless = explain(&["deb-ubuntu", "--replay", CAPTURE]);
    assert_eq!(nameless.code, Some(2));
    assert!(nameless.err.contains("--inventory"), "{}", nameless.err);
}

#[test]
fn an_inventory_alone_is_explained_without_a_cluster() {
    let answer = explain(&[
        "deb-ubuntu",
        "--to",
        "clusterip-nginx-ds",
        "--inventory",
        INVENTORY,
    ]);
    assert_eq!(answer.code, Some(3), "{}", answer.err);
    assert!(
        answer.out.contains("unknown: no events could be collected"),
        "{}",
        answer.out
    );
    assert!(
        answer
            .out
            .contains("kubectl -n default debug -qi deb-ubuntu"),
        "{}",
        answer.out
    );
}

/// The objects of two namespaces, and a kubeconfig for their server.
fn cluster() -> (Api, tempfile::TempDir, String) {
    let api = Api::start();
    let pod = |namespace: &str, name: &str, ip: &str| {
        json!({
            "metadata": {"namespace": namespace, "name": name, "uid": name},
            "spec": {"nodeName": "here", "containers": [{"name": "main", "image": "i"}]},
            "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]},
        })
    };
    api.put("pods", pod("shop", "web", "10.1.0.1"));
    api.put("pods", pod("data", "db-0", "10.1.0.2"));
    let service = json!({
        "metadata": {"namespace": "data", "name": "db"},
        "spec": {"clusterIP": "10.152.0.1", "clusterIPs": ["10.152.0.1"], "ports": [{"port": 5432, "protocol": "TCP"}]},
    });
    api.put("services", service);
    let slice = json!({
        "metadata": {"namespace": "data", "name": "db-1", "labels": {"kubernetes.io/service-name": "db"}},
        "addressType": "IPv4",
        "ports": [{"port": 5432, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["10.1.0.2"], "conditions": {"ready": true}, "nodeName": "here"}],
    });
    api.put("endpointslices", slice);
    for namespace in ["shop", "data"] {
        api.put("namespaces", json!({"metadata": {"name": namespace}}));
    }
    let no_relay = Fault {
        code: 404,
        message: "the server could not find the requested resource",
        retry_after: None,
    };
    api.fail_always("traces", Some(no_relay));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("kubeconfig");
    fs::write(&file, api.kubeconfig("token")).expect("there is room");
    let file = file.to_str().expect("UTF-8").to_owned();
    (api, directory, file)
}

#[test]
fn objects_are_listed_and_never_watched() {
    let (api, _directory, kubeconfig) = cluster();
    let answer = explain(&[
        "shop/web",
        "--to",
        "db.data",
        "-o",
        "json",
        "--kubeconfig",
        &kubeconfig,
    ]);
    assert_eq!(answer.code, Some(3), "{}", answer.err);
    let json = answer.json();
    assert_eq!(json["service"]["ready"], 1, "{json:#}");
    assert_eq!(json["resolution"]["winner"], "db.data.svc.cluster.local.");
    let objects = api
        .asked()
        .into_iter()
        .filter(|asked| asked.resource != "traces");
    assert!(objects.into_iter().all(|asked| !asked.watch));
    // The server has no relay, which is no reason to explain nothing.
    let unknown = json["unknown"].to_string();
    assert!(unknown.contains("no Tracer relay"), "{unknown}");
}

#[test]
fn a_kind_that_may_not_be_listed_is_unknown() {
    let (api, _directory, kubeconfig) = cluster();
    let forbidden = Fault {
        code: 403,
        message: "networkpolicies is forbidden",
        retry_after: None,
    };
    api.fail_always("networkpolicies", Some(forbidden));
    let answer = explain(&["shop/web", "--to", "db.data", "--kubeconfig", &kubeconfig]);
    assert_eq!(answer.code, Some(3), "{}", answer.err);
    let line = "what NetworkPolicies allow: networkpolicies could not be listed";
    assert!(answer.out.contains(line), "{}", answer.out);
    assert!(
        !answer.out.contains("policies  "),
        "no section about them: {}",
        answer.out
    );
}

/// An agent without probes, and an inventory with the pod of the gallery's events.
struct Agent {
    hub: Arc<Hub>,
    directory: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl Agent {
    fn start() -> Agent {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let inventory = fs::read_to_string(root().join(INVENTORY)).expect("the lab's inventory");
        let own_uid = "6757d342-97d3-489b-951d-1f66d36173ae";
        assert!(inventory.contains(own_uid));
        let inventory = inventory.replace(own_uid, "uid-of-deb-ubuntu");
        fs::write(directory.path().join("inventory.yaml"), inventory).expect("there is room");
        let identity = AgentIdentity {
            node: "k8s-worker03".into(),
            instance: "1".to_owned(),
            // No event is older than its agent.
            started_unix_ns: now() - HOUR,
        };
        let (hub, _) = Hub::new(identity, 1 << 20);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let served = Arc::clone(&hub);
        let socket = directory.path().join("agent");
        runtime.spawn(async move {
            let listeners = Listeners::bind(&socket, None).expect("bound");
            listeners.serve(served, 8).await.expect("served");
        });
        while !directory.path().join("agent").exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        Agent {
            hub,
            directory,
            _runtime: runtime,
        }
    }

    /// Emits an event of the gallery as if it happened so many minutes ago.
    fn emit(&self, description: &str, minutes: i64) {
        self.put(of_gallery(description), minutes);
    }

    fn put(&self, event: Event, minutes: i64) {
        let at = now() - minutes * 60_000_000_000;
        let event = Event {
            time: Timestamp(u64::try_from(at).expect("after 1970")),
            ..event
        };
        self.hub.put(at, &event, &unix_clock);
        self.hub.reached(at);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
        let socket = format!("unix:{}", self.directory.path().join("agent").display());
        command
            .args([
                "explain",
                "deb-ubuntu",
                "-o",
                "json",
                "--server",
                &socket,
                "--inventory",
            ])
            .arg(self.directory.path().join("inventory.yaml"))
            .args(arguments)
            .stdin(Stdio::null());
        command
    }
}

fn of_gallery(description: &str) -> Event {
    let mut all = tracer_core::view::gallery::all().into_iter();
    let found = all.find(|(name, _)| *name == description);
    found.expect("an event").1
}

const HOUR: i64 = 3_600_000_000_000;

fn now() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).expect("before 2262")
}

#[test]
fn an_agent_gives_what_the_pod_tried_in_the_last_minutes() {
    let agent = Agent::start();
    agent.emit("tcp established", 40);
    agent.emit("tcp established", 2);
    let output = agent
        .command(&["--to", "clusterip-nginx-ds:80"])
        .output()
        .expect("it runs");
    let error = String::from_utf8_lossy(&output.stderr);
    let answer: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{error}"));
    assert_eq!(output.status.code(), Some(0), "{answer:#}");
    assert_eq!(answer["attempts"]["span"], "in the last 15 min");
    let groups = answer["attempts"]["groups"].as_array().expect("groups");
    assert_eq!(groups.len(), 1, "{answer:#}");
    assert_eq!(
        groups[0]["count"], 1,
        "the older one is left out: {answer:#}"
    );
}

#[test]
fn watch_ends_after_the_attempt_that_it_waits_for() {
    let agent = Agent::start();
    let mut command = agent.command(&["--to", "clusterip-nginx-ds:80", "--watch"]);
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let mut said = || lines.next().expect("it waits").expect("text");
    let waits = said();
    assert!(
        waits.starts_with("waiting until default/deb-ubuntu tries"),
        "{waits}"
    );
    let command = said();
    assert!(
        command.contains("kubectl -n default debug -qi deb-ubuntu"),
        "{command}"
    );
    agent.emit("tcp established", 0);
    let output = child.wait_with_output().expect("it ends");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(0), "{answer:#}");
    assert_eq!(answer["verdict"]["kind"], "works");
}

#[test]
fn a_packet_that_the_node_dropped_is_the_answer() {
    let agent = Agent::start();
    let attempt = of_gallery("tcp opening");
    let Body::Tcp(connection) = &attempt.body else {
        panic!("{attempt:?}");
    };
    let flow = connection.flow;
    let mut dropped = of_gallery("drop in the node");
    let Body::Drop(packet) = &mut dropped.body else {
        panic!("{dropped:?}");
    };
    (packet.tuple.src, packet.tuple.dst) = (flow.pod, flow.peer);
    agent.put(attempt, 2);
    agent.put(dropped, 2);
    let output = agent
        .command(&["--to", &flow.peer.to_string()])
        .output()
        .expect("it runs");
    let error = String::from_utf8_lossy(&output.stderr);
    let answer: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{error}"));
    assert_eq!(output.status.code(), Some(1), "{answer:#}");
    let drops = answer["attempts"]["drops"].as_array().expect("drops");
    assert_eq!(drops.len(), 1, "{answer:#}");
    assert_eq!(drops[0]["reason"], "NETFILTER_DROP");
    let says = answer["verdict"]["says"].as_str().expect("a sentence");
    assert!(
        says.ends_with("node k8s-worker03 drops its packets (NETFILTER_DROP)"),
        "{says}"
    );
    // Every field of it is documented.
    let document = fs::read_to_string(root().join("docs/explain.md")).expect("docs/explain.md");
    for field in fields(&drops[0]) {
        assert!(document.contains(&format!("`{field}`")), "{field}");
    }
}

#[test]
fn one_cluster_is_asked() {
    let answer = explain(&["shop/web", "--to", "db.data", "--context", "one,two"]);
    assert_eq!(answer.code, Some(2), "{}", answer.err);
    assert!(answer.err.contains("one context"), "{}", answer.err);
}

#[test]
fn an_external_name_is_shown_with_what_it_stands_for() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("inventory.yaml");
    let lab = fs::read_to_string(root().join(INVENTORY)).expect("the lab's inventory");
    let service = |name: &str, target: &str| {
        format!(
            "\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\nspec: {{type: \
             ExternalName, externalName: {target}}}\n"
        )
    };
    let cluster = service("apache", "clusterip-apache2-ds-myns.myns.svc.cluster.local");
    let text = lab + &cluster + &service("bank", "pay.example.com");
    fs::write(&file, text).expect("there is room");
    let file = file.to_str().expect("UTF-8");
    let ask = |to: &str| explain(&["deb-ubuntu", "--to", to, "--inventory", file]).out;
    insta::assert_snapshot!("explain_alias_of_service", ask("apache:80"));
    insta::assert_snapshot!("explain_alias_outside", ask("bank"));
}
