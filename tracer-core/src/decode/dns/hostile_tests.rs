//! Hostile messages: no panic, only printable text, and bounded work.

use super::content_tests::messages;
use super::message;
use super::name::MAX_POINTERS;
use crate::decode::robustness::assert_printable;
use crate::model::dns::{DnsFault, Message};
use crate::model::edns::ExtendedError;

/// A header with these counts.
fn header(questions: u16, answers: u16, authorities: u16, additionals: u16) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x67, 0x84, 0];
    for count in [questions, answers, authorities, additionals] {
        bytes.extend(count.to_be_bytes());
    }
    bytes
}

fn read(bytes: &[u8]) -> Message {
    let message = message(bytes, false).expect("a message");
    assert_printable(&message);
    message
}

fn fault(message: &Message) -> String {
    let fault = message.fault.as_ref();
    fault.map(ToString::to_string).unwrap_or_default()
}

/// A record at the root.
fn record(rtype: u16, class: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(rtype.to_be_bytes());
    bytes.extend(class.to_be_bytes());
    bytes.extend(ttl.to_be_bytes());
    bytes.extend((data.len() as u16).to_be_bytes());
    bytes.extend(data);
    bytes
}

/// A message with an OPT record of these options.
fn with_options(options: &[(u16, &[u8])]) -> Vec<u8> {
    let mut data = Vec::new();
    for (code, option) in options {
        data.extend(code.to_be_bytes());
        data.extend((option.len() as u16).to_be_bytes());
        data.extend(*option);
    }
    [header(0, 0, 0, 1), record(41, 1232, 0, &data)].concat()
}

#[test]
fn any_octet_of_any_vector_may_be_wrong() {
    let mut faults = 0;
    for whole in messages() {
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            for wrong in [
                0,
                0xff,
                0xc0,
                whole[at] ^ 1,
                whole[at] ^ 0x80,
                whole[at].wrapping_add(1),
            ] {
                bytes[at] = wrong;
                if let Some(message) = message(&bytes, false) {
                    assert_printable(&message);
                    faults += usize::from(message.fault.is_some());
                }
            }
        }
    }
    assert!(faults > 1_000, "{faults}");
}

#[test]
fn any_vector_may_end_anywhere() {
    for whole in messages() {
        for end in 12..whole.len() {
            for cut in [false, true] {
                if let Some(message) = message(&whole[..end], cut) {
                    assert_printable(&message);
                    assert!(message.fault.is_some(), "{message:?}");
                }
            }
        }
    }
}

#[test]
fn section_counts_beyond_the_message_are_a_fault() {
    for counts in [
        header(0, 65_535, 65_535, 65_535),
        header(1, 0, 0, 0),
        header(0, 0, 65_535, 0),
    ] {
        assert!(fault(&read(&counts)).starts_with("malformed"), "{counts:?}");
    }
    let mut bytes = header(0, 65_535, 65_535, 65_535);
    bytes.extend(record(16, 1, 0, b"\x01x").repeat(4_000));
    let message = read(&bytes);
    assert_eq!(message.fault, Some(DnsFault::TooMany));
    assert_eq!(message.answers.len(), 512);
}

#[test]
fn several_questions_are_a_fault_with_their_number_and_the_first_is_used() {
    let mut bytes = header(2, 1, 0, 0);
    bytes.extend(b"\x01a\0\0\x01\0\x01");
    bytes.extend(b"\x01b\0\0\x1c\0\x01");
    bytes.extend(record(1, 1, 60, &[192, 0, 2, 1]));
    let message = read(&bytes);
    assert_eq!(message.fault, Some(DnsFault::Questions(2)));
    assert_eq!(fault(&message), "2 questions, of which the first was used");
    assert_eq!(
        message.question.map(|question| question.name.to_string()),
        Some("a.".to_owned())
    );
    assert_eq!(message.answers.len(), 1, "what comes after them is read");
}

#[test]
fn thousands_of_questions_are_not_read() {
    let mut bytes = header(65_535, 1, 0, 0);
    bytes.extend(b"\x01a\0\0\x01\0\x01".repeat(9_000));
    let message = read(&bytes);
    assert_eq!(message.fault, Some(DnsFault::Questions(65_535)));
    assert!(message.question.is_some());
    assert!(message.answers.is_empty());
}

/// A message with one record of NULL data, which is a name followed by pointers, each to an earlier one, and
/// a second record whose owner is the last of `count` pointers.
fn chain(pointers: usize) -> Vec<u8> {
    let mut data = b"\x01a\0".to_vec();
    let start = 12 + 11;
    let mut target = start;
    for _ in 1..pointers {
        let here = start + data.len();
        data.extend((0xc000 | target as u16).to_be_bytes());
        target = here;
    }
    let mut bytes = [header(0, 2, 0, 0), record(10, 1, 0, &data)].concat();
    bytes.extend((0xc000 | target as u16).to_be_bytes());
    bytes.extend(&record(1, 1, 0, &[192, 0, 2, 1])[1..]);
    bytes
}

#[test]
fn names_with_too_many_pointers_are_rejected() {
    let most = read(&chain(MAX_POINTERS));
    assert_eq!(most.fault, None);
    assert_eq!(most.answers[1].name.as_str(), "a.");
    for too_many in [MAX_POINTERS + 1, 8_000] {
        let message = read(&chain(too_many));
        assert_eq!(
            fault(&message),
            "malformed record: a name of more than 127 compression pointers"
        );
        assert_eq!(message.answers.len(), 1);
    }
}

