//! A NodeLocal DNSCache and other processes of a pod's own node, with real sockets in real cgroups (version 2), and what
//! only looks like them.

use std::fs;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use testbed::lab::{Inventory, NODE_CACHE, NODE_CACHE_V6, NodeCache, ProxyMode};
use testbed::stage::objects::{DNS, IDLE, cgroup_on_host, on_host_network, pod, service};
use testbed::stage::{CLIENT, NODE, Stage, name, program, text};
use testbed::watch::{Events, Watch};

const NODE_IP: &str = "192.168.2.33";
const HOST_CLIENT: &str = "default/host-client";
const CACHE: &str = "kube-system/node-local-dns-x7k2p";
/// A DNS server of the cluster on the client's node.
const LOCAL_DNS: &str = "kube-system/coredns-local";
const LOCAL_DNS_IP: [u8; 4] = [10, 1, 39, 201];
const CLUSTER_DNS: &str = "10.152.183.10";
/// The Service by which the cache asks the cluster's DNS server, on another node.
const UPSTREAM: [u8; 4] = [10, 152, 183, 11];
/// A Service with a hostNetwork pod of the client's node behind it.
const HOST_SERVICE: [u8; 4] = [10, 152, 183, 12];
const HOST_PORT: u16 = 8099;
/// A pod on the client's node, and its port.
const SERVER: &str = "default/nginx-ds-v2qf5";
const SERVER_URL: &str = "http://10.1.39.194/";

/// After tracing has begun, questions from before may be open for so long.
const OPEN: Duration = Duration::from_secs(10);
/// Begins the names that are asked for before anything is tested.
const BEFORE: &str = "known-";

struct Node {
    stage: Stage,
    cgroup_of_client: String,
    cgroup_of_cache: String,
    cache: Option<NodeCache>,
    /// A server of the hostNetwork client.
    server: Child,
}

impl Node {
    fn new(proxy_mode: ProxyMode) -> Node {
        let scenario = Inventory::scenario().expect("the scenario's inventory");
        let mut objects = scenario.objects().to_vec();
        let address = NODE_IP.parse().expect("an address");
        let on_node = |namespace, name, uid: &str| {
            let mut pod = on_host_network(pod((namespace, name), NODE, address, IDLE));
            pod["metadata"]["uid"] = uid.into();
            pod
        };
        let client = on_node(
            "default",
            "host-client",
            "6f0e0000-0000-4000-8000-000000002211",
        );
        let cache = on_node(
            "kube-system",
            "node-local-dns-x7k2p",
            "6f0e0000-0000-4000-8000-000000002212",
        );
        let local_dns = pod(
            ("kube-system", "coredns-local"),
            NODE,
            LOCAL_DNS_IP.into(),
            DNS,
        );
        let of_dns = |object: &&Value| {
            object["kind"] == "Pod" && name(&object["metadata"]).starts_with("kube-system/coredns-")
        };
        let coredns = objects.iter().find(of_dns).expect("the DNS server").clone();
        let upstream = ("kube-system", "kube-dns-upstream");
        let [mut upstream, mut slice] =
            service(upstream, UPSTREAM.into(), (53, "UDP"), &[&coredns]);
        let ports = [("dns", "UDP"), ("dns-tcp", "TCP")]
            .map(|(name, protocol)| json!({ "name": name, "port": 53, "protocol": protocol }));
        upstream["spec"]["ports"] = json!(ports);
        slice["ports"] = json!(ports);
        let (cgroup_of_client, cgroup_of_cache) = (cgroup_on_host(&client), cgroup_on_host(&cache));
        objects.extend(service(
            ("default", "on-host"),
            HOST_SERVICE.into(),
            (HOST_PORT, "TCP"),
            &[&client],
        ));
        objects.extend([client, cache, local_dns, upstream, slice]);
        let inventory = Inventory::from_objects(objects).expect("an inventory");
        let stage = Stage::of(proxy_mode, inventory);
        let cache = stage
            .lab
            .start_node_cache(NODE, &cgroup_of_cache, UPSTREAM.into())
            .expect("the cache starts");
        let port = HOST_PORT.to_string();
        let serve = [
            "python3",
            "-m",
            "http.server",
            &port,
            "-d",
            "/proc/self/fdinfo",
        ];
        let serve = stage.lab.exec_node_in(NODE, &cgroup_of_client, &serve);
        let mut serve = serve.expect("a node");
        let serve = serve.stdout(Stdio::null()).stderr(Stdio::null());
        let server = serve.spawn().expect("it starts");
        Node {
            stage,
            cgroup_of_client,
            cgroup_of_cache,
            cache: Some(cache),
            server,
        }
    }

