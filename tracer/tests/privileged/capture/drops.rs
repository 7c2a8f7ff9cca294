//! Packets that the kernel drops, against nft's own counters.

use testbed::turn;
use tracer::capture::Options;
use tracer_core::model::flow::Protocol;
use tracer_core::model::signal::{DropPlace, PacketDrop};

use super::live::{GATEWAY, Live, udp_socket};
use super::netns::Netns;

const DROPPED: u16 = 7_001;
const ACCEPTED: u16 = 7_002;

/// Drops what arrives at [`DROPPED`] and counts it.
fn add_rule(node: &Netns) {
    node.sh(&format!(
        "nft add table ip t; \
         nft 'add chain ip t input {{ type filter hook input priority 0; }}'; \
         nft add rule ip t input udp dport {DROPPED} counter drop"
    ));
}

/// What nft has counted.
fn dropped_by_nft(node: &Netns) -> u64 {
    let rules = node.sh("nft list table ip t");
    let (_, after) = rules.split_once("packets ").expect("a counter");
    let number = after.split_whitespace().next().expect("a number");
    number.parse().expect("a number")
}

fn send(pod: &Netns, port: u16, datagrams: u64) -> u16 {
    let socket = udp_socket(pod, "0.0.0.0:0");
    for _ in 0..datagrams {
        // An ICMP error about an earlier datagram is reported instead of sending.
        while socket.send_to(b"dropped", (GATEWAY, port)).is_err() {}
    }
    socket.local_addr().expect("bound").port()
}

fn of_netfilter(live: &Live) -> Vec<&PacketDrop> {
    let drops = live.drops.iter();
    drops
        .filter(|drop| drop.reason == "NETFILTER_DROP")
        .collect()
}

/// Needs no nftables, so it runs on every kernel. One that gives no reasons says so.
#[test]
fn what_nobody_listens_for_is_dropped_for_that_reason_where_the_kernel_has_reasons() {
    let _turn = turn::shared();
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    let mut live = Live::start(&node, Options::default());
    let port = send(&pod, ACCEPTED, 3);
    if let Some(why) = live.capture.drops_unseen() {
        assert!(why.contains("before Linux 5.17"), "{why}");
        live.wait_seen(3);
        assert!(live.drops.is_empty());
    } else {
        live.wait("three drops", |live| live.drops.len() >= 3);
        for drop in &live.drops {
            assert_eq!((drop.reason, drop.place), ("NO_SOCKET", DropPlace::Node));
            assert_eq!(drop.tuple.src.port(), port);
        }
    }
    live.stop();
}

#[test]
fn a_drop_by_nftables_has_the_packets_ends_the_reason_and_the_place() {
    let _turn = turn::shared();
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    add_rule(&node);
    let mut live = Live::start(&node, Options::default());
    let accepted = send(&pod, ACCEPTED, 3);
    let port = send(&pod, DROPPED, 5);
    live.wait("five drops", |live| of_netfilter(live).len() >= 5);
    for drop in of_netfilter(&live) {
        assert_eq!(drop.tuple.protocol, Protocol::Udp);
        assert_eq!(drop.tuple.src.port(), port);
        assert_eq!(drop.tuple.dst.to_string(), format!("{GATEWAY}:{DROPPED}"));
        assert_eq!((drop.place, drop.unreported), (DropPlace::Node, 0));
        assert_eq!(drop.device.as_deref(), Some("pod1"));
    }
    assert_eq!(dropped_by_nft(&node), 5);
    // That port is closed, so the kernel drops those too, for another reason.
    let elsewhere = live
        .drops
        .iter()
        .filter(|drop| drop.tuple.src.port() == accepted);
    assert!(elsewhere.clone().all(|drop| drop.reason == "NO_SOCKET"));
    assert_eq!(elsewhere.count(), 3);
    live.stop();
}

#[test]
fn a_drop_by_nftables_in_the_pod_is_reported_and_that_of_another_nodes_pod_with_its_address_is_not()
{
    let _turn = turn::shared();
    let (node, pod) = (Netns::new(), Netns::new());
    let (other_node, other_pod) = (Netns::new(), Netns::new());
    for (node, pod) in [(&node, &pod), (&other_node, &other_pod)] {
        node.add_pod(pod, "pod1", 1);
        add_rule(pod);
    }
    let mut live = Live::start(&node, Options::default());
    let send_in = |node: &Netns, datagrams: u32| {
        let socket = udp_socket(node, "0.0.0.0:0");
        for _ in 0..datagrams {
            let sent = socket.send_to(b"dropped", ("10.9.0.1", DROPPED));
            sent.expect("it leaves the node");
        }
    };
    send_in(&other_node, 3);
    send_in(&node, 2);
    live.wait("two drops", |live| of_netfilter(live).len() >= 2);
    send_in(&other_node, 3);
    assert_eq!((dropped_by_nft(&pod), dropped_by_nft(&other_pod)), (2, 6));
    std::thread::sleep(std::time::Duration::from_millis(200));
    live.receive();
    assert_eq!(of_netfilter(&live).len(), 2);
    for drop in of_netfilter(&live) {
        assert_eq!(
            (drop.place, drop.device.as_deref()),
            (DropPlace::Pod, Some("eth0"))
        );
    }
    live.stop();
}

#[test]
fn a_flood_of_drops_by_nftables_is_limited_and_every_drop_is_counted() {
    let _turn = turn::shared();
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    add_rule(&node);
    let mut live = Live::start(&node, Options::default());
    send(&pod, DROPPED, 2_000);
    live.wait("2,000 drops", |live| {
        let stats = live.stats();
        stats.drops + stats.drops_unreported + stats.drops_lost >= 2_000
    });
    // In the next window a record counts what had none.
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    send(&pod, DROPPED, 1);
    live.wait("the drop after the pause", |live| {
        live.drops.last().is_some_and(|drop| drop.unreported > 0)
    });
    let records = of_netfilter(&live).len();
    let unreported: u64 = live.drops.iter().map(|drop| drop.unreported).sum();
    let reported = live.drops.len() as u64 + unreported;
    let stats = live.stats();
    assert_eq!(reported, stats.drops + stats.drops_unreported);
    println!(
        "{:?}",
        live.drops
            .iter()
            .map(|drop| (drop.reason, drop.tuple))
            .collect::<std::collections::HashSet<_>>()
    );
    assert_eq!(dropped_by_nft(&node), 2_001);
    assert_eq!(reported, 2_001);
    assert!((64..400).contains(&records), "{records} records");
    live.stop();
}

#[test]
fn no_drop_by_nftables_is_reported_where_it_is_switched_off() {
    let _turn = turn::shared();
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    add_rule(&node);
    let mut live = Live::start(
        &node,
        Options {
            drops: false,
            ..Options::default()
        },
    );
    send(&pod, DROPPED, 5);
    live.wait_seen(5);
    assert_eq!((live.stats().drops, live.drops.len()), (0, 0));
    assert_eq!(dropped_by_nft(&node), 5);
    live.stop();
}
