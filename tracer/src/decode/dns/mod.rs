//! A DNS message (RFC 1035) to [`Message`]: header, question and records are read one by one with hickory-proto's
//! decoder, so that a record that is wrong does not cost the others.
//!
//! What has a DNS port but is shorter than a header, or has both an opcode that nobody assigned and something malformed,
//! is not DNS: it becomes [`What::Other`], is told as the UDP flow it is, and so is not lost.

mod name;
mod rdata;
mod section;

use hickory_proto::op::{Header, MessageType, OpCode};
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, DecodeError};

use super::Fault;
use crate::model::dns::{DnsFault, Message, Question};
use crate::model::observation::What;

/// Length of the header (RFC 1035 section 4.1.1).
const HEADER_LEN: usize = 12;
/// Opcodes that are assigned and that hickory has no name for: IQUERY (RFC 3425) and DSO (RFC 8490).
const OTHER_OPCODES: [u8; 2] = [1, 6];

/// Reads the payload of a UDP datagram on a DNS port. `announced` is its length according to the UDP header; the capture
/// may have cut it short.
pub(super) fn read(bytes: &[u8], announced: usize) -> Result<What, Fault> {
    if bytes.len() < HEADER_LEN && announced > bytes.len() {
        return Err(Fault::CutShort);
    }
    Ok(match message(bytes, announced > bytes.len()) {
        Some(message) => What::Dns(Box::new(message)),
        None => What::Other,
    })
}

/// Reads one message; `None` if it is none. `cut` says that the message goes on beyond `bytes`.
pub(super) fn message(bytes: &[u8], cut: bool) -> Option<Message> {
    let mut decoder = BinDecoder::new(bytes);
    let header = Header::read(&mut decoder).ok()?;
    let mut message = Message {
        id: header.id,
        response: header.message_type == MessageType::Response,
        opcode: header.op_code,
        rcode: header.response_code,
        authoritative: header.authoritative,
        truncated: header.truncation,
        recursion_desired: header.recursion_desired,
        recursion_available: header.recursion_available,
        question: None,
        answers: Vec::new(),
        authorities: Vec::new(),
        answer_count: header.counts.answers,
        fault: None,
    };
    match questions(&mut decoder, header.counts.queries, &mut message) {
        Ok(()) => section::read_all(bytes, decoder.index(), &header.counts, cut, &mut message),
        Err(error) => message.fault = Some(fault(&error, cut, DnsFault::Question)),
    }
    let assigned =
        !matches!(header.op_code, OpCode::Unknown(code) if !OTHER_OPCODES.contains(&code));
    (assigned || message.fault.is_none()).then_some(message)
}

/// Reads the question section; the first question is kept.
fn questions(
    decoder: &mut BinDecoder<'_>,
    count: u16,
    message: &mut Message,
) -> Result<(), DecodeError> {
    for _ in 0..count {
        let question = question(decoder)?;
        message.question.get_or_insert(question);
    }
    Ok(())
}

fn question(decoder: &mut BinDecoder<'_>) -> Result<Question, DecodeError> {
    let name = Name::read(decoder)?;
    let qtype = RecordType::read(decoder)?;
    // The class: any number will do, the type tells.
    decoder.read_u16()?;
    Ok(Question {
        name: name::absolute(&name),
        qtype,
    })
}

/// Reading beyond the end of a capture that was cut short is the capture's fault, not the message's.
fn fault(error: &DecodeError, cut: bool, blame: impl FnOnce(String) -> DnsFault) -> DnsFault {
    match error {
        DecodeError::InsufficientBytes | DecodeError::IncorrectRDataLengthRead { .. } if cut => {
            DnsFault::CutShort
        }
        // Some of these errors quote names out of the message.
        error => blame(name::error(error)),
    }
}

#[cfg(test)]
mod tests;