#[test]
fn pointers_to_no_name_are_faults() {
    for (what, name) in [
        ("itself", &[0xc0, 12][..]),
        ("forward", &[0xc0, 14, 0]),
        ("beyond", &[0xff, 0xff]),
        ("half", &[0xc0]),
        ("header", &[0xc0, 0]),
        ("reserved", &[0x41, 0]),
    ] {
        let mut bytes = header(1, 0, 0, 0);
        bytes.extend(name);
        bytes.extend([0, 1, 0, 1]);
        let message = read(&bytes);
        // The header's own octets can be read as a name; then the rest does not fit.
        assert!(
            message.fault.is_some() || what == "header",
            "{what}: {message:?}"
        );
    }
}

#[test]
fn a_malformed_option_costs_only_itself() {
    let message = read(&with_options(&[
        (8, &[0, 1, 24]),
        (3, b"ns\x1b[31m"),
        (15, &[1]),
        (15, b"\0\x17ends with a NUL\0"),
        (8, &[0, 1, 24, 0, 1, 2, 3, 4, 5]),
        (8, &[0, 9, 24, 0, 1]),
    ]));
    let edns = message.edns.expect("an OPT record");
    assert_eq!(edns.nsid.as_deref(), Some("ns\\027[31m"));
    assert_eq!(edns.client_subnet, None);
    let error = ExtendedError {
        code: 23,
        text: "ends with a NUL".to_owned(),
    };
    assert_eq!(edns.errors, [error]);
    let others: Vec<u16> = edns.others.iter().map(|option| option.code).collect();
    assert_eq!(others, [8, 15, 8, 8], "kept as they came");
    assert!(
        matches!(message.fault, Some(DnsFault::Edns(_))),
        "{:?}",
        message.fault
    );
}

#[test]
fn an_option_longer_than_its_record_is_a_fault_and_earlier_ones_stay() {
    let mut bytes = with_options(&[(3, b"ns"), (10, b"12345678")]);
    bytes.truncate(bytes.len() - 1);
    // The record's length: the OPT record's header is 11 octets after the message's.
    bytes[22] -= 1;
    let message = read(&bytes);
    assert!(
        matches!(message.fault, Some(DnsFault::Edns(_))),
        "{:?}",
        message.fault
    );
    let edns = message.edns.expect("an OPT record");
    assert_eq!((edns.nsid.as_deref(), edns.cookie), (Some("ns"), None));
    assert_eq!(edns.udp_size, 1232);
}

#[test]
fn a_second_opt_record_is_a_fault_and_ignored() {
    let bytes = [
        header(0, 0, 0, 2),
        record(41, 1232, 0, &[]),
        record(41, 4096, 0x0100_0000, &[]),
    ]
    .concat();
    let message = read(&bytes);
    assert_eq!(fault(&message), "malformed EDNS: more than one OPT record");
    assert_eq!(message.edns.map(|edns| edns.udp_size), Some(1232));
    assert_eq!(u16::from(message.rcode), 0);
}

#[test]
fn thousands_of_options_are_not_read() {
    let message = read(&with_options(&vec![(65_001, &b""[..]); 5_000]));
    assert_eq!(message.fault, Some(DnsFault::TooMany));
    assert_eq!(message.edns.map(|edns| edns.others.len()), Some(32));
}

#[test]
fn data_with_too_many_or_too_few_octets_is_kept_in_generic_form_with_a_fault() {
    for (rtype, data, why) in [
        (1, &[192, 0, 2, 1, 9][..], "1 bytes too many"),
        (1, &[192, 0, 2], ""),
        (28, &[0; 15], ""),
        (15, &[0, 1], ""),
        (6, b"\0\0\0\0\0\x01", ""),
        (16, b"\x05abc", ""),
        (47, b"\0\0\x21\x01", "impossible type bitmap"),
        (47, b"\0\0\0", "impossible type bitmap"),
        (47, b"\0\0", "impossible type bitmap"),
        (50, b"\x01\0\0\x01\x09\x01", ""),
        (
            64,
            b"\0\x01\0\0\x03\0\x01\x09",
            "impossible service parameter",
        ),
        (
            64,
            b"\0\x01\0\0\x04\0\x05\0\0\0\0\0",
            "impossible service parameter",
        ),
        (
            64,
            b"\0\x01\0\0\x02\0\x01\0",
            "impossible service parameter",
        ),
        (250, b"\0\0\0\0\0\0\x01\0\x02\xff\xff", ""),
    ] {
        let message = read(&[header(0, 1, 0, 0), record(rtype, 1, 60, data)].concat());
        assert!(fault(&message).starts_with("malformed record: "), "{rtype}");
        assert!(
            fault(&message).contains(why),
            "{rtype}: {}",
            fault(&message)
        );
        let hex: String = data.iter().map(|byte| format!("{byte:02X}")).collect();
        let kept = format!("\\# {} {hex}", data.len());
        assert_eq!(message.answers[0].data, kept, "{rtype}");
    }
}

#[test]
fn an_address_of_another_class_is_shown_in_generic_form_without_a_fault() {
    let message = read(&[header(0, 1, 0, 0), record(1, 3, 60, b"\x01a\0\0\x2a")].concat());
    assert_eq!(message.fault, None);
    assert_eq!(message.answers[0].data, "\\# 5 016100002A");
}
