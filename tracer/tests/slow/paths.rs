//! Where a packet was lost, in the lab: agents on the nodes of both ends, a fault on each place of the way at the same
//! time, and `tracer diagnose` over the agents. Each verdict is compared with what the clients and the kernel say:
//! exit codes, nftables' counters, conntrack, ss and nstat. What works meanwhile must have no finding.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::{Child, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::lab::{Inventory, ProxyMode};
use testbed::stage::agents::Agents;
use testbed::stage::faults::{counted, done, table};
use testbed::stage::findings::{Findings, brief, expect, text_of};
use testbed::stage::objects::{DNS, IDLE, WEB, lead_to, pod, service};
use testbed::stage::running::PATIENCE;
use testbed::stage::{NODE, Stage, name, text};
use testbed::watch::Events;

/// The servers' node, one that is cut off, and the node of a client without an agent.
const SERVERS: &str = "k8s-worker01";
const CUT: &str = "k8s-worker02";
const OTHER: &str = "k8s-master";

/// The clients: a drop of one's packets could hide another fault of the same one. Everything works for the last one.
const WEB_0: &str = "shop/web-0";
const CART_0: &str = "shop/cart-0";
const JOBS_0: &str = "shop/jobs-0";
const BATCH_0: &str = "shop/batch-0";
const FINE_0: &str = "shop/fine-0";

/// Pods: name, node, address, image.
const PODS: [(&str, &str, [u8; 4], &str); 17] = [
    ("web-0", NODE, [10, 1, 39, 210], IDLE),
    ("cart-0", NODE, [10, 1, 39, 211], IDLE),
    ("jobs-0", NODE, [10, 1, 39, 212], IDLE),
    ("fine-0", NODE, [10, 1, 39, 213], IDLE),
    ("batch-0", OTHER, [10, 1, 235, 220], IDLE),
    ("near-0", SERVERS, [10, 1, 79, 70], WEB),
    ("there-0", SERVERS, [10, 1, 79, 71], WEB),
    ("rst-0", SERVERS, [10, 1, 79, 72], WEB),
    ("icmp-0", SERVERS, [10, 1, 79, 73], WEB),
    ("frozen-0", SERVERS, [10, 1, 79, 74], WEB),
    ("full-0", SERVERS, [10, 1, 79, 75], IDLE),
    ("half-0", SERVERS, [10, 1, 79, 76], WEB),
    ("names-0", SERVERS, [10, 1, 79, 80], DNS),
    ("names-1", SERVERS, [10, 1, 79, 81], DNS),
    ("mute-0", SERVERS, [10, 1, 79, 82], DNS),
    ("far-0", CUT, [10, 1, 69, 201], WEB),
    ("half-1", CUT, [10, 1, 69, 202], WEB),
];
/// Services: name, the end of the ClusterIP, and the pods.
const SERVICES: [(&str, u8, &[&str]); 10] = [
    ("near", 60, &["near-0"]),
    ("there", 61, &["there-0"]),
    ("rst", 62, &["rst-0"]),
    ("icmp", 63, &["icmp-0"]),
    ("frozen", 64, &["frozen-0"]),
    ("full", 65, &["full-0"]),
    ("far", 66, &["far-0"]),
    ("half", 67, &["half-0", "half-1"]),
    ("names", 68, &["names-0"]),
    ("mute", 69, &["mute-0"]),
];
const HALF: &str = "10.152.183.67";
const NAMES: &str = "10.152.183.68";
const MUTE: &str = "10.152.183.69";

/// A client's failure, and what the report must say about it.
struct Fault {
    client: &'static str,
    /// As in a URL.
    to: &'static str,
    /// curl's exit code: 7 refused, 28 timed out.
    code: i32,
    rule: &'static str,
    verdict: &'static str,
    /// The endpoint that conntrack shows; none of what the client's node itself drops, nor of a pod's own address.
    endpoint: Option<&'static str>,
    /// With # for the number of SYNs, which differs between kernels.
    line: &'static str,
}

