//! The node's own traffic, with real sockets in real cgroups (version 2): a hostNetwork pod and a process outside
//! Kubernetes, compared with `conntrack -L` on the node; and what only looks like it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use testbed::lab::{Inventory, ProxyMode};
use testbed::stage::objects::{IDLE, cgroup_on_host, on_host_network, pod};
use testbed::stage::{CLIENT, NODE, Stage, asked, name, program, text};
use testbed::watch::{Events, listed};

const NODE_IP: &str = "192.168.2.33";
/// The hostNetwork pod and its container.
const HOST_CLIENT: &str = "default/host-client";
const CONTAINER: &str = "main";
const DNS: &str = "10.152.183.10";
/// A Service with an endpoint on each node, and its port.
const SERVICE: &str = "10.152.183.115";
const PORT: u16 = 90;
/// Its endpoint on the client's node, and one on another.
const LOCAL_ENDPOINT: &str = "10.1.39.195";
const REMOTE_ENDPOINT: &str = "10.1.79.66";
/// Ports of the connections that make the pod known.
const UNTIL_KNOWN: RangeInclusive<u64> = 42_000..=42_009;
/// A server outside the cluster.
const OUTSIDE: &str = "198.51.100.10";

/// The scenario's cluster with a hostNetwork pod on the client's node.
struct Node {
    stage: Stage,
    cgroup: String,
    /// A process of the pod, which makes its cgroup known.
    pause: Child,
}

impl Node {
    fn new(proxy_mode: ProxyMode) -> Node {
        let scenario = Inventory::scenario().expect("the scenario's inventory");
        let address = NODE_IP.parse().expect("an address");
        let host_client = on_host_network(pod(("default", "host-client"), NODE, address, IDLE));
        let cgroup = cgroup_on_host(&host_client);
        let mut objects = scenario.objects().to_vec();
        objects.push(host_client);
        let inventory = Inventory::from_objects(objects).expect("an inventory");
        let stage = Stage::of(proxy_mode, inventory);
        let sleep = stage.lab.exec_node_in(NODE, &cgroup, &["sleep", "600"]);
        let pause = sleep.expect("a node").spawn().expect("it starts");
        Node {
            stage,
            cgroup,
            pause,
        }
    }

    /// A command of the hostNetwork pod.
    fn in_pod(&self, argv: &[&str]) -> Command {
        let command = self.stage.lab.exec_node_in(NODE, &self.cgroup, argv);
        command.expect("a node")
    }

    /// A command of a service of the node's operating system.
    fn in_service(&self, argv: &[&str]) -> Command {
        let command = self
            .stage
            .lab
            .exec_node_in(NODE, "system.slice/outside.service", argv);
        command.expect("a node")
    }

    fn nft(&self, node: &str, rules: &str) {
        let status = self.stage.on_node(node, &["nft", rules]).status();
        assert!(status.expect("nft runs").success(), "{rules}");
    }

    /// Starts the tracer on the pod's node, and waits until it knows the pod by its cgroup: on a busy machine it does not
    /// in time for the first event.
    fn events(&self, arguments: &[&str]) -> Events {
        let mut events = self.stage.events(arguments);
        let url = format!("http://{OUTSIDE}/");
        for port in UNTIL_KNOWN {
            let local = port.to_string();
            let curl = [curl(&url), vec!["--local-port", &local]].concat();
            assert!(run(self.in_pod(&curl)).status.success());
            let event = events.wait_for("its connection", |event| {
                closed(OUTSIDE)(event) && event["pod"]["port"] == port
            });
            if of_host_client(&event.unwrap()) {
                return events;
            }
        }
        panic!("its pod is never known: {}", listed(events.all()));
    }

