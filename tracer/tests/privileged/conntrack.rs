//! The endpoint behind a Service's address, compared with `conntrack -L` on the node and with the pods' addresses.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use testbed::lab::ProxyMode;
use testbed::stage::{NODE, Stage, name, text};

/// The Service and its endpoints' port.
const SERVICE: &str = "10.152.183.115";
const PORT: u16 = 90;

/// The endpoint of each port of a client, as `conntrack` prints it: of an entry's four addresses the third is the
/// one that answers.
fn listed(stage: &Stage, protocol: &str, service: &str) -> BTreeMap<u16, String> {
    let output = stage
        .on_node(NODE, &["conntrack", "-L", "-p", protocol, "-d", service])
        .output()
        .expect("conntrack runs");
    let value = |line: &str, key: &str, nth: usize| {
        let mut values = line.split_whitespace().filter_map(|word| {
            let (name, value) = word.split_once('=')?;
            (name == key).then(|| value.to_owned())
        });
        values.nth(nth)
    };
    let entry = |line: &str| {
        let port = value(line, "sport", 0)?.parse().ok()?;
        Some((port, value(line, "src", 1)?))
    };
    text(&output).lines().filter_map(entry).collect()
}

fn endpoint(event: &Value) -> Option<(u16, String)> {
    let port = event["pod"]["port"].as_u64()?.try_into().ok()?;
    Some((port, event["peer"]["backend"]["ip"].as_str()?.to_owned()))
}

fn curl(stage: &Stage, url: &str) -> Option<i32> {
    let argv = ["curl", "-sS", "-o", "/dev/null", "--max-time", "9", url];
    stage.run(&argv).status.code()
}

fn every_connection_has_the_endpoint_of_conntrack(proxy_mode: ProxyMode) {
    let stage = Stage::new(proxy_mode);
    let mut events = stage.events(&[]);
    for _ in 0..12 {
        assert_eq!(curl(&stage, &format!("http://{SERVICE}:{PORT}/")), Some(0));
    }
    // Not translated: nothing is named.
    assert_eq!(curl(&stage, "http://10.1.79.66:90/"), Some(0));
    let direct = events
        .wait_for("direct", |event| {
            event["type"] == "tcp"
                && event["peer"]["ip"] == "10.1.79.66"
                && event["state"] == "closed"
        })
        .unwrap();
    assert_eq!(direct["peer"]["backend"], Value::Null);
    let expected = listed(&stage, "tcp", SERVICE);
    assert_eq!(expected.len(), 12, "{expected:?}");
    for state in ["established", "closed"] {
        let own = |event: &Value| {
            event["type"] == "tcp" && event["peer"]["ip"] == SERVICE && event["state"] == state
        };
        let ours: BTreeMap<u16, String> = events
            .all()
            .iter()
            .filter(|event| own(event))
            .filter_map(endpoint)
            .collect();
        assert_eq!(ours, expected, "{state}");
    }
    let used: BTreeSet<&String> = expected.values().collect();
    assert!(used.len() > 1, "one endpoint only: {used:?}");
}

#[test]
fn every_connection_has_the_endpoint_of_conntrack_in_iptables_mode() {
    every_connection_has_the_endpoint_of_conntrack(ProxyMode::Iptables);
}

#[test]
fn every_connection_has_the_endpoint_of_conntrack_in_nftables_mode() {
    every_connection_has_the_endpoint_of_conntrack(ProxyMode::Nftables);
}

#[test]
fn a_dns_query_has_the_endpoint_that_conntrack_lists() {
    let stage = Stage::new(ProxyMode::Iptables);
    let mut events = stage.events(&[]);
    stage.run(&[
        "dig",
        "+tries=1",
        "@10.152.183.10",
        "kubernetes.default.svc.cluster.local.",
    ]);
    let event = events
        .wait_for("the exchange", |event| event["type"] == "dns")
        .unwrap();
    let expected = listed(&stage, "udp", "10.152.183.10");
    assert_eq!(
        endpoint(&event).into_iter().collect::<BTreeMap<_, _>>(),
        expected
    );
    assert!(name(&event["peer"]["backend"]["pod"]).starts_with("kube-system/coredns-"));
}

/// One of the endpoints fails, at its own node: what the client's node drops or rejects never gets an entry. Which
/// endpoint a connection gets is random, so the client tries until `code` is curl's.
fn the_endpoint_that_fails_is_named(verdict: &str, code: i32, rule: &str) {
    let stage = Stage::new(ProxyMode::Iptables);
    let mut events = stage.events(&[]);
    let ruleset = format!(
        "add table inet fail\n\
         add chain inet fail forward {{ type filter hook forward priority 0; }}\n\
         add rule inet fail forward ip daddr 10.1.79.66 tcp dport 90 {verdict}\n"
    );
    let loaded = stage.on_node("k8s-worker01", &["nft", &ruleset]).status();
    assert!(loaded.expect("nft runs").success());
    let url = format!("http://{SERVICE}:{PORT}/");
    let mut codes = (0..60).map(|_| curl(&stage, &url));
    assert!(
        codes.any(|ended| ended == Some(code)),
        "no connection got the endpoint"
    );
    let finding = events
        .wait_for("the finding", |event| event["rule"] == rule)
        .unwrap();
    let headline = finding["headline"].as_str().expect("a headline");
    assert!(headline.contains("myns/apache-ds-myns-5tjrr"), "{headline}");
    let others = ["10.1.69.197", "10.1.235.214"];
    let commands = finding["try"].to_string();
    assert!(commands.contains("10.1.79.66"), "{commands}");
    assert!(
        !others.iter().any(|other| commands.contains(other)),
        "{commands}"
    );
    let ended = events.stop().expect("it runs to the end");
    assert_eq!(ended[0].code, Some(0), "{:?}", ended[0].log);
}

#[test]
fn the_endpoint_that_refuses_is_named_and_the_others_are_not() {
    the_endpoint_that_fails_is_named("reject with tcp reset", 7, "connection-refused");
}

#[test]
fn the_endpoint_that_is_silent_is_named_and_the_others_are_not() {
    the_endpoint_that_fails_is_named("drop", 28, "connect-timeout");
}

#[test]
fn without_conntrack_no_endpoint_is_named() {
    let stage = Stage::new(ProxyMode::Iptables);
    let mut events = stage.events(&["--no-conntrack"]);
    assert_eq!(curl(&stage, &format!("http://{SERVICE}:{PORT}/")), Some(0));
    let event = events
        .wait_for("the connection", |event| {
            event["type"] == "tcp" && event["state"] == "established"
        })
        .unwrap();
    assert_eq!(event["peer"]["backend"], Value::Null);
}