const FAULTS: [Fault; 9] = [
    Fault {
        client: WEB_0,
        to: "10.152.183.60",
        code: 28,
        rule: "dropped-on-node",
        verdict: "dropped-on-client-node",
        endpoint: None,
        line: "web-0 ─✓─ ✗ k8s-worker03 (dropped: NETFILTER_DROP in the node) ┄ Service shop/near",
    },
    Fault {
        client: WEB_0,
        to: "10.1.79.70",
        code: 28,
        rule: "dropped-on-node",
        verdict: "dropped-on-client-node",
        endpoint: None,
        line: "web-0 ─✓─ ✗ k8s-worker03 (dropped: NETFILTER_DROP in the node) ┄ k8s-worker01 ┄ near-0",
    },
    Fault {
        client: WEB_0,
        to: "10.152.183.61",
        code: 28,
        rule: "connect-timeout",
        verdict: "dropped-on-server-node",
        endpoint: Some("10.1.79.71"),
        line: "web-0 ─✓─ k8s-worker03 ─✓ 10.1.79.71─ ✗ k8s-worker01 (dropped: NETFILTER_DROP in the node) ┄ there-0",
    },
    Fault {
        client: WEB_0,
        to: "10.152.183.62",
        code: 7,
        rule: "connection-refused",
        verdict: "refused-before-pod",
        endpoint: Some("10.1.79.72"),
        line: "web-0 ─✓─ k8s-worker03 ─✓ 10.1.79.72─ ✗ k8s-worker01 (rejected with RST: NETFILTER_DROP in the node) ┄ rst-0",
    },
    // The client's node translates the sender of the error, too.
    Fault {
        client: WEB_0,
        to: "10.152.183.63",
        code: 7,
        rule: "connection-refused",
        verdict: "refused-before-pod",
        endpoint: Some("10.1.79.73"),
        line: "web-0 ─✓─ k8s-worker03 ─✓ 10.1.79.73─ ✗ k8s-worker01 (rejected with an ICMP error from 10.152.183.63: NETFILTER_DROP in the node) ┄ icmp-0",
    },
    Fault {
        client: WEB_0,
        to: "10.1.79.73",
        code: 7,
        rule: "connection-refused",
        verdict: "refused-before-pod",
        endpoint: None,
        line: "web-0 ─✓─ k8s-worker03 ─✓─ ✗ k8s-worker01 (rejected with an ICMP error from 192.168.2.31: NETFILTER_DROP in the node) ┄ icmp-0",
    },
    // Near miss: the pod itself refuses.
    Fault {
        client: WEB_0,
        to: "10.1.79.76:81",
        code: 7,
        rule: "connection-refused",
        verdict: "refused-by-pod",
        endpoint: None,
        line: "web-0 ─✓─ k8s-worker03 ─✓─ k8s-worker01 ─✓─ ✗ half-0 (sent RST)",
    },
    Fault {
        client: CART_0,
        to: "10.152.183.65",
        code: 28,
        rule: "connect-timeout",
        verdict: "not-answered-by-pod",
        endpoint: Some("10.1.79.75"),
        line: "cart-0 ─✓─ k8s-worker03 ─✓ 10.1.79.75─ k8s-worker01 ─✓─ ✗ full-0 (got # SYNs, sent nothing)",
    },
    Fault {
        client: CART_0,
        to: "10.152.183.66",
        code: 28,
        rule: "connect-timeout",
        verdict: "lost-between-nodes",
        endpoint: Some("10.1.69.201"),
        line: "cart-0 ─✓─ k8s-worker03 ─✓ 10.1.69.201─ ✗ network (lost between the nodes: neither kernel dropped it) ┄ k8s-worker02 ┄ far-0",
    },
];

/// A finding's rule, pod, and the address and port of its other end.
type Key = (String, String, String);

