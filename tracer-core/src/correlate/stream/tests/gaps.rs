//! With missing bytes, emitted messages are right, guesses are marked and losses are counted.

use super::*;

/// The messages that do not overlap `lost`.
fn apart_from(messages: &[Vec<u8>], lost: &Range<usize>) -> Vec<Vec<u8>> {
    let kept = places(messages)
        .into_iter()
        .zip(messages)
        .filter(|(place, _)| place.end <= lost.start || place.start >= lost.end);
    kept.map(|(_, message)| message.clone()).collect()
}

/// Plays the stream in segments of these ranges without `lost`, and waits until the gap is given up.
fn without(stream: &[u8], segments: &[Range<usize>], lost: usize) -> Wire {
    let mut wire = Wire::opened(0xffff_ff00);
    for (index, range) in segments.iter().enumerate() {
        if index != lost {
            wire.data(range.start, &stream[range.clone()]);
        }
    }
    wire.fin(stream.len(), &[]);
    wire.wait(Duration::from_secs(2));
    wire
}

#[test]
fn a_lost_segment_of_whole_messages_costs_only_these() {
    let messages = some_messages();
    let stream = concatenated(&messages);
    let places = places(&messages);
    for lost in 0..places.len() {
        let wire = without(&stream, &places, lost);
        let expected = apart_from(&messages, &places[lost]);
        assert_eq!(wire.messages(), expected, "message {lost}");
        // Boundaries before the gap are certain. The gap covers a boundary, so later ones are not.
        let guessed: Vec<_> = wire
            .out
            .iter()
            .map(|message| message.resynchronised)
            .collect();
        let after: Vec<_> = (0..messages.len() - 1).map(|index| index >= lost).collect();
        assert_eq!(guessed, after, "message {lost}");
        assert_eq!(wire.lost("dns over tcp: gap"), 1);
        assert_eq!(wire.streams.losses().total(), 1);
    }
}

#[test]
fn a_loss_within_a_message_costs_only_that_message_and_no_guess() {
    let messages = some_messages();
    let stream = concatenated(&messages);
    for place in places(&messages) {
        for from in place.start + 2..place.end {
            let lost = from..place.end.min(from + 5);
            let segments = [0..lost.start, lost.clone(), lost.end..stream.len()];
            let wire = without(&stream, &segments, 1);
            assert_eq!(wire.messages(), apart_from(&messages, &lost), "{lost:?}");
            assert!(wire.out.iter().all(|message| !message.resynchronised));
        }
    }
}

#[test]
fn any_lost_segment_gives_no_wrong_message_and_keeps_the_earlier_ones() {
    let messages = some_messages();
    let stream = concatenated(&messages);
    for size in [1, 2, 3, 7, 13, 14, 29, 100, 333] {
        let segments: Vec<_> = (0..stream.len())
            .step_by(size)
            .map(|start| start..stream.len().min(start + size))
            .collect();
        // A sample: each costs a walk through all segments.
        for lost in (0..segments.len()).step_by((segments.len() / 60).max(1)) {
            let wire = without(&stream, &segments, lost);
            let context = format!("segments of {size} bytes, {lost} lost");
            let message = wire.messages();
            let mut rest = messages.iter();
            for message in &message {
                assert!(rest.any(|sent| sent == message), "{context}: wrong message");
            }
            let before = places(&messages)
                .iter()
                .filter(|place| place.end <= segments[lost].start)
                .count();
            assert_eq!(message[..before], messages[..before], "{context}");
            assert!(wire.streams.counts().gaps >= 1, "{context}");
            assert!(wire.streams.losses().total() >= 1, "{context}");
        }
    }
}

#[test]
fn after_a_guess_each_message_leads_to_the_next_within_a_segment() {
    let messages = some_messages();
    let stream = concatenated(&messages);
    let places = places(&messages);
    let mut wire = Wire::opened(1);
    // Lost with its prefix; the rest comes in one segment, later cut in the middle of messages.
    wire.data(
        places[1].start,
        &stream[places[1].start..places[4].start + 9],
    );
    wire.data(places[4].start + 9, &stream[places[4].start + 9..]);
    wire.wait(Duration::from_secs(2));
    assert_eq!(wire.messages(), messages[1..]);
    assert!(wire.out.iter().all(|message| message.resynchronised));
    assert_eq!(wire.streams.counts().resynchronised, 1);
}

#[test]
fn a_stream_seen_from_its_middle_resumes_and_is_marked_as_guessed() {
    let messages = some_messages();
    let stream = concatenated(&messages);
    let places = places(&messages);
    for start in 0..stream.len() {
        let mut wire = Wire::unopened(77);
        // The rest of a message, then every message in a segment of its own.
        let next = places.iter().find(|place| place.start > start);
        let next = next.map_or(stream.len(), |place| place.start);
        wire.data(start, &stream[start..next]);
        for place in places.iter().filter(|place| place.start >= next) {
            wire.data(place.start, &stream[place.clone()]);
        }
        let whole = places.iter().filter(|place| place.start >= start).count();
        assert_eq!(
            wire.messages(),
            messages[messages.len() - whole..],
            "from {start}"
        );
        assert!(wire.out.iter().all(|message| message.resynchronised));
    }
}

