//! What the node drops, in the lab: a real curl, a real nftables rule of the client's node, and the findings, against the
//! rule's own counter.

use std::fs;

use serde_json::Value;
use testbed::lab::ProxyMode;
use testbed::stage::faults::{counted, done, table};
use testbed::stage::{CLIENT, NODE, Stage, program};
use testbed::watch::{Events, Watch};

/// clusterip-nginx-ds and its pods; clusterip-apache2-ds-myns.
const NGINX: &str = "10.152.183.117:80";
const APACHE: &str = "10.152.183.115:90";
/// A web server on another node.
const WEB: &str = "10.1.79.65";
const OTHER: &str = "10.1.79.66";
const CLIENT_IP: &str = "10.1.39.193";

fn curl(stage: &Stage, to: &str) -> Option<i32> {
    let url = format!("http://{to}/");
    stage
        .run(&["curl", "-s", "-m", "8", "-o", "/dev/null", &url])
        .status
        .code()
}

fn finding_at(events: &mut Events, to: &str) -> Value {
    let (ip, _) = to.split_once(':').expect("a port");
    events
        .wait_for("the finding", |event| {
            event["type"] == "finding" && event["peer"]["ip"] == ip
        })
        .expect("a finding")
}

/// Drops what the client forwards to these ports, behind the translation of a Service's address.
fn drop_forwarded(stage: &Stage, ports: &str) {
    let rule = format!("ip saddr {CLIENT_IP} tcp dport {ports} counter name faulty drop");
    let script = table("type filter hook forward priority 10", &["faulty"], &[rule]);
    done(stage.on_node(NODE, &["nft", &script]));
}

/// The switch is linked with the node by a veth, as a pod is. It is neither. It drops a question on the way to another
/// node, and an answer on the way to this one.
fn dropped_on_the_way(stage: &Stage) {
    let script = format!(
        "table bridge fault {{\ncounter faulty {{ }}\nchain faults {{\ntype filter hook forward priority 0;\n\
         ip daddr {WEB} ip protocol icmp counter name faulty drop\n\
         ip saddr {OTHER} ip protocol icmp counter name faulty drop\n}}\n}}"
    );
    done(stage.lab.exec_switch(&["nft", &script]));
    for to in [WEB, OTHER] {
        let ping = stage.run(&["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", to]);
        assert!(!ping.status.success(), "{ping:?}");
    }
    let list = ["nft", "list", "counter", "bridge", "fault", "faulty"];
    assert_eq!(counted(stage.lab.exec_switch(&list)), 4);
}

#[test]
fn what_a_rule_of_the_node_drops_is_reported_and_what_it_lets_through_is_not() {
    let stage = Stage::new(ProxyMode::Iptables);
    drop_forwarded(&stage, "80");
    let mut events = stage.events(&["--type", "finding,drop"]);
    assert_eq!(curl(&stage, APACHE), Some(0), "the other Service is served");
    assert_eq!(curl(&stage, NGINX), Some(28), "it times out");
    dropped_on_the_way(&stage);
    let finding = finding_at(&mut events, NGINX);
    assert_eq!(finding["rule"], "dropped-on-node", "{finding}");
    let why = finding["why"].as_str().expect("reasons");
    assert!(why.contains("reason NETFILTER_DROP"), "{why}");
    assert!(why.contains(&format!("node {NODE}")), "{why}");
    let by_nft =
        counted(stage.on_node(NODE, &["nft", "list", "counter", "inet", "fault", "faulty"]));
    let reported = events.all().iter().filter(|event| {
        event["type"] == "drop"
            && event["reason"] == "NETFILTER_DROP"
            && event["pod"]["name"] == "deb-ubuntu"
    });
    assert_eq!(reported.count() as u64, by_nft);
    let on_the_way: Vec<&Value> = (events.all().iter())
        .filter(|event| event["type"] == "drop" && event["protocol"] != "tcp")
        .collect();
    assert!(on_the_way.is_empty(), "{on_the_way:?}");
    let ended = events.stop().expect("it runs to the end");
    assert_eq!(ended[0].code, Some(0), "{:?}", ended[0].log);
}

#[test]
fn a_policy_that_denies_what_was_dropped_is_named() {
    let stage = Stage::new(ProxyMode::Nftables);
    let policies = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tracer-core/tests/fixtures/inventory/policies.yaml"
    );
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("inventory.yaml");
    let objects = stage.lab.inventory().to_yaml().expect("YAML");
    let policies = fs::read_to_string(policies).expect("policies");
    fs::write(&file, format!("{objects}\n---\n{policies}")).expect("writable");
    drop_forwarded(&stage, "{80, 90}");
    let command = [
        program().to_str().expect("a path"),
        "observe",
        "--local",
        "--node-name",
        NODE,
        "-o",
        "json",
        "--type",
        "finding",
        "--inventory",
        file.to_str().expect("a path"),
    ];
    let mut watch = Watch::spawn(stage.on_node(NODE, &command)).expect("the tracer starts");
    watch.wait_for_log("tracing ").expect("it traces");
    let mut events = Events::new(vec![watch]);
    assert_eq!(curl(&stage, APACHE), Some(28), "it times out");
    let finding = finding_at(&mut events, APACHE);
    assert_eq!(finding["rule"], "denied-by-policy", "{finding}");
    assert_eq!(
        finding["pod"]["name"],
        CLIENT.rsplit('/').next().expect("a name")
    );
    let headline = finding["headline"].as_str().expect("a headline");
    assert!(headline.contains("NetworkPolicy"), "{headline}");
    let ended = events.stop().expect("it runs to the end");
    assert_eq!(ended[0].code, Some(0), "{:?}", ended[0].log);
}