fn key(rule: &str, client: &str, to: &str, port: u16) -> Key {
    let to = match to.contains(':') {
        true => to.to_owned(),
        false => format!("{to}:{port}"),
    };
    (rule.to_owned(), client.to_owned(), to)
}

#[test]
fn in_iptables_mode_each_place_of_the_way_has_its_verdict() {
    play(ProxyMode::Iptables);
}

#[test]
fn in_nftables_mode_each_place_of_the_way_has_its_verdict() {
    play(ProxyMode::Nftables);
}

fn cluster() -> Inventory {
    let scenario = Inventory::scenario().expect("the scenario");
    let mut objects = scenario.objects().to_vec();
    objects
        .push(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } }));
    let made = PODS.map(|(name, node, ip, image)| pod(("shop", name), node, ip.into(), image));
    for (name, last, pods) in SERVICES {
        let port = if ["names", "mute"].contains(&name) {
            (53, "UDP")
        } else {
            (80, "TCP")
        };
        let of_it = |pod: &&Value| pods.iter().any(|name| pod["metadata"]["name"] == *name);
        let pods: Vec<&Value> = made.iter().filter(of_it).collect();
        let ip = Ipv4Addr::new(10, 152, 183, last);
        objects.extend(service(("shop", name), ip, port, &pods));
    }
    objects.extend(made);
    Inventory::from_objects(objects).expect("an inventory")
}

fn play(mode: ProxyMode) {
    let mut stage = Stage::of(mode, cluster());
    let directory = tempfile::tempdir().expect("a directory");
    let agents = Agents::start(&stage, &[NODE, SERVERS, CUT], directory.path());
    let batch = Findings::of(Events::new(vec![stage.trace(OTHER, &[])]));
    let _held = healthy(&stage);
    break_all(&mut stage);

    let curls = FAULTS.map(|fault| curl(&stage, fault.client, fault.to));
    let frozen = curl(&stage, CART_0, "10.152.183.64");
    let fine = ["10.152.183.60", "10.1.79.71", "10.152.183.62", "10.1.79.73"]
        .map(|to| curl(&stage, FINE_0, to));
    let half = try_half(&stage);
    stale_names(&stage);
    // The query waits in the queue of the frozen server.
    assert_eq!(dig(&stage, MUTE, 40_002).status.code(), Some(9));
    for output in fine.map(ended) {
        assert!(output.status.success(), "{output:?}");
    }
    for (fault, output) in FAULTS.iter().zip(curls.map(ended)) {
        assert_eq!(output.status.code(), Some(fault.code), "{output:?}");
    }
    frozen_is_established(&stage, &agents, &ended(frozen));
    let found = diagnosed(&agents);
    for fault in &FAULTS {
        fault.check(&found[&key(fault.rule, fault.client, fault.to, 80)]);
    }
    // Conntrack has no entry of it: the drop shows the endpoint.
    let near = text_of(&found[&key("dropped-on-node", WEB_0, "10.152.183.60", 80)]);
    assert!(
        near.contains("already translated to 10.1.79.70:80"),
        "{near}"
    );
    mute_is_named(&found[&key("dns-timeout", JOBS_0, MUTE, 53)]);
    stale_is_named(&found[&key("dns-timeout", JOBS_0, NAMES, 53)]);
    drops_are_those_of_nftables(&stage, &agents);
    endpoints_are_those_of_conntrack(&stage);
    queue_is_full(
        &stage,
        syns(&found[&key("connect-timeout", CART_0, "10.152.183.65", 80)]),
    );
    // Its only connection came before the cut.
    assert_eq!(nstat(&stage, "shop/far-0", "TcpPassiveOpens"), 1);
    half_fails(&stage, batch, half);
    // Those whose line has no number.
    for fault in FAULTS.iter().filter(|fault| !fault.line.contains('#')) {
        fault.is_explained(&stage, &agents);
    }
    agents.stop();
}

