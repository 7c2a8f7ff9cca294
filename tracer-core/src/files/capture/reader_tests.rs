//! The reader compared with tshark on the same files, and on deliberately broken files.

use std::io::{self, Cursor, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::testing::{CAPTURES, Order, Truth, addresses, bytes, packets, path, read, truth, udp};
use super::{FileError, LinkDirection, Malformed, Packet, Reader, Replay, ReplaySettings};
use crate::model::time::Timestamp;

const A: (&str, u16) = ("10.0.0.1", 4_000);
const B: (&str, u16) = ("10.0.0.2", 9);

fn as_truth(packet: &Packet) -> Truth {
    let (src, dst) = addresses(&packet.bytes);
    Truth {
        time_ns: packet.time.0,
        missing: packet.wire_len - u32::try_from(packet.bytes.len()).expect("short"),
        src,
        dst,
        len: packet.wire_len,
    }
}

#[test]
fn every_format_reads_as_tshark_reads_it() {
    for file in CAPTURES {
        let truth = truth(file);
        let packets = packets(file);
        assert!(truth.len() > 20, "{file}: {} packets", truth.len());
        assert_eq!(packets.len(), truth.len(), "{file}");
        for (packet, truth) in packets.iter().zip(truth) {
            assert_eq!(as_truth(packet), truth, "{file}");
        }
    }
}

#[test]
fn a_compressed_capture_reads_like_the_plain_one() {
    assert_eq!(packets("ethernet.pcap.gz"), packets("ethernet.pcap"));
    assert_eq!(packets("ethernet.pcapng.gz"), packets("ethernet.pcapng"));
}

#[test]
fn concatenated_gzip_members_are_one_file() {
    let plain = bytes("ethernet.pcap");
    let (first, second) = plain.split_at(1_000);
    let packed: Vec<u8> = [first, second].into_iter().flat_map(gzip).collect();
    let (packets, error) = read(packed);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(packets, super::testing::packets("ethernet.pcap"));
}

#[test]
fn both_byte_orders_read_the_same() {
    let packet = udp(A, B, b"x");
    let len = u32::try_from(packet.len()).expect("short");
    let time = 1_700_000_000_123_456_789;
    for order in [Order::Big, Order::Little] {
        let pcap = [order.pcap(101), order.pcap_packet(time, &packet, len)].concat();
        let pcapng = [
            order.section(),
            order.interface(101, 0, &[order.option(9, &[9])]),
            order.packet(0, time, &packet, len, &[]),
        ]
        .concat();
        for file in [pcap, pcapng] {
            let (packets, error) = read(file);
            assert!(error.is_none(), "{error:?}");
            assert_eq!(packets.len(), 1);
            assert_eq!(packets[0].time, Timestamp(time));
            assert_eq!(packets[0].bytes, packet);
            assert_eq!(packets[0].wire_len, len);
        }
    }
}

#[test]
fn timestamps_of_any_resolution_and_offset_become_nanoseconds_since_the_epoch() {
    let packet = udp(A, B, b"x");
    let cases: [(&[u8], i64, u64, u64); 7] = [
        // Without if_tsresol: microseconds.
        (&[], 0, 1_700_000_000_123_456, 1_700_000_000_123_456_000),
        (&[3], 0, 1_700_000_000_123, 1_700_000_000_123_000_000),
        (
            &[9],
            0,
            1_700_000_000_123_456_789,
            1_700_000_000_123_456_789,
        ),
        (&[12], 0, 5_000_000_001_999, 5_000_000_001),
        // Units of 2^-10 s: 512 of 1,024 are half a second.
        (&[0x8a], 0, 3 * 1_024 + 512, 3_500_000_000),
        (&[9], 1_700_000_000, 5, 1_700_000_000_000_000_005),
        // Times before the epoch become the epoch.
        (&[9], -10, 5, 0),
    ];
    for order in [Order::Big, Order::Little] {
        for (resolution, offset, stamp, expected) in cases {
            let mut options = Vec::new();
            if !resolution.is_empty() {
                options.push(order.option(9, resolution));
            }
            if offset != 0 {
                let offset = match order {
                    Order::Big => offset.to_be_bytes(),
                    Order::Little => offset.to_le_bytes(),
                };
                options.push(order.option(14, &offset));
            }
            let file = [
                order.section(),
                order.interface(101, 0, &options),
                order.packet(0, stamp, &packet, 29, &[]),
            ];
            let (packets, error) = read(file.concat());
            assert!(error.is_none(), "{error:?}");
            assert_eq!(
                packets[0].time,
                Timestamp(expected),
                "{resolution:?} {offset}"
            );
        }
    }
}

#[test]
fn sections_have_their_own_interfaces_and_byte_order() {
    let packet = udp(A, B, b"x");
    let ethernet = [&[0; 12][..], &[0x08, 0x00], &packet].concat();
    let (big, little) = (Order::Big, Order::Little);
    let file = [
        big.section(),
        big.interface(101, 0, &[]),
        big.packet(0, 1, &packet, 29, &[]),
        little.section(),
        little.interface(1, 0, &[]),
        little.interface(101, 0, &[little.option(9, &[9])]),
        little.packet(0, 2, &ethernet, 43, &[little.option(2, &[1, 0, 0, 0])]),
        little.packet(1, 3, &packet, 29, &[little.option(2, &[2, 0, 0, 0])]),
    ];
    let (packets, error) = read(file.concat());
    assert!(error.is_none(), "{error:?}");
    let seen: Vec<_> = packets
        .iter()
        .map(|packet| {
            let origin = packet.origin;
            (
                origin.section,
                origin.interface,
                packet.time.0,
                packet.direction,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (0, 0, 1_000, None),
            (1, 0, 2_000, Some(LinkDirection::Incoming)),
            (1, 1, 3, Some(LinkDirection::Outgoing)),
        ]
    );
    assert!(
        packets
            .iter()
            .all(|found| found.bytes == packet && found.wire_len == 29)
    );
}

#[test]
fn a_simple_packet_ends_at_the_interface_snaplen_without_padding() {
    let order = Order::Little;
    let packet = udp(A, B, b"abcdefghij");
    let whole = u32::try_from(packet.len()).expect("short");
    let file = [
        order.section(),
        order.interface(101, 30, &[]),
        order.packet(0, 7, &packet, whole, &[]),
        order.simple_packet(&packet[..30], whole),
    ];
    let (packets, error) = read(file.concat());
    assert!(error.is_none(), "{error:?}");
    assert_eq!(packets[1].bytes, packet[..30]);
    assert_eq!(packets[1].wire_len, whole);
    // It has no timestamp of its own.
    assert_eq!(packets[1].time, Timestamp(7_000));

    let whole = [
        order.section(),
        order.interface(101, 0, &[]),
        order.simple_packet(&packet, 38),
    ];
    assert_eq!(read(whole.concat()).0[0].bytes, packet);
}

#[test]
fn irrelevant_blocks_are_skipped_whatever_their_length() {
    let order = Order::Little;
    let packet = udp(A, B, b"x");
    let file = [
        order.section(),
        order.interface(101, 0, &[]),
        order.block(4, &[0; 40]),
        order.block(0x0bad, &vec![7; 9_000_000]),
        order.packet(
            0,
            1,
            &packet,
            29,
            &[order.option(1, b"a comment"), order.option(77, &[])],
        ),
    ];
    let (packets, error) = read(file.concat());
    assert!(error.is_none(), "{error:?}");
    assert_eq!(packets.len(), 1);
    assert_eq!(packets[0].recorded, None);
}

#[test]
fn an_unknown_link_type_loses_only_the_packets_of_its_interface() {
    let order = Order::Little;
    let packet = udp(A, B, b"x");
    let file = [
        order.section(),
        order.interface(147, 0, &[]),
        order.interface(101, 0, &[]),
        order.packet(0, 1, &packet, 29, &[]),
        order.packet(1, 2, &packet, 29, &[]),
        order.packet(2, 3, &packet, 29, &[]),
    ];
    let mut reader = Reader::new("odd.pcapng", Cursor::new(file.concat()));
    let error = reader
        .next()
        .expect("an item")
        .expect_err("an unknown link type");
    assert!(
        matches!(
            error,
            FileError::LinkType {
                link_type: 147,
                offset: 28,
                ..
            }
        ),
        "{error}"
    );
    let rest: Vec<_> = reader
        .by_ref()
        .map(|item| item.expect("a packet"))
        .collect();
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].origin.interface, 1);
    assert_eq!(reader.stats().packets, 3);
    let losses: Vec<_> = reader
        .losses()
        .iter()
        .map(|loss| (loss.reason, loss.count))
        .collect();
    assert_eq!(
        losses,
        [
            ("capture link type not supported", 1),
            ("capture packet of an undescribed interface", 1),
        ]
    );
}