    /// Runs a command of the hostNetwork pod.
    fn on_host(&self, argv: &[&str]) -> Output {
        let lab = &self.stage.lab;
        run(lab
            .exec_node_in(NODE, &self.cgroup_of_client, argv)
            .expect("a node"))
    }

    /// Runs a command in the cgroup of a service of the node's operating system.
    fn in_service(&self, argv: &[&str]) -> Output {
        let lab = &self.stage.lab;
        run(lab
            .exec_node_in(NODE, "system.slice/outside.service", argv)
            .expect("a node"))
    }

    /// Whether the cache waits for the answer of the cluster's DNS server.
    fn is_asking(&self) -> bool {
        let upstream = Ipv4Addr::from(UPSTREAM).to_string();
        let list = ["ss", "-Hun", "dst", &upstream];
        !text(&self.on_node(&list)).is_empty()
    }

    /// Bytes of questions that the cache has not read.
    fn queued(&self) -> u64 {
        let list = ["ss", "-Hunl", "src", NODE_CACHE];
        let listed = text(&self.on_node(&list));
        let bytes = listed.split_whitespace().nth(1);
        let bytes = bytes.and_then(|bytes| bytes.parse().ok());
        bytes.unwrap_or_else(|| panic!("ss prints {listed:?}"))
    }

    fn on_node(&self, argv: &[&str]) -> Output {
        run(self.stage.on_node(NODE, argv))
    }

    /// Lets the cache ask another server.
    fn restart_cache(&mut self, server: [u8; 4]) {
        drop(self.cache.take());
        let lab = &self.stage.lab;
        let cache = lab.start_node_cache(NODE, &self.cgroup_of_cache, server.into());
        self.cache = Some(cache.expect("the cache starts"));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn run(mut command: Command) -> Output {
    command.stdin(Stdio::null()).output().expect("it runs")
}

fn curl(url: &str) -> [&str; 7] {
    ["curl", "-sS", "-o", "/dev/null", "--max-time", "9", url]
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "never: {what}");
    }
}

/// A query for an address.
fn dig<'a>(at: &'a str, question: &'a str, options: &[&'a str]) -> Vec<&'a str> {
    [&["dig", "+tries=1", at, question, "A"], options].concat()
}

/// The identifier of the query that dig prints.
fn id(output: &Output) -> u64 {
    let output = text(output);
    let id = output
        .split(", id: ")
        .nth(1)
        .and_then(|rest| rest.lines().next());
    id.and_then(|id| id.parse().ok())
        .unwrap_or_else(|| panic!("no identifier: {output}"))
}

/// A query of a pod, seen where it is sent.
fn query<'a>(pod: &'a str, question: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |event| {
        event["type"] == "dns"
            && event["name"] == question
            && event["direction"] == "client"
            && name(&event["pod"]) == pod
    }
}

/// A connection to the server, from this port.
fn reached(port: u64) -> impl Fn(&Value) -> bool {
    move |event| {
        event["type"] == "tcp"
            && event["direction"] == "server"
            && name(&event["pod"]) == SERVER
            && event["peer"]["port"] == port
    }
}

