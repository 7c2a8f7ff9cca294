//! The start and the end of connections.

use super::*;

#[test]
fn both_directions_are_separate_streams() {
    let asked = query(9, "www.example.org.");
    let answered = response(9, "www.example.org.", 1);
    let mut wire = Wire::opened(1);
    let asked_stream = concatenated(std::slice::from_ref(&asked));
    wire.data(0, &asked_stream);
    wire.direction = Direction::ToPod;
    wire.first = 0x8000_0000;
    wire.syn();
    wire.data(0, &concatenated(std::slice::from_ref(&answered)));
    let message: Vec<_> = wire
        .out
        .iter()
        .map(|message| (message.direction, &message.bytes))
        .collect();
    assert_eq!(
        message,
        [(Direction::FromPod, &asked), (Direction::ToPod, &answered)]
    );
    assert!(wire.out.iter().all(|message| !message.resynchronised));
}

#[test]
fn data_with_the_syn_counts_from_after_it_and_only_once() {
    let messages = some_messages();
    let stream = concatenated(&messages);
    let mut wire = Wire::unopened(0);
    let open = TcpSegment {
        sequence: u32::MAX,
        syn: true,
        payload: stream[..40].to_vec(),
        ..TcpSegment::default()
    };
    wire.pass(&open);
    // The server did not accept the data in the SYN: the client repeats the SYN without data, then the data.
    wire.syn();
    wire.data(0, &stream[..40]);
    wire.data(40, &stream[40..]);
    assert_eq!(wire.messages(), messages);
    assert_eq!(wire.streams.counts().repeated, 40);
}

#[test]
fn data_with_the_fin_is_delivered_once() {
    let messages = some_messages();
    let stream = concatenated(&messages);
    let mut wire = Wire::opened(1);
    wire.fin(100, &stream[100..]);
    assert_eq!(wire.out, []);
    wire.data(0, &stream[..100]);
    wire.fin(100, &stream[100..]);
    wire.data(0, &stream);
    assert_eq!(wire.messages(), messages);
    assert_eq!(wire.streams.losses().total(), 0);
}

#[test]
fn a_message_cut_off_by_the_fin_is_counted() {
    let stream = concatenated(&[query(1, "www.example.org.")]);
    let mut wire = Wire::opened(1);
    wire.fin(0, &stream[..20]);
    assert_eq!(wire.out, []);
    assert_eq!(wire.lost("dns over tcp: message unfinished"), 1);
    assert_eq!(wire.streams.counts().dropped, 20);
}

#[test]
fn a_hole_before_the_fin_is_a_gap() {
    let stream = concatenated(&[query(1, "www.example.org.")]);
    let mut wire = Wire::opened(1);
    wire.data(0, &stream[..20]);
    wire.fin(stream.len(), &[]);
    wire.wait(Duration::from_secs(2));
    assert_eq!(wire.lost("dns over tcp: gap"), 1);
    assert_eq!(wire.streams.losses().total(), 1);
    assert_eq!(wire.streams.memory(), 0);
}

#[test]
fn a_reset_delivers_messages_beyond_a_hole_and_ends_both_directions() {
    let messages = some_messages();
    let stream = concatenated(&messages);
    let places = places(&messages);
    let mut wire = Wire::opened(1);
    wire.data(places[1].start, &stream[places[1].clone()]);
    wire.rst(places[1].end);
    assert_eq!(wire.messages(), [&messages[1][..]]);
    wire.data(0, &stream);
    wire.direction = Direction::ToPod;
    wire.data(0, &stream);
    assert_eq!(wire.out.len(), 1);
    assert_eq!(wire.streams.memory(), 0);
}

#[test]
fn a_reset_far_outside_the_window_is_ignored() {
    let messages = some_messages();
    let stream = concatenated(&messages);
    let mut wire = Wire::opened(1);
    wire.data(0, &stream[..50]);
    wire.rst(1 << 30);
    wire.data(50, &stream[50..]);
    assert_eq!(wire.messages(), messages);
}

