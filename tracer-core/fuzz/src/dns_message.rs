//! A DNS message: arbitrary bytes, and the same bytes read by hickory-proto in one piece.
//!
//! Input: the message. The record target covers messages that a capture cut.

use hickory_proto::op::Message as Whole;
use hickory_proto::rr::Record;
use tracer_core::decode::dns_message;
use tracer_core::model::dns::{DnsFault, Message, ResourceRecord};

use super::record::check_message;

/// The target.
pub fn run(bytes: &[u8]) {
    let read = dns_message(bytes);
    assert_eq!(read, dns_message(bytes));
    let whole = Whole::from_vec(bytes);
    let Some(message) = read else {
        // A message with an unassigned opcode (IANA "DNS OpCodes") and any other fault is not DNS.
        let opcode = bytes.get(2).map_or(0, |byte| byte >> 3 & 0xf);
        assert!(
            whole.is_err() || !matches!(opcode, 0..=2 | 4..=6),
            "what hickory reads is a message"
        );
        return;
    };
    check_header(&message, bytes);
    check_message(&message);
    assert_ne!(
        message.fault,
        Some(DnsFault::CutShort),
        "the message is complete"
    );
    if message.fault.is_none() {
        assert_eq!(message.answers.len(), usize::from(message.answer_count));
    }
    if let Ok(whole) = whole {
        check_whole(&message, &whole);
    }
}

/// RFC 1035 section 4.1.1.
fn check_header(message: &Message, bytes: &[u8]) {
    let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    assert_eq!(message.id, word(0));
    assert_eq!(message.response, word(2) & 0x8000 != 0);
    assert_eq!(message.flags.truncated, word(2) & 0x0200 != 0);
    assert_eq!(message.answer_count, word(6));
    // The upper bits of the response code are elsewhere (RFC 6891 section 6.1.3).
    assert_eq!(u16::from(message.rcode) & 0xf, word(2) & 0xf);
}

/// What hickory reads in one piece is read record by record too. Data may be wrong where hickory does not
/// look, several questions and unreadable options are no fault to it, and it has no limits.
fn check_whole(message: &Message, whole: &Whole) {
    match &message.fault {
        Some(DnsFault::TooMany) => return,
        Some(fault) if fault.to_string().contains("compression pointers") => return,
        Some(DnsFault::CutShort | DnsFault::Question(_)) => {
            panic!("hickory reads it, and here it is {:?}", message.fault)
        }
        None | Some(DnsFault::Questions(_) | DnsFault::Record(_) | DnsFault::Edns(_)) => {}
    }
    assert_eq!(
        message.question.as_ref().map(|question| question.qtype),
        whole.queries.first().map(|query| query.query_type())
    );
    check_section(&message.answers, &whole.answers);
    check_section(&message.authorities, &whole.authorities);
}

fn check_section(read: &[ResourceRecord], whole: &[Record]) {
    let ours: Vec<_> = read
        .iter()
        .map(|record| (record.rtype, record.ttl))
        .collect();
    let theirs: Vec<_> = whole
        .iter()
        .map(|record| (record.record_type(), record.ttl))
        .collect();
    assert_eq!(ours, theirs);
}
