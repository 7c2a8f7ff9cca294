//! Which records a packet becomes, from which pod's side: captures of the same traffic at different places
//! compared with each other, and single flows without an inventory.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::testing::{CLIENT, SERVER, addresses, is_one_of, packets, path, tcp, truth, udp};
use super::{
    LinkDirection, Origin, Packet, Reader, Recorded, Replay, ReplaySettings, SYNTHETIC_INTERFACES,
    Sides,
};
use crate::model::flow::{Direction, Ifindex};
use crate::model::record::Record;
use crate::model::time::Timestamp;

const A: (&str, u16) = ("10.0.0.1", 40_000);
const B: (&str, u16) = ("10.0.0.2", 80);

fn replay(file: &str, is_pod: impl Fn(IpAddr) -> bool) -> Vec<Record> {
    let reader = Reader::open(path(file)).expect("the fixture is in the repository");
    let mut replay = Replay::new(reader, &ReplaySettings::default());
    let mut records = Vec::new();
    while replay.step(&is_pod, &mut records).expect("it is whole") {}
    assert_eq!(replay.losses().total(), 0);
    records
}

/// A packet of an interface that is captured without a link-layer header.
fn packet(bytes: Vec<u8>) -> Packet {
    Packet {
        time: Timestamp(1),
        origin: Origin::default(),
        direction: None,
        ethertype: 0x0800,
        wire_len: u32::try_from(bytes.len()).expect("short"),
        bytes,
        lost: 0,
        recorded: None,
    }
}

fn no_pod(_: IpAddr) -> bool {
    false
}

/// The direction of each packet without a known pod.
fn directions(packets: Vec<Vec<u8>>) -> Vec<Direction> {
    let mut sides = Sides::new(&[53], 100);
    let mut out = Vec::new();
    for bytes in packets {
        sides.place(packet(bytes), no_pod, &mut out);
    }
    out.iter().map(|record| record.direction).collect()
}

/// The common properties of two captures of one veth: order, direction, lengths, bytes and counters, but not
/// timestamps.
fn essence(records: Vec<Record>) -> Vec<(Direction, u32, Vec<u8>, String)> {
    records
        .into_iter()
        // Neighbour discovery and multicast differ between places.
        .filter(|record| {
            let (src, dst) = addresses(&record.bytes);
            [src, dst]
                .into_iter()
                .all(|end| is_one_of(&CLIENT)(end) || is_one_of(&SERVER)(end))
        })
        .map(|record| {
            let totals = format!("{:?}", record.totals);
            (
                record.direction,
                record.wire_len,
                without_ttl(record.bytes),
                totals,
            )
        })
        .collect()
}

/// The packet without the fields that forwarding changes.
fn without_ttl(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes[0] >> 4 == 4 {
        (bytes[8], bytes[10], bytes[11]) = (0, 0, 0);
    } else {
        bytes[7] = 0;
    }
    bytes
}

#[test]
fn a_capture_on_all_interfaces_gives_the_same_records_as_one_on_the_pods_veth() {
    let expected = essence(replay("ethernet.pcap", is_one_of(&CLIENT)));
    assert!(expected.len() > 25, "{}", expected.len());
    for file in [
        "any.pcap",
        "cooked1.pcap",
        "inside.pcap",
        "two-interfaces.pcapng",
    ] {
        let found = essence(replay(file, is_one_of(&CLIENT)));
        assert_eq!(found.len(), expected.len(), "{file}");
        for (found, expected) in found.into_iter().zip(&expected) {
            assert_eq!(found, *expected, "{file}");
        }
    }
}

#[test]
fn roles_and_inventory_agree_where_the_client_is_the_pod() {
    for file in ["any.pcap", "ethernet.pcap", "raw.pcap", "snapped.pcap"] {
        let listed = essence(replay(file, is_one_of(&CLIENT)));
        let unlisted = essence(replay(file, no_pod));
        assert_eq!(unlisted, listed, "{file}");
    }
}

#[test]
fn traffic_between_two_pods_has_records_on_both_sides() {
    let both: Vec<&str> = CLIENT.into_iter().chain(SERVER).collect();
    for file in ["ethernet.pcap", "any.pcap", "two-interfaces.pcapng"] {
        let one = essence(replay(file, is_one_of(&CLIENT)));
        let two = essence(replay(file, is_one_of(&both)));
        assert_eq!(two.len(), 2 * one.len(), "{file}");
        let leaving = two
            .iter()
            .filter(|record| record.0 == Direction::FromPod)
            .count();
        assert_eq!(leaving, one.len(), "{file}");
    }
}

