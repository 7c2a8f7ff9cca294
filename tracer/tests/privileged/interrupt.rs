//! Ctrl-C during a live run: decided events are reported, open queries are undecided, the exit code
//! distinguishes both, and no probe stays attached.

use std::os::fd::AsFd as _;
use std::process::{Child, Command};
use std::thread;
use std::time::Instant;

use aya::programs::SchedClassifier;
use aya::programs::tc::TcAttachType;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;
use testbed::lab::ProxyMode;
use testbed::stage::faults::{self, RAW, counted, done};
use testbed::stage::findings::PATIENCE;
use testbed::stage::{CLIENT, NODE, Stage, name, program, text};
use testbed::watch::{Ended, Watch};

const NGINX: &str = "default/nginx-ds-v2qf5";
const APACHE: &str = "myns/apache-ds-myns-d4f2h";

/// A command of the program on the client's node, once it traces.
fn start(stage: &Stage, command: &[&str]) -> Watch {
    let program = program().to_str().expect("a path");
    let inventory = stage.lab.inventory_file();
    let inventory = inventory.to_str().expect("a path");
    let sources = ["--local", "--node-name", NODE, "--inventory", inventory];
    let mut watch = Watch::spawn(stage.on_node(NODE, &[&[program], command, &sources].concat()))
        .expect("the tracer starts");
    watch.wait_for_log("tracing ").expect("it traces");
    watch
}

/// The programs on the pods' interfaces of the node, by either kind of hook.
fn probes(stage: &Stage) -> usize {
    let interfaces: Vec<String> = [CLIENT, NGINX, APACHE]
        .iter()
        .map(|pod| stage.lab.host_interface(pod).expect("a pod"))
        .collect();
    let filters = interfaces.iter().flat_map(|interface| {
        ["ingress", "egress"].map(|hook| {
            let filters = ["tc", "filter", "show", "dev", interface, hook];
            let shown = stage.on_node(NODE, &filters).output().expect("tc runs");
            text(&shown).lines().count()
        })
    });
    let filters: usize = filters.sum();
    let netns = stage.lab.node_netns(NODE).expect("a node");
    let entered = thread::spawn(move || {
        let netns = std::fs::File::open(netns).expect("the node's namespace");
        move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("this thread is in the node");
        let hooks = [TcAttachType::Ingress, TcAttachType::Egress];
        let all = interfaces.iter().flat_map(|interface| {
            // A kernel before 6.6 has no such hook, and nothing on it.
            hooks.map(|hook| {
                SchedClassifier::query_tcx(interface, hook).map_or(0, |(_, on)| on.len())
            })
        });
        all.sum::<usize>()
    });
    filters + entered.join().expect("it counts")
}

/// Queries of that pod that were dropped in the node.
fn dropped(stage: &Stage) -> u64 {
    counted(stage.on_node(
        NODE,
        &["nft", "list", "counter", "inet", "fault", "dropped"],
    ))
}

/// The pod asks a server that does not answer, and waits. Returns when its query is on the wire. The caller
/// ends the child.
fn unanswered(stage: &Stage, pod: &str) -> Child {
    let ip = stage.lab.inventory().pod(pod).expect("a pod").ipv4;
    let drop = format!("ip saddr {ip} udp dport 53 counter name dropped drop");
    let script = faults::table(RAW, &["dropped"], &[drop]);
    done(stage.on_node(NODE, &["nft", &script]));
    let dig = [
        "dig",
        "+tries=1",
        "+time=300",
        "clusterip-nginx-ds.default.svc.cluster.local.",
    ];
    let dig = stage.spawn_in(pod, &dig);
    let deadline = Instant::now() + PATIENCE;
    while dropped(stage) == 0 {
        assert!(Instant::now() < deadline, "dig asks nothing");
    }
    dig
}

fn ends(mut child: Child, stage: &Stage) {
    child.kill().expect("it waits still");
    child.wait().expect("it ends");
    let mut table: Command = stage.on_node(NODE, &["nft", "delete", "table", "inet", "fault"]);
    assert!(table.status().expect("nft runs").success());
}

fn says<'a>(ended: &'a Ended, start: &str) -> &'a str {
    let mut lines = ended.log.iter();
    let line = lines.find(|line| line.contains(start));
    line.unwrap_or_else(|| panic!("{start:?} is not in {:#?}", ended.log))
}

#[test]
fn ctrl_c_ends_diagnose_with_what_is_known_and_without_what_is_not_decided() {
    let stage = Stage::new(ProxyMode::Iptables);
    assert_eq!(probes(&stage), 0);

    // Some events are decided, others are not.
    let watch = start(&stage, &["diagnose"]);
    assert!(probes(&stage) >= 6, "both directions of three pods");
    let waiting = unanswered(&stage, NGINX);
    let unknown = stage.run(&["nslookup", "clusterip-apache2-ds-myns"]);
    assert!(text(&unknown).contains("NXDOMAIN"), "{unknown:?}");
    let ended = watch.stop().expect("it ends");
    ends(waiting, &stage);
    assert_eq!(ended.code, Some(1), "an error was found: {:#?}", ended.log);
    let reported = ended.lines.join("\n");
    assert!(
        reported.starts_with(
            "✗ default/deb-ubuntu can't resolve \"clusterip-apache2-ds-myns\": the Service is in namespace myns"
        ),
        "{reported}"
    );
    assert!(
        reported.contains("\n  use clusterip-apache2-ds-myns.myns\n"),
        "{reported}"
    );
    assert!(!reported.contains(NGINX), "6 s are not over: {reported}");
    says(&ended, "1 error");
    says(&ended, "still unanswered when the capture ended");
    assert_eq!(probes(&stage), 0, "nothing is left on the interfaces");

    // No event is decided.
    let watch = start(&stage, &["diagnose", "-o", "json"]);
    let waiting = unanswered(&stage, APACHE);
    let ended = watch.stop().expect("it ends");
    ends(waiting, &stage);
    assert_eq!((ended.lines.len(), ended.code), (0, Some(3)), "{ended:?}");
    says(&ended, "nothing found");
    says(&ended, "still unanswered when the capture ended");
    assert_eq!(probes(&stage), 0, "nothing is left on the interfaces");
}

#[test]
fn ctrl_c_ends_observe_with_what_was_seen_to_the_last_packet() {
    let stage = Stage::new(ProxyMode::Iptables);
    let watch = start(&stage, &["observe", "-o", "json"]);
    let waiting = unanswered(&stage, NGINX);
    let found = stage.run(&[
        "dig",
        "+tries=1",
        "clusterip-nginx-ds.default.svc.cluster.local.",
    ]);
    assert!(text(&found).contains("10.152.183.117"), "{found:?}");
    let ended = watch.stop().expect("it ends");
    ends(waiting, &stage);
    assert_eq!(ended.code, Some(0), "{:#?}", ended.log);
    let events: Vec<Value> = ended
        .lines
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let asked: Vec<(String, &Value)> = events
        .iter()
        .filter(|event| event["type"] == "dns")
        .map(|event| (name(&event["pod"]), &event["outcome"]))
        .collect();
    assert_eq!(
        asked,
        [
            (CLIENT.to_owned(), &Value::from("answered")),
            (NGINX.to_owned(), &Value::from("undecided")),
        ],
        "{events:#?}"
    );
    says(&ended, "still unanswered when the capture ended");
    assert_eq!(probes(&stage), 0, "nothing is left on the interfaces");
}
