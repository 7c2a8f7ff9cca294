use crate::correlate::testing::*;
use crate::model::correlated::{Correlated, CorrelatedEvent};
use crate::model::dns::{DnsFault, Flags, Message, OpCode, RecordType, ResponseCode};
use crate::model::edns::Edns;
use crate::model::exchange::{ConnectionEnd, Details, Exchange, Outcome, Transport};
use crate::model::flow::{Direction, Flow, Protocol, Role};
use crate::model::observation::{Observation, What};
use crate::model::settings::{Limits, StreamLimits};

use Direction::{FromPod, ToPod};
use RecordType::{A, AAAA, CNAME, NS, SOA};
use ResponseCode::{NXDomain, NoError, ServFail};

mod icmp;
mod outcomes;
mod over_tcp;

const NAME: &str = "clusterip-nginx-ds.default.svc.cluster.local.";

fn socket(port: u16) -> Flow {
    flow(Protocol::Udp, port, 53)
}

fn asks(at: u64, port: u16, id: u16, qtype: RecordType) -> Observation {
    dns(at, FromPod, socket(port), query(id, NAME, qtype))
}

fn answers(at: u64, port: u16, id: u16, qtype: RecordType) -> Observation {
    dns(
        at,
        ToPod,
        socket(port),
        response(id, NAME, qtype, NoError, &[qtype]),
    )
}

#[test]
fn query_and_answer_are_one_exchange_emitted_at_the_answer() {
    let mut bench = Bench::new();
    bench.see(asks(1_000, 4_000, 7, A)).silent();
    bench.see(dns(
        1_003,
        ToPod,
        socket(4_000),
        response(7, NAME, A, NoError, &[A]),
    ));
    let events = bench.events();
    let expected = Exchange {
        number: 1,
        flow: socket(4_000),
        role: Role::Client,
        transport: Transport::Udp,
        id: 7,
        question: Some(question(NAME, A)),
        asked: ms(1_000),
        last_attempt: ms(1_000),
        attempts: 1,
        outcome: Outcome::Answered,
        rcode: Some(NoError),
        answers: vec![resource(NAME, A)],
        authorities: Vec::new(),
        latency: Some(milliseconds(3)),
        late: false,
        icmp: None,
        connection: None,
        asked_peer: None,
        fragments_lost: 0,
        caused_by: None,
        upstream: None,
        steps: Vec::new(),
        fault: None,
        details: Details {
            flags: Some(Flags {
                recursion_desired: true,
                ..Flags::default()
            }),
            ..Details::default()
        },
    };
    let event = CorrelatedEvent::Exchange(expected.into());
    assert_eq!(
        events,
        [Correlated {
            time: ms(1_000),
            flow: socket(4_000),
            role: Role::Client,
            event
        }]
    );
    bench.end(60_000).silent();
    assert_eq!(bench.all_lost(), 0);
}

#[test]
fn every_query_emits_asked_at_once() {
    let mut bench = Bench::new();
    bench
        .see(asks(0, 4_000, 7, A))
        .see(asks(5_000, 4_000, 7, A));
    let attempts: Vec<u32> = bench
        .all()
        .into_iter()
        .map(|item| match item.event {
            CorrelatedEvent::Asked(asked) => asked.attempt,
            other => panic!("not a query: {other:?}"),
        })
        .collect();
    assert_eq!(attempts, [1, 2]);
}

#[test]
fn a_pod_that_receives_a_query_is_the_server() {
    let mut bench = Bench::new();
    let server = flow(Protocol::Udp, 53, 4_000);
    bench.see(dns(0, ToPod, server, query(7, NAME, A)));
    bench.see(dns(2, FromPod, server, response(7, NAME, A, NXDomain, &[])));
    let exchange = bench.exchange();
    assert_eq!(
        (exchange.role, exchange.outcome),
        (Role::Server, Outcome::Nxdomain)
    );
}

#[test]
fn silence_is_a_timeout_six_seconds_after_the_last_attempt() {
    let mut bench = Bench::new();
    bench
        .see(asks(0, 4_000, 7, A))
        .see(asks(5_000, 4_000, 7, A));
    bench.at(10_999).silent();
    bench.at(11_000);
    let exchange = bench.exchange();
    assert_eq!(
        (exchange.outcome, exchange.attempts, exchange.asked),
        (Outcome::Timeout, 2, ms(0))
    );
    assert_eq!(
        (exchange.rcode, exchange.latency, exchange.late),
        (None, None, false)
    );
    bench.end(100_000).silent();
}

#[test]
fn answer_after_its_timeout_is_a_second_event_and_late() {
    let mut bench = Bench::new();
    bench.see(asks(0, 4_000, 7, A)).at(6_000);
    assert_eq!(bench.exchange().outcome, Outcome::Timeout);
    bench.see(answers(9_000, 4_000, 7, A));
    let exchange = bench.exchange();
    assert!(exchange.late);
    assert_eq!(
        (exchange.outcome, exchange.latency),
        (Outcome::Answered, Some(milliseconds(9_000)))
    );
}

