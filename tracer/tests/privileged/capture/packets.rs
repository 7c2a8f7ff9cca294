//! The record of every shape of packet.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use testbed::turn;
use tracer::capture::Options;
use tracer_core::model::flow::{Direction, Protocol};
use tracer_core::model::record::Record;

use super::live::{GATEWAY, Live, udp_payload, udp_socket};
use super::netns::{Netns, send_frame};

const HOST: [u8; 6] = [2, 0, 0, 0, 0, 1];
const POD: [u8; 6] = [2, 0, 0, 0, 0, 2];
const POD_V4: [u8; 4] = [10, 9, 0, 1];
const PEER_V4: [u8; 4] = [10, 9, 255, 254];

fn pod() -> (Netns, Netns) {
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    (node, pod)
}

fn pod_v6() -> [u8; 16] {
    "fd09::1"
        .parse::<std::net::Ipv6Addr>()
        .expect("an address")
        .octets()
}

fn peer_v6() -> [u8; 16] {
    "fd09::ffff"
        .parse::<std::net::Ipv6Addr>()
        .expect("an address")
        .octets()
}

/// Whether the record is exactly this frame from its network header on.
fn is(record: &Record, frame: &[u8], network: usize) -> bool {
    record.bytes == frame[network..] && record.wire_len as usize == frame.len() - network
}

/// Sends one frame from the pod and waits until its record, byte by byte, has arrived.
fn expect_recorded(live: &mut Live, pod: &Netns, frame: &[u8], network: usize) {
    send_frame(pod, "eth0", frame);
    live.wait("record of the frame", |live| {
        live.records.iter().any(|record| is(record, frame, network))
    });
}

#[test]
fn dns_over_udp_is_recorded_on_both_hooks() {
    let _turn = turn::shared();
    let (node, pod) = pod();
    let mut live = Live::start(&node, Options::default());
    let server = udp_socket(&node, &format!("{GATEWAY}:53"));
    let client = udp_socket(&pod, "10.9.0.1:0");
    client.send_to(b"a question", (GATEWAY, 53)).expect("sends");
    let mut buffer = [0; 100];
    let (_, from) = server.recv_from(&mut buffer).expect("is asked");
    server.send_to(b"an answer", from).expect("answers");

    live.wait("two records", |live| live.ipv4().len() == 2);
    let seen: Vec<_> = live
        .ipv4()
        .into_iter()
        .map(|record| (record.direction, udp_payload(record)))
        .collect();
    assert_eq!(
        seen,
        [
            (Direction::FromPod, &b"a question"[..]),
            (Direction::ToPod, &b"an answer"[..])
        ]
    );

    let flows = live.capture.sweep().expect("sweeps");
    let flow = flows
        .iter()
        .find(|flow| flow.flow.peer.port() == 53)
        .expect("the flow is counted");
    assert_eq!(flow.flow.pod, client.local_addr().expect("bound"));
    assert_eq!(
        (flow.totals.tx.bytes, flow.totals.rx.bytes),
        (28 + 10, 28 + 9)
    );
    live.stop();
}

#[test]
fn a_long_dns_message_is_cut_where_the_option_says() {
    let _turn = turn::shared();
    let (node, pod) = pod();
    node.sh("ip link set pod1 mtu 9000");
    pod.sh("ip link set eth0 mtu 9000");
    let mut live = Live::start(&node, Options::default());
    let client = udp_socket(&pod, "0.0.0.0:0");
    client.send_to(&[7; 1_232], (GATEWAY, 53)).expect("sends");
    client.send_to(&[8; 4_000], (GATEWAY, 53)).expect("sends");
    // IPv6 announces itself from the pod, too.
    let sent =
        |record: &Record| record.direction == Direction::FromPod && record.ethertype == 0x0800;
    live.wait("both", |live| {
        live.records.iter().filter(|record| sent(record)).count() == 2
    });
    let lengths: Vec<_> = live
        .records
        .iter()
        .filter(|record| sent(record))
        .map(|record| (udp_payload(record).len(), record.wire_len))
        .collect();
    assert_eq!(lengths, [(1_232, 1_260), (1_232, 4_028)]);
    assert_eq!(live.stop().1.truncated, 1);
}

