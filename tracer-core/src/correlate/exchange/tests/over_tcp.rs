//! Queries over TCP, and truncated answers over UDP held for them.

use super::*;

/// A segment on the DNS connection, with or without a message.
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
        .events()
        .into_iter()
        .filter(|item| matches!(item.event, CorrelatedEvent::Exchange(_)))
        .count();
    assert_eq!(exchanges, 1);
    assert_eq!(bench.lost("dns over tcp: further answer"), 2);
}

#[test]
fn a_query_on_a_replaced_connection_ends_as_closed() {
    let mut bench = Bench::new();
    bench
        .see(segment(0, FromPod, "S", 100, None))
        .see(segment(1, ToPod, "SA", 900, None))
        .see(segment(2, FromPod, "A", 101, Some(encoded(7, false))));
    bench.events();
    bench.see(segment(10, FromPod, "S", 50_000, None));
    let ends: Vec<_> = bench
        .events()
        .into_iter()
        .filter_map(|item| match item.event {
            CorrelatedEvent::Exchange(exchange) => exchange.connection,
            _ => None,
        })
        .collect();
    assert_eq!(ends, [ConnectionEnd::Closed]);
}

#[test]
fn held_truncated_answers_are_bounded_and_all_emitted() {
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
    assert_eq!(
        bench.events().len(),
        20,
        "an eighth of the exchanges is held"
    );
    assert_eq!(bench.lost("dns truncated answer not awaited over tcp"), 20);
    bench.at(1_031);
    assert_eq!(bench.events().len(), 10);
}

#[test]
fn an_answer_truncated_twice_is_two_events() {
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
        .events()
        .into_iter()
        .map(|item| match item.event {
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
fn a_query_on_an_evicted_connection_is_no_timeout() {
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
        // Another connection evicts it; its later bytes begin at an unknown place.
        .see(segment_from(50_001, 3, FromPod, "S", 500, None));
    bench.events();
    bench.at(20_000);
    let outcomes: Vec<Outcome> = bench
        .events()
        .into_iter()
        .filter_map(|item| match item.event {
            CorrelatedEvent::Exchange(exchange) => Some(exchange.outcome),
            _ => None,
        })
        .collect();
    assert_eq!(outcomes, [Outcome::Undecided], "its answer may have come");
    assert_eq!(bench.lost("dns over tcp: connection table full"), 1);
    assert_eq!(bench.lost("dns over tcp: answer lost in a gap"), 1);
}
