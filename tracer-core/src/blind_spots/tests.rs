use std::time::Duration;

use super::*;
use crate::identity::IndexSettings;
use crate::model::cluster::{ClusterChange, Inventory};
use crate::model::connection::TcpConnection;
use crate::model::event::Ends;
use crate::model::evidence::TcpEvidence;
use crate::model::flow::{Flow, FlowTotals, Ifindex, Protocol};
use crate::model::identity::{PeerEnd, PodEnd};
use crate::model::time::Timestamp;

fn index(pods: Vec<Pod>) -> Index {
    let mut index = Index::new(IndexSettings::default());
    let inventory = Inventory {
        pods,
        ..Inventory::default()
    };
    index.apply(Timestamp(0), ClusterChange::Replace(Box::new(inventory)));
    index
}

fn pod(name: &str, node: &str, host_network: bool) -> Pod {
    Pod {
        namespace: "kube-system".into(),
        name: name.into(),
        uid: name.into(),
        node: Some(node.into()),
        host_network,
        ..Pod::default()
    }
}

fn connection(name: &str, role: Role, state: TcpState, peer: &str, port: u16) -> Event {
    let ip: IpAddr = "10.1.0.7".parse().expect("an address");
    let peer: IpAddr = peer.parse().expect("an address");
    let flow = Flow {
        ifindex: Ifindex(7),
        protocol: Protocol::Tcp,
        pod: (ip, 40_000).into(),
        peer: (peer, port).into(),
    };
    Event {
        time: Timestamp(1),
        incomplete: false,
        ends: Some(Ends {
            ifindex: Ifindex(7),
            role,
            pod: PodEnd {
                ip,
                port: Some(40_000),
                identity: Ok(Arc::new(PodIdentity {
                    namespace: "shop".into(),
                    name: name.into(),
                    uid: name.into(),
                    workload: None,
                    node: None,
                })),
                container: None,
                at_uplink: false,
                process: None,
            },
            peer: PeerEnd {
                ip: peer,
                port: Some(port),
                pod: None,
                host_pod: None,
                service: None,
                node: None,
                names: Vec::new(),
                backend: None,
            },
            peer_traced_here: false,
        }),
        body: Body::Tcp(Box::new(TcpConnection {
            flow,
            role,
            state,
            handshake: Some(Duration::from_millis(1)),
            syn_retransmits: 0,
            totals: FlowTotals::default(),
            icmp: None,
            last: Timestamp(1),
            evidence: TcpEvidence::default(),
        })),
    }
}

#[test]
fn a_node_where_everything_is_visible_has_no_blind_spot() {
    let mut spots = BlindSpots::default();
    for event in [
        connection("web", Role::Client, TcpState::Established, "192.0.2.1", 443),
        // Not established: it carried no lookup.
        connection("web", Role::Client, TcpState::Timeout, "1.1.1.1", 443),
        connection("dot", Role::Server, TcpState::Established, "192.0.2.1", 853),
    ] {
        spots.observe(&event);
    }
    let index = index(vec![
        pod("coredns-1", "here", false),
        pod("proxy", "there", true),
    ]);
    assert_eq!(spots.list(&index, "here", &[]), [""; 0]);
}

#[test]
fn one_way_interfaces_are_listed_with_the_missing_direction() {
    let one_way = [
        ("veth1", Direction::ToPod),
        ("veth2", Direction::ToPod),
        ("veth3", Direction::FromPod),
    ];
    let lines = BlindSpots::default().list(&index(Vec::new()), "here", &one_way);
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].starts_with("packets to the pods behind veth1, veth2: "),
        "{lines:?}"
    );
    assert!(
        lines[1].starts_with("packets from the pods behind veth3: "),
        "{lines:?}"
    );
}

#[test]
fn host_network_pods_of_this_node_are_named_up_to_a_limit() {
    let mut pods: Vec<Pod> = (0..7)
        .map(|n| pod(&format!("p{n}"), "here", true))
        .collect();
    pods.push(pod("elsewhere", "there", true));
    let mut ended = pod("ended", "here", true);
    ended.terminated = true;
    pods.push(ended);
    let mut index = index(pods);
    let lines = BlindSpots::default().list(&index, "here", &[]);
    assert_eq!(lines.len(), 1);
    assert!(
        lines[0].contains("7 pods with hostNetwork")
            && lines[0].ends_with("kube-system/p3, kube-system/p4 and 2 more)"),
        "{lines:?}"
    );
    index.apply(Timestamp(1), ClusterChange::NodeInterface(Ifindex(1)));
    let lines = BlindSpots::default().list(&index, "here", &[]);
    assert!(
        lines[0].starts_with("connections to 7 pods with hostNetwork"),
        "{lines:?}"
    );
    index.apply(Timestamp(2), ClusterChange::InterfaceGone(Ifindex(1)));
    let lines = BlindSpots::default().list(&index, "here", &[]);
    assert!(
        lines[0].starts_with("traffic of 7 pods with hostNetwork"),
        "{lines:?}"
    );
}

#[test]
fn a_node_local_cache_is_recognized_by_its_pod_or_its_address() {
    let mut by_pod = index(vec![pod("node-local-dns-x7k2p", "here", false)]);
    let lines = BlindSpots::default().list(&by_pod, "here", &[]);
    assert!(
        lines[0].contains("NodeLocal DNSCache") && lines[0].contains("node-local-dns-x7k2p"),
        "{lines:?}"
    );
    by_pod.apply(Timestamp(1), ClusterChange::NodeInterface(Ifindex(1)));
    assert_eq!(BlindSpots::default().list(&by_pod, "here", &[]), [""; 0]);
    let elsewhere = index(vec![pod("node-local-dns-x7k2p", "there", false)]);
    assert_eq!(BlindSpots::default().list(&elsewhere, "here", &[]), [""; 0]);
    let spots = BlindSpots {
        node_local_asked: true,
        ..BlindSpots::default()
    };
    let lines = spots.list(&elsewhere, "here", &[]);
    assert!(lines[0].contains("pods ask 169.254.20.10"), "{lines:?}");
}

#[test]
fn encrypted_lookups_are_listed_with_their_pods() {
    let mut spots = BlindSpots::default();
    for event in [
        connection("a", Role::Client, TcpState::Established, "192.0.2.1", 853),
        connection("a", Role::Client, TcpState::Closed, "192.0.2.1", 853),
        connection(
            "b",
            Role::Client,
            TcpState::Established,
            "2606:4700:4700::1111",
            443,
        ),
    ] {
        spots.observe(&event);
    }
    let lines = spots.list(&index(Vec::new()), "here", &[]);
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].contains("DNS over TLS") && lines[0].ends_with("(shop/a)"),
        "{lines:?}"
    );
    assert!(
        lines[1].contains("DNS over HTTPS") && lines[1].ends_with("(shop/b)"),
        "{lines:?}"
    );
}

#[test]
fn remembered_pods_are_bounded() {
    let mut spots = BlindSpots::default();
    for number in 0..MAX_REMEMBERED + 10 {
        let name = format!("p{number}");
        let event = connection(&name, Role::Client, TcpState::Established, "192.0.2.1", 853);
        spots.observe(&event);
    }
    let lines = spots.list(&index(Vec::new()), "here", &[]);
    assert!(lines[0].contains(" and at least 251 more"), "{lines:?}");
}