#[test]
fn other_udp_is_recorded_once_without_its_payload() {
    let _turn = turn::shared();
    let (node, pod) = pod();
    let mut live = Live::start(&node, Options::default());
    let server = udp_socket(&node, &format!("{GATEWAY}:9999"));
    let client = udp_socket(&pod, "0.0.0.0:0");
    for _ in 0..10 {
        client.send_to(b"a secret", (GATEWAY, 9999)).expect("sends");
    }
    live.wait_seen(10);
    let flow = live
        .capture
        .sweep()
        .expect("sweeps")
        .into_iter()
        .find(|flow| flow.flow.peer.port() == 9999);
    assert_eq!(flow.expect("counted").totals.tx.packets, 10);
    let (records, _) = live.stop();
    let lengths: Vec<_> = records
        .iter()
        .filter(|record| record.ethertype == 0x0800)
        .map(|record| record.bytes.len())
        .collect();
    assert_eq!(lengths, [28], "headers only");
    drop(server);
}

#[test]
fn a_long_dns_answer_over_tcp_comes_complete_in_chunks() {
    let _turn = turn::shared();
    let (node, pod) = pod();
    let mut live = Live::start(&node, Options::default());
    let answer: Vec<u8> = (0..60_000_u32).map(|number| (number % 251) as u8).collect();
    let listener = node
        .enter(|| TcpListener::bind((GATEWAY, 53)))
        .expect("listens");
    let sent = answer.clone();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accepts");
        stream.write_all(&sent).expect("answers");
    });
    let mut stream = pod
        .enter(|| TcpStream::connect((GATEWAY, 53)))
        .expect("connects");
    let mut read = Vec::new();
    stream.read_to_end(&mut read).expect("reads");
    server.join().expect("answered");
    assert_eq!(read, answer);
    drop(stream);

    // Chunks of a segment follow each other; a segment's place in the stream is its sequence number.
    live.wait("whole answer", |live| {
        let mut stream = vec![None; answer.len()];
        let mut segment: Option<(u32, Vec<u8>)> = None;
        let mut start = None;
        let put =
            |stream: &mut Vec<Option<u8>>, start: Option<u32>, segment: Option<(u32, Vec<u8>)>| {
                if let (Some(start), Some((sequence, bytes))) = (start, segment) {
                    for (place, byte) in (sequence.wrapping_sub(start) as usize..).zip(bytes) {
                        stream[place] = Some(byte);
                    }
                }
            };
        for record in live
            .records
            .iter()
            .filter(|record| record.direction == Direction::ToPod)
        {
            if record.chunk_offset == 0 {
                put(&mut stream, start, segment.take());
                let header = 20 + usize::from(record.bytes[32] >> 4) * 4;
                let sequence =
                    u32::from_be_bytes(record.bytes[24..28].try_into().expect("four bytes"));
                if record.bytes[33] & 2 != 0 {
                    start = Some(sequence.wrapping_add(1));
                } else {
                    segment = Some((sequence, record.bytes[header..].to_vec()));
                }
            } else if let Some((_, bytes)) = &mut segment {
                bytes.extend(&record.bytes);
            }
        }
        put(&mut stream, start, segment.take());
        stream.iter().flatten().copied().eq(answer.iter().copied())
    });
    assert!(
        live.records.iter().any(|record| record.chunk_offset > 0),
        "no segment was longer than one record"
    );
    live.stop();
}

#[test]
fn a_connection_is_recorded_by_its_control_segments_only() {
    let _turn = turn::shared();
    let (node, pod) = pod();
    let mut live = Live::start(&node, Options::default());
    let listener = node
        .enter(|| TcpListener::bind((GATEWAY, 8080)))
        .expect("listens");
    let mut client = pod
        .enter(|| TcpStream::connect((GATEWAY, 8080)))
        .expect("connects");
    let (mut server, _) = listener.accept().expect("accepts");
    let mut buffer = [0; 1_000];
    for _ in 0..20 {
        client.write_all(&[1; 1_000]).expect("sends");
        server.read_exact(&mut buffer).expect("reads");
    }
    drop(client);
    assert_eq!(server.read(&mut buffer).expect("reads"), 0);
    drop(server);
    let refused = pod.enter(|| TcpStream::connect((GATEWAY, 8081)));
    assert_eq!(
        refused.expect_err("no listener").kind(),
        std::io::ErrorKind::ConnectionRefused
    );

    let flags = |live: &Live, port: u16| -> Vec<(Direction, u8)> {
        let tcp = live
            .records
            .iter()
            .filter(|record| record.bytes.get(9) == Some(&6));
        tcp.filter(|record| {
            let ports =
                [20, 22].map(|at| u16::from_be_bytes([record.bytes[at], record.bytes[at + 1]]));
            ports.contains(&port)
        })
        .map(|record| (record.direction, record.bytes[33] & 0x17))
        .collect()
    };
    live.wait("both FINs", |live| flags(live, 8080).len() == 4);
    let (syn, fin, rst, ack) = (2, 1, 4, 16);
    let (from, to) = (Direction::FromPod, Direction::ToPod);
    assert_eq!(
        flags(&live, 8080),
        [
            (from, syn),
            (to, syn | ack),
            (from, fin | ack),
            (to, fin | ack)
        ]
    );
    live.wait("refusal", |live| flags(live, 8081).len() == 2);
    assert_eq!(flags(&live, 8081), [(from, syn), (to, rst | ack)]);
    assert!(
        live.records.iter().all(|record| record.bytes.len() <= 60),
        "headers only"
    );
    live.stop();
}

