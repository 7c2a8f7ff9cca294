//! Packets between sockets on one node, on every kernel: those of the node to a pod have their cgroup, unlike those of
//! another pod; and DNS on `lo` is seen once.

use std::net::UdpSocket;

use testbed::turn;
use tracer::capture::live::LinkOf;
use tracer::capture::{HookChoice, Options};
use tracer_core::model::flow::{Direction, Ifindex};
use tracer_core::model::record::Record;

use super::interfaces::{attached, by};
use super::live::{Live, udp_socket};
use super::netns::Netns;
use super::uplink::Inside;

/// An address of the node that is no loopback address.
const CACHE: &str = "169.254.20.10";
const OUT: Direction = Direction::FromPod;
const BACK: Direction = Direction::ToPod;

/// A question and its answer, of a DNS header's length, at the address that the client uses.
fn ask(client: &UdpSocket, address: &str, server: &UdpSocket) {
    let mut buffer = [0; 64];
    client.send_to(&[0; 12], address).expect("sends");
    let (_, from) = server.recv_from(&mut buffer).expect("a question");
    server.send_to(&[0; 12], from).expect("sends");
    client.recv_from(&mut buffer).expect("an answer");
}

/// Direction and cgroup of the records of an interface.
fn senders(records: &[Record], ifindex: Ifindex) -> Vec<(Direction, u64)> {
    let own = records
        .iter()
        .filter(|record| record.ifindex == ifindex && record.ethertype == 0x0800);
    own.map(|record| (record.direction, record.sender_cgroup))
        .collect()
}

/// Four pods of two networks, routed and behind a bridge. All sockets are of one cgroup.
#[test]
fn only_packets_of_the_nodes_own_sockets_reach_a_pod_with_their_cgroup() {
    let _turn = turn::shared();
    let node = Netns::new();
    let pods: [Netns; 4] = std::array::from_fn(|_| Netns::new());
    node.add_pod(&pods[0], "pod0", 1);
    node.add_pod(&pods[1], "pod1", 2);
    node.sh("echo 1 > /proc/sys/net/ipv4/ip_forward
        ip link add br0 type bridge && ip addr add 10.7.0.254/24 dev br0 && ip link set br0 up");
    for (pod, name, number) in [(&pods[2], "pod2", 1), (&pods[3], "pod3", 2)] {
        node.sh(&format!(
            "ip link add {name} type veth peer name eth0 netns {} && ip link set {name} master br0 up",
            pod.path()
        ));
        pod.sh(&format!(
            "ip addr add 10.7.0.{number}/24 dev eth0 && ip link set eth0 up"
        ));
    }
    let live = Live::start(&node, Options::default());
    let interfaces = ["pod0", "pod1", "pod2", "pod3"].map(|name| live.ifindex(name));

    let inside = Inside::new("local-peers");
    for (servers, clients, network) in [(0, 1, "10.9.0"), (2, 3, "10.7.0")] {
        let address = format!("{network}.1:53");
        let server = udp_socket(&pods[servers], &address);
        let of_node = udp_socket(&node, "0.0.0.0:40000");
        ask(&of_node, &address, &server);
        let of_pod = udp_socket(&pods[clients], "0.0.0.0:40001");
        ask(&of_pod, &address, &server);
    }
    inside.leave();
    let id = inside.id();
    let (records, _) = live.stop();
    for (server, client) in [
        (interfaces[0], interfaces[1]),
        (interfaces[2], interfaces[3]),
    ] {
        let of_server = [(BACK, id), (OUT, id), (BACK, 0), (OUT, id)];
        assert_eq!(senders(&records, server), of_server);
        assert_eq!(senders(&records, client), [(OUT, id), (BACK, 0)]);
    }
}

fn dns_on_lo_is_seen_once(hook: HookChoice) {
    let _turn = turn::shared();
    let node = Netns::new();
    node.sh(&format!(
        "ip link add nodelocaldns type dummy 2> /dev/null || ip link add nodelocaldns type bridge
         ip addr add {CACHE}/32 dev nodelocaldns"
    ));
    let mut live = Live::start(
        &node,
        Options {
            node: true,
            ..by(hook)
        },
    );
    live.wait("lo", |live| attached(live, "lo"));
    let lo = live.ifindex("lo");

    let at_cache = format!("{CACHE}:53");
    let inside = Inside::new(&format!("lo-{hook:?}"));
    let client = udp_socket(&node, &format!("{CACHE}:40000"));
    let cache = udp_socket(&node, &at_cache);
    // Near misses: a loopback address, a port that is not DNS's, and a socket in the root cgroup.
    let stub = udp_socket(&node, "127.0.0.53:53");
    ask(
        &udp_socket(&node, "127.0.0.1:40001"),
        "127.0.0.53:53",
        &stub,
    );
    let at_other = format!("{CACHE}:8053");
    ask(&client, &at_other, &udp_socket(&node, &at_other));
    inside.leave();
    if inside.from_root {
        let of_root = udp_socket(&node, &format!("{CACHE}:40002"));
        ask(&of_root, &at_cache, &cache);
    }
    ask(&client, &at_cache, &cache);

    live.wait("records", |live| senders(&live.records, lo).len() >= 2);
    let mut interfaces = live.capture.interfaces().into_iter();
    let status = interfaces.find(|status| status.link.ifindex == lo);
    let status = status.expect("lo is traced");
    assert_eq!(status.link.of, LinkOf::Loopback);
    let packets = status.totals.tx.packets + status.totals.rx.packets;
    assert_eq!(packets, 2, "nothing else is counted");
    node.sh(&format!("ip addr del {CACHE}/32 dev nodelocaldns"));
    live.wait("the end of lo", |live| {
        let interfaces = live.capture.interfaces();
        interfaces.iter().all(|status| status.link.ifindex != lo)
    });
    let id = inside.id();
    let (records, _) = live.stop();
    assert_eq!(senders(&records, lo), [(OUT, id), (BACK, id)]);
}

#[test]
fn dns_on_lo_is_seen_once_with_tcx() {
    dns_on_lo_is_seen_once(HookChoice::Tcx);
}

#[test]
fn dns_on_lo_is_seen_once_with_clsact() {
    dns_on_lo_is_seen_once(HookChoice::Clsact);
}