fn curl(stage: &Stage, pod: &str, to: &str) -> Child {
    let show = ["-w", "%{remote_ip} %{http_code}"];
    let argv = ["curl", "-sS", "-m", "8", "-o", "/dev/null"];
    stage.spawn_in(pod, &[&argv[..], &show, &[to]].concat())
}

fn ended(child: Child) -> Output {
    child.wait_with_output().expect("it ends")
}

/// A query from a fixed port, whose endpoint conntrack keeps.
fn dig(stage: &Stage, server: &str, from: u16) -> Output {
    let from = format!("0.0.0.0#{from}");
    let server = format!("@{server}");
    let name = "kubernetes.default.svc.cluster.local.";
    let argv = ["dig", "+tries=1", "+time=3", "-b", &from, &server, name];
    stage.run_in(JOBS_0, &argv)
}

/// What works before the faults: it shows that the agents see both ends. Two connections fill the queue of a server
/// that never accepts.
fn healthy(stage: &Stage) -> [Child; 2] {
    let listen = "use IO::Socket::INET; $s = IO::Socket::INET->new(LocalPort => 80, Listen => 1) or die; \
                  close STDOUT; sleep 300";
    let connect = "use IO::Socket::INET; @s = map { IO::Socket::INET->new('10.152.183.65:80') or die } 1..2; \
                   close STDOUT; sleep 300";
    let perl = |pod: &str, script: &str| {
        let mut child = stage.spawn_in(pod, &["perl", "-e", script]);
        let out = child.stdout.take().expect("a pipe");
        std::io::read_to_string(out).expect("it closes its output");
        child
    };
    let server = perl("shop/full-0", listen);
    let clients = perl(FINE_0, connect);
    for last in [60, 61, 62, 63, 64, 66] {
        let output = ended(curl(stage, FINE_0, &format!("10.152.183.{last}")));
        assert!(output.status.success(), "{last}: {output:?}");
    }
    for to in ["10.1.79.76", "10.1.69.202"] {
        let output = ended(curl(stage, BATCH_0, to));
        assert!(output.status.success(), "{to}: {output:?}");
    }
    for server in [NAMES, MUTE] {
        assert!(dig(stage, server, 40_000).status.success());
    }
    [server, clients]
}

fn break_all(stage: &mut Stage) {
    let forward = "type filter hook forward priority 10";
    let rule = |client: [u8; 4], server: [u8; 4], what: &str| {
        let [client, server] = [client, server].map(Ipv4Addr::from);
        format!("ip saddr {client} ip daddr {server} tcp dport 80 counter name {what}")
    };
    let web = PODS[0].2;
    let near = [rule(web, PODS[5].2, "near drop")];
    done(stage.on_node(NODE, &["nft", &table(forward, &["near"], &near)]));
    let there = [
        rule(web, PODS[6].2, "there drop"),
        rule(web, PODS[7].2, "by_rst reject with tcp reset"),
        rule(
            web,
            PODS[8].2,
            "by_icmp reject with icmp type admin-prohibited",
        ),
    ];
    let counters = ["there", "by_rst", "by_icmp"];
    done(stage.on_node(SERVERS, &["nft", &table(forward, &counters, &there)]));
    stage.lab.freeze("shop/frozen-0", true).expect("it stops");
    stage.lab.cut(CUT, true).expect("it is cut");
    // kube-proxy follows, and the entry of the flow stays.
    let mut objects = stage.lab.inventory().objects().to_vec();
    lead_to(&mut objects, "names", "names-1");
    let moved = Inventory::from_objects(objects).expect("an inventory");
    stage.lab.apply(moved).expect("the lab follows");
    stage.lab.remove_pod("shop/names-0").expect("it is removed");
    // It cannot follow, so it is the last.
    stage.lab.freeze("shop/mute-0", true).expect("it stops");
}

