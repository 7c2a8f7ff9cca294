use crate::decode::testing::{from_pod, to_pod};
use crate::decode::{Decoder, Fault};
use crate::model::flow::Direction;
use crate::model::observation::{TcpSegment, What};
use crate::model::record::Record;
use crate::model::time::Timestamp;

use etherparse::PacketBuilder;

const HEADERS: usize = 40;
const CHUNK: usize = 2048;

/// A segment from a DNS server with counting payload bytes.
fn packet(payload: usize) -> Vec<u8> {
    let bytes: Vec<u8> = (0..payload).map(|at| (at / 7) as u8).collect();
    let builder = PacketBuilder::ipv4([10, 152, 183, 10], [10, 1, 39, 193], 64)
        .tcp(53, 50_000, 901, 500)
        .ack(101);
    let mut packet = Vec::new();
    builder.write(&mut packet, &bytes).expect("a packet");
    packet
}

/// The segment cut as the probe cuts it, up to 64 KiB.
fn chunks(packet: &[u8], at: u64) -> Vec<Record> {
    let whole = Record {
        time: Timestamp(at),
        ..to_pod(packet)
    };
    let cut = packet.chunks(CHUNK).take(32).enumerate();
    cut.map(|(index, part)| Record {
        chunk_offset: (index * CHUNK) as u32,
        sender_cgroup: 0,
        sender_process: None,
        bytes: part.to_vec(),
        ..whole.clone()
    })
    .collect()
}

fn segment(decoder: &mut Decoder, record: &Record) -> Result<TcpSegment, Fault> {
    let observation = decoder.decode(record)?;
    assert_eq!(
        (observation.flow.pod.port(), observation.flow.peer.port()),
        (50_000, 53)
    );
    assert_eq!(observation.time, record.time);
    match observation.what {
        What::Tcp(segment) => Ok(segment),
        other => panic!("not a segment: {other:?}"),
    }
}

fn decoder() -> Decoder {
    Decoder::new(vec![53])
}

#[test]
fn chunks_are_parts_of_one_segment() {
    let packet = packet(5_000);
    let mut decoder = decoder();
    let mut payload = Vec::new();
    for record in chunks(&packet, 7) {
        let segment = segment(&mut decoder, &record).expect("a part");
        assert_eq!(segment.payload_offset as usize, payload.len());
        assert_eq!((segment.sequence, segment.acknowledgment), (901, 101));
        assert_eq!(
            (segment.length, segment.cut, segment.ack),
            (5_000, false, true)
        );
        payload.extend(segment.payload);
    }
    assert_eq!(payload, packet[HEADERS..]);
}

#[test]
fn chunks_of_both_directions_and_of_two_cpus_stay_apart() {
    let (first, second) = (packet(5_000), packet(6_000));
    let mut decoder = decoder();
    let (ours, theirs) = (chunks(&first, 7), chunks(&second, 8));
    let mut lengths = Vec::new();
    for (ours, theirs) in ours.iter().zip(&theirs) {
        for record in [ours, theirs] {
            lengths.push(segment(&mut decoder, record).expect("a part").length);
        }
    }
    assert_eq!(lengths, [5_000, 6_000, 5_000, 6_000, 5_000, 6_000]);
    let other_way = Record {
        direction: Direction::FromPod,
        ..ours[1].clone()
    };
    assert_eq!(decoder.decode(&other_way), Err(Fault::LaterChunk));
}

#[test]
fn a_chunk_after_a_lost_one_keeps_its_place() {
    let packet = packet(7_000);
    let mut decoder = decoder();
    let records = chunks(&packet, 7);
    segment(&mut decoder, &records[0]).expect("the first");
    let third = segment(&mut decoder, &records[2]).expect("the third");
    assert_eq!(third.payload_offset as usize, 2 * CHUNK - HEADERS);
    assert_eq!(third.payload, packet[2 * CHUNK..3 * CHUNK]);
    // It cannot come again, nor can an earlier one.
    assert_eq!(decoder.decode(&records[1]), Err(Fault::LaterChunk));
    assert!(decoder.decode(&records[3]).is_ok());
    assert_eq!(decoder.decode(&records[3]), Err(Fault::LaterChunk));
}