#[test]
fn of_several_copies_the_one_at_the_pod_is_recorded() {
    // On the node the query passes first the client's veth and then the server's.
    let both: Vec<&str> = CLIENT.into_iter().chain(SERVER).collect();
    let records = replay("any.pcap", is_one_of(&both));
    let query = packets("any.pcap")
        .into_iter()
        .filter(|packet| packet.bytes[0] >> 4 == 4)
        .take(2)
        .collect::<Vec<_>>();
    assert_eq!(addresses(&query[0].bytes), addresses(&query[1].bytes));
    let clients: Vec<_> = records
        .iter()
        .filter(|record| record.bytes[0] >> 4 == 4)
        .take(2)
        .map(|record| (record.direction, record.time))
        .collect();
    assert_eq!(clients[0], (Direction::FromPod, query[0].time));
    assert_eq!(clients[1].0, Direction::ToPod);
}

#[test]
fn flow_counters_add_up_to_what_tshark_saw() {
    let client = is_one_of(&CLIENT);
    let mut expected: BTreeMap<(IpAddr, IpAddr), (u64, u64)> = BTreeMap::new();
    for packet in truth("ethernet.pcap") {
        let sum = expected.entry((packet.src, packet.dst)).or_default();
        sum.0 += 1;
        sum.1 += u64::from(packet.len);
    }
    expected.retain(|(src, dst), _| client(*src) != client(*dst));

    // The last record of each flow has its final counters. A flow is identified by everything that the
    // record's own bytes state.
    let mut last: BTreeMap<String, Record> = BTreeMap::new();
    for record in replay("ethernet.pcap", &client) {
        let (src, dst) = addresses(&record.bytes);
        if client(src) != client(dst) {
            last.insert(flow_name(&record), record);
        }
    }
    let mut found: BTreeMap<(IpAddr, IpAddr), (u64, u64)> = BTreeMap::new();
    for record in last.values() {
        let (src, dst) = addresses(&record.bytes);
        let (pod, peer) = match record.direction {
            Direction::FromPod => (src, dst),
            Direction::ToPod => (dst, src),
        };
        let totals = record.totals.expect("the table is large");
        for (ends, traffic) in [((pod, peer), totals.tx), ((peer, pod), totals.rx)] {
            if traffic.packets > 0 {
                let sum = found.entry(ends).or_default();
                sum.0 += traffic.packets;
                sum.1 += traffic.bytes;
            }
        }
    }
    assert_eq!(found, expected);
}

/// The ports of both ends or the echo's identifier, at fixed offsets, because the fixtures have no IP
/// options.
fn flow_name(record: &Record) -> String {
    let bytes = &record.bytes;
    let (header, protocol) = if bytes[0] >> 4 == 4 {
        (20, bytes[9])
    } else {
        (40, bytes[6])
    };
    let later_fragment = header == 20 && (u16::from_be_bytes([bytes[6], bytes[7]]) & 0x1fff) != 0;
    let (src, dst) = addresses(bytes);
    let word = |at: usize| u16::from_be_bytes([bytes[header + at], bytes[header + at + 1]]);
    let mut ends = match protocol {
        6 | 17 => [(src, word(0)), (dst, word(2))],
        1 | 58 if !later_fragment && [0, 8, 128, 129].contains(&bytes[header]) => {
            [(src, word(4)), (dst, word(4))]
        }
        _ => [(src, 0), (dst, 0)],
    };
    ends.sort_unstable();
    format!("{protocol} {ends:?}")
}

#[test]
fn a_syn_and_a_syn_ack_show_the_client() {
    let flow = [
        tcp(A, B, "S"),
        tcp(B, A, "SA"),
        tcp(A, B, "A"),
        tcp(B, A, "R"),
    ];
    assert_eq!(
        directions(flow.to_vec()),
        [
            Direction::FromPod,
            Direction::ToPod,
            Direction::FromPod,
            Direction::ToPod
        ]
    );
    // The SYN is missing.
    assert_eq!(
        directions(vec![tcp(B, A, "SA"), tcp(A, B, "A")]),
        [Direction::ToPod, Direction::FromPod]
    );
    // Ports that do not show the client, or suggest the wrong one.
    let high = ("10.0.0.2", 50_000);
    assert_eq!(
        directions(vec![tcp(A, high, "S"), tcp(high, A, "A")]),
        [Direction::FromPod, Direction::ToPod]
    );
}

