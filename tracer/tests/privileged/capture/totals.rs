//! An interface's totals equal the sum of its flows and of the packets counted outside flows.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use testbed::turn;
use tracer::capture::Options;
use tracer::capture::live::InterfaceStatus;
use tracer_core::model::flow::{Flow, FlowSnapshot, FlowTotals, Traffic};
use tracer_core::model::time::Timestamp;

use super::live::{GATEWAY, Live, udp_socket};
use super::netns::{Netns, send_frame};

fn plus(sum: FlowTotals, more: FlowTotals) -> FlowTotals {
    let add = |a: Traffic, b: Traffic| Traffic {
        packets: a.packets + b.packets,
        bytes: a.bytes + b.bytes,
    };
    FlowTotals {
        tx: add(sum.tx, more.tx),
        rx: add(sum.rx, more.rx),
        retransmits: None,
    }
}

/// The last sweep of every entry that the flow table ever had.
#[derive(Default)]
struct Totals(BTreeMap<(Flow, Timestamp), FlowTotals>);

impl Totals {
    fn take(&mut self, swept: Vec<FlowSnapshot>) {
        for flow in swept {
            self.0.insert((flow.flow, flow.first), flow.totals);
        }
    }

    fn sum(&self) -> FlowTotals {
        self.0
            .values()
            .fold(FlowTotals::default(), |sum, totals| plus(sum, *totals))
    }
}

fn status(live: &Live) -> InterfaceStatus {
    live.capture.interfaces().pop().expect("traced")
}

/// Sweeps until no packet arrived between two sweeps: IPv6 sends some by itself.
fn settled(live: &mut Live, reported: &mut Totals) -> InterfaceStatus {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let before = status(live);
        reported.take(live.capture.sweep().expect("sweeps"));
        if status(live) == before {
            return before;
        }
        assert!(Instant::now() < deadline, "the interface is never quiet");
    }
}

/// Traffic of every kind: both families, UDP, TCP, ping, ARP and other than IP, nonsense, fragments.
fn traffic(node: &Netns, pod: &Netns) {
    let listener = node
        .enter(|| TcpListener::bind((GATEWAY, 8080)))
        .expect("listens");
    let mut client = pod
        .enter(|| TcpStream::connect((GATEWAY, 8080)))
        .expect("connects");
    let (mut server, _) = listener.accept().expect("accepts");
    client.write_all(&[1; 100_000]).expect("sends");
    server.read_exact(&mut [0; 100_000]).expect("reads");
    drop((client, server));
    let clients: Vec<_> = (0..40).map(|_| udp_socket(pod, "[::]:0")).collect();
    let gateway = Ipv4Addr::new(10, 9, 255, 254).to_ipv6_mapped();
    for client in &clients {
        client
            .send_to(&[1; 100], ("fd09::ffff", 53))
            .expect("sends");
        client.send_to(&[2; 4_000], (gateway, 999)).expect("sends");
    }
    pod.sh(&format!(
        "ping -c 5 -i 0.01 {GATEWAY}; ping -c 5 -i 0.01 fd09::ffff; ip neigh flush dev eth0; ping -c 1 {GATEWAY}"
    ));
    let ethernet = |ethertype: u16, rest: &[u8]| {
        [
            &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2],
            &ethertype.to_be_bytes()[..],
            rest,
        ]
        .concat()
    };
    send_frame(pod, "eth0", &ethernet(0x88cc, &[1; 77]));
    send_frame(pod, "eth0", &ethernet(0x0800, &[0x41; 30]));
    send_frame(node, "pod1", &ethernet(0x88cc, &[1; 55]));
    send_frame(node, "pod1", &ethernet(0x86dd, &[0x60; 20]));
}

#[test]
fn flows_and_what_is_outside_of_them_add_up_to_the_interface() {
    let _turn = turn::shared();
    for flow_entries in [65_536, 16] {
        let (node, pod) = (Netns::new(), Netns::new());
        node.add_pod(&pod, "pod1", 1);
        let mut live = Live::start(
            &node,
            Options {
                flow_entries,
                ring_bytes: 4_096,
                records_per_second: 0,
                ..Options::default()
            },
        );
        let mut reported = Totals::default();
        traffic(&node, &pod);
        let status = settled(&mut live, &mut reported);
        assert_eq!(plus(reported.sum(), status.outside), status.totals);
        let stats = live.stats();
        assert!(
            stats.ring_full > 0 && stats.malformed >= 2 && stats.not_ip >= 4,
            "{stats:?}"
        );
        let outside = status.outside.tx.packets + status.outside.rx.packets;
        assert_eq!(
            outside,
            stats.not_ip + stats.malformed + stats.flow_table_full
        );
        assert_eq!(stats.flow_table_full > 0, flow_entries == 16, "{stats:?}");
        live.stop();
    }
}