#[test]
fn a_pings_packets_are_recorded_and_counted_as_one_flow() {
    let _turn = turn::shared();
    for (address, protocol, header) in [
        (GATEWAY, Protocol::Icmp, 20),
        ("fd09::ffff", Protocol::Icmpv6, 40),
    ] {
        let (node, pod) = pod();
        let mut live = Live::start(&node, Options::default());
        let reported = pod.sh(&format!("ping -c 5 -i 0.05 {address}"));
        assert!(
            reported.contains("5 packets transmitted, 5 received"),
            "{reported}"
        );
        let echo = |record: &&Record| {
            let kind = record.bytes[header];
            record.bytes.len() == header + 8 && [0, 8, 128, 129].contains(&kind)
        };
        live.wait("ten echo records", |live| {
            live.records.iter().filter(echo).count() == 10
        });
        let flows = live.capture.sweep().expect("sweeps");
        let flow = flows
            .iter()
            .find(|flow| flow.flow.protocol == protocol && flow.flow.pod.port() != 0);
        let flow = flow.expect("counted by its identifier");
        assert_eq!((flow.totals.tx.packets, flow.totals.rx.packets), (5, 5));
        live.stop();
    }
}

#[test]
fn an_icmp_error_is_recorded_with_the_packet_that_it_quotes() {
    let _turn = turn::shared();
    let (node, pod) = pod();
    let mut live = Live::start(&node, Options::default());
    // No listener: the node answers "port unreachable" and quotes the query.
    let client = udp_socket(&pod, "0.0.0.0:0");
    client
        .send_to(b"no listener", (GATEWAY, 53))
        .expect("sends");
    live.wait("query and error", |live| live.ipv4().len() == 2);
    let (query, error) = (live.ipv4()[0], live.ipv4()[1]);
    assert_eq!(
        (
            error.direction,
            error.bytes[9],
            error.bytes[20],
            error.bytes[21]
        ),
        (Direction::ToPod, 1, 3, 3)
    );
    // The quote equals the query except for what changed on the way: the time to live and the checksums.
    assert_eq!(error.bytes[28 + 12..28 + 24], query.bytes[12..24]);
    assert!(error.bytes.ends_with(b"no listener"));
    live.stop();
}

#[test]
fn vlan_tags_and_ip_options_do_not_hide_the_headers() {
    let _turn = turn::shared();
    let (node, pod) = pod();
    let mut live = Live::start(&node, Options::default());
    let (udp, payload) = ((40_000, 53), b"behind tags");

    let mut single = Vec::new();
    let tagged = PacketBuilder::ethernet2(POD, HOST).single_vlan(5.try_into().expect("an id"));
    tagged
        .ipv4(POD_V4, PEER_V4, 64)
        .udp(udp.0, udp.1)
        .write(&mut single, payload)
        .expect("writes");
    expect_recorded(&mut live, &pod, &single, 18);

    let mut double = Vec::new();
    let tagged = PacketBuilder::ethernet2(POD, HOST)
        .double_vlan(5.try_into().expect("an id"), 6.try_into().expect("an id"));
    tagged
        .ipv6(pod_v6(), peer_v6(), 64)
        .udp(udp.0, udp.1)
        .write(&mut double, payload)
        .expect("writes");
    expect_recorded(&mut live, &pod, &double, 22);

    let mut ip = etherparse::Ipv4Header::new(0, 64, etherparse::IpNumber::UDP, POD_V4, PEER_V4)
        .expect("a header");
    ip.options = [7, 39, 4, 0, 0, 0, 0, 0]
        .as_slice()
        .try_into()
        .expect("options");
    let mut options = Vec::new();
    let plain = PacketBuilder::ethernet2(POD, HOST).ip(etherparse::IpHeaders::Ipv4(
        ip,
        etherparse::Ipv4Extensions::default(),
    ));
    plain
        .udp(udp.0, udp.1)
        .write(&mut options, payload)
        .expect("writes");
    expect_recorded(&mut live, &pod, &options, 14);

    // All of one flow per family: the tags and options are no part of a flow.
    let flows = live.capture.sweep().expect("sweeps");
    let counted: Vec<_> = flows
        .iter()
        .filter(|flow| flow.flow.peer.port() == 53)
        .map(|flow| flow.totals.tx.packets)
        .collect();
    assert_eq!(counted.iter().sum::<u64>(), 3);
    assert_eq!(counted.len(), 2);
    live.stop();
}