#[test]
fn a_chunk_without_its_first_is_a_fault() {
    let records = chunks(&packet(5_000), 7);
    assert_eq!(decoder().decode(&records[1]), Err(Fault::LaterChunk));
    let mut decoder = decoder();
    segment(&mut decoder, &records[0]).expect("the first");
    let elsewhere = Record {
        ifindex: crate::model::flow::Ifindex(8),
        ..records[1].clone()
    };
    assert_eq!(decoder.decode(&elsewhere), Err(Fault::LaterChunk));
    let later = Record {
        time: Timestamp(8),
        ..records[1].clone()
    };
    assert_eq!(decoder.decode(&later), Err(Fault::LaterChunk));
}

#[test]
fn a_chunk_with_two_possible_first_chunks_is_a_fault() {
    let records = chunks(&packet(5_000), 7);
    let mut decoder = decoder();
    segment(&mut decoder, &records[0]).expect("the first");
    segment(&mut decoder, &records[0]).expect("another of the same instant");
    assert_eq!(decoder.decode(&records[1]), Err(Fault::LaterChunk));
}

#[test]
fn a_segment_beyond_the_probes_limit_is_truncated() {
    // The length exceeds IPv4's field, so the kernel leaves it zero (BIG TCP).
    let mut packet = packet(5_000);
    packet.resize(70_000, 0);
    packet[2..4].copy_from_slice(&[0, 0]);
    let records = chunks(&packet, 7);
    let mut decoder = decoder();
    let parts: Vec<TcpSegment> = records
        .iter()
        .map(|record| segment(&mut decoder, record).expect("a part"))
        .collect();
    let cut: Vec<usize> = (0..parts.len()).filter(|&at| parts[at].cut).collect();
    assert_eq!((parts.len(), cut), (32, vec![31]));
    assert!(parts.iter().all(|part| part.length == 69_960));
}

#[test]
fn a_truncated_segment_is_marked_and_padding_is_not_payload() {
    let packet = packet(100);
    let cut = Record {
        bytes: packet[..90].to_vec(),
        ..to_pod(&packet)
    };
    let part = segment(&mut decoder(), &cut).expect("a part");
    assert_eq!((part.length, part.payload.len(), part.cut), (100, 50, true));
    let mut padded = self::packet(2);
    padded.extend([0; 4]);
    let whole = segment(&mut decoder(), &to_pod(&padded)).expect("a segment");
    assert_eq!(
        (whole.length, whole.payload.len(), whole.cut),
        (2, 2, false)
    );
}

#[test]
fn packets_without_dns_are_not_remembered() {
    let builder =
        PacketBuilder::ipv4([10, 1, 39, 193], [10, 152, 183, 117], 64).tcp(50_000, 80, 1, 500);
    let mut packet = Vec::new();
    builder.write(&mut packet, &[0; 5_000]).expect("a packet");
    let mut decoder = decoder();
    let first = Record {
        bytes: packet[..CHUNK].to_vec(),
        ..from_pod(&packet)
    };
    let second = Record {
        chunk_offset: CHUNK as u32,
        ..first.clone()
    };
    let What::Tcp(segment) = decoder.decode(&first).expect("a packet").what else {
        panic!("a segment")
    };
    assert_eq!(
        (segment.dns, segment.cut, segment.payload),
        (false, false, vec![])
    );
    assert_eq!(decoder.decode(&second), Err(Fault::LaterChunk));
}

#[test]
fn the_memory_of_first_chunks_is_bounded_and_keeps_the_latest() {
    let mut decoder = decoder();
    let packet = packet(5_000);
    for at in 0..1_000 {
        segment(&mut decoder, &chunks(&packet, at)[0]).expect("the first");
    }
    assert_eq!(decoder.chunks.begun.len(), super::REMEMBERED);
    assert_eq!(
        decoder.decode(&chunks(&packet, 1)[1]),
        Err(Fault::LaterChunk)
    );
    assert!(decoder.decode(&chunks(&packet, 999)[1]).is_ok());
}