#[test]
fn frames_that_are_not_ip_are_counted_but_not_as_losses() {
    let order = Order::Little;
    let arp = [&[0xff; 12][..], &[0x08, 0x06], &[0; 28]].concat();
    let spanning_tree = [&[1; 12][..], &[0, 38], &[0x42; 38]].concat();
    let file = [
        order.pcap(1),
        order.pcap_packet(1, &arp, 42),
        order.pcap_packet(2, &spanning_tree, 52),
        order.pcap_packet(3, &[0; 9], 60),
    ];
    let mut reader = Reader::new("test", Cursor::new(file.concat()));
    assert!(reader.next().is_none());
    assert_eq!((reader.stats().packets, reader.stats().not_ip), (3, 2));
    assert_eq!(reader.losses().total(), 1);
}

#[test]
fn a_packet_is_returned_before_the_next_one_is_written() {
    /// Returns one piece per read, like a pipe, and fails the test on a further read.
    struct Pipe(Vec<Vec<u8>>);

    impl Read for Pipe {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            assert!(
                !self.0.is_empty(),
                "reads further although a packet is complete"
            );
            let piece = self.0.remove(0);
            buffer[..piece.len()].copy_from_slice(&piece);
            Ok(piece.len())
        }
    }

    let order = Order::Little;
    let packet = udp(A, B, b"x");
    let pcap = vec![order.pcap(101), order.pcap_packet(1, &packet, 29)];
    let pcapng = vec![
        order.section(),
        order.interface(101, 0, &[]),
        order.packet(0, 1, &packet, 29, &[]),
    ];
    for mut pieces in [pcap, pcapng] {
        // The reader checks the first two bytes for gzip.
        let rest = pieces[0].split_off(2);
        pieces.insert(1, rest);
        let first = Reader::new("test", Pipe(pieces)).next();
        assert_eq!(first.expect("an item").expect("a packet").bytes, packet);
    }
}