/// Asks until the cache and the client are known by their cgroups: on a busy machine they are not in time for their first
/// events.
fn both_become_known(node: &Node, events: &mut Events, unnamed: &mut Events) {
    let at = format!("@{NODE_CACHE}");
    let asked = |question: &str| {
        let question = question.to_owned();
        move |event: &Value| {
            let of_client = event["type"] == "dns" && event["direction"] == "client";
            of_client && event["name"] == *question && event["peer"]["ip"] == NODE_CACHE
        }
    };
    let begun = Instant::now();
    for number in 0.. {
        let on_host = format!("{BEFORE}{number}.host.example.");
        node.on_host(&dig(&at, &on_host, &[]));
        let own = events.wait_for(&on_host, asked(&on_host)).unwrap();
        let in_pod = format!("{BEFORE}{number}.pod.example.");
        node.stage.run(&dig(&at, &in_pod, &[]));
        let of_pod = [&mut *events, &mut *unnamed]
            .map(|events| events.wait_for(&in_pod, asked(&in_pod)).unwrap());
        let named = |event: &Value| name(&event["peer"]["pod"]) == CACHE;
        if name(&own["pod"]) == HOST_CLIENT && named(&own) && of_pod.iter().all(named) {
            return;
        }
        assert!(begun.elapsed() < 4 * OPEN, "never known: {own} {of_pod:?}");
    }
}

fn pods_ask_a_cache_of_their_node(
    node: &Node,
    begun: Instant,
    events: &mut Events,
    unnamed: &mut Events,
) {
    let cache = node.cache.as_ref().expect("it runs").pid();
    let cgroup = fs::read_to_string(format!("/proc/{cache}/cgroup")).expect("its cgroup");
    for (server, question) in [
        (NODE_CACHE, "one.example."),
        (CLUSTER_DNS, "two.example."),
        (NODE_CACHE_V6, "one.v6.example."),
    ] {
        let at = format!("@{server}");
        let output = node.stage.run(&dig(&at, question, &[]));
        assert!(text(&output).contains("status: NXDOMAIN"), "{output:?}");
        for events in [&mut *events, &mut *unnamed] {
            let event = events.wait_for(question, query(CLIENT, question)).unwrap();
            assert_eq!(event["peer"]["ip"], server, "{event}");
            let pod = &event["peer"]["pod"];
            assert_eq!(name(pod), CACHE, "{event}");
            let uid = pod["uid"].as_str().expect("a UID");
            assert!(cgroup.contains(&format!("/pod{uid}/")), "{cgroup}");
            let service = &event["peer"]["service"]["name"];
            assert_eq!(service == "kube-dns", server == CLUSTER_DNS, "{event}");
            assert_eq!(event["peer"]["backend"], Value::Null, "{event}");
        }
        let own = events.wait_for(question, query(CACHE, question)).unwrap();
        if begun.elapsed() < OPEN {
            assert_eq!(own["caused_by"], Value::Null, "{own}");
        }
    }
}

fn a_host_network_pod_asks_over_lo(node: &Node, events: &mut Events) {
    for (server, question, transport) in [
        (NODE_CACHE, "three.example.", "udp"),
        (CLUSTER_DNS, "four.example.", "udp"),
        (NODE_CACHE, "five.example.", "tcp"),
        (NODE_CACHE_V6, "three.v6.example.", "udp"),
        (NODE_CACHE_V6, "five.v6.example.", "tcp"),
    ] {
        let at = format!("@{server}");
        let options: &[&str] = match transport {
            "tcp" => &["+tcp"],
            _ => &[],
        };
        let output = node.on_host(&dig(&at, question, options));
        assert!(text(&output).contains("status: NXDOMAIN"), "{output:?}");
        let event = events
            .wait_for(question, query(HOST_CLIENT, question))
            .unwrap();
        let of_event = (
            &event["pod"]["ip"],
            &event["peer"]["ip"],
            &event["transport"],
        );
        assert_eq!(
            of_event,
            (&server.into(), &server.into(), &transport.into())
        );
        assert_eq!(name(&event["peer"]["pod"]), CACHE, "{event}");
    }
    // Near misses: a loopback address, and a port that is not DNS's.
    for home in ["@127.0.0.1", "@::1"] {
        node.on_host(&dig(home, "home.example.", &["+timeout=1"]));
    }
    let url = format!("http://{NODE_CACHE}:{HOST_PORT}/");
    assert!(node.on_host(&curl(&url)).status.success());
}