/// The same port keeps the deleted endpoint, and another one gets the new one.
fn stale_names(stage: &Stage) {
    // dig: 9 is no answer.
    assert_eq!(dig(stage, NAMES, 40_000).status.code(), Some(9));
    assert!(dig(stage, NAMES, 40_001).status.success());
    let listed = conntrack(stage, NODE, JOBS_0, "udp");
    let endpoint = |port| listed.get(&(NAMES.to_owned(), port)).map(String::as_str);
    assert_eq!(
        (endpoint(40_000), endpoint(40_001)),
        (Some("10.1.79.80"), Some("10.1.79.81")),
        "{listed:?}"
    );
}

fn mute_is_named(finding: &Value) {
    let line = "jobs-0 ─✓─ k8s-worker03 ─✓ 10.1.79.82─ k8s-worker01 ─✓─ ✗ mute-0 (got 1 request, sent nothing)";
    assert_eq!(finding["path"]["line"], line, "{finding}");
}

fn stale_is_named(finding: &Value) {
    let headline = finding["headline"].as_str().expect("a headline");
    let fix = "check why the node forwards to 10.1.79.80, no ready endpoint";
    assert!(headline.contains(fix), "{headline}");
    let text = text_of(finding);
    assert!(
        text.contains("unanswered queries went to endpoint 10.1.79.80"),
        "{text}"
    );
    assert!(
        text.contains("conntrack -L -p udp -d 10.152.183.68"),
        "{text}"
    );
}

/// The kernel completes the handshake for a frozen process and acknowledges the request. The tracer says so, and has no
/// finding: that the process owes an answer is not visible.
fn frozen_is_established(stage: &Stage, agents: &Agents, curl: &Output) {
    assert_eq!(curl.status.code(), Some(28), "{curl:?}");
    let complaint = String::from_utf8_lossy(&curl.stderr);
    assert!(complaint.contains("0 bytes received"), "{complaint}");
    let waiting = text(&stage.run_in("shop/frozen-0", &["ss", "-ltnH"]));
    assert!(
        waiting
            .lines()
            .any(|line| line.split_whitespace().nth(1) == Some("1")),
        "{waiting}"
    );
    let events = agents.ask(&["observe", "--type", "tcp", "-p", CART_0, "--last", "1000"]);
    let own = events
        .iter()
        .filter(|event| event["peer"]["service"]["name"] == "frozen");
    let states: Vec<&Value> = own.map(|event| &event["state"]).collect();
    assert_eq!(states, ["established"], "{events:#?}");
}

/// The report, once each fault has its path. There must be no other finding.
fn diagnosed(agents: &Agents) -> BTreeMap<Key, Value> {
    let mut expected: Vec<Key> = (FAULTS.iter())
        .map(|fault| key(fault.rule, fault.client, fault.to, 80))
        .collect();
    expected.extend([NAMES, MUTE].map(|server| key("dns-timeout", JOBS_0, server, 53)));
    expected.sort();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let report = agents.ask(&["diagnose"]);
        let by_key = |finding: &Value| {
            let peer = &finding["peer"];
            let to = format!("{}:{}", peer["ip"].as_str().unwrap_or("?"), peer["port"]);
            let rule = finding["rule"].as_str().unwrap_or("?");
            (key(rule, &name(&finding["pod"]), &to, 0), finding.clone())
        };
        let found: BTreeMap<Key, Value> = report.iter().map(by_key).collect();
        let complete = found.len() == report.len() && found.keys().eq(&expected);
        let has_path = |fault: &Fault| {
            let finding = found.get(&key(fault.rule, fault.client, fault.to, 80));
            finding.is_some_and(|finding| finding["path"]["verdict"] == fault.verdict)
        };
        let followed = found
            .get(&key("dns-timeout", JOBS_0, MUTE, 53))
            .is_some_and(|finding| finding["path"]["verdict"] == "not-answered-by-pod");
        if complete && followed && FAULTS.iter().all(has_path) {
            return found;
        }
        let paths: Vec<&Value> = report
            .iter()
            .map(|finding| &finding["path"]["line"])
            .collect();
        assert!(Instant::now() < deadline, "{}\n{paths:#?}", brief(&report));
        sleep(Duration::from_millis(200));
    }
}