#[test]
fn a_fin_before_the_current_position_is_ignored() {
    let messages = some_messages();
    let stream = concatenated(&messages);
    let mut wire = Wire::opened(1);
    wire.data(0, &stream[..50]);
    wire.fin(20, &[]);
    wire.data(50, &stream[50..]);
    assert_eq!(wire.messages(), messages);
}

#[test]
fn reused_ports_begin_a_new_stream() {
    let messages = some_messages();
    let stream = concatenated(&messages);
    let mut wire = Wire::opened(1);
    // Without its end seen, in the middle of a message; after both ends; after a RST.
    wire.data(0, &stream[..20]);
    wire.first = 5_000;
    wire.syn();
    wire.data(0, &stream);
    assert_eq!(wire.lost("dns over tcp: message unfinished"), 1);
    wire.fin(stream.len(), &[]);
    wire.direction = Direction::ToPod;
    wire.syn();
    wire.fin(0, &[]);
    wire.direction = Direction::FromPod;
    wire.first = 900;
    wire.syn();
    wire.data(0, &stream);
    wire.rst(stream.len());
    wire.first = 100;
    wire.syn();
    wire.data(0, &stream);
    let thrice = [&messages[..], &messages[..], &messages[..]].concat();
    assert_eq!(wire.messages(), thrice);
    assert!(wire.out.iter().all(|message| !message.resynchronised));
}

#[test]
fn ports_reused_without_a_visible_syn_begin_a_guessed_stream() {
    let messages = some_messages();
    let stream = concatenated(&messages);
    let mut wire = Wire::opened(1);
    wire.data(0, &stream);
    wire.first = 0x9000_0000;
    wire.data(0, &stream);
    assert_eq!(wire.messages(), [&messages[..], &messages[..]].concat());
    let guessed = wire.out.iter().map(|message| message.resynchronised);
    let second = (0..2 * messages.len()).map(|index| index >= messages.len());
    assert!(guessed.eq(second));
    assert_eq!(wire.lost("dns over tcp: sequence number out of window"), 1);
}

#[test]
fn a_keep_alive_probe_changes_nothing() {
    let messages = some_messages();
    let stream = concatenated(&messages);
    let mut wire = Wire::opened(1);
    wire.data(0, &stream[..60]);
    wire.data(59, &[0]);
    wire.data(59, &[]);
    wire.data(60, &stream[60..]);
    assert_eq!(wire.messages(), messages);
}

#[test]
fn closing_delivers_held_messages_and_the_end_does_so_for_all() {
    let messages = some_messages();
    let stream = concatenated(&messages);
    let place = places(&messages)[5].clone();
    let mut wire = Wire::opened(1);
    wire.data(place.start, &stream[place.clone()]);
    let (now, closed) = (wire.now, wire.flow);
    wire.streams.close(now, closed, &mut wire.out);
    assert_eq!(wire.messages(), [&messages[5][..]]);
    wire.flow = flow(40_001);
    wire.syn();
    wire.data(place.start, &stream[place.clone()]);
    wire.streams.end(&mut wire.out);
    wire.check_books();
    assert_eq!(wire.messages(), [&messages[5][..], &messages[5][..]]);
    assert_eq!(wire.streams.memory(), 0);
}

#[test]
fn an_idle_connection_is_forgotten() {
    let messages = some_messages();
    let stream = concatenated(&messages);
    let mut wire = Wire::opened(1);
    wire.data(0, &stream[..20]);
    wire.wait(Duration::from_secs(299));
    assert!(wire.streams.memory() > 0);
    wire.wait(Duration::from_secs(2));
    assert_eq!(wire.streams.memory(), 0);
    assert_eq!(wire.streams.connections(), 0);
    assert_eq!(wire.lost("dns over tcp: message unfinished"), 1);
}