    /// The endpoint of each port of the node, as conntrack lists it.
    fn endpoints(&self, protocol: &str, service: &str) -> BTreeMap<u64, String> {
        let list = [
            "conntrack",
            "-L",
            "-p",
            protocol,
            "-s",
            NODE_IP,
            "-d",
            service,
        ];
        let output = self.stage.on_node(NODE, &list).output();
        let nth = |line: &str, key: &str, nth: usize| {
            let mut values = line.split_whitespace().filter_map(|word| {
                let (name, value) = word.split_once('=')?;
                (name == key).then(|| value.to_owned())
            });
            values.nth(nth)
        };
        let entry = |line: &str| {
            let port = nth(line, "sport", 0)?.parse().ok()?;
            Some((port, nth(line, "src", 1)?))
        };
        text(&output.expect("conntrack runs"))
            .lines()
            .filter_map(entry)
            .collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.pause.kill();
        let _ = self.pause.wait();
    }
}

fn run(mut command: Command) -> Output {
    command.stdin(Stdio::null()).output().expect("it runs")
}

fn curl(url: &str) -> Vec<&str> {
    vec!["curl", "-sS", "-o", "/dev/null", "--max-time", "9", url]
}

fn closed<'a>(peer: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |event| event["type"] == "tcp" && event["peer"]["ip"] == peer && event["state"] == "closed"
}

fn of_host_client(event: &Value) -> bool {
    name(&event["pod"]) == HOST_CLIENT && event["pod"]["ip"] == NODE_IP
}

fn a_host_network_client_asks_a_service(proxy_mode: ProxyMode) {
    let node = Node::new(proxy_mode);
    let mut events = node.events(&[]);

    let question = "kubernetes.default.svc.cluster.local.";
    let at_dns = format!("@{DNS}");
    run(node.in_pod(&["dig", "+tries=1", &at_dns, question, "A"]));
    let event = events.wait_for("its query", asked(question, "A")).unwrap();
    assert!(of_host_client(&event), "{event}");
    assert_eq!(event["pod"]["container"], CONTAINER, "{event}");
    assert_eq!(event["peer"]["ip"], DNS, "{event}");
    assert_eq!(name(&event["peer"]["service"]), "kube-system/kube-dns");
    assert_eq!(event["rcode"], "NOERROR", "{event}");
    let backend = event["peer"]["backend"]["ip"]
        .as_str()
        .expect("an endpoint");
    let port = event["pod"]["port"].as_u64().expect("a port");
    assert_eq!(
        node.endpoints("udp", DNS),
        [(port, backend.to_owned())].into()
    );

    let url = format!("http://{SERVICE}:{PORT}/");
    for _ in 0..16 {
        assert!(run(node.in_pod(&curl(&url))).status.success());
    }
    let mut expected = node.endpoints("tcp", SERVICE);
    assert_eq!(expected.len(), 16, "{expected:?}");
    // Those to the pod on this node pass no uplink.
    expected.retain(|_, endpoint| endpoint != LOCAL_ENDPOINT);
    assert!(!expected.is_empty(), "only the endpoint on this node");
    let last = *expected.keys().last().expect("one");
    let ended = |event: &Value| closed(SERVICE)(event) && of_host_client(event);
    events
        .wait_for("its connections", |event| {
            ended(event) && event["pod"]["port"] == last
        })
        .unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    events.poll().expect("the tracer runs");
    let connections: Vec<&Value> = events.all().iter().filter(|event| ended(event)).collect();
    let found: BTreeMap<u64, String> = connections
        .iter()
        .filter_map(|event| {
            let endpoint = event["peer"]["backend"]["ip"].as_str()?;
            Some((event["pod"]["port"].as_u64()?, endpoint.to_owned()))
        })
        .collect();
    assert_eq!(found, expected);
    assert_eq!(connections.len(), expected.len(), "one event of each");
    for event in connections {
        assert_eq!(event["pod"]["container"], CONTAINER, "{event}");
        let service = name(&event["peer"]["service"]);
        assert_eq!(service, "myns/clusterip-apache2-ds-myns", "{event}");
    }
    let findings: Vec<&Value> = events
        .all()
        .iter()
        .filter(|event| event["type"] == "finding")
        .collect();
    assert!(findings.is_empty(), "{findings:?}");
}

