//! Reads a DNS message (RFC 1035) into [`Message`]. [`plain`] reads the messages that nearly all traffic
//! consists of. For all others hickory-proto's decoder reads header, question and records one by one, so that a
//! malformed record does not cost the others.
//!
//! A payload on a DNS port that is shorter than a header, or that has both an unassigned opcode and a
//! malformed part, is not DNS: it becomes [`What::Other`] and is reported as a UDP flow, so it is not lost.

mod edns;
mod error;
mod name;
mod names;
mod plain;
mod rdata;
mod section;
mod svcb;

use hickory_proto::op::{Header, MessageType, OpCode};
use hickory_proto::rr::RecordType;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use self::error::ReadError;
pub(super) use self::names::Names;
use super::Fault;
use crate::model::dns::{DnsFault, Flags, Message, Question};
use crate::model::observation::What;

/// Length of the header (RFC 1035 section 4.1.1).
const HEADER_LEN: usize = 12;
/// Assigned opcodes that hickory does not name: IQUERY (RFC 3425) and DSO (RFC 8490).
const OTHER_OPCODES: [u8; 2] = [1, 6];
/// Questions skipped to reach the records. More than one is a fault already.
const MAX_QUESTIONS: u16 = 16;

/// Reads the payload of a UDP datagram on a DNS port. `announced` is its length from the UDP header; the
/// capture may have truncated it.
pub(super) fn read(bytes: &[u8], announced: usize, names: &mut Names) -> Result<What, Fault> {
    if bytes.len() < HEADER_LEN && announced > bytes.len() {
        return Err(Fault::CutShort);
    }
    let message = plain::read(bytes, names);
    Ok(
        match message.or_else(|| reference(bytes, announced > bytes.len())) {
            Some(message) => What::Dns(Box::new(message)),
            None => What::Other,
        },
    )
}

/// Reads one message; `None` if it is not DNS. `cut` marks a message that continues beyond `bytes`.
pub(super) fn message(bytes: &[u8], cut: bool) -> Option<Message> {
    plain::read(bytes, &mut Names::default()).or_else(|| reference(bytes, cut))
}

/// As [`message`], for messages of every kind.
fn reference(bytes: &[u8], cut: bool) -> Option<Message> {
    let mut decoder = BinDecoder::new(bytes);
    let header = Header::read(&mut decoder).ok()?;
    let mut message = Message {
        id: header.id,
        response: header.message_type == MessageType::Response,
        opcode: header.op_code,
        rcode: header.response_code,
        flags: Flags {
            authoritative: header.authoritative,
            truncated: header.truncation,
            recursion_desired: header.recursion_desired,
            recursion_available: header.recursion_available,
            authentic_data: header.authentic_data,
            checking_disabled: header.checking_disabled,
        },
        question: None,
        answers: Vec::new(),
        authorities: Vec::new(),
        answer_count: header.counts.answers,
        negative_ttl: None,
        edns: None,
        fragment: false,
        fault: None,
    };
    let count = header.counts.queries;
    if count > 1 {
        message.fault = Some(DnsFault::Questions(count));
    }
    match questions(bytes, &mut decoder, count, &mut message) {
        Ok(()) if count > MAX_QUESTIONS => {}
        Ok(()) => section::read_all(bytes, decoder.index(), &header.counts, cut, &mut message),
        Err(error) => message.fault = Some(error.fault(cut, DnsFault::Question)),
    }
    let assigned =
        !matches!(header.op_code, OpCode::Unknown(code) if !OTHER_OPCODES.contains(&code));
    (assigned || message.fault.is_none()).then_some(message)
}

/// Reads the question section and keeps the first question.
fn questions(
    bytes: &[u8],
    decoder: &mut BinDecoder<'_>,
    count: u16,
    message: &mut Message,
) -> Result<(), ReadError> {
    for _ in 0..count.min(MAX_QUESTIONS) {
        let question = question(bytes, decoder)?;
        message.question.get_or_insert(question);
    }
    Ok(())
}

fn question(bytes: &[u8], decoder: &mut BinDecoder<'_>) -> Result<Question, ReadError> {
    let name = name::read(bytes, decoder)?;
    let qtype = RecordType::read(decoder)?;
    // Any class is accepted; the type identifies the question.
    decoder.read_u16()?;
    Ok(Question {
        name: name::absolute(&name),
        qtype,
    })
}

#[cfg(test)]
mod content_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