#[test]
fn a_later_syn_corrects_a_guess() {
    let high = ("10.0.0.2", 50_000);
    let flow = vec![tcp(A, high, "A"), tcp(A, high, "S"), tcp(A, high, "A")];
    assert_eq!(
        directions(flow),
        [Direction::ToPod, Direction::FromPod, Direction::FromPod]
    );
}

#[test]
fn ports_show_the_client_of_a_flow_that_began_before_the_capture() {
    assert_eq!(
        directions(vec![tcp(B, A, "A"), tcp(A, B, "A")]),
        [Direction::ToPod, Direction::FromPod]
    );
    let high = ("10.0.0.2", 8_080);
    assert_eq!(directions(vec![tcp(high, A, "A")]), [Direction::ToPod]);
    assert_eq!(
        directions(vec![udp(("10.0.0.2", 123), A, b"x")]),
        [Direction::ToPod]
    );
    // Only the order shows the client.
    let other = ("10.0.0.2", 40_000);
    assert_eq!(
        directions(vec![udp(other, A, b"x"), udp(A, other, b"x")]),
        [Direction::FromPod, Direction::ToPod]
    );
}

#[test]
fn dns_flags_show_the_client_even_if_both_ports_are_53() {
    let (near, far) = (("10.0.0.1", 53), ("10.0.0.2", 53));
    let query = [0, 1, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    let answer = [0, 1, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0];
    assert_eq!(
        directions(vec![udp(far, near, &answer), udp(near, far, &query)]),
        [Direction::ToPod, Direction::FromPod]
    );
}

#[test]
fn each_pod_address_has_one_synthetic_interface() {
    let mut sides = Sides::new(&[53], 100);
    let pods = is_one_of(&["10.0.0.1", "10.0.0.2"]);
    let mut out = Vec::new();
    sides.place(packet(tcp(A, B, "S")), &pods, &mut out);
    sides.place(packet(tcp(B, A, "SA")), &pods, &mut out);
    let (first, second) = (
        Ifindex(SYNTHETIC_INTERFACES + 1),
        Ifindex(SYNTHETIC_INTERFACES + 2),
    );
    let seen: Vec<_> = out
        .iter()
        .map(|record| (record.ifindex, record.direction))
        .collect();
    assert_eq!(
        seen,
        [
            (first, Direction::FromPod),
            (second, Direction::ToPod),
            (second, Direction::FromPod),
            (first, Direction::ToPod),
        ]
    );
    let fresh = sides.new_interfaces();
    assert_eq!(
        fresh,
        [
            (first, A.0.parse::<IpAddr>().expect("an address")),
            (second, B.0.parse().expect("an address")),
        ]
    );
    assert!(sides.new_interfaces().is_empty());
}

#[test]
fn a_pod_that_moved_is_followed_after_a_second() {
    let mut sides = Sides::new(&[53], 100);
    let pods = is_one_of(&["10.0.0.1"]);
    let at = |milliseconds: u64, device: u32, bytes: Vec<u8>| Packet {
        time: Timestamp(milliseconds * 1_000_000),
        origin: Origin {
            device,
            ..Origin::default()
        },
        direction: Some(LinkDirection::Incoming),
        ..packet(bytes)
    };
    let mut placed = |packet: Packet| {
        let mut out = Vec::new();
        sides.place(packet, &pods, &mut out);
        out.len()
    };
    assert_eq!(placed(at(0, 5, tcp(A, B, "S"))), 1);
    // The same packet at a bridge.
    assert_eq!(placed(at(0, 2, tcp(A, B, "S"))), 0);
    // Another pod with the same address, behind another veth.
    assert_eq!(placed(at(900, 6, tcp(A, B, "S"))), 0);
    assert_eq!(placed(at(1_900, 6, tcp(A, B, "S"))), 1);
    assert_eq!(placed(at(1_950, 6, tcp(A, B, "A"))), 1);
    assert_eq!(sides.stats().copies, 2);
}

#[test]
fn a_full_role_table_evicts_the_oldest_flow_and_counts_it() {
    let mut sides = Sides::new(&[53], 2);
    let mut out = Vec::new();
    for port in [1_001, 1_002, 1_003] {
        let client = ("10.0.0.1", port + 40_000);
        sides.place(
            packet(tcp(client, ("10.0.0.2", 50_000), "S")),
            no_pod,
            &mut out,
        );
    }
    assert_eq!(sides.losses().total(), 1);
}

#[test]
fn a_packet_without_a_readable_header_still_reaches_the_decoder() {
    let mut out = Vec::new();
    Sides::new(&[53], 1).place(packet(vec![0x45, 0]), no_pod, &mut out);
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].bytes, [0x45, 0]);
}