#[test]
fn a_host_network_client_asks_a_service_in_iptables_mode() {
    a_host_network_client_asks_a_service(ProxyMode::Iptables);
}

#[test]
fn a_host_network_client_asks_a_service_in_nftables_mode() {
    a_host_network_client_asks_a_service(ProxyMode::Nftables);
}

#[test]
fn a_process_outside_kubernetes_is_named_as_no_pod() {
    let node = Node::new(ProxyMode::Iptables);
    let mut events = node.events(&[]);
    let at_dns = format!("@{DNS}");
    run(node.in_service(&["dig", "+tries=1", &at_dns, "outside.example.", "A"]));
    let event = events
        .wait_for("its query", asked("outside.example.", "A"))
        .unwrap();
    assert_eq!(event["pod"]["ip"], NODE_IP, "{event}");
    assert_eq!(event["pod"]["name"], Value::Null, "{event}");
    assert_eq!(
        event["pod"]["unknown"],
        "a process of the node, of no known pod"
    );
    assert_eq!(name(&event["peer"]["service"]), "kube-system/kube-dns");
}

/// All that the node forwards or receives unasked, beside one connection of its own.
#[test]
fn what_the_node_forwards_is_not_its_own() {
    let node = Node::new(ProxyMode::Iptables);
    // As for pods whose addresses no router outside knows, and a node port.
    node.nft(
        NODE,
        "add table ip near-misses
         add chain ip near-misses post { type nat hook postrouting priority 110; }
         add rule ip near-misses post ip saddr 10.1.39.192/26 ip daddr 198.51.100.0/24 masquerade
         add chain ip near-misses pre { type nat hook prerouting priority -110; }",
    );
    node.nft(
        NODE,
        &format!("add rule ip near-misses pre tcp dport 30080 dnat to {LOCAL_ENDPOINT}:{PORT}"),
    );
    let mut listener = node
        .in_pod(&[
            "python3",
            "-m",
            "http.server",
            "8099",
            "--directory",
            "/proc/self/fdinfo",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut events = node.events(&[]);

    let outside = format!("http://{OUTSIDE}/");
    assert!(node.stage.run(&curl(&outside)).status.success());
    let to_node_port = curl("http://192.168.2.33:30080/");
    assert!(
        run(node.stage.lab.exec_upstream(&to_node_port))
            .status
            .success()
    );
    let to_host = curl("http://192.168.2.33:8099/");
    let reached = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        run(node.stage.lab.exec_upstream(&to_host)).status.success()
    });
    assert!(reached, "the hostNetwork server");
    listener.kill().expect("it runs");
    listener.wait().expect("it ends");
    // A port without a listener: the node's kernel resets, and no process of it asked.
    let refused = run(node
        .stage
        .lab
        .exec_upstream(&curl("http://192.168.2.33:8098/")));
    assert_eq!(refused.status.code(), Some(7));
    let ping = ["ping", "-c", "1", NODE_IP];
    assert!(run(node.stage.lab.exec_upstream(&ping)).status.success());
    assert!(
        node.stage
            .run(&["ping", "-c", "1", OUTSIDE])
            .status
            .success()
    );

    let before = |event: &Value| {
        let port = event["pod"]["port"].as_u64();
        port.is_some_and(|port| UNTIL_KNOWN.contains(&port))
    };
    let own = format!("http://{OUTSIDE}:80/");
    assert!(run(node.in_pod(&curl(&own))).status.success());
    events
        .wait_for("the pod's connection", |event| {
            closed(OUTSIDE)(event) && of_host_client(event) && !before(event)
        })
        .unwrap();
    let of_client = |event: &Value| closed(OUTSIDE)(event) && name(&event["pod"]) == CLIENT;
    events
        .wait_for("the forwarded connection", of_client)
        .unwrap();
    let of_node: Vec<&Value> = events
        .all()
        .iter()
        .filter(|event| event["pod"]["ip"] == NODE_IP && !before(event))
        .collect();
    let ports: BTreeSet<u64> = of_node
        .iter()
        .filter_map(|event| event["pod"]["port"].as_u64())
        .collect();
    assert_eq!(ports.len(), 1, "{}", listed(events.all()));
    assert!(of_node.iter().all(|event| of_host_client(event)));
    let forwarded = events.all().iter().filter(|event| of_client(event));
    assert_eq!(forwarded.count(), 1, "{}", listed(events.all()));
}

