//! A CNI that delivers past the host end of the pod's veth (`bpf_redirect_peer`, as Cilium's eBPF host
//! routing does).

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use serde_json::Value;
use testbed::turn;

use super::agent::Tracer;
use super::live::udp_socket;
use super::netns::Netns;
use super::programs::deliver_past;

/// Where the pod's peer is: behind the node, so that its packets come in by the uplink.
pub const OUTSIDE: &str = "192.0.2.2";

/// A query for `a.` and its answer: an identifier, flags, counts, the question (RFC 1035 section 4.1).
pub const QUERY: &[u8] = &[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 0, 0, 1, 0, 1];
pub const ANSWER: &[u8] = &[
    0, 7, 0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 0, 0, 1, 0, 1,
];

/// The node drops packets to it silently.
const NOWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

pub struct Site {
    pub node: Netns,
    pub pod: Netns,
    pub outside: Netns,
}

/// A pod, its node and a machine behind it: outside = uplink | node | pod1 = eth0 of the pod.
pub fn site() -> Site {
    let (node, pod, outside) = (Netns::new(), Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    node.sh(&format!(
        "ip link add uplink type veth peer name eth0 netns {} && ip link set uplink up
         ip addr add 192.0.2.1/24 dev uplink && echo 1 > /proc/sys/net/ipv4/ip_forward",
        outside.path()
    ));
    outside.sh(&format!(
        "ip link set eth0 up && ip addr add {OUTSIDE}/24 dev eth0 && ip route add default via 192.0.2.1"
    ));
    Site { node, pod, outside }
}

/// The tracer's JSON lines and log for a pod that queries, connects, sends and pings, and is always
/// answered. At the end another pod gets no answer: when that is reported, every earlier silence was
/// long enough to be reported.
fn reported(site: &Site) -> (Vec<Value>, String) {
    let Site { node, pod, outside } = site;
    let dns = udp_socket(outside, &format!("{OUTSIDE}:53"));
    let other = udp_socket(outside, &format!("{OUTSIDE}:9999"));
    let listener = outside
        .enter(|| TcpListener::bind((OUTSIDE, 80)))
        .expect("listens");
    let other_pod = Netns::new();
    node.add_pod(&other_pod, "pod2", 2);
    node.sh(&format!("ip route add blackhole {NOWHERE}/32"));
    let mut tracer = Tracer::start(node, "pod1, pod2");
    let ask = |server: &UdpSocket, port: u16, question: &[u8], answer: &[u8]| {
        let client = udp_socket(pod, "10.9.0.1:0");
        client.send_to(question, (OUTSIDE, port)).expect("sends");
        let mut buffer = [0; 100];
        let (_, from) = server.recv_from(&mut buffer).expect("is asked");
        server.send_to(answer, from).expect("answers");
        let length = client.recv(&mut buffer).expect("the pod is answered");
        assert_eq!(&buffer[..length], answer);
    };
    ask(&dns, 53, QUERY, ANSWER);
    ask(&other, 9999, b"a question", b"an answer");
    let mut client = pod
        .enter(|| TcpStream::connect((OUTSIDE, 80)))
        .expect("connects");
    let (mut server, _) = listener.accept().expect("accepts");
    client.write_all(b"hello").expect("sends");
    server.read_exact(&mut [0; 5]).expect("reads");
    server.write_all(b"world").expect("answers");
    client.read_exact(&mut [0; 5]).expect("reads");
    drop((client, server));
    let pinged = pod.sh(&format!("ping -c 3 -i 0.05 {OUTSIDE}"));
    assert!(
        pinged.contains("3 packets transmitted, 3 received"),
        "{pinged}"
    );
    let lost = udp_socket(&other_pod, "10.9.0.2:0");
    lost.send_to(b"a question", (NOWHERE, 9999)).expect("sends");
    lost.send_to(QUERY, (NOWHERE, 53)).expect("sends");
    // Its SYN is sent; giving up at once sends no packet.
    let connected = other_pod
        .enter(|| TcpStream::connect_timeout(&(NOWHERE, 80).into(), Duration::from_millis(50)));
    assert!(connected.is_err(), "no listener");
    let nowhere = NOWHERE.to_string();
    for (kind, key, silence) in [
        ("dns", "outcome", "timeout"),
        ("tcp", "state", "timeout"),
        ("udp", "state", "unanswered"),
    ] {
        tracer.wait_for("silence that is none", |line| {
            line["type"] == kind && line[key] == silence && line["peer"]["ip"] == *nowhere
        });
    }
    let (mut lines, said) = tracer.stop();
    lines.retain(|line| line["pod"]["ip"] != "10.9.0.2");
    (lines, said)
}

/// The lines about missing answers.
fn silences(lines: &[Value]) -> Vec<&Value> {
    lines
        .iter()
        .filter(|line| {
            line["outcome"] == "timeout"
                || ["timeout", "opening", "unanswered"]
                    .iter()
                    .any(|state| line["state"] == *state)
                || line["loss"].as_f64().is_some_and(|loss| loss > 0.0)
        })
        .collect()
}

#[test]
fn where_packets_to_the_pod_bypass_the_probe_no_silence_is_reported_with_tcx() {
    let _turn = turn::shared();
    let site = site();
    let link = deliver_past(&site.node, "uplink", "pod1");
    let (lines, said) = reported(&site);
    assert_eq!(silences(&lines), Vec::<&Value>::new(), "{said}");
    let established: Vec<&Value> = lines
        .iter()
        .filter(|line| line["type"] == "tcp" && line["state"] == "established")
        .collect();
    assert!(
        established
            .iter()
            .any(|line| line["peer"]["ip"] == OUTSIDE && line["rx"]["packets"] == 0),
        "the connection is reported from the pod's packets alone: {lines:?}"
    );
    // Once while it runs, once in the summary.
    let note = "pod1: packets to the pod are not visible (possibly bpf_redirect_peer)";
    assert_eq!(said.matches(note).count(), 2, "{said}");
    assert!(
        said.contains("silence in an invisible direction, suppressed"),
        "{said}"
    );
    drop(link);
}

#[test]
fn where_both_directions_are_visible_nothing_is_held_back() {
    let _turn = turn::shared();
    let (lines, said) = reported(&site());
    assert!(!said.contains("not visible"), "{said}");
    assert!(
        lines
            .iter()
            .any(|line| line["type"] == "dns" && line["outcome"] == "nxdomain"),
        "{lines:?}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line["kind"] == "echo" && line["received"] == 3),
        "{lines:?}"
    );
}
