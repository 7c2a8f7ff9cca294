use crate::correlate::testing::*;
use crate::model::correlated::{Correlated, Happening};
use crate::model::dns::{DnsFault, Flags, Message, OpCode, RecordType, ResponseCode};
use crate::model::edns::Edns;
use crate::model::exchange::{ConnectionEnd, Details, Exchange, Outcome, Transport};
use crate::model::flow::{Flow, Protocol, Role, Way};
use crate::model::observation::{Observation, What};
use crate::model::settings::Limits;

use RecordType::{A, AAAA, CNAME, NS, SOA};
use ResponseCode::{NXDomain, NoError, ServFail};
use Way::{FromPod, ToPod};

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
fn query_and_answer_are_one_exchange_told_at_the_answer() {
    let mut bench = Bench::new();
    bench.see(asks(1_000, 4_000, 7, A)).silent();
    bench.see(dns(
        1_003,
        ToPod,
        socket(4_000),
        response(7, NAME, A, NoError, &[A]),
    ));
    let told = bench.told();
    let expected = Exchange {
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
    let what = Happening::Exchange(Box::new(expected));
    assert_eq!(
        told,
        [Correlated {
            time: ms(1_000),
            flow: socket(4_000),
            role: Role::Client,
            what
        }]
    );
    bench.end(60_000).silent();
    assert_eq!(bench.all_lost(), 0);
}

#[test]
fn every_query_is_noted_when_it_is_seen() {
    let mut bench = Bench::new();
    bench
        .see(asks(0, 4_000, 7, A))
        .see(asks(5_000, 4_000, 7, A));
    let attempts: Vec<u32> = bench
        .all()
        .into_iter()
        .map(|told| match told.what {
            Happening::Asked(asked) => asked.attempt,
            other => panic!("not a query: {other:?}"),
        })
        .collect();
    assert_eq!(attempts, [1, 2]);
}

#[test]
fn pod_that_is_asked_is_the_server() {
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
fn timeout_is_told_before_an_answer_that_comes_later_even_without_ticks_between() {
    let mut bench = Bench::new();
    bench
        .see(asks(0, 4_000, 7, A))
        .see(answers(9_000, 4_000, 7, A));
    let outcomes: Vec<bool> = bench
        .told()
        .into_iter()
        .map(|told| match told.what {
            Happening::Exchange(exchange) => exchange.late,
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
    // One of two parallel queries lost: glibc closes the socket after 5 s and asks both again from another.
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
fn parallel_queries_of_one_socket_are_told_apart_by_their_question() {
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
fn second_answer_is_counted_and_not_told() {
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
fn identifier_used_again_after_the_answer_is_a_new_exchange() {
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
fn answer_without_a_query_has_no_attempt_and_no_latency() {
    let mut bench = Bench::new();
    bench.see(answers(5, 4_000, 7, A));
    let exchange = bench.exchange();
    assert_eq!(
        (exchange.attempts, exchange.latency, exchange.asked),
        (0, None, ms(5))
    );
    assert_eq!(
        (exchange.role, exchange.outcome),
        (Role::Client, Outcome::Answered)
    );
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
fn icmp_error_for_the_query_ends_the_exchange_at_once() {
    let mut bench = Bench::new();
    bench
        .see(asks(0, 4_000, 7, A))
        .see(asks(0, 4_001, 8, A))
        .see(unreachable(1, socket(4_001)));
    let exchange = bench.exchange();
    assert_eq!(
        (exchange.outcome, exchange.id, exchange.rcode),
        (Outcome::IcmpError, 8, None)
    );
    let icmp = exchange.icmp.expect("the error");
    assert_eq!((icmp.icmp_type, icmp.icmp_code), (3, 3));
    // The other is still open.
    bench.see(answers(2, 4_000, 7, A));
    assert_eq!(bench.exchange().id, 7);
}

#[test]
fn each_icmp_error_ends_one_of_the_parallel_queries() {
    let mut bench = Bench::new();
    bench.see(asks(0, 4_000, 9, A)).see(asks(1, 4_000, 8, AAAA));
    bench.see(unreachable(2, socket(4_000)));
    assert_eq!(bench.exchange().id, 9, "the older");
    bench.see(unreachable(3, socket(4_000)));
    assert_eq!(bench.exchange().id, 8);
}

#[test]
fn icmp_error_from_the_server_pod_tells_the_servers_exchange() {
    let mut bench = Bench::new();
    let server = flow(Protocol::Udp, 53, 4_000);
    bench.see(dns(0, ToPod, server, query(7, NAME, A)));
    // The pod itself says that nobody listens: the quoted packet is the client's.
    let client = Flow {
        pod: server.peer,
        peer: server.pod,
        ..server
    };
    let mut error = unreachable(1, client);
    error.way = FromPod;
    error.flow = Flow {
        protocol: Protocol::Icmp,
        ..server
    };
    bench.see(error);
    let exchange = bench.exchange();
    assert_eq!(
        (exchange.outcome, exchange.role),
        (Outcome::IcmpError, Role::Server)
    );
}

#[test]
fn end_of_input_decides_only_what_was_silent_for_long_enough() {
    let mut bench = Bench::new();
    bench
        .see(asks(0, 4_000, 7, A))
        .see(asks(1_000, 4_001, 8, A))
        .end(6_500);
    assert_eq!(bench.exchange().id, 7);
    assert_eq!(bench.lost("dns undecided at the end"), 1);
}

#[test]
fn full_table_gives_up_the_oldest_and_counts_it() {
    let mut bench = Bench::with(Limits {
        exchanges: 2,
        ..Limits::default()
    });
    for id in 1..=3 {
        bench.see(asks(u64::from(id), 4_000, id, A));
    }
    assert_eq!(bench.lost("dns exchange table full"), 1);
    bench.see(answers(10, 4_000, 3, A));
    assert_eq!(bench.exchange().attempts, 1);
    bench.see(answers(11, 4_000, 1, A));
    assert_eq!(bench.exchange().attempts, 0, "its query was given up");
}

fn outcome_of(message: Message) -> Outcome {
    let mut bench = Bench::new();
    let question = message.question.clone().expect("a question");
    bench.see(dns(
        0,
        FromPod,
        socket(4_000),
        query(message.id, question.name.as_str(), question.qtype),
    ));
    bench.see(dns(1, ToPod, socket(4_000), message));
    // A truncated answer waits for TCP.
    bench.at(1_001);
    bench.exchange().outcome
}

#[test]
fn outcome_follows_the_response_code() {
    let codes = [
        (NXDomain, Outcome::Nxdomain),
        (ServFail, Outcome::Servfail),
        (ResponseCode::Refused, Outcome::Refused),
        (ResponseCode::FormErr, Outcome::Formerr),
        (ResponseCode::NotImp, Outcome::Other),
        (ResponseCode::BADVERS, Outcome::Other),
    ];
    for (rcode, outcome) in codes {
        assert_eq!(
            outcome_of(response(7, NAME, A, rcode, &[])),
            outcome,
            "{rcode:?}"
        );
    }
}

#[test]
fn nodata_is_noerror_without_a_record_of_the_type() {
    let with_authority = |answers: &[RecordType], authority| {
        let mut message = response(7, NAME, A, NoError, answers);
        message.authorities = vec![resource("cluster.local.", authority)];
        outcome_of(message)
    };
    assert_eq!(
        outcome_of(response(7, NAME, AAAA, NoError, &[])),
        Outcome::Nodata
    );
    assert_eq!(with_authority(&[], SOA), Outcome::Nodata);
    assert_eq!(
        with_authority(&[CNAME], SOA),
        Outcome::Nodata,
        "the chain leads to a name without the type"
    );
    assert_eq!(with_authority(&[CNAME, A], NS), Outcome::Answered);
    assert_eq!(
        outcome_of(response(7, NAME, CNAME, NoError, &[CNAME])),
        Outcome::Answered
    );
    assert_eq!(
        outcome_of(response(7, NAME, RecordType::ANY, NoError, &[A])),
        Outcome::Answered
    );
    assert_eq!(with_authority(&[], NS), Outcome::Other, "a referral");
}

#[test]
fn what_was_not_read_is_not_said_to_be_missing() {
    let mut message = response(7, NAME, A, NoError, &[CNAME]);
    message.answer_count = 2;
    message.fault = Some(DnsFault::CutShort);
    assert_eq!(outcome_of(message), Outcome::Answered);
}

#[test]
fn truncated_answer_is_an_outcome_of_its_own() {
    let mut message = response(7, NAME, A, NoError, &[]);
    message.flags.truncated = true;
    assert_eq!(outcome_of(message), Outcome::Truncated);
}

#[test]
fn update_that_succeeds_is_not_nodata() {
    let mut message = response(7, NAME, SOA, NoError, &[]);
    message.opcode = OpCode::Update;
    assert_eq!(outcome_of(message), Outcome::Answered);
}

#[test]
fn notify_is_not_the_query_that_has_its_identifier_and_asks_for_no_name() {
    let mut bench = Bench::new();
    let notify = Message {
        opcode: OpCode::Notify,
        ..query(7, NAME, SOA)
    };
    bench.see(dns(0, FromPod, socket(4_000), query(7, NAME, SOA)));
    bench.see(dns(1, FromPod, socket(4_000), notify.clone()));
    let asked = bench.all();
    assert_eq!(
        asked.len(),
        1,
        "the query alone belongs to a lookup: {asked:?}"
    );
    let agreed = Message {
        response: true,
        ..notify
    };
    bench.see(dns(3, ToPod, socket(4_000), agreed));
    let exchange = bench.exchange();
    assert_eq!(exchange.details.opcode, OpCode::Notify);
    assert_eq!(
        (exchange.attempts, exchange.outcome),
        (1, Outcome::Answered)
    );
    assert_eq!(exchange.latency, Some(milliseconds(2)));
    bench.see(dns(
        8,
        ToPod,
        socket(4_000),
        response(7, NAME, SOA, NoError, &[SOA]),
    ));
    let exchange = bench.exchange();
    assert_eq!(exchange.details.opcode, OpCode::Query);
    assert_eq!(exchange.latency, Some(milliseconds(8)));
}

#[test]
fn message_that_expects_no_answer_never_times_out_and_is_counted() {
    let mut bench = Bench::new();
    let keepalive = Message {
        opcode: OpCode::Unknown(6),
        question: None,
        ..query(0, NAME, A)
    };
    bench.see(dns(0, FromPod, socket(4_000), keepalive));
    bench.at(60_000).silent();
    assert_eq!(bench.lost("dns message that expects no answer"), 1);
}

#[test]
fn what_the_last_attempt_said_of_itself_is_kept_for_its_silence() {
    let mut bench = Bench::new();
    let mut first = query(7, NAME, A);
    first.edns = Some(Edns {
        udp_size: 1232,
        cookie: Some("0102030405060708".to_owned()),
        ..Edns::default()
    });
    first.fault = Some(DnsFault::Questions(2));
    bench.see(dns(0, FromPod, socket(4_000), first));
    bench.at(7_000);
    let details = bench.exchange().details;
    assert_eq!(details.query_fault, Some(DnsFault::Questions(2)));
    let kept = Edns {
        udp_size: 1232,
        ..Edns::default()
    };
    assert_eq!(details.query_edns, Some(kept), "without its cookie");
    assert_eq!(details.flags, None, "nobody answered");
}

#[test]
fn icmp_error_that_quotes_the_identifier_ends_that_query() {
    // Kernels limit how many errors they send: of two parallel queries the second one's came.
    let mut bench = Bench::new();
    bench.see(asks(0, 4_000, 9, A)).see(asks(1, 4_000, 8, AAAA));
    let mut error = unreachable(2, socket(4_000));
    if let What::IcmpError(error) = &mut error.what {
        error.datagram_id = Some(8);
    }
    bench.see(error);
    assert_eq!(bench.exchange().id, 8);
    bench.at(6_000);
    let other = bench.exchange();
    assert_eq!((other.id, other.outcome), (9, Outcome::Timeout));
}

/// A segment on the DNS connection, with a message or none.
fn segment(at: u64, way: Way, flags: &str, sequence: u32, message: Option<Vec<u8>>) -> Observation {
    let mut seen = tcp(
        at,
        way,
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
        .filter(|told| matches!(told.what, Happening::Exchange(_)))
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
            Happening::Exchange(exchange) => exchange.connection,
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
            Happening::Exchange(exchange) => (exchange.asked, exchange.outcome),
            other => panic!("not an exchange: {other:?}"),
        })
        .collect();
    assert_eq!(
        outcomes,
        [(ms(0), Outcome::Truncated), (ms(100), Outcome::Truncated)]
    );
}
