use hickory_proto::op::{Message as Built, MessageType, Query};
use hickory_proto::rr::rdata::{A, TXT};
use hickory_proto::rr::{Name, RData, Record as BuiltRecord};

use super::*;
use crate::decode::Decoder;
use crate::decode::testing::{from_pod, to_pod, vectors};
use crate::model::dns::{ResourceRecord, ResponseCode, rcode_mnemonic, type_mnemonic};
use crate::model::observation::What;
use crate::model::record::Record;

fn decoded(record: &Record) -> Message {
    let observation = Decoder::new(vec![53]).decode(record).expect("a packet");
    match observation.what {
        What::Dns(message) => *message,
        other => panic!("not DNS: {other:?}"),
    }
}

/// dig's line without intended differences: Tracer prints names in lower case, and dig splits long
/// hexadecimal and Base64 text.
fn comparable(line: &str) -> String {
    line.replace(' ', "").to_ascii_lowercase()
}

fn lines(records: &[ResourceRecord]) -> Vec<String> {
    let line = |record: &ResourceRecord| {
        format!(
            "{} {} {} {}",
            record.name,
            record.ttl,
            type_mnemonic(record.rtype),
            record.data
        )
    };
    records
        .iter()
        .map(|record| comparable(&line(record)))
        .collect()
}

#[test]
fn messages_of_named_are_printed_as_dig_prints_them() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 45);
    for vector in vectors {
        let case = vector.case;
        let response = decoded(&to_pod(&vector.response));
        assert_eq!(response.fault, None, "{case}");
        assert_eq!(rcode_mnemonic(response.rcode), vector.status, "{case}");
        let flags = [
            ("qr", response.response),
            ("aa", response.flags.authoritative),
            ("tc", response.flags.truncated),
            ("rd", response.flags.recursion_desired),
            ("ra", response.flags.recursion_available),
            ("ad", response.flags.authentic_data),
            ("cd", response.flags.checking_disabled),
        ];
        for (flag, set) in flags {
            assert_eq!(vector.flags.contains(&flag), set, "{case}: {flag}");
        }
        // hickory does not know LOC: it is the only type here in the form of RFC 3597.
        if case.starts_with("loc.") {
            assert!(response.answers[0].data.starts_with("\\# 16 00"), "{case}");
        } else {
            let expected: Vec<String> =
                vector.answers.iter().map(|line| comparable(line)).collect();
            assert_eq!(lines(&response.answers), expected, "{case}");
        }
        let expected: Vec<String> = vector
            .authorities
            .iter()
            .map(|line| comparable(line))
            .collect();
        assert_eq!(lines(&response.authorities), expected, "{case}");
        assert_eq!(
            usize::from(response.answer_count),
            vector.answers.len(),
            "{case}"
        );

        let query = decoded(&from_pod(&vector.query));
        assert!(!query.response, "{case}");
        assert_eq!(query.id, response.id, "{case}");
        // named repeats the question unless it refuses to parse it.
        if response.question.is_some() {
            assert_eq!(query.question, response.question, "{case}");
        }
    }
}

#[test]
fn nothing_but_printable_ascii_comes_out() {
    for vector in vectors() {
        let response = decoded(&to_pod(&vector.response));
        let printable = |text: &str| text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        for record in response.answers.iter().chain(&response.authorities) {
            assert!(
                printable(record.name.as_str()) && printable(&record.data),
                "{record:?}"
            );
        }
    }
}

#[test]
fn question_is_lower_case_and_absolute() {
    let vector = vectors()
        .into_iter()
        .find(|vector| vector.case.starts_with("MIXEDcase"))
        .expect("in the file");
    let question = decoded(&from_pod(&vector.query))
        .question
        .expect("a question");
    assert_eq!(question.name.as_str(), "mixedcase.vec.test.");
    assert_eq!(question.qtype, RecordType::A);
}

#[test]
fn extended_response_code_comes_from_opt() {
    let vector = vectors()
        .into_iter()
        .find(|vector| vector.status == "BADVERS")
        .expect("in the file");
    assert_eq!(u16::from(decoded(&to_pod(&vector.response)).rcode), 16);
}