#[test]
fn a_timeout_precedes_a_later_answer_even_without_ticks() {
    let mut bench = Bench::new();
    bench
        .see(asks(0, 4_000, 7, A))
        .see(answers(9_000, 4_000, 7, A));
    let outcomes: Vec<bool> = bench
        .events()
        .into_iter()
        .map(|item| match item.event {
            CorrelatedEvent::Exchange(exchange) => exchange.late,
            other => panic!("not an exchange: {other:?}"),
        })
        .collect();
    assert_eq!(outcomes, [false, true]);
}

#[test]
fn retry_after_five_seconds_takes_five_seconds() {
    let mut bench = Bench::new();
    bench
        .see(asks(0, 4_000, 7, A))
        .see(asks(5_000, 4_000, 7, A))
        .see(answers(5_001, 4_000, 7, A));
    let exchange = bench.exchange();
    assert_eq!(
        (exchange.attempts, exchange.latency),
        (2, Some(milliseconds(5_001)))
    );
}

#[test]
fn glibc_retry_from_a_new_socket_is_an_attempt_of_the_same_exchange() {
    // One of two parallel queries is lost: glibc closes the socket after 5 s and repeats both from another.
    let mut bench = Bench::new();
    bench
        .see(asks(0, 4_000, 7, A))
        .see(asks(0, 4_000, 8, AAAA))
        .see(answers(2, 4_000, 7, A));
    assert_eq!(bench.exchange().attempts, 1);
    bench
        .see(asks(5_005, 4_001, 7, A))
        .see(answers(5_007, 4_001, 7, A));
    assert_eq!(
        bench.exchange().attempts,
        1,
        "the answered one is asked anew"
    );
    bench
        .see(asks(5_008, 4_001, 8, AAAA))
        .see(answers(5_010, 4_001, 8, AAAA));
    let exchange = bench.exchange();
    assert_eq!(
        (exchange.attempts, exchange.latency),
        (2, Some(milliseconds(5_010)))
    );
    assert_eq!(exchange.flow, socket(4_000), "the first attempt's");
    bench.end(60_000).silent();
}

#[test]
fn answer_to_an_earlier_socket_still_finds_its_exchange() {
    let mut bench = Bench::new();
    bench
        .see(asks(0, 4_000, 7, A))
        .see(asks(5_000, 4_001, 7, A))
        .see(answers(5_500, 4_000, 7, A));
    assert_eq!(bench.exchange().attempts, 2);
    bench.see(answers(5_600, 4_001, 7, A)).silent();
    assert_eq!(bench.lost("dns duplicate answer"), 1);
}

#[test]
fn two_processes_with_the_same_identifier_are_two_exchanges() {
    let mut bench = Bench::new();
    bench.see(asks(0, 4_000, 1, A)).see(asks(10, 4_001, 1, A));
    bench.see(answers(12, 4_001, 1, A));
    assert_eq!(bench.exchange().latency, Some(milliseconds(2)));
    bench.see(answers(13, 4_000, 1, A));
    assert_eq!(bench.exchange().latency, Some(milliseconds(13)));
}

#[test]
fn parallel_queries_of_one_socket_differ_by_their_question() {
    let mut bench = Bench::new();
    bench
        .see(asks(0, 4_000, 7, A))
        .see(asks(0, 4_000, 7, AAAA))
        .see(answers(1, 4_000, 7, AAAA));
    assert_eq!(bench.exchange().question, Some(question(NAME, AAAA)));
    bench.see(answers(2, 4_000, 7, A));
    assert_eq!(bench.exchange().question, Some(question(NAME, A)));
}

#[test]
fn a_second_answer_is_counted_and_not_emitted() {
    let mut bench = Bench::new();
    bench.see(asks(0, 4_000, 7, A)).see(answers(1, 4_000, 7, A));
    bench.exchange();
    bench
        .see(answers(2, 4_000, 7, A))
        .see(answers(3, 4_000, 7, A))
        .silent();
    assert_eq!(bench.lost("dns duplicate answer"), 2);
}

#[test]
fn an_identifier_reused_after_the_answer_is_a_new_exchange() {
    let mut bench = Bench::new();
    for start in [0, 100] {
        bench
            .see(asks(start, 4_000, 7, A))
            .see(answers(start + 2, 4_000, 7, A));
        let exchange = bench.exchange();
        assert_eq!(
            (exchange.attempts, exchange.latency),
            (1, Some(milliseconds(2)))
        );
    }
    assert_eq!(bench.all_lost(), 0);
}