#[test]
fn a_stream_resumes_at_a_length_prefix_in_its_own_segment() {
    let messages = some_messages();
    let stream = concatenated(&messages);
    let mut wire = Wire::unopened(77);
    // Wherever it starts, the end of some message comes first.
    wire.data(0, &[0, 1, 0, 0, 1]);
    for place in places(&messages) {
        let start = 5 + place.start;
        wire.data(start, &stream[place.start..place.start + 2]);
        wire.data(start + 2, &stream[place.start + 2..place.end]);
    }
    assert_eq!(wire.messages(), messages);
}

#[test]
fn a_guess_that_does_not_parse_to_its_end_is_not_emitted() {
    let good = response(2, "www.example.org.", 2);
    let mut bad = response(1, "www.example.org.", 2);
    // The first answer announces more data than it has.
    let data_length = bad.len() - 16 - 6;
    bad[data_length] = 0x40;
    assert!(Message::from_vec(&bad).is_err());
    let stream = concatenated(&[bad.clone(), good.clone()]);
    let mut guessed = Wire::unopened(1);
    guessed.data(0, &stream);
    assert_eq!(guessed.messages(), [&good[..]]);
    assert_eq!(guessed.lost("dns over tcp: guessed message unreadable"), 1);
    // With a certain boundary the message was sent like this, and the decoder reports the fault.
    let mut certain = Wire::opened(1);
    certain.data(0, &stream);
    assert_eq!(certain.messages(), [bad, good]);
}

#[test]
fn a_stream_without_dns_never_yields_a_message() {
    let mut wire = Wire::unopened(1);
    let random = &mut Random::new(5);
    let mut at = 0;
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..1 + random.below(60))
            .map(|_| [0, 0, 1, random.below(256) as u8][random.below(4)])
            .collect();
        wire.data(at, &bytes);
        at += bytes.len();
    }
    assert_eq!(wire.messages(), [&[0_u8; 0]; 0]);
    assert_eq!(wire.streams.counts().resynchronised, 0);
}

#[test]
fn a_late_retransmission_within_the_wait_costs_nothing() {
    let messages = some_messages();
    let stream = concatenated(&messages);
    let mut wire = Wire::opened(1);
    wire.data(30, &stream[30..]);
    wire.wait(Duration::from_millis(1_990));
    assert_eq!(wire.out, []);
    wire.data(0, &stream[..30]);
    assert_eq!(wire.messages(), messages);
    assert_eq!(wire.streams.losses().total(), 0);
}

#[test]
fn a_hole_waits_while_other_holes_are_filled() {
    let messages = some_messages();
    let stream = concatenated(&messages);
    let mut wire = Wire::opened(1);
    wire.data(90, &stream[90..]);
    for at in (0..90).step_by(30) {
        wire.wait(Duration::from_millis(1_500));
        wire.data(at, &stream[at..at + 30]);
    }
    assert_eq!(wire.messages(), messages);
}

#[test]
fn a_partly_captured_segment_is_a_gap_at_once() {
    let messages = [
        long_response(1, "big.example.org.", 3_000),
        query(2, "after.example.org."),
    ];
    let stream = concatenated(&messages);
    let places = places(&messages);
    let mut wire = Wire::opened(1);
    for place in &places {
        let segment = TcpSegment {
            sequence: wire.at(place.start),
            ack: true,
            payload: stream[place.clone()].iter().copied().take(200).collect(),
            ..TcpSegment::default()
        };
        let extent = Extent {
            length: place.len() as u32,
            cut: place.len() > 200,
        };
        wire.pass_of(&segment, extent);
    }
    assert_eq!(wire.messages(), [&messages[1][..]]);
    assert!(!wire.out[0].resynchronised);
    assert_eq!(wire.lost("dns over tcp: segment captured in part"), 1);
    let missing = places[0].len() - 200;
    assert_eq!(wire.streams.counts().missing, missing as u64);
}

#[test]
fn a_truncated_segment_out_of_order_becomes_a_gap_in_its_place() {
    let messages = some_messages();
    let stream = concatenated(&messages);
    let place = places(&messages)[4].clone();
    let mut wire = Wire::opened(1);
    let segment = TcpSegment {
        sequence: wire.at(place.start),
        ack: true,
        payload: stream[place.start..place.start + 50].to_vec(),
        ..TcpSegment::default()
    };
    let extent = Extent {
        length: place.len() as u32,
        cut: true,
    };
    wire.pass_of(&segment, extent);
    wire.data(place.end, &stream[place.end..]);
    assert_eq!(wire.out, []);
    wire.data(0, &stream[..place.start]);
    assert_eq!(wire.messages(), apart_from(&messages, &place));
    assert!(wire.out.iter().all(|message| !message.resynchronised));
}