#[test]
fn without_the_nodes_traffic_nothing_of_it_is_shown() {
    let node = Node::new(ProxyMode::Iptables);
    let mut events = node.stage.events(&["--no-node"]);
    let url = format!("http://{REMOTE_ENDPOINT}:{PORT}/");
    assert!(run(node.in_pod(&curl(&url))).status.success());
    assert!(node.stage.run(&curl(&url)).status.success());
    events
        .wait_for("the other pod's", closed(REMOTE_ENDPOINT))
        .unwrap();
    let shown = |events: &Events| {
        let of_node = |event: &&Value| event["pod"]["ip"] == NODE_IP;
        events.all().iter().filter(of_node).count()
    };
    events.stop().expect("it runs to the end");
    assert_eq!(shown(&events), 0, "{}", listed(events.all()));
}

#[test]
fn a_failing_connection_of_a_host_network_pod_is_its_own_finding() {
    let node = Node::new(ProxyMode::Nftables);
    node.nft(
        "k8s-worker01",
        &format!(
            "add table inet fail
             add chain inet fail forward {{ type filter hook forward priority 0; }}
             add rule inet fail forward ip saddr {NODE_IP} tcp dport {PORT} counter drop"
        ),
    );
    let mut events = node.events(&[]);
    let url = format!("http://{REMOTE_ENDPOINT}:{PORT}/");
    assert_eq!(run(node.in_pod(&curl(&url))).status.code(), Some(28));
    let finding = events
        .wait_for("the finding", |event| event["rule"] == "connect-timeout")
        .unwrap();
    assert_eq!(name(&finding["pod"]), HOST_CLIENT, "{finding}");
    events.stop().expect("it runs to the end");
    let others: Vec<&Value> = events
        .all()
        .iter()
        .filter(|event| event["type"] == "finding" && name(&event["pod"]) != HOST_CLIENT)
        .collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn a_replayed_recording_names_the_host_network_pod_and_its_process() {
    let node = Node::new(ProxyMode::Nftables);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let recording = directory.path().join("run.pcapng");
    let recording = recording.to_str().expect("text");
    let mut events = node.events(&["--record", recording]);
    let question = "kubernetes.default.svc.cluster.local.";
    let at_dns = format!("@{DNS}");
    run(node.in_pod(&["dig", "+tries=1", &at_dns, question, "A"]));
    let live = events.wait_for("its query", asked(question, "A")).unwrap();
    assert!(of_host_client(&live), "{live}");
    assert_eq!(live["pod"]["container"], CONTAINER, "{live}");
    assert_eq!(live["pod"]["process"]["comm"], "dig", "{live}");
    events.stop().expect("the tracer ends");

    let output = Command::new(program())
        .args(["observe", "-o", "json", "--node-name", NODE, "--replay"])
        .arg(recording)
        .arg("--inventory")
        .arg(node.stage.lab.inventory_file())
        .output()
        .expect("the program runs");
    let replayed = text(&output);
    let mut replayed = replayed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let event = replayed.find(asked(question, "A")).expect("its query");
    for end in ["pod", "peer"] {
        assert_eq!(event[end], live[end], "{event}");
    }
}
