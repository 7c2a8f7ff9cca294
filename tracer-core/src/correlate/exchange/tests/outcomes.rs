//! The outcome of an exchange, by the content of its messages.

use super::*;

fn outcome_of(message: Message) -> Outcome {
    let mut bench = Bench::new();
    let question = message.question.clone().expect("a question");
    let asked = Message {
        opcode: message.opcode,
        ..query(message.id, question.name.as_str(), question.qtype)
    };
    bench.see(dns(0, FromPod, socket(4_000), asked));
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
fn an_unread_record_is_not_taken_for_missing() {
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
fn a_successful_update_is_not_nodata() {
    let mut message = response(7, NAME, SOA, NoError, &[]);
    message.opcode = OpCode::Update;
    assert_eq!(outcome_of(message), Outcome::Answered);
}

#[test]
fn a_notify_is_not_the_query_with_its_identifier_and_asks_for_no_name() {
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
fn a_message_that_expects_no_answer_never_times_out_and_is_counted() {
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