fn a_server_of_the_node_behind_a_service_is_named(node: &Node, events: &mut Events) {
    let service = Ipv4Addr::from(HOST_SERVICE).to_string();
    let url = format!("http://{service}:{HOST_PORT}/");
    assert!(node.stage.run(&curl(&url)).status.success());
    let connected = |event: &Value| event["type"] == "tcp" && event["peer"]["ip"] == *service;
    let event = events.wait_for("the connection", connected).unwrap();
    let peer = &event["peer"];
    assert_eq!(name(&peer["service"]), "default/on-host", "{event}");
    assert_eq!(peer["pod"], Value::Null, "{event}");
    assert_eq!(peer["backend"]["ip"], NODE_IP, "{event}");
    assert_eq!(name(&peer["backend"]["pod"]), HOST_CLIENT, "{event}");
}

fn clients_of_a_pod_on_its_own_node_are_named(node: &Node, events: &mut Events) {
    let curl = |port| [&curl(SERVER_URL)[..], &["--local-port", port]].concat();
    assert!(node.on_host(&curl("42001")).status.success());
    assert!(node.in_service(&curl("42002")).status.success());
    // Near miss: another pod, with the node's address.
    let rules = format!(
        "add table ip near-miss
         add chain ip near-miss post {{ type nat hook postrouting priority 90; }}
         add rule ip near-miss post tcp sport 42003 snat to {NODE_IP}"
    );
    let nft = node.stage.on_node(NODE, &["nft", &rules]).status();
    assert!(nft.expect("nft runs").success());
    assert!(node.stage.run(&curl("42003")).status.success());
    for (port, client) in [(42_001, HOST_CLIENT), (42_002, "?/?"), (42_003, "?/?")] {
        let event = events.wait_for("the connection", reached(port)).unwrap();
        let peer = &event["peer"];
        assert_eq!(name(&peer["pod"]), client, "{event}");
        assert_eq!(peer["ip"], NODE_IP, "{event}");
        assert_eq!(peer["node"], NODE, "{event}");
    }
}

fn what_the_cache_asks_is_joined_to_the_one_client(node: &Node, events: &mut Events) {
    let at = format!("@{NODE_CACHE}");
    // Questions from before the start are open for a while, the longer the later the last interface was attached.
    let begun = Instant::now();
    let (own, asked) = (1..)
        .find_map(|number| {
            let question = format!("six-{number}.example.");
            let asked = node
                .stage
                .run(&dig(&at, &question, &["-b", "0.0.0.0#41111"]));
            let own = events.wait_for(&question, query(CACHE, &question)).unwrap();
            assert!(begun.elapsed() < 4 * OPEN, "never a cause: {own}");
            (own["caused_by"] != Value::Null).then_some((own, asked))
        })
        .expect("it ends");
    let cause = &own["caused_by"];
    assert_eq!(name(&cause["pod"]), CLIENT, "{own}");
    assert_eq!(
        (&cause["port"], &cause["id"]),
        (&41_111.into(), &id(&asked).into())
    );
    assert_eq!(cause["inferred"], true, "{own}");

    for (server, question) in [
        (NODE_CACHE, "seven.example."),
        (NODE_CACHE_V6, "seven.v6.example."),
    ] {
        let at = format!("@{server}");
        let asked = node.on_host(&dig(&at, question, &[]));
        let own = events.wait_for(question, query(CACHE, question)).unwrap();
        let cause = &own["caused_by"];
        assert_eq!(name(&cause["pod"]), HOST_CLIENT, "{own}");
        assert_eq!(
            (&cause["ip"], &cause["id"]),
            (&server.into(), &id(&asked).into())
        );
    }
}

