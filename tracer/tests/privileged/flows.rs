//! Connections and pings on real packets, compared with the tools and the kernel.

use rustix::process::Signal;
use serde_json::Value;
use testbed::lab::ProxyMode;
use testbed::scenario::{Ping, same};
use testbed::stage::{Stage, name, text};

fn connection<'a>(address: &'a str, state: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |event| event["type"] == "tcp" && event["peer"]["ip"] == address && event["state"] == state
}

fn echo(address: &str, state: &str) -> impl Fn(&Value) -> bool {
    move |event| {
        event["kind"] == "echo" && event["peer"]["ip"] == address && event["state"] == state
    }
}

#[test]
fn refused_by_reset_and_by_icmp_are_two_things() {
    let stage = Stage::new(ProxyMode::Nftables);
    let mut events = stage.events(&[]);
    // Nothing listens there: the pod's own kernel resets.
    let output = stage.run(&["curl", "-sS", "--max-time", "3", "http://10.1.39.194:81/"]);
    assert_eq!(output.status.code(), Some(7), "curl: could not connect");
    let reset = events
        .wait_for("reset", connection("10.1.39.194", "refused"))
        .unwrap();
    assert_eq!(reset["by"], "rst");
    assert_eq!(name(&reset["peer"]["pod"]), "default/nginx-ds-v2qf5");
    // A port that the Service does not list: the node rejects it in nftables mode.
    stage.run(&[
        "curl",
        "-sS",
        "--max-time",
        "3",
        "http://10.152.183.115:91/",
    ]);
    let rejected = events
        .wait_for("rejected", connection("10.152.183.115", "refused"))
        .unwrap();
    assert_eq!(rejected["by"], "icmp");
    assert_eq!(
        name(&rejected["peer"]["service"]),
        "myns/clusterip-apache2-ds-myns"
    );
}

#[test]
fn silence_is_reported_as_opening_and_then_as_a_timeout() {
    let stage = Stage::new(ProxyMode::Iptables);
    let mut events = stage.events(&[]);
    let output = stage.run(&[
        "curl",
        "-sS",
        "--max-time",
        "9",
        "http://10.152.183.115:91/",
    ]);
    assert_eq!(output.status.code(), Some(28), "curl: timed out");
    let opening = events
        .wait_for("opening", connection("10.152.183.115", "opening"))
        .unwrap();
    assert_eq!(opening["syn_retransmits"], 2);
    let timeout = events
        .wait_for("timeout", connection("10.152.183.115", "timeout"))
        .unwrap();
    assert_eq!(
        name(&timeout["peer"]["service"]),
        "myns/clusterip-apache2-ds-myns"
    );
    assert!(
        timeout["syn_retransmits"].as_u64().expect("a count") >= 2,
        "{timeout}"
    );
    assert_eq!(timeout["rx"]["packets"], 0);
}