impl Fault {
    fn check(&self, finding: &Value) {
        let line = self.line.replace('#', &syns(finding).to_string());
        assert_eq!(finding["path"]["line"], line, "{finding}");
        assert_eq!(
            finding["peer"]["backend"]["ip"].as_str(),
            self.endpoint,
            "{finding}"
        );
        assert_eq!(finding["pod"]["container"], "main", "{finding}");
    }

    /// `tracer explain` asks the same agents, and shows the same path.
    fn is_explained(&self, stage: &Stage, agents: &Agents) {
        let inventory = stage.lab.inventory_file();
        let inventory = inventory.to_str().expect("UTF-8");
        let (_, _, to) = key(self.rule, self.client, self.to, 80);
        let argv = [
            "explain",
            self.client,
            "--to",
            &to,
            "--inventory",
            inventory,
        ];
        let answers = agents.ask(&argv);
        let [answer] = &answers[..] else {
            panic!("{answers:#?}");
        };
        let path = &answer["attempts"]["path"];
        assert_eq!(path["line"], self.line, "{answer:#}");
        assert_eq!(path["verdict"], self.verdict, "{answer:#}");
    }
}

/// What the client sent, as the path's first hop has it.
fn syns(finding: &Value) -> u64 {
    let sent = finding["path"]["hops"][0]["what"].as_str();
    let number = sent.and_then(|sent| sent.split_whitespace().nth(1)?.parse().ok());
    number.unwrap_or_else(|| panic!("no number: {finding}"))
}

/// nft's counters have every dropped packet, and so have the agents, except those that they report as not seen.
fn drops_are_those_of_nftables(stage: &Stage, agents: &Agents) {
    let events = agents.ask(&["observe", "--type", "drop", "--last", "1000"]);
    for (node, counter, to) in [
        (NODE, "near", "10.1.79.70"),
        (SERVERS, "there", "10.1.79.71"),
        (SERVERS, "by_rst", "10.1.79.72"),
        (SERVERS, "by_icmp", "10.1.79.73"),
    ] {
        let list = ["nft", "list", "counter", "inet", "fault", counter];
        let by_nft = counted(stage.on_node(node, &list));
        let reported = events.iter().filter(|event| {
            let reason = event["reason"] == "NETFILTER_DROP";
            event["node"] == node && event["dst"]["ip"] == to && reason
        });
        let reported = reported.count() as u64;
        let unseen = events.iter().filter(|event| {
            event["type"] == "lost" && event["node"] == node && event["reason"] == "drop not seen"
        });
        let unseen: u64 = unseen.filter_map(|event| event["count"].as_u64()).sum();
        assert!(
            reported == by_nft || reported < by_nft && by_nft <= reported + unseen,
            "{counter}: {reported} of {by_nft}, {unseen} not seen: {events:#?}"
        );
        assert!(by_nft > 0, "{counter}");
    }
    // What the switch drops is no node's.
    let far = |event: &&Value| event["dst"]["ip"] == "10.1.69.201";
    assert_eq!(events.iter().find(far), None);
}

/// The endpoint of each address and port of a client, as `conntrack` lists it: the source of the expected answer.
fn conntrack(
    stage: &Stage,
    node: &str,
    pod: &str,
    protocol: &str,
) -> BTreeMap<(String, u16), String> {
    let ip = stage
        .lab
        .inventory()
        .pod(pod)
        .expect("a pod")
        .ipv4
        .to_string();
    let output = stage
        .on_node(node, &["conntrack", "-L", "-p", protocol, "-s", &ip])
        .output();
    let listed = text(&output.expect("conntrack runs"));
    let entry = |line: &str| {
        let values = |key: &'static str| {
            let words = line.split_whitespace();
            words.filter_map(move |word| word.strip_prefix(key)?.strip_prefix('='))
        };
        let port = values("sport").next()?.parse().ok()?;
        Some((
            (values("dst").next()?.to_owned(), port),
            values("src").nth(1)?.to_owned(),
        ))
    };
    listed.lines().filter_map(entry).collect()
}