/// An Ethernet and IPv6 header, then `extensions` (each with its own next header already set), then UDP to
/// port 53.
fn ipv6_with(first: u8, extensions: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut frame = [&HOST[..], &POD[..], &[0x86, 0xdd, 0x60, 0, 0, 0]].concat();
    let udp_len = (8 + payload.len()) as u16;
    frame.extend((extensions.len() as u16 + udp_len).to_be_bytes());
    frame.extend([first, 64]);
    frame.extend(pod_v6());
    frame.extend(peer_v6());
    frame.extend(extensions);
    frame.extend(40_000_u16.to_be_bytes());
    frame.extend(53_u16.to_be_bytes());
    frame.extend(udp_len.to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(payload);
    frame
}

#[test]
fn ipv6_extension_headers_are_passed_over() {
    let _turn = turn::shared();
    let (node, pod) = pod();
    let mut live = Live::start(&node, Options::default());
    let options = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
    // Hop-by-hop, destination options, authentication (24 bytes: 4 + 2 words), a first fragment, destination
    // options.
    let chain = [
        &options(60)[..],
        &options(51)[..],
        &[44, 4][..],
        &[0; 22][..],
        &[60, 0, 0, 1, 0, 0, 0, 9][..],
        &options(17)[..],
    ]
    .concat();
    expect_recorded(&mut live, &pod, &ipv6_with(0, &chain, b"far behind"), 14);

    // A long one: 2,048 bytes of destination options.
    let mut long = vec![0_u8; 2_048];
    (long[0], long[1]) = (17, 255);
    let frame = ipv6_with(60, &long, b"q");
    pod.sh("ip link set eth0 mtu 4000");
    node.sh("ip link set pod1 mtu 4000");
    let before = live.stats();
    send_frame(&pod, "eth0", &frame);
    live.wait("record", |live| live.stats().emitted > before.emitted);
    live.stop();
}

#[test]
fn later_fragments_are_counted_and_have_a_flow_without_ports() {
    let _turn = turn::shared();
    let (node, pod) = pod();
    let mut live = Live::start(&node, Options::default());
    let client = udp_socket(&pod, "0.0.0.0:0");
    // Three fragments at the MTU of 1,500.
    client.send_to(&[5; 4_000], (GATEWAY, 53)).expect("sends");
    live.wait("fragments", |live| live.stats().fragments == 2);
    let flows = live.capture.sweep().expect("sweeps");
    let with_port = flows
        .iter()
        .find(|flow| flow.flow.peer.port() == 53)
        .expect("the first fragment's");
    let without = flows
        .iter()
        .find(|flow| flow.flow.protocol == Protocol::Udp && flow.flow.peer.port() == 0);
    assert_eq!(with_port.totals.tx.packets, 1);
    assert_eq!(without.expect("the others'").totals.tx.packets, 2);

    let mut later = ipv6_with(44, &[17, 0, 0x10, 0, 0, 0, 0, 9], b"no ports here");
    later.truncate(later.len() - 4);
    send_frame(&pod, "eth0", &later);
    live.wait("IPv6 fragment", |live| live.stats().fragments == 3);
    live.stop();
}

#[test]
fn malformed_packets_are_counted_and_do_no_harm() {
    let _turn = turn::shared();
    let (node, pod) = pod();
    let mut live = Live::start(&node, Options::default());
    let before = live.stats();
    let ethernet = |ethertype: u16, rest: &[u8]| {
        [&HOST[..], &POD[..], &ethertype.to_be_bytes(), rest].concat()
    };
    let malformed: [&[u8]; 5] = [
        &[0x45; 10], // ends within the header
        &[0x41; 30], // a header of four bytes
        &[0x65; 60], // the wrong version
        &[
            0x45, 0, 0, 22, 0, 0, 0, 0, 64, 17, 0, 0, 10, 9, 0, 1, 10, 9, 255, 254, 0, 53,
        ], // half a UDP header
        &[
            0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 9, 0, 1, 10, 9, 255, 254, 0, 53, 0, 53, 0,
            0, 0, 0, 0, 0, 0, 0, 0x10, 2, 0, 0, 0, 0, 0, 0,
        ],
    ];
    for packet in malformed {
        send_frame(&pod, "eth0", &ethernet(0x0800, packet));
    }
    send_frame(&pod, "eth0", &ethernet(0x86dd, &[0x60; 20]));
    send_frame(&pod, "eth0", &ethernet(0x88cc, &[1; 30]));
    live.wait("counts", |live| live.stats().seen >= before.seen + 7);
    let after = live.stats();
    assert_eq!(after.malformed - before.malformed, 6, "{after:?}");
    assert!(after.not_ip > before.not_ip);
    live.stop();
}

#[test]
fn headers_outside_the_linear_part_are_read_the_slow_way() {
    let _turn = turn::shared();
    let (node, pod) = pod();
    node.sh("ip link set pod1 mtu 9000");
    pod.sh("ip link set eth0 mtu 9000");
    let mut live = Live::start(&node, Options::default());
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2(POD, HOST)
        .ipv4(POD_V4, PEER_V4, 64)
        .udp(40_000, 53);
    builder.write(&mut frame, &[9; 6_000]).expect("writes");
    // For a frame this long, a packet socket puts only the link header into the linear part.
    send_frame(&pod, "eth0", &frame);
    live.wait("record", |live| {
        live.records.iter().any(|record| record.wire_len == 6_028)
    });
    let record = live
        .records
        .iter()
        .find(|record| record.wire_len == 6_028)
        .expect("just waited for");
    assert_eq!(record.bytes, frame[14..14 + 28 + 1_232]);
    let (_, stats) = live.stop();
    assert!(stats.slow_loads >= 2, "{stats:?}");
}

#[test]
fn dns_on_ipv6_and_on_another_port_is_recorded() {
    let _turn = turn::shared();
    let (node, pod) = pod();
    let mut live = Live::start(
        &node,
        Options {
            dns_ports: vec![53, 5_353],
            ..Options::default()
        },
    );
    let client = udp_socket(&pod, "[::]:0");
    client
        .send_to(b"over IPv6", ("fd09::ffff", 5_353))
        .expect("sends");
    live.wait("record", |live| {
        live.records.iter().any(|record| {
            let sliced = SlicedPacket::from_ip(&record.bytes).ok();
            matches!(sliced.and_then(|sliced| sliced.transport),
                Some(TransportSlice::Udp(udp)) if udp.destination_port() == 5_353 && udp.payload() == b"over IPv6")
        })
    });
    live.stop();
}

#[test]
fn interface_totals_are_what_nftables_counts() {
    let _turn = turn::shared();
    let (node, pod) = pod();
    let live = Live::start(&node, Options::default());
    let before = live.capture.interfaces().pop().expect("traced").totals;
    node.sh("nft 'table netdev count {
            chain in { type filter hook ingress device pod1 priority 0
                counter
            }
        }'");
    let between = live.capture.interfaces().pop().expect("traced").totals;
    pod.sh(&format!("ping -c 20 -i 0.01 -s 500 {GATEWAY}"));
    let after = live.capture.interfaces().pop().expect("traced").totals;
    let reported = node.sh("nft list table netdev count");
    let packets: Vec<u64> = reported
        .split_whitespace()
        .skip_while(|word| *word != "packets")
        .nth(1)
        .and_then(|word| word.parse().ok())
        .into_iter()
        .collect();
    let ours = after.tx.packets - between.tx.packets;
    // Packets that passed while the rule was made may be in one count only.
    let unsure = between.tx.packets - before.tx.packets;
    assert!(
        packets.iter().all(|theirs| theirs.abs_diff(ours) <= unsure),
        "{packets:?} {ours} {unsure}"
    );
    assert!(ours >= 20);
    live.stop();
}
