//! Without loss, any segmentation gives the same messages.

use super::*;

#[test]
fn two_messages_are_found_wherever_the_stream_is_split() {
    let messages = [
        query(7, "www.example.org."),
        response(8, "www.example.org.", 2),
    ];
    let stream = concatenated(&messages);
    for first in 0..=stream.len() {
        for second in first..=stream.len() {
            let mut wire = Wire::opened(1);
            wire.data(0, &stream[..first]);
            wire.data(first, &stream[first..second]);
            wire.data(second, &stream[second..]);
            assert_eq!(wire.messages(), messages, "split at {first} and {second}");
            assert!(wire.out.iter().all(|message| !message.resynchronised));
            assert_eq!(wire.streams.losses().total(), 0);
            assert_eq!(wire.streams.memory(), 0);
        }
    }
}

#[test]
fn two_messages_are_found_wherever_the_stream_is_split_and_swapped() {
    let messages = [
        query(7, "www.example.org."),
        response(8, "www.example.org.", 2),
    ];
    let stream = concatenated(&messages);
    for first in 1..stream.len() {
        for second in first..stream.len() {
            let mut wire = Wire::opened(1);
            wire.data(second, &stream[second..]);
            wire.data(first, &stream[first..second]);
            wire.data(0, &stream[..first]);
            assert_eq!(wire.messages(), messages, "split at {first} and {second}");
        }
    }
}

#[test]
fn the_order_and_number_of_segments_does_not_matter() {
    let messages = some_messages();
    let stream = concatenated(&messages);
    for seed in 0..300 {
        let random = &mut Random::new(seed);
        // Close to the end of the sequence space, so that it wraps around at any place.
        let mut wire = Wire::opened(0_u32.wrapping_sub(random.below(stream.len() + 1) as u32));
        let longest = [3, 20, 200, 1500][random.below(4)];
        let mut segments = Vec::new();
        let mut at = 0;
        while at < stream.len() {
            let end = stream.len().min(at + 1 + random.below(longest));
            segments.push(at..end);
            at = end;
        }
        // Duplicates, and segments across the boundaries of others.
        for _ in 0..random.below(2 * segments.len() + 1) {
            let start = random.below(stream.len());
            segments.push(start..stream.len().min(start + 1 + random.below(2 * longest)));
        }
        // Shuffled as far as the limit on held pieces allows.
        for window in segments.chunks_mut(200) {
            random.shuffle(window);
        }
        for range in segments {
            wire.data(range.start, &stream[range]);
        }
        assert_eq!(wire.messages(), messages, "seed {seed}");
        assert!(wire.out.iter().all(|message| !message.resynchronised));
        assert_eq!(wire.streams.losses().total(), 0);
        assert_eq!(wire.streams.memory(), 0);
    }
}

#[test]
fn pipelined_messages_in_one_segment_keep_the_order_of_the_stream() {
    let messages = some_messages();
    let mut wire = Wire::opened(1);
    wire.data(0, &concatenated(&messages));
    assert_eq!(wire.messages(), messages);
}

#[test]
fn a_message_has_the_times_of_the_packets_that_carry_it() {
    let messages = [
        response(1, "a.example.org.", 2),
        response(2, "b.example.org.", 2),
    ];
    let stream = concatenated(&messages);
    let middle = places(&messages)[1].start;
    let mut wire = Wire::opened(1);
    let start = wire.now;
    wire.data(0, &stream[..1]);
    wire.data(middle, &stream[middle..]);
    wire.data(1, &stream[1..middle]);
    let times: Vec<_> = wire
        .out
        .iter()
        .map(|message| (message.began.since(start), message.completed.since(start)))
        .collect();
    let ms = Duration::from_millis;
    assert_eq!(times, [(ms(1), ms(3)), (ms(2), ms(2))]);
}

#[test]
fn the_first_copy_of_a_byte_wins_delivered_or_held() {
    let messages = [
        response(1, "a.example.org.", 2),
        response(2, "b.example.org.", 2),
    ];
    let stream = concatenated(&messages);
    let middle = places(&messages)[1].start;
    let forged = vec![0xee; stream.len()];
    let mut wire = Wire::opened(1);
    wire.data(0, &stream[..10]);
    wire.data(middle, &stream[middle..]);
    // Over delivered and over held bytes; everything but the hole is there already.
    wire.data(0, &forged[..10]);
    wire.data(middle, &forged[middle..]);
    let hole = [&forged[..10], &stream[10..middle], &forged[middle..]].concat();
    wire.data(0, &hole);
    assert_eq!(wire.messages(), messages);
    let repeated = 10 + (stream.len() - middle) + (stream.len() - (middle - 10));
    assert_eq!(wire.streams.counts().repeated, repeated as u64);
}

#[test]
fn the_chunks_of_a_long_segment_are_joined() {
    let messages = [
        long_response(1, "big.example.org.", 40_000),
        response(2, "b.example.org.", 2),
    ];
    let stream = concatenated(&messages);
    let mut wire = Wire::opened(1);
    let mut passed = 0;
    for chunk in stream.chunks(2048) {
        let segment = TcpSegment {
            sequence: 1,
            ack: true,
            fin: true,
            payload: chunk.to_vec(),
            payload_offset: passed,
            ..TcpSegment::default()
        };
        passed += chunk.len() as u32;
        let length = stream.len() as u32;
        wire.pass_of(&segment, Extent { length, cut: false });
    }
    assert_eq!(wire.messages(), messages);
    assert_eq!(wire.streams.losses().total(), 0);
}

#[test]
fn the_longest_message_fits_the_default_limits() {
    let mut message = long_response(1, "big.example.org.", 65_000);
    message.resize(65_535, 0);
    let messages = [message, query(2, "after.example.org.")];
    let stream = concatenated(&messages);
    let mut wire = Wire::opened(1);
    for (index, bytes) in stream.chunks(1448).enumerate() {
        wire.data(index * 1448, bytes);
    }
    assert_eq!(wire.messages(), messages);
    assert_eq!(wire.streams.losses().total(), 0);
}

#[test]
fn a_message_shorter_than_a_header_is_counted_and_skipped() {
    let good = query(1, "www.example.org.");
    let stream = [
        &[0, 0, 0, 3, 1, 2, 3],
        &concatenated(std::slice::from_ref(&good))[..],
    ]
    .concat();
    let mut wire = Wire::opened(1);
    wire.data(0, &stream);
    assert_eq!(wire.messages(), [good]);
    assert_eq!(wire.lost("dns over tcp: message shorter than a header"), 2);
}