#[test]
fn a_truncated_file_gives_its_complete_packets_and_the_offset_of_the_cut() {
    for file in ["snapped.pcap", "two-interfaces.pcapng"] {
        let whole = bytes(file);
        let (all, _) = read(whole.clone());
        let mut boundaries = 0;
        for len in (1..whole.len())
            .step_by(7)
            .chain(whole.len() - 40..whole.len())
        {
            let (packets, error) = read(whole[..len].to_vec());
            assert_eq!(packets, all[..packets.len()], "{file} cut at {len}");
            match error {
                None => boundaries += 1,
                Some(FileError::CutShort {
                    offset, have, need, ..
                }) => {
                    assert_eq!(offset + have, len as u64, "{file} cut at {len}");
                    assert!(have < need);
                }
                Some(FileError::NotACapture { .. }) => assert!(len < 4),
                Some(error) => panic!("{file} cut at {len}: {error}"),
            }
        }
        assert!(boundaries < 40, "{file}: {boundaries} cuts went unnoticed");
    }
}

#[test]
fn a_truncated_compressed_file_gives_its_complete_packets() {
    let whole = bytes("ethernet.pcap.gz");
    let all = packets("ethernet.pcap");
    let (packets, error) = read(whole[..whole.len() / 2].to_vec());
    assert!(!packets.is_empty());
    assert_eq!(packets, all[..packets.len()]);
    assert!(
        matches!(error, Some(FileError::CutShort { .. })),
        "{error:?}"
    );
}

