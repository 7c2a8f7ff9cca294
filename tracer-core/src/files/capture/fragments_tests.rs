//! Reassembly of hand-made fragments. `tests/core/replay.rs` compares the result with other programs.

use etherparse::{IpFragOffset, IpNumber, Ipv4Header, Ipv6FragmentHeader, Ipv6Header};

use super::fragments::{Fragments, Whole};
use super::testing::udp;
use super::{Origin, Packet};
use crate::model::flow::Traffic;
use crate::model::time::Timestamp;

const SECOND: u64 = 1_000_000_000;

fn packet(time: u64, bytes: Vec<u8>) -> Packet {
    Packet {
        time: Timestamp(time),
        origin: Origin::default(),
        direction: None,
        ethertype: if bytes[0] >> 4 == 4 { 0x0800 } else { 0x86dd },
        wire_len: u32::try_from(bytes.len()).expect("short"),
        bytes,
        lost: 0,
        recorded: None,
    }
}

/// A UDP datagram in an IPv4 packet.
fn whole() -> Vec<u8> {
    let payload: Vec<u8> = (0..3_000_u32).map(|byte| byte as u8).collect();
    udp(("10.0.0.1", 4_000), ("10.0.0.2", 53), &payload)
}

/// A fragment of `packet` with the payload bytes from `start` to `end`, as a router sends it.
fn v4_piece(packet: &[u8], id: u16, start: usize, end: usize) -> Vec<u8> {
    let (mut header, payload) = Ipv4Header::from_slice(packet).expect("a header");
    header.identification = id;
    header.dont_fragment = false;
    header.more_fragments = end < payload.len();
    let offset = u16::try_from(start / 8).expect("short");
    header.fragment_offset = IpFragOffset::try_new(offset).expect("13 bits");
    header.total_len = u16::try_from(20 + end - start).expect("short");
    header.header_checksum = header.calc_header_checksum();
    [&header.to_bytes()[..], &payload[start..end]].concat()
}

fn v6_piece(payload: &[u8], id: u32, start: usize, end: usize) -> Vec<u8> {
    let ip = Ipv6Header {
        payload_length: u16::try_from(8 + end - start).expect("short"),
        next_header: IpNumber::IPV6_FRAGMENTATION_HEADER,
        hop_limit: 64,
        source: [1; 16],
        destination: [2; 16],
        ..Ipv6Header::default()
    };
    let fragment = Ipv6FragmentHeader {
        next_header: IpNumber::UDP,
        fragment_offset: IpFragOffset::try_new(u16::try_from(start / 8).expect("short"))
            .expect("13 bits"),
        more_fragments: end < payload.len(),
        identification: id,
    };
    [
        &ip.to_bytes()[..],
        &fragment.to_bytes(),
        &payload[start..end],
    ]
    .concat()
}

fn all(fragments: &mut Fragments) -> Vec<Whole> {
    std::iter::from_fn(|| fragments.pop()).collect()
}

fn reassemble(pieces: Vec<Vec<u8>>) -> (Vec<Whole>, Fragments) {
    let mut fragments = Fragments::default();
    for (time, piece) in (1..).zip(pieces) {
        fragments.push(packet(time, piece));
    }
    (all(&mut fragments), fragments)
}

#[test]
fn fragments_are_reassembled_in_any_order_and_with_duplicates() {
    let whole = whole();
    let piece = |start, end| v4_piece(&whole, 7, start, end);
    let cuts = [piece(0, 1_480), piece(1_480, 2_960), piece(2_960, 3_008)];
    // The expected packet is the original, but for the identification.
    let mut expected = whole.clone();
    expected[4..6].copy_from_slice(&7_u16.to_be_bytes());
    expected[6] &= !0x40;
    let (mut header, _) = Ipv4Header::from_slice(&expected).expect("a header");
    header.header_checksum = header.calc_header_checksum();
    expected[..20].copy_from_slice(&header.to_bytes());
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [0, 2, 1]] {
        let (found, fragments) = reassemble(order.map(|index| cuts[index].clone()).to_vec());
        assert_eq!(found.len(), 1, "{order:?}");
        assert_eq!(found[0].packet.bytes, expected, "{order:?}");
        assert_eq!(found[0].packet.wire_len, 3_028);
        // It is complete with its last fragment.
        assert_eq!(found[0].packet.time, Timestamp(3));
        let traffic = Traffic {
            packets: 3,
            bytes: 3_068,
        };
        assert_eq!(found[0].fragments, Some(traffic));
        assert_eq!(
            (fragments.reassembled(), fragments.has_waiting()),
            (1, false)
        );
    }
    let twice = [&cuts[0], &cuts[0], &cuts[1], &cuts[2]]
        .map(Clone::clone)
        .to_vec();
    assert_eq!(reassemble(twice).0[0].packet.bytes, expected);
}