#[test]
fn answer_without_a_query_is_undecided_without_attempt_and_latency() {
    let mut bench = Bench::new();
    bench.see(answers(5, 4_000, 7, A));
    let exchange = bench.exchange();
    assert_eq!(
        (exchange.attempts, exchange.latency, exchange.asked),
        (0, None, ms(5))
    );
    assert_eq!(
        (exchange.role, exchange.outcome, exchange.rcode),
        (Role::Client, Outcome::Undecided, Some(NoError))
    );
    assert!(exchange.is_unsolicited());
}

#[test]
fn answer_from_another_server_is_not_the_answer() {
    let mut bench = Bench::new();
    let other = Flow {
        peer: ([10, 1, 235, 206], 53).into(),
        ..socket(4_000)
    };
    bench
        .see(asks(0, 4_000, 7, A))
        .see(dns(1, ToPod, other, response(7, NAME, A, NoError, &[A])));
    let unexpected = bench.exchange();
    assert_eq!(
        (unexpected.attempts, unexpected.latency, unexpected.outcome),
        (0, None, Outcome::Other)
    );
    assert_eq!(
        (unexpected.flow.peer, unexpected.asked_peer),
        (other.peer, Some(socket(4_000).peer))
    );
    // It may be repeated, and is not taken for the answer then either.
    bench.see(dns(2, ToPod, other, response(7, NAME, A, NoError, &[A])));
    assert_eq!(bench.exchange().asked_peer, Some(socket(4_000).peer));
    bench.at(6_000);
    assert_eq!(bench.exchange().outcome, Outcome::Timeout);
}

#[test]
fn error_response_without_its_question_finds_the_query() {
    let mut bench = Bench::new();
    let bare = Message {
        question: None,
        ..response(7, NAME, A, ResponseCode::FormErr, &[])
    };
    bench
        .see(asks(0, 4_000, 7, A))
        .see(dns(1, ToPod, socket(4_000), bare));
    let exchange = bench.exchange();
    assert_eq!(
        (exchange.outcome, exchange.question),
        (Outcome::Formerr, Some(question(NAME, A)))
    );
}

#[test]
fn end_of_input_decides_only_what_was_silent_for_long_enough() {
    let mut bench = Bench::new();
    bench
        .see(asks(0, 4_000, 7, A))
        .see(asks(1_000, 4_001, 8, A))
        .end(6_500);
    let ended: Vec<_> = (bench.events().into_iter())
        .filter_map(|event| match event.event {
            CorrelatedEvent::Exchange(exchange) => Some((exchange.id, exchange.outcome)),
            _ => None,
        })
        .collect();
    assert_eq!(ended, [(7, Outcome::Timeout), (8, Outcome::Undecided)]);
    assert_eq!(bench.lost("dns undecided at the end"), 1);
}

#[test]
fn a_full_table_evicts_the_oldest_and_counts_it() {
    let mut bench = Bench::with(Limits {
        exchanges: 2,
        ..Limits::default()
    });
    for id in 1..=3 {
        bench.see(asks(u64::from(id), 4_000, id, A));
    }
    assert_eq!(bench.lost("dns exchange table full"), 1);
    assert_eq!(bench.exchange().outcome, Outcome::Undecided);
    bench.see(answers(10, 4_000, 3, A));
    assert_eq!(bench.exchange().attempts, 1);
    bench.see(answers(11, 4_000, 1, A));
    assert_eq!(bench.exchange().attempts, 0, "its query was given up");
}

#[test]
fn a_timeout_has_the_last_attempts_details() {
    let mut bench = Bench::new();
    let mut first = query(7, NAME, A);
    first.edns = Some(Box::new(Edns {
        udp_size: 1232,
        cookie: Some("0102030405060708".to_owned()),
        ..Edns::default()
    }));
    first.fault = Some(DnsFault::Questions(2));
    bench.see(dns(0, FromPod, socket(4_000), first));
    bench.at(7_000);
    let details = bench.exchange().details;
    assert_eq!(details.query_fault, Some(DnsFault::Questions(2)));
    let kept = Edns {
        udp_size: 1232,
        ..Edns::default()
    };
    assert_eq!(
        details.query_edns.as_deref(),
        Some(&kept),
        "without its cookie"
    );
    assert_eq!(details.flags, None, "no answer came");
}

#[test]
fn answers_that_nobody_asked_for_take_no_room_from_answered_queries() {
    let limits = Limits {
        exchanges: 64,
        ..Limits::default()
    };
    let mut bench = Bench::with(limits);
    bench.see(asks(0, 4_000, 7, A)).see(answers(1, 4_000, 7, A));
    assert_eq!(bench.exchange().outcome, Outcome::Answered);
    for forged in 0..1_000 {
        bench.see(answers(2, 5_000 + forged, forged, A));
    }
    assert_eq!(bench.events().len(), 1_000);
    // Still known as answered: a duplicate.
    bench.see(answers(3, 4_000, 7, A)).silent();
}
