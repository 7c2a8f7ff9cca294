//! Rare events on real packets: an answer from another address than the query's, and a path with a small MTU.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use serde_json::Value;
use testbed::turn;

use super::agent::Tracer;
use super::live::{GATEWAY, udp_socket};
use super::netns::Netns;
use super::one_way::{ANSWER, OUTSIDE, QUERY, Site, site};

/// Another address of the node.
const OTHER: &str = "10.9.255.253";

#[test]
fn an_answer_from_another_address_is_reported_with_the_queried_one() {
    let _turn = turn::shared();
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    node.sh(&format!("ip addr add {OTHER}/32 dev pod1"));
    let asked = udp_socket(&node, &format!("{GATEWAY}:53"));
    let other = udp_socket(&node, &format!("{OTHER}:53"));
    let tracer = Tracer::start(&node, "pod1");
    let client = udp_socket(&pod, "10.9.0.1:0");
    client.send_to(QUERY, (GATEWAY, 53)).expect("sends");
    let mut buffer = [0; 100];
    let (_, from) = asked.recv_from(&mut buffer).expect("is asked");
    other.send_to(ANSWER, from).expect("answers");
    let (_, by) = client.recv_from(&mut buffer).expect("gets it");
    assert_eq!(by.ip().to_string(), OTHER);
    let (lines, said) = tracer.stop();
    let of = |outcome: &str| -> Vec<&Value> {
        let dns = lines.iter().filter(|line| line["type"] == "dns");
        dns.filter(|line| line["outcome"] == outcome).collect()
    };
    let reported = of("other");
    assert_eq!(reported.len(), 1, "{lines:?} {said}");
    assert_eq!(reported[0]["rcode"], "NXDOMAIN");
    assert_eq!(reported[0]["peer"]["ip"], OTHER);
    assert_eq!(reported[0]["asked_peer"]["ip"], GATEWAY);
    // The query itself is still open: it has not waited long enough to be unanswered.
    assert_eq!(of("undecided").len(), 1, "{lines:?} {said}");
}

#[test]
fn a_path_that_is_too_narrow_is_reported_with_its_mtu() {
    let _turn = turn::shared();
    let Site { node, pod, outside } = site();
    node.sh("ip link set uplink mtu 1300");
    let listener = outside
        .enter(|| TcpListener::bind((OUTSIDE, 80)))
        .expect("listens");
    let tracer = Tracer::start(&node, "pod1");
    let mut client = pod
        .enter(|| TcpStream::connect((OUTSIDE, 80)))
        .expect("connects");
    let (mut server, _) = listener.accept().expect("accepts");
    client.write_all(&[1; 10_000]).expect("sends");
    server
        .read_exact(&mut [0; 10_000])
        .expect("it gets through");
    // What the pod's kernel made of the error.
    let route = pod.sh(&format!("ip route get {OUTSIDE}"));
    assert!(route.contains("mtu 1300"), "{route}");
    let (lines, said) = tracer.stop();
    let narrow = lines.iter().find(|line| line["kind"] == "error");
    let narrow = narrow.unwrap_or_else(|| panic!("no error: {lines:?} {said}"));
    assert_eq!(narrow["mtu"], 1_300, "{narrow}");
    assert_eq!(
        (&narrow["icmp_type"], &narrow["icmp_code"]),
        (&3.into(), &4.into()),
        "RFC 1191: fragmentation needed"
    );
    assert_eq!(narrow["pod"]["ip"], "10.9.0.1", "{narrow}");
    assert_eq!(narrow["peer"]["ip"], OUTSIDE, "{narrow}");
}