#[test]
fn ipv6_fragments_become_an_atomic_fragment() {
    let payload: Vec<u8> = whole()[20..].to_vec();
    let pieces = vec![
        v6_piece(&payload, 9, 1_232, payload.len()),
        v6_piece(&payload, 9, 0, 1_232),
    ];
    let (found, _) = reassemble(pieces);
    assert_eq!(found.len(), 1);
    // RFC 6946: offset 0 and no more fragments.
    assert_eq!(
        found[0].packet.bytes,
        v6_piece_alone(&payload, 9),
        "the original packet"
    );
    // An atomic fragment is a whole packet.
    let (found, fragments) = reassemble(vec![v6_piece_alone(&payload, 9)]);
    assert_eq!((found.len(), fragments.reassembled()), (1, 0));
}

fn v6_piece_alone(payload: &[u8], id: u32) -> Vec<u8> {
    v6_piece(payload, id, 0, payload.len())
}

#[test]
fn interleaved_fragments_of_different_packets_are_kept_apart() {
    let whole = whole();
    let piece = |id, start, end| v4_piece(&whole, id, start, end);
    let (found, _) = reassemble(vec![
        piece(1, 0, 1_480),
        piece(2, 0, 1_480),
        piece(1, 1_480, 3_008),
        piece(2, 1_480, 3_008),
    ]);
    let ids: Vec<&[u8]> = found
        .iter()
        .map(|whole| &whole.packet.bytes[4..6])
        .collect();
    assert_eq!(ids, [[0, 1], [0, 2]]);
}

#[test]
fn fragments_that_cannot_be_reassembled_pass_unchanged() {
    let whole = whole();
    let first = v4_piece(&whole, 7, 0, 1_480);
    let middle = v4_piece(&whole, 7, 1_480, 2_960);

    // The last fragment is missing; a packet two seconds later shows that it will not come.
    let mut fragments = Fragments::default();
    fragments.push(packet(1, first.clone()));
    fragments.push(packet(2, middle.clone()));
    assert!(fragments.has_waiting());
    assert_eq!(all(&mut fragments), []);
    fragments.push(packet(3 * SECOND, whole.clone()));
    let found: Vec<Vec<u8>> = all(&mut fragments)
        .into_iter()
        .map(|whole| whole.packet.bytes)
        .collect();
    assert_eq!(found, [first.clone(), middle.clone(), whole.clone()]);

    // The file ends.
    let mut fragments = Fragments::default();
    fragments.push(packet(1, first.clone()));
    fragments.end();
    assert_eq!(all(&mut fragments)[0].packet.bytes, first);

    // The capture truncated one fragment.
    let mut fragments = Fragments::default();
    let cut = Packet {
        wire_len: 1_500,
        ..packet(1, first[..100].to_vec())
    };
    fragments.push(cut.clone());
    assert_eq!(all(&mut fragments)[0].packet, cut);

    // One fragment contradicts another.
    let mut other = v4_piece(&whole, 7, 1_472, 2_960);
    other[20] ^= 1;
    let (found, fragments) = reassemble(vec![first.clone(), other.clone()]);
    let found: Vec<Vec<u8>> = found.into_iter().map(|whole| whole.packet.bytes).collect();
    assert_eq!(found, [first, other]);
    assert_eq!(fragments.reassembled(), 0);
}

#[test]
fn waiting_fragments_are_bounded_and_evictions_are_counted() {
    let whole = whole();
    let mut fragments = Fragments::default();
    for id in 0..300 {
        fragments.push(packet(1, v4_piece(&whole, id, 0, 1_480)));
    }
    let crowded_out = |fragments: &Fragments| fragments.losses().total();
    assert_eq!(all(&mut fragments).len(), 44);
    assert_eq!(crowded_out(&fragments), 44);

    // One packet in more fragments than any network makes, and packets with a single byte at a far offset.
    let mut fragments = Fragments::default();
    let tiny: Vec<u8> = udp(("10.0.0.1", 1), ("10.0.0.2", 2), &[0; 60_000]);
    for index in 0..1_400 {
        fragments.push(packet(
            1,
            v4_piece(&tiny, 1, index * 16 + 8, index * 16 + 16),
        ));
    }
    assert_eq!(all(&mut fragments).len(), 1_366);
    assert_eq!(crowded_out(&fragments), 1);
}

#[test]
fn garbage_passes_unchanged() {
    for bytes in [vec![0x45], vec![0x60; 20], vec![0x4f; 30], vec![0x45; 21]] {
        let (found, mut fragments) = reassemble(vec![bytes.clone()]);
        fragments.end();
        let rest = all(&mut fragments);
        let packets: Vec<Vec<u8>> = found
            .into_iter()
            .chain(rest)
            .map(|whole| whole.packet.bytes)
            .collect();
        assert_eq!(packets, [bytes]);
    }
}

#[test]
fn a_packet_with_truncated_extension_headers_passes_unchanged() {
    // Hop-by-hop options that announce a fragment header, with nothing after them (RFC 8200 section 4).
    let mut bytes = vec![0x60, 0, 0, 0, 0, 8, 0, 64];
    bytes.extend([0xfd; 32]);
    bytes.extend([44, 0, 1, 4, 0, 0, 0, 0]);
    let (passed, _) = reassemble(vec![bytes.clone()]);
    assert_eq!(passed.len(), 1);
    assert_eq!(passed[0].packet.bytes, bytes);
}