fn endpoints_are_those_of_conntrack(stage: &Stage) {
    for fault in FAULTS.iter().filter(|fault| fault.to.contains("152")) {
        let listed = conntrack(stage, NODE, fault.client, "tcp");
        let mut entries = listed.iter().filter(|((to, _), _)| to == fault.to);
        let endpoint = entries.next().map(|(_, endpoint)| endpoint.as_str());
        // What was reset is listed for ten seconds only.
        if endpoint.is_some() || fault.code == 28 {
            assert_eq!(endpoint, fault.endpoint, "{}: {listed:?}", fault.to);
        }
    }
}

fn nstat(stage: &Stage, pod: &str, counter: &str) -> u64 {
    let said = text(&stage.run_in(pod, &["nstat", "-asz", counter]));
    let line = said.lines().find_map(|line| line.strip_prefix(counter));
    let value = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    value.unwrap_or_else(|| panic!("{counter}: {said}"))
}

/// The kernel counts what it drops for the full queue, and shows the queue.
fn queue_is_full(stage: &Stage, syns: u64) {
    let listening = text(&stage.run_in("shop/full-0", &["ss", "-ltnH"]));
    let sizes: Vec<&str> = listening.split_whitespace().skip(1).take(2).collect();
    assert_eq!(sizes, ["2", "1"], "{listening}");
    let overflows = nstat(stage, "shop/full-0", "TcpExtListenOverflows");
    assert_eq!(overflows, nstat(stage, "shop/full-0", "TcpExtListenDrops"));
    // The path's, and those that curl sent after the verdict until it gave up.
    assert!(
        (syns..=syns + 2).contains(&overflows),
        "{overflows}, {syns}"
    );
}

/// Tries a Service with a dead endpoint, one after another: of equal failures within a second only the number counts.
fn try_half(stage: &Stage) -> Vec<Child> {
    let mut tries = Vec::new();
    loop {
        tries.push(curl(stage, BATCH_0, HALF));
        sleep(Duration::from_millis(1_300));
        // Which endpoint a connection gets is random.
        let chosen = chosen_of_half(stage);
        let both = chosen.contains("10.1.79.76") && chosen.contains("10.1.69.202");
        if tries.len() >= 6 && both {
            return tries;
        }
        assert!(tries.len() < 30, "only one endpoint: {chosen}");
    }
}

fn chosen_of_half(stage: &Stage) -> String {
    let listed = conntrack(stage, OTHER, BATCH_0, "tcp");
    let own = listed.iter().filter(|((to, _), _)| to == HALF);
    own.map(|(_, endpoint)| format!("{endpoint} ")).collect()
}

/// The share of the failures is that of the client and of conntrack, and the dead endpoint is named.
fn half_fails(stage: &Stage, mut reported: Findings, tries: Vec<Child>) {
    let all = tries.len();
    let failed = tries.into_iter().map(ended);
    let failed = failed
        .filter(|output| output.status.code() == Some(28))
        .count();
    assert_eq!(chosen_of_half(stage).matches("10.1.69.202").count(), failed);
    let says = &["Service shop/half", "check shop/half-1: only it fails"];
    reported.expect(expect("connect-timeout", BATCH_0, says));
    reported.wait();
    let (events, _) = reported.nothing_else();
    // The numbers are of the latest event, at the end.
    let latest = events
        .iter()
        .rfind(|event| event["rule"] == "connect-timeout");
    let latest = latest.expect("it was reported");
    assert_eq!(
        (&latest["count"], &latest["of"]),
        (&failed.into(), &all.into()),
        "{latest}"
    );
    let share = format!("There {failed} of {failed} attempt");
    let others = format!("0 of {} at 1 other endpoint", all - failed);
    let text = text_of(latest);
    assert!(
        text.contains(&share) && text.contains(&others),
        "{share}; {others}: {text}"
    );
}