/// A response with these records in its answer section, encoded by hickory.
fn built(records: Vec<BuiltRecord>) -> Vec<u8> {
    let mut message = Built::new(4711, MessageType::Response, OpCode::Query);
    let name = Name::from_ascii("a.example.").expect("a name");
    message.add_query(Query::query(name, RecordType::A));
    message.add_answers(records);
    message.to_vec().expect("encodes")
}

fn address(last: u8) -> BuiltRecord {
    let name = Name::from_ascii("a.example.").expect("a name");
    BuiltRecord::from_rdata(name, 60, RData::A(A::new(192, 0, 2, last)))
}

fn data(message: &Message) -> Vec<&str> {
    message
        .answers
        .iter()
        .map(|record| record.data.as_str())
        .collect()
}

#[test]
fn bad_data_of_one_record_costs_only_that_record() {
    let name = Name::from_ascii("a.example.").expect("a name");
    let text = BuiltRecord::from_rdata(name, 60, RData::TXT(TXT::new(vec!["xyz".to_owned()])));
    let mut bytes = built(vec![address(1), text, address(2)]);
    // The character string's length, made longer than its record.
    let at = bytes
        .windows(4)
        .position(|window| window == b"\x03xyz")
        .expect("the text");
    bytes[at] = 9;
    let message = message(&bytes, false).expect("a message");
    assert_eq!(data(&message), ["192.0.2.1", "\\# 4 0978797A", "192.0.2.2"]);
    assert!(
        matches!(message.fault, Some(DnsFault::Record(_))),
        "{:?}",
        message.fault
    );
}

#[test]
fn a_truncated_capture_keeps_the_captured_part_of_the_message() {
    let whole = built((1..=20).map(address).collect());
    let all = message(&whole, false).expect("a message");
    for end in 12..whole.len() {
        let cut = message(&whole[..end], true).expect("the header is there");
        assert_eq!(cut.fault, Some(DnsFault::CutShort), "at {end}");
        assert_eq!(cut.id, 4711);
        assert_eq!(cut.answer_count, 20);
        assert!(cut.question.is_none() || cut.question == all.question);
        assert_eq!(cut.answers, all.answers[..cut.answers.len()]);
    }
}

#[test]
fn records_beyond_the_bound_are_not_read() {
    let message =
        message(&built((0..600).map(|n| address(n as u8)).collect()), false).expect("a message");
    assert_eq!((message.answers.len(), message.answer_count), (512, 600));
    assert_eq!(message.fault, Some(DnsFault::TooMany));
}

#[test]
fn malformed_question_keeps_the_header() {
    let mut bytes = built(vec![address(1)]);
    // A label type that does not exist (RFC 6891 section 4.2 retired it).
    bytes[12] = 0x80;
    bytes[3] |= 3;
    let message = message(&bytes, false).expect("a message");
    assert_eq!(
        (message.id, message.rcode, message.response),
        (4711, ResponseCode::NXDomain, true)
    );
    assert!(
        matches!(message.fault, Some(DnsFault::Question(_))),
        "{:?}",
        message.fault
    );
}

#[test]
fn a_name_that_points_to_itself_is_a_fault_and_no_loop() {
    let mut bytes = built(vec![]);
    bytes.truncate(12);
    bytes.extend([0xc0, 12, 0, 1, 0, 1]);
    let message = message(&bytes, false).expect("a message");
    assert!(
        matches!(message.fault, Some(DnsFault::Question(_))),
        "{:?}",
        message.fault
    );
}

#[test]
fn garbage_and_too_few_bytes_are_not_dns() {
    let mut bytes = built(vec![]);
    assert_eq!(message(&bytes[..11], false), None);
    // An unassigned opcode, in an otherwise valid message and in a malformed one.
    bytes[2] = 0xf << 3;
    assert_eq!(
        message(&bytes, false).map(|message| message.opcode),
        Some(OpCode::Unknown(15))
    );
    assert_eq!(message(&bytes[..bytes.len() - 1], false), None);
    let mut names = Names::default();
    assert_eq!(read(b"hello", 5, &mut names), Ok(What::Other));
    assert_eq!(read(b"hello", 50, &mut names), Err(Fault::CutShort));
}