#[test]
fn entries_that_end_and_begin_again_lose_no_packet() {
    let _turn = turn::shared();
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    let idle = Duration::from_millis(120);
    let mut live = Live::start(
        &node,
        Options {
            flow_idle: idle,
            flow_linger: idle,
            ..Options::default()
        },
    );
    let mut reported = Totals::default();
    let clients: Vec<_> = (0..20).map(|_| udp_socket(&pod, "0.0.0.0:0")).collect();
    // Each flow's pause is a little shorter or longer than what ends it, while it is swept all the time.
    for round in 0..15_u64 {
        for (number, client) in (0..).zip(&clients) {
            client.send_to(b"again", (GATEWAY, 9_999)).expect("sends");
            reported.take(live.capture.sweep().expect("sweeps"));
            std::thread::sleep(Duration::from_micros(
                4_000 + (round * 7 + number) % 20 * 250,
            ));
        }
    }
    let status = settled(&mut live, &mut reported);
    assert_eq!(plus(reported.sum(), status.outside), status.totals);
    let flows = reported.0.keys().map(|(flow, _)| flow);
    let distinct = flows.collect::<std::collections::BTreeSet<_>>().len();
    assert!(
        reported.0.len() > distinct + 20,
        "{} entries of {distinct} flows: too few ended for this test",
        reported.0.len()
    );
    live.stop();
}

/// The packets and bytes of nft's counter in this direction.
fn nft(node: &Netns) -> [(u64, u64); 2] {
    ["in", "out"].map(|direction| {
        let listed = node.sh(&format!("nft list counter netdev count {direction}"));
        let words: Vec<&str> = listed.split_whitespace().collect();
        let after = |name: &str| -> u64 {
            let at = words.iter().position(|word| *word == name);
            at.and_then(|at| words.get(at + 1)?.parse().ok())
                .expect("nft's counter")
        };
        (after("packets"), after("bytes"))
    })
}

#[test]
fn both_directions_are_what_nftables_counts() {
    let _turn = turn::shared();
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    node.sh("nft 'table netdev count {
            counter in { }
            counter out { }
            chain in { type filter hook ingress device pod1 priority 0; counter name in; }
            chain out { type filter hook egress device pod1 priority 0; counter name out; }
        }'");
    let mut live = Live::start(&node, Options::default());
    // All at one moment: nothing passed between the first reading and the last.
    let both = |live: &mut Live| loop {
        let before = (nft(&node), settled(live, &mut Totals::default()).totals);
        if (nft(&node), status(live).totals) == before {
            return before;
        }
    };
    let (theirs_before, ours_before) = both(&mut live);
    traffic(&node, &pod);
    let (theirs, ours) = both(&mut live);
    let [received, sent] = [0, 1].map(|way| {
        (
            theirs[way].0 - theirs_before[way].0,
            theirs[way].1 - theirs_before[way].1,
        )
    });
    let tx = (
        ours.tx.packets - ours_before.tx.packets,
        ours.tx.bytes - ours_before.tx.bytes,
    );
    let rx = (
        ours.rx.packets - ours_before.rx.packets,
        ours.rx.bytes - ours_before.rx.bytes,
    );
    assert!(tx.0 > 150 && rx.0 > 20, "{tx:?} {rx:?}");
    assert_eq!(tx, received, "nft counts from the network header on, too");
    // On the way out it counts the Ethernet header as well.
    assert_eq!((rx.0, rx.1 + rx.0 * 14), sent);
    live.stop();
}

#[test]
fn a_known_flow_counts_for_its_interface_after_another_took_that_ones_slot() {
    let _turn = turn::shared();
    let (node, first, second) = (Netns::new(), Netns::new(), Netns::new());
    node.add_pod(&first, "pod1", 1);
    let mut live = Live::start(&node, Options::default());
    let sent = |live: &Live, name: &str| {
        let interfaces = live.capture.interfaces().into_iter();
        let mut named = interfaces.filter(|status| status.link.name == name);
        named.next().map(|status| status.totals.tx)
    };
    let client = udp_socket(&first, "0.0.0.0:0");
    let send = |packets: u64| {
        for _ in 0..packets {
            client.send_to(&[1; 100], (GATEWAY, 9)).expect("sends");
        }
    };
    send(10);
    live.wait("the packets", |live| {
        sent(live, "pod1").is_some_and(|sent| sent.packets >= 10)
    });
    node.sh("ip addr add 192.168.2.33/24 dev pod1");
    live.wait("the end", |live| sent(live, "pod1").is_none());
    node.add_pod(&second, "pod2", 2);
    live.wait("the other", |live| sent(live, "pod2").is_some());
    node.sh("ip addr del 192.168.2.33/24 dev pod1");
    live.wait("the return", |live| sent(live, "pod1").is_some());
    send(100);
    live.wait("the packets after it", |live| {
        sent(live, "pod1").is_some_and(|sent| sent.bytes >= 100 * 128)
    });
    // IPv6 sends a few by itself.
    let other = sent(&live, "pod2").expect("traced");
    assert!(other.bytes < 100 * 128, "{other:?}");
    live.stop();
}
