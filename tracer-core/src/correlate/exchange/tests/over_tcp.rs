//! Queries over TCP, and truncated answers over UDP that are held for them.

use super::*;

/// A segment on the DNS connection, with a message or none.
fn segment(
    at: u64,
    direction: Direction,
    flags: &str,
    sequence: u32,
    message: Option<Vec<u8>>,
) -> Observation {
    let mut seen = tcp(
        at,
        direction,
        flow(Protocol::Tcp, 50_000, 53),
        flags,
        sequence,
        101,
    );
    if let What::Tcp(segment) = &mut seen.what {
        segment.dns = true;
        if let Some(message) = message {
            segment.payload = (message.len() as u16).to_be_bytes().to_vec();
            segment.payload.extend(message);
            segment.length = segment.payload.len() as u32;
        }
    }
    seen
}

fn encoded(id: u16, response: bool) -> Vec<u8> {
    use hickory_proto::op::{Message, MessageType, Query};
    let kind = if response {
        MessageType::Response
    } else {
        MessageType::Query
    };
    let mut message = Message::new(id, kind, OpCode::Query);
    let name = NAME.parse().expect("a name");
    message.add_query(Query::query(name, A));
    message.to_vec().expect("a message")
}

#[test]
fn zone_transfer_in_several_messages_is_one_exchange() {
    let mut bench = Bench::new();
    bench
        .see(segment(0, FromPod, "S", 100, None))
        .see(segment(1, ToPod, "SA", 900, None))
        .see(segment(2, FromPod, "A", 101, Some(encoded(7, false))));
    let mut sequence = 901;
    for at in 3..6 {
        let message = encoded(7, true);
        let length = 2 + message.len() as u32;
        bench.see(segment(at, ToPod, "A", sequence, Some(message)));
        sequence += length;
    }
    let exchanges = bench
        .told()
        .into_iter()
        .filter(|told| matches!(told.what, CorrelatedEvent::Exchange(_)))
        .count();
    assert_eq!(exchanges, 1);
    assert_eq!(bench.lost("dns over tcp: further answer"), 2);
}

#[test]
fn query_of_a_connection_that_another_one_replaces_is_told_as_closed() {
    let mut bench = Bench::new();
    bench
        .see(segment(0, FromPod, "S", 100, None))
        .see(segment(1, ToPod, "SA", 900, None))
        .see(segment(2, FromPod, "A", 101, Some(encoded(7, false))));
    bench.told();
    bench.see(segment(10, FromPod, "S", 50_000, None));
    let ends: Vec<_> = bench
        .told()
        .into_iter()
        .filter_map(|told| match told.what {
            CorrelatedEvent::Exchange(exchange) => exchange.connection,
            _ => None,
        })
        .collect();
    assert_eq!(ends, [ConnectionEnd::Closed]);
}

#[test]
fn truncated_answers_that_are_held_are_bounded_and_all_told() {
    let mut bench = Bench::with(Limits {
        exchanges: 80,
        ..Limits::default()
    });
    for id in 1..=30 {
        let port = 4_000 + id;
        let mut answer = response(id, NAME, A, NoError, &[]);
        answer.flags.truncated = true;
        bench.see(asks(u64::from(id), port, id, A)).see(dns(
            u64::from(id),
            ToPod,
            socket(port),
            answer,
        ));
    }
    assert_eq!(bench.told().len(), 20, "an eighth of the exchanges is held");
    assert_eq!(bench.lost("dns truncated answer not awaited over tcp"), 20);
    bench.at(1_031);
    assert_eq!(bench.told().len(), 10);
}

#[test]
fn truncated_answer_that_is_asked_for_and_truncated_again_is_told_twice() {
    let mut bench = Bench::new();
    for at in [0, 100] {
        let mut answer = response(7, NAME, A, NoError, &[]);
        answer.flags.truncated = true;
        bench
            .see(asks(at, 4_000, 7, A))
            .see(dns(at + 1, ToPod, socket(4_000), answer));
    }
    bench.at(2_000);
    let outcomes: Vec<_> = bench
        .told()
        .into_iter()
        .map(|told| match told.what {
            CorrelatedEvent::Exchange(exchange) => (exchange.asked, exchange.outcome),
            other => panic!("not an exchange: {other:?}"),
        })
        .collect();
    assert_eq!(
        outcomes,
        [(ms(0), Outcome::Truncated), (ms(100), Outcome::Truncated)]
    );
}

/// A segment on the connection from this port.
fn segment_from(
    port: u16,
    at: u64,
    direction: Direction,
    flags: &str,
    sequence: u32,
    message: Option<Vec<u8>>,
) -> Observation {
    let mut seen = segment(at, direction, flags, sequence, message);
    seen.flow.pod.set_port(port);
    seen
}

#[test]
fn query_on_a_connection_that_had_to_make_room_is_no_timeout() {
    let mut bench = Bench::with(Limits {
        streams: StreamLimits {
            connections: 1,
            ..StreamLimits::default()
        },
        ..Limits::default()
    });
    bench
        .see(segment(0, FromPod, "S", 100, None))
        .see(segment(1, ToPod, "SA", 900, None))
        .see(segment(2, FromPod, "A", 101, Some(encoded(7, false))))
        // Another connection takes its place; what the first one brings from now on begins nowhere that is known.
        .see(segment_from(50_001, 3, FromPod, "S", 500, None));
    bench.told();
    bench.at(20_000);
    let exchanges = bench.told();
    let exchanges = exchanges
        .iter()
        .filter(|told| matches!(told.what, CorrelatedEvent::Exchange(_)));
    assert_eq!(exchanges.count(), 0, "its answer may have come");
    assert_eq!(bench.lost("dns over tcp: connection table full"), 1);
    assert_eq!(bench.lost("dns over tcp: answer lost in a gap"), 1);
}
