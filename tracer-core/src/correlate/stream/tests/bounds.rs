//! The limits hold for any input.

use super::*;

fn tight() -> StreamLimits {
    StreamLimits {
        connections: 8,
        connection_bytes: 10_000,
        total_bytes: 30_000,
        out_of_order: 16,
        ..StreamLimits::default()
    }
}

#[test]
fn arbitrary_segments_stay_within_all_limits_and_every_byte_is_accounted_for() {
    for seed in 0..10 {
        let random = &mut Random::new(seed);
        let mut wire = Wire::limited(tight());
        for _ in 0..3_000 {
            wire.flow = flow(40_000 + random.below(12) as u16);
            wire.direction = [Direction::FromPod, Direction::ToPod][random.below(2)];
            let length = [0, 1, 2, 30, 1_448, 12_000][random.below(6)];
            let fill = random.below(256);
            let segment = TcpSegment {
                // Mostly in a narrow range, so that there are overlaps and ends; sometimes anywhere.
                sequence: match random.below(20) {
                    0 => random.below(1 << 32) as u32,
                    _ => 0_u32
                        .wrapping_sub(20_000)
                        .wrapping_add(random.below(40_000) as u32),
                },
                syn: random.below(30) == 0,
                fin: random.below(50) == 0,
                rst: random.below(100) == 0,
                ack: true,
                payload: (0..length).map(|at| (at * fill % 251) as u8).collect(),
                payload_offset: [0, 0, 0, 2_048, u32::MAX][random.below(5)],
                ..TcpSegment::default()
            };
            let segment = TcpSegment {
                payload: if segment.rst {
                    Vec::new()
                } else {
                    segment.payload
                },
                ..segment
            };
            let extent = Extent {
                length: [0, length as u32, 20_000, u32::MAX][random.below(4)],
                cut: random.below(4) == 0,
            };
            wire.pass_of(&segment, extent);
            if random.below(50) == 0 {
                wire.wait(Duration::from_secs(random.below(4) as u64));
            }
            assert!(wire.streams.memory() <= 30_000);
            assert!(wire.streams.connections() <= 8);
            assert_eq!(wire.streams.memory(), wire.streams.measured_memory());
        }
        wire.wait(Duration::from_secs(400));
        assert_eq!(wire.streams.memory(), 0);
        assert_eq!(wire.streams.connections(), 0);
    }
}

#[test]
fn messages_cut_shuffled_and_lost_at_random_are_right_or_missing() {
    let messages = some_messages();
    let stream = concatenated(&messages);
    for seed in 0..300 {
        let random = &mut Random::new(seed);
        let mut wire = Wire::limited(StreamLimits {
            connection_bytes: 1_500,
            out_of_order: 4,
            ..StreamLimits::default()
        });
        let mut at = 0;
        let mut segments = Vec::new();
        while at < stream.len() {
            let end = stream.len().min(at + 1 + random.below(100));
            segments.push(at..end);
            at = end;
        }
        for window in segments.chunks_mut(6) {
            random.shuffle(window);
        }
        for range in segments {
            if random.below(10) > 0 {
                wire.data(range.start, &stream[range]);
            }
            assert!(wire.streams.memory() <= 1_500);
        }
        wire.wait(Duration::from_secs(10));
        let mut rest = messages.iter();
        for message in &wire.out {
            assert!(
                rest.any(|sent| *sent == message.bytes),
                "seed {seed}: wrong message"
            );
        }
    }
}

#[test]
fn too_many_out_of_order_pieces_give_up_the_hole() {
    let messages = some_messages();
    let stream = concatenated(&messages);
    let mut wire = Wire::limited(tight());
    // The byte after the first prefix never comes; the others come one by one, every second one first.
    wire.data(0, &stream[..2]);
    for at in (4..40).step_by(2) {
        wire.data(at, &stream[at..=at]);
    }
    assert_eq!(wire.lost("dns over tcp: connection full"), 2);
}

#[test]
fn a_message_beyond_the_limit_is_given_up_and_the_next_boundary_stays_certain() {
    let messages = [
        long_response(1, "big.example.org.", 20_000),
        query(2, "after.example.org."),
    ];
    let stream = concatenated(&messages);
    let mut wire = Wire::limited(tight());
    for (index, bytes) in stream.chunks(1448).enumerate() {
        wire.data(index * 1448, bytes);
        assert!(wire.streams.memory() <= 10_000);
    }
    assert_eq!(wire.messages(), [&messages[1][..]]);
    assert!(!wire.out[0].resynchronised);
    assert_eq!(wire.lost("dns over tcp: connection full"), 1);
}

#[test]
fn an_announced_length_alone_takes_no_memory() {
    let mut wire = Wire::opened(1);
    wire.data(0, &[0xff, 0xff, 1]);
    assert!(wire.streams.memory() < 100);
}

#[test]
fn the_least_recently_used_connection_is_evicted_and_delivers_its_messages() {
    let messages = some_messages();
    let stream = concatenated(&messages);
    let place = places(&messages)[1].clone();
    let mut wire = Wire::limited(tight());
    wire.data(place.start, &stream[place]);
    let first = wire.flow;
    for port in 1..=8 {
        wire.flow = flow(port);
        wire.syn();
    }
    assert_eq!(wire.streams.connections(), 8);
    assert_eq!(wire.lost("dns over tcp: connection table full"), 1);
    assert_eq!(wire.messages(), [&messages[1][..]]);
    assert_eq!(wire.out[0].flow, first);
}

#[test]
fn connections_without_held_bytes_are_not_evicted_for_bytes() {
    let messages = some_messages();
    let stream = concatenated(&messages);
    let mut wire = Wire::limited(tight());
    for port in 1..=5 {
        wire.flow = flow(port);
        wire.syn();
        wire.data(100, &[7; 8_000]);
        assert!(wire.streams.memory() <= 30_000);
    }
    assert_eq!(wire.lost("dns over tcp: bytes full"), 2);
    wire.flow = flow(40_000);
    wire.data(0, &stream);
    assert_eq!(wire.messages(), messages);
    assert!(wire.out.iter().all(|message| !message.resynchronised));
}
