//! The outcome that a response gives to a question.

use crate::model::dns::{Message, OpCode, Question, RecordType, ResponseCode};
use crate::model::exchange::Outcome;

/// Classifies a response. NODATA is NOERROR without a record of the requested type (RFC 2308 section 2.2). A
/// referral (name servers instead of an answer) is neither an answer nor NODATA, so it is `Other`.
pub(super) fn outcome(message: &Message, question: Option<&Question>) -> Outcome {
    match message.rcode {
        ResponseCode::NoError if message.flags.truncated => Outcome::Truncated,
        ResponseCode::NoError => positive(message, question),
        ResponseCode::NXDomain => Outcome::Nxdomain,
        ResponseCode::ServFail => Outcome::Servfail,
        ResponseCode::Refused => Outcome::Refused,
        ResponseCode::FormErr => Outcome::Formerr,
        _ => Outcome::Other,
    }
}

fn positive(message: &Message, question: Option<&Question>) -> Outcome {
    let Some(question) = question else {
        return Outcome::Answered;
    };
    if message.opcode != OpCode::Query {
        return Outcome::Answered;
    }
    let any = matches!(
        question.qtype,
        RecordType::ANY | RecordType::AXFR | RecordType::IXFR
    );
    let found = message
        .answers
        .iter()
        .any(|record| any || record.rtype == question.qtype);
    // A record that was not read may be the missing one.
    let all_read = message.answers.len() == usize::from(message.answer_count);
    if found || !all_read {
        return Outcome::Answered;
    }
    let authority = |rtype| {
        message
            .authorities
            .iter()
            .any(|record| record.rtype == rtype)
    };
    let referral =
        message.answers.is_empty() && authority(RecordType::NS) && !authority(RecordType::SOA);
    if referral {
        Outcome::Other
    } else {
        Outcome::Nodata
    }
}
