//! Packets outside the filter cause no record and no flow, but they are counted.

use std::collections::BTreeMap;

use testbed::turn;
use tracer::capture::Options;
use tracer_core::model::emission::Emission;
use tracer_core::model::flow::{Flow, FlowTotals, Protocol};
use tracer_core::model::record::Record;

use super::live::{GATEWAY, Live, udp_payload, udp_socket};
use super::netns::Netns;

fn node_with_a_pod() -> (Netns, Netns) {
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    (node, pod)
}

fn emitting(instance: &str, emission: Emission) -> Options {
    Options {
        instance: instance.to_owned(),
        emission,
        ..Options::default()
    }
}

/// The protocol in the IPv4 header.
fn protocol(record: &Record) -> Protocol {
    Protocol::from_number(record.bytes[9])
}

/// A ping, a datagram on a port of no interest and one on a DNS port, a refused connection. All over IPv4.
fn traffic(node: &Netns, pod: &Netns) {
    let server = udp_socket(node, &format!("{GATEWAY}:53"));
    let other = udp_socket(node, &format!("{GATEWAY}:9999"));
    let client = udp_socket(pod, "0.0.0.0:0");
    for port in [53, 9999] {
        client.send_to(b"hello", (GATEWAY, port)).expect("sends");
    }
    pod.enter(|| std::net::TcpStream::connect((GATEWAY, 81)))
        .expect_err("no listener");
    pod.sh(&format!("ping -c 3 -i 0.01 {GATEWAY}"));
    drop((server, other));
}

#[test]
fn each_kind_is_emitted_if_it_is_asked_for_and_only_then() {
    let _turn = turn::shared();
    let (node, pod) = node_with_a_pod();
    let nothing = Emission::nothing;
    // What is asked for, and the protocols of the records: a ping makes 6, the connection 2, the datagrams 1
    // each.
    let cases = [
        ("all", Emission::default(), [6, 2, 2]),
        ("nothing", nothing(), [0, 0, 0]),
        (
            "echo",
            Emission {
                echo: true,
                ..nothing()
            },
            [6, 0, 0],
        ),
        (
            "dns",
            Emission {
                dns: true,
                ..nothing()
            },
            [0, 0, 1],
        ),
        (
            "first",
            Emission {
                first: true,
                ..nothing()
            },
            [0, 0, 1],
        ),
        (
            "tcp",
            Emission {
                tcp: true,
                ..nothing()
            },
            [0, 2, 0],
        ),
        (
            "port",
            Emission {
                tcp: true,
                first: true,
                ports: vec![80, 81],
                ..nothing()
            },
            [0, 2, 0],
        ),
        (
            "other",
            Emission {
                tcp: true,
                first: true,
                ports: vec![9999],
                ..nothing()
            },
            [0, 0, 1],
        ),
    ];
    let mut lives: Vec<_> = cases
        .iter()
        .map(|(instance, emission, _)| Live::start(&node, emitting(instance, emission.clone())))
        .collect();
    traffic(&node, &pod);
    lives[0].wait("everything", |live| live.ipv4().len() == 10);
    // IPv6 and ARP send packets by themselves, even between one start and the next.
    let counted: Vec<BTreeMap<Flow, FlowTotals>> = lives
        .iter_mut()
        .map(|live| live.capture.sweep().expect("sweeps"))
        .map(|flows| {
            flows
                .iter()
                .filter(|flow| flow.flow.peer.is_ipv4())
                .map(|flow| (flow.flow, flow.totals))
                .collect()
        })
        .collect();
    assert_eq!(counted[0].len(), 4, "{counted:?}");
    assert!(
        counted.iter().all(|other| *other == counted[0]),
        "{counted:?}"
    );
    for ((instance, _, expected), live) in cases.iter().zip(lives) {
        let (records, stats) = live.stop();
        let of = |wanted| {
            records
                .iter()
                .filter(|record| record.ethertype == 0x0800 && protocol(record) == wanted)
                .count()
        };
        assert_eq!(
            [of(Protocol::Icmp), of(Protocol::Tcp), of(Protocol::Udp)],
            *expected,
            "{instance}"
        );
        assert_eq!(stats.due, records.len() as u64, "{instance}");
        assert_eq!(stats.losses().total(), 0, "{instance}");
    }
}

#[test]
fn a_connection_on_a_dns_port_goes_with_dns() {
    let _turn = turn::shared();
    let (node, pod) = node_with_a_pod();
    let dns = Emission {
        dns: true,
        ..Emission::nothing()
    };
    let mut live = Live::start(&node, emitting("dns", dns));
    for port in [81, 53] {
        pod.enter(|| std::net::TcpStream::connect((GATEWAY, port)))
            .expect_err("no listener");
    }
    live.wait("SYN and RST", |live| live.ipv4().len() >= 2);
    let (records, _) = live.stop();
    let ports: Vec<_> = records
        .iter()
        .filter(|record| record.ethertype == 0x0800)
        .map(|record| {
            let port = |at: usize| u16::from_be_bytes([record.bytes[at], record.bytes[at + 1]]);
            port(20).min(port(22))
        })
        .collect();
    assert_eq!(ports, [53, 53]);
}

#[test]
fn a_muted_interface_is_counted_and_emits_no_record_until_it_is_unmuted() {
    let _turn = turn::shared();
    let (node, pod) = node_with_a_pod();
    let other_pod = Netns::new();
    node.add_pod(&other_pod, "pod2", 2);
    let by_interface = Emission {
        by_interface: true,
        ..Emission::default()
    };
    let mut live = Live::start(&node, emitting("muting", by_interface));
    let link = |live: &Live, name: &str| {
        live.capture
            .interfaces()
            .into_iter()
            .find(|status| status.link.name == name)
            .expect("it is traced")
    };
    let muted = link(&live, "pod1").link.ifindex;
    let server = udp_socket(&node, &format!("{GATEWAY}:53"));
    let (client, other) = (
        udp_socket(&pod, "0.0.0.0:0"),
        udp_socket(&other_pod, "0.0.0.0:0"),
    );
    let mut ask = |what: &str, reported: bool| {
        let before = link(&live, "pod1").totals.tx.packets;
        client
            .send_to(what.as_bytes(), (GATEWAY, 53))
            .expect("sends");
        // The other's record comes after ours would.
        let mark = format!("after {what}");
        other
            .send_to(mark.as_bytes(), (GATEWAY, 53))
            .expect("sends");
        live.wait(&mark, |live| {
            live.records
                .iter()
                .any(|record| udp_payload(record) == mark.as_bytes())
        });
        assert!(link(&live, "pod1").totals.tx.packets > before, "{what}");
        let is_reported = live
            .records
            .iter()
            .any(|record| udp_payload(record) == what.as_bytes());
        assert_eq!(is_reported, reported, "{what}");
        live.capture
            .mute(muted, reported)
            .expect("the table has room");
    };
    ask("unmuted", true);
    ask("muted", false);
    ask("unmuted again", true);
    let (_, stats) = live.stop();
    assert_eq!(stats.losses().total(), 0, "{stats:?}");
    drop(server);
}