/// Two clients wait for one name when the cache, which asks one question after the other, comes to it.
fn two_clients_at_once_leave_the_cause_open(node: &Node, events: &mut Events) {
    let at = format!("@{NODE_CACHE}");
    let dns = node.stage.lab.inventory().pods.iter().find(|pod| {
        let name = pod.full_name();
        name.starts_with("kube-system/coredns-") && name != LOCAL_DNS
    });
    let dns = dns.expect("the DNS server").full_name();
    node.stage.lab.freeze(&dns, true).expect("it stops");
    let (before, question) = ("eight.example.", "nine.example.");
    let mut asking = vec![node.stage.spawn_in(CLIENT, &dig(&at, before, &[]))];
    wait_until("the cache asks", || node.is_asking());
    let mut queued = 0;
    for pod in [CLIENT, SERVER] {
        asking.push(node.stage.spawn_in(pod, &dig(&at, question, &[])));
        wait_until("the question waits", || node.queued() > queued);
        queued = node.queued();
    }
    node.stage.lab.freeze(&dns, false).expect("it continues");
    for client in asking {
        let output = client.wait_with_output().expect("it ends");
        assert!(text(&output).contains("status: NXDOMAIN"), "{output:?}");
    }
    let own = events.wait_for(question, query(CACHE, question)).unwrap();
    assert_eq!(own["caused_by"], Value::Null, "{own}");
}

fn a_server_on_the_same_node_is_asked_by_the_cache(node: &mut Node, events: &mut Events) {
    node.restart_cache(LOCAL_DNS_IP);
    let question = "ten.example.";
    let at = format!("@{CLUSTER_DNS}");
    let asked = node.stage.run(&dig(&at, question, &[]));
    let at_server = |event: &Value| {
        event["type"] == "dns"
            && event["name"] == question
            && event["direction"] == "server"
            && name(&event["pod"]) == LOCAL_DNS
    };
    let event = events.wait_for("at the server", at_server).unwrap();
    assert_eq!(name(&event["peer"]["pod"]), CACHE, "{event}");
    assert_eq!(name(&event["caused_by"]["pod"]), CLIENT, "{event}");
    assert_eq!(event["caused_by"]["id"], id(&asked), "{event}");
    let own = events
        .wait_for("its own", query(LOCAL_DNS, question))
        .unwrap();
    assert_eq!(name(&own["caused_by"]["pod"]), CACHE, "{own}");
}