#[test]
fn a_file_that_is_not_a_capture_is_reported_as_such() {
    let (_, error) = read(b"#!/bin/sh\n".to_vec());
    let text = error.expect("an error").to_string();
    assert!(text.starts_with("test is not a capture file"), "{text}");
    assert!(matches!(read(Vec::new()).1, Some(FileError::Empty { .. })));
    assert!(matches!(read(gzip(b"")).1, Some(FileError::Empty { .. })));
    assert!(matches!(
        read(vec![0x1f, 0x8b, 9, 9, 9, 9]).1,
        Some(FileError::Read { .. } | FileError::CutShort { .. })
    ));
    let error = Reader::open(path("no-such.pcap")).err().expect("an error");
    assert!(
        error.to_string().ends_with("captures/no-such.pcap"),
        "{error}"
    );
}

#[test]
fn impossible_lengths_are_errors_and_allocate_no_memory() {
    let order = Order::Little;
    let mut pcap = [order.pcap(101), order.pcap_packet(1, &[], 0)].concat();
    pcap[32..36].copy_from_slice(&u32::MAX.to_le_bytes());
    let (_, error) = read(pcap);
    assert!(
        matches!(
            error,
            Some(FileError::TooLong {
                offset: 24,
                length: 0xffff_ffff,
                ..
            })
        ),
        "{error:?}"
    );

    for (length, name) in [(0x7fff_fff0_u32, "long"), (8, "short"), (33, "odd")] {
        let mut block = order.packet(0, 1, &[0; 4], 4, &[]);
        block[4..8].copy_from_slice(&length.to_le_bytes());
        let (_, error) = read([order.section(), order.interface(101, 0, &[]), block].concat());
        match name {
            "long" => assert!(matches!(error, Some(FileError::TooLong { offset: 48, .. }))),
            _ => assert!(matches!(
                error,
                Some(FileError::Malformed {
                    offset: 48,
                    cause: Malformed::BlockLength(_),
                    ..
                })
            )),
        }
    }
    // A long irrelevant block is skipped to the end of the file.
    let mut block = order.block(4, &[0; 8]);
    block[4..8].copy_from_slice(&0x7fff_fff0_u32.to_le_bytes());
    let (_, error) = read([order.section(), block].concat());
    assert!(
        matches!(
            error,
            Some(FileError::CutShort {
                offset: 28,
                have: 20,
                need: 0x7fff_fff0,
                ..
            })
        ),
        "{error:?}"
    );
}

#[test]
fn a_block_with_contradictory_lengths_ends_the_reading() {
    let order = Order::Little;
    let mut block = order.packet(0, 1, &udp(A, B, b"x"), 29, &[]);
    let last = block.len() - 4;
    block[last] ^= 0x10;
    let (packets, error) = read([order.section(), order.interface(101, 0, &[]), block].concat());
    assert!(packets.is_empty());
    let error = error.expect("an error").to_string();
    assert_eq!(
        error,
        "cannot continue at byte 48 of test: the block is 64 bytes long by its start and 80 by its end"
    );
}

#[test]
fn no_broken_file_causes_a_panic_or_an_endless_loop() {
    for file in CAPTURES
        .into_iter()
        .chain(["ethernet.pcap.gz", "ethernet.pcapng.gz"])
    {
        let whole = bytes(file);
        let mut noise = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..150 {
            let mut broken = whole.clone();
            for _ in 0..3 {
                // xorshift64
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                let length = broken.len() as u64;
                let at = usize::try_from(noise % length).expect("an index");
                // The headers are the sensitive part.
                let at = if noise & 0x1_0000 == 0 { at } else { at % 200 };
                broken[at] = (noise >> 32) as u8;
            }
            let reader = Reader::new("test", Cursor::new(broken));
            let mut replay = Replay::new(reader, &ReplaySettings::default());
            let mut records = Vec::new();
            let mut steps = 0;
            while replay.step(|ip| ip.is_ipv4(), &mut records).unwrap_or(true) {
                steps += 1;
                assert!(steps < 100_000, "{file}");
            }
        }
    }
}

fn gzip(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes.as_ref()).expect("in memory");
    encoder.finish().expect("in memory")
}