#[test]
fn a_packet_with_truncated_extension_headers_is_placed_by_its_addresses() {
    // Hop-by-hop options that announce destination options, with nothing after them (RFC 8200 section 4).
    let mut bytes = vec![0x60, 0, 0, 0, 0, 8, 0, 64];
    bytes.extend([0xfd; 16]);
    bytes.extend([0xfe; 16]);
    bytes.extend([60, 0, 1, 4, 0, 0, 0, 0]);
    assert_eq!(directions(vec![bytes]), [Direction::FromPod]);
}

/// An ICMP error from `src` to the sender of `quoted`: port unreachable.
fn unreachable(src: &str, dst: &str, quoted: &[u8]) -> Vec<u8> {
    let [src, dst] = [src, dst].map(|address| {
        let address: std::net::Ipv4Addr = address.parse().expect("an address");
        address.octets()
    });
    let mut packet = Vec::new();
    etherparse::PacketBuilder::ipv4(src, dst, 64)
        .icmpv4_raw(3, 3, [0; 4])
        .write(&mut packet, quoted)
        .expect("in memory");
    packet
}

#[test]
fn an_icmp_error_belongs_to_the_client_of_the_quoted_flow() {
    let (client, server) = (("10.0.0.1", 40_000), ("10.0.0.2", 53));
    let query = udp(client, server, &[0, 1, 0x01, 0x00]);
    let answer = udp(server, client, &[0, 1, 0x81, 0x80]);
    // A missing server refuses the query, a client that disappeared refuses the answer.
    assert_eq!(
        directions(vec![unreachable("10.0.0.2", "10.0.0.1", &query)]),
        [Direction::ToPod]
    );
    assert_eq!(
        directions(vec![unreachable("10.0.0.1", "10.0.0.2", &answer)]),
        [Direction::FromPod]
    );
    // The flow is known only from the capture.
    let (near, far) = (("10.0.0.1", 40_000), ("10.0.0.2", 40_001));
    let refused = unreachable("10.0.0.1", "10.0.0.2", &udp(far, near, b"x"));
    assert_eq!(
        directions(vec![udp(near, far, b"x"), refused]),
        [Direction::FromPod, Direction::FromPod]
    );
    // An error with an unreadable quote belongs to its receiver; so does an error about an error, which is
    // forbidden.
    let nested = unreachable("10.0.0.9", "10.0.0.1", &query);
    for quoted in [&query[..10], &nested] {
        assert_eq!(
            directions(vec![unreachable("10.0.0.2", "10.0.0.1", quoted)]),
            [Direction::ToPod]
        );
    }
}

#[test]
fn an_interface_of_a_recording_is_reported_once_with_its_listed_pod() {
    let mut sides = Sides::new(&[53], 100);
    let pods = is_one_of(&["10.0.0.1"]);
    let recorded = |ifindex: u32, direction, bytes| Packet {
        recorded: Some(Recorded {
            ifindex: Ifindex(ifindex),
            direction,
            totals: None,
            sender_cgroup: 0,
            sender_process: None,
        }),
        ..packet(bytes)
    };
    let mut out = Vec::new();
    // An address without a pod says nothing about the interface.
    let other = ("10.9.9.9", 5);
    sides.place(
        recorded(7, Direction::FromPod, tcp(other, B, "S")),
        &pods,
        &mut out,
    );
    assert!(sides.new_interfaces().is_empty());
    sides.place(
        recorded(7, Direction::ToPod, tcp(B, A, "SA")),
        &pods,
        &mut out,
    );
    sides.place(
        recorded(7, Direction::FromPod, tcp(A, B, "A")),
        &pods,
        &mut out,
    );
    let pod: IpAddr = A.0.parse().expect("an address");
    assert_eq!(sides.new_interfaces(), [(Ifindex(7), pod)]);
    assert_eq!(out.len(), 3);
}