/// Also with a query that it does not answer, which names no pod.
#[test]
fn the_screen_of_dns_has_one_row_of_a_node_local_cache_with_its_name() {
    let node = Node::new(ProxyMode::Nftables);
    let inventory = node.stage.lab.inventory_file();
    let command = [
        program().to_str().expect("a path"),
        "dns",
        "--local",
        "--node-name",
        NODE,
        "--inventory",
        inventory.to_str().expect("a path"),
        "-o",
        "json",
        "--duration",
        "10m",
    ];
    let mut watch = Watch::spawn(node.stage.on_node(NODE, &command)).expect("it starts");
    watch.wait_for_log("tracing ").expect("it traces");
    let at = format!("@{NODE_CACHE}");
    let (begun, mut asked) = (Instant::now(), 0);
    // The first answers come before its pod is found.
    while begun.elapsed() < Duration::from_secs(5) {
        let output = node.stage.run(&dig(&at, "answered.example.", &[]));
        assert!(text(&output).contains("status: NXDOMAIN"), "{output:?}");
        asked += 1;
    }
    let cache = node.cache.as_ref().expect("it runs").pid();
    let cache = Pid::from_raw(cache.cast_signed()).expect("a process id");
    kill_process(cache, Signal::STOP).expect("it stops");
    let silent = dig(&at, "silent.example.", &["+timeout=1"]);
    node.stage.run(&silent);
    let ended = watch.stop().expect("it runs to the end");
    // It ends by a signal that it can take.
    kill_process(cache, Signal::CONT).expect("it continues");
    let screen: Value = serde_json::from_str(&ended.lines.concat()).expect("JSON");
    let servers = screen["servers"].as_array().expect("servers");
    let mut rows = servers.iter().filter(|row| {
        name(row) == CACHE || row["name"] == NODE_CACHE || name(&row["answered_by"]) == CACHE
    });
    let row = rows.next().expect("a row");
    assert_eq!(rows.next(), None, "{screen:#}");
    assert_eq!(
        (&row["kind"], &row["name"], &row["direction"]),
        (&"address".into(), &NODE_CACHE.into(), &"client".into())
    );
    assert_eq!(name(&row["answered_by"]), CACHE, "{row}");
    assert_eq!(
        (&row["queries"], &row["responses"]),
        (&(asked + 1).into(), &asked.into()),
        "{row}"
    );
}

#[test]
fn a_node_local_cache_is_named_and_what_it_asks_is_joined_in_iptables_mode() {
    a_node_local_cache_is_named_and_what_it_asks_is_joined(ProxyMode::Iptables);
}

#[test]
fn a_node_local_cache_is_named_and_what_it_asks_is_joined_in_nftables_mode() {
    a_node_local_cache_is_named_and_what_it_asks_is_joined(ProxyMode::Nftables);
}

fn a_node_local_cache_is_named_and_what_it_asks_is_joined(proxy_mode: ProxyMode) {
    let mut node = Node::new(proxy_mode);
    let mut unnamed = node
        .stage
        .events(&["--no-node", "--instance", "without-node"]);
    let begun = Instant::now();
    let mut events = node.stage.events(&[]);
    both_become_known(&node, &mut events, &mut unnamed);
    pods_ask_a_cache_of_their_node(&node, begun, &mut events, &mut unnamed);
    a_host_network_pod_asks_over_lo(&node, &mut events);
    a_server_of_the_node_behind_a_service_is_named(&node, &mut events);
    clients_of_a_pod_on_its_own_node_are_named(&node, &mut events);
    what_the_cache_asks_is_joined_to_the_one_client(&node, &mut events);
    two_clients_at_once_leave_the_cause_open(&node, &mut events);
    a_server_on_the_same_node_is_asked_by_the_cache(&mut node, &mut events);

    for events in [&mut events, &mut unnamed] {
        events.stop().expect("it runs to the end");
    }
    let on_lo = |events: &Events| -> Vec<Value> {
        let of_cache = [NODE_CACHE, CLUSTER_DNS, NODE_CACHE_V6];
        let own = |event: &&Value| of_cache.iter().any(|ip| event["pod"]["ip"] == *ip);
        events.all().iter().filter(own).cloned().collect()
    };
    let questions: Vec<Value> = on_lo(&events)
        .into_iter()
        .filter(|event| event["type"] == "dns")
        .map(|event| event["name"].clone())
        .filter(|name| !name.as_str().is_some_and(|name| name.starts_with(BEFORE)))
        .collect();
    let expected = [
        "three.example.",
        "four.example.",
        "five.example.",
        "three.v6.example.",
        "five.v6.example.",
        "seven.example.",
        "seven.v6.example.",
    ];
    assert_eq!(questions, expected, "each once, and nothing else");
    let others = on_lo(&events)
        .into_iter()
        .find(|event| event["peer"]["port"] != 53);
    assert_eq!(others, None);
    assert_eq!(on_lo(&unnamed), Vec::<Value>::new());
}