#[test]
fn a_connection_has_the_segments_that_the_pod_sent_again() {
    let stage = Stage::new(ProxyMode::Nftables);
    let mut events = stage.events(&[]);
    // The node drops the request twice.
    let ruleset = "add table inet lossy\n\
                   add chain inet lossy forward { type filter hook forward priority 0; }\n\
                   add rule inet lossy forward ip saddr 10.1.39.193 tcp dport 80 meta length gt 100 numgen inc mod 4 lt 2 counter drop\n";
    let loaded = stage
        .on_node(testbed::stage::NODE, &["nft", ruleset])
        .output()
        .expect("nft runs");
    assert!(
        loaded.status.success(),
        "{}",
        String::from_utf8_lossy(&loaded.stderr)
    );
    let output = stage.run(&["curl", "-sS", "-o", "/dev/null", "http://10.152.183.117/"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let rules = stage
        .on_node(
            testbed::stage::NODE,
            &["nft", "list", "table", "inet", "lossy"],
        )
        .output()
        .expect("nft runs");
    let rules = text(&rules);
    assert!(rules.contains("counter packets 2 "), "{rules}");

    let address = "10.152.183.117";
    let established = events
        .wait_for("established", connection(address, "established"))
        .unwrap();
    assert_eq!(
        (&established["retransmits"], &established["syn_retransmits"]),
        (&0.into(), &0.into())
    );
    let closed = events
        .wait_for("closed", connection(address, "closed"))
        .unwrap();
    assert_eq!(
        name(&closed["peer"]["service"]),
        "default/clusterip-nginx-ds"
    );
    assert_eq!(
        (&closed["retransmits"], &closed["syn_retransmits"]),
        (&2.into(), &0.into())
    );
}

#[test]
fn a_closed_connection_counts_what_crossed_the_interface() {
    let stage = Stage::new(ProxyMode::Iptables);
    let mut events = stage.events(&[]);
    // Connected directly, so that nothing else uses the pair of addresses and the kernel's own counters can
    // be asked.
    let ruleset = "add table inet count\n\
                   add counter inet count tx\nadd counter inet count rx\n\
                   add chain inet count forward { type filter hook forward priority 0; }\n\
                   add rule inet count forward ip saddr 10.1.39.193 ip daddr 10.1.79.65 tcp dport 80 counter name tx\n\
                   add rule inet count forward ip saddr 10.1.79.65 ip daddr 10.1.39.193 tcp sport 80 counter name rx\n";
    let loaded = stage
        .on_node(testbed::stage::NODE, &["nft", ruleset])
        .output()
        .expect("nft runs");
    assert!(
        loaded.status.success(),
        "{}",
        String::from_utf8_lossy(&loaded.stderr)
    );
    let output = stage.run(&["curl", "-sS", "-o", "/dev/null", "http://10.1.79.65:80/"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let closed = events
        .wait_for("closed", connection("10.1.79.65", "closed"))
        .unwrap();
    let listed = stage
        .on_node(testbed::stage::NODE, &["nft", "-j", "list", "counters"])
        .output()
        .expect("nft runs");
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("nft's JSON");
    for direction in ["tx", "rx"] {
        let counter = listed["nftables"]
            .as_array()
            .and_then(|items| {
                items
                    .iter()
                    .find(|item| item["counter"]["name"] == direction)
            })
            .expect("the counter");
        let (theirs, ours) = (
            counter["counter"]["packets"].as_u64(),
            closed[direction]["packets"].as_u64(),
        );
        let (theirs, ours) = (theirs.expect("packets"), ours.expect("packets"));
        // The event is reported with the closing segment; the acknowledgment of the last FIN comes after it.
        assert!(
            ours == theirs || ours + 1 == theirs,
            "{direction}: {ours} packets, nft counted {theirs}"
        );
    }
}

#[test]
fn ping_statistics_are_pings_own_over_ipv4_and_ipv6() {
    let stage = Stage::new(ProxyMode::Iptables);
    let mut events = stage.events(&[]);
    let peer = stage
        .lab
        .inventory()
        .pod("myns/apache-ds-myns-5tjrr")
        .expect("a pod");
    let v6 = peer.ipv6.expect("the lab is dual-stack").to_string();
    for address in ["10.1.79.66", v6.as_str()] {
        let output = text(&stage.run(&["ping", "-n", "-c", "10", "-i", "0.05", address]));
        let ping = Ping::parse(&output).expect("ping's statistics");
        let run = events.wait_for("echo run", echo(address, "done")).unwrap();
        assert_eq!(name(&run["peer"]["pod"]), "myns/apache-ds-myns-5tjrr");
        same(&run, &ping).unwrap();
    }
}

#[test]
fn a_rejected_ping_counts_its_errors() {
    let stage = Stage::new(ProxyMode::Nftables);
    let mut events = stage.events(&[]);
    let output = text(&stage.run(&[
        "ping",
        "-n",
        "-c",
        "3",
        "-i",
        "0.2",
        "-W",
        "1",
        "10.152.183.115",
    ]));
    assert!(output.contains("+3 errors"), "{output}");
    let run = events
        .wait_for("echo run", echo("10.152.183.115", "done"))
        .unwrap();
    assert_eq!(
        (&run["sent"], &run["received"], &run["errors"]),
        (&3.into(), &0.into(), &3.into()),
        "{run}"
    );
}

#[test]
fn both_pods_of_one_node_are_reported_once_and_from_the_clients_side() {
    let stage = Stage::new(ProxyMode::Iptables);
    let mut events = stage.events(&[]);
    stage.run(&["ping", "-n", "-c", "2", "-i", "0.1", "10.1.39.194"]);
    let run = events
        .wait_for("echo run", |event| {
            event["kind"] == "echo" && event["state"] == "done"
        })
        .unwrap();
    assert_eq!(run["direction"], "client");
    assert_eq!(name(&run["peer"]["pod"]), "default/nginx-ds-v2qf5");
    // At SIGINT pending events are reported.
    events.stop().unwrap();
    assert_eq!(
        events
            .of_step()
            .iter()
            .filter(|event| event["kind"] == "echo")
            .count(),
        1,
        "{}",
        testbed::watch::listed(events.of_step())
    );
}

#[test]
fn a_flood_ping_is_counted_exactly_where_its_records_are_lost() {
    let stage = Stage::new(ProxyMode::Iptables);
    let mut events = stage.events(&["--ring-size", "64KiB", "--records-per-second", "0"]);
    // Nothing reads the ring buffer meanwhile, and it holds some hundred records.
    events.signal(Signal::STOP).unwrap();
    let flood = [
        "ping",
        "-n",
        "-q",
        "-f",
        "-l",
        "64",
        "-c",
        "6000",
        "10.1.79.66",
    ];
    let output = text(&stage.run(&flood));
    events.signal(Signal::CONT).unwrap();
    let ping = Ping::parse(&output).expect("ping's statistics");
    // The kernel counted every packet. Lost records leave open which reply was a duplicate, and so the loss.
    let run = echo("10.1.79.66", "undecided");
    let run = events.wait_for("echo run", run).unwrap();
    let summary = events.stop().unwrap().remove(0).log.join("\n");
    assert!(
        summary.contains("ring buffer full"),
        "the flood was no flood: {summary}"
    );
    assert_eq!(
        (run["sent"].as_u64(), run["received"].as_u64()),
        (Some(ping.sent), Some(ping.received)),
        "{output}\n{run}\n{summary}"
    );
    assert!(run["loss"].is_null(), "{run}");
    let samples = run["samples"].as_u64().expect("a count");
    assert!(0 < samples && samples < ping.received, "{run}");
}
