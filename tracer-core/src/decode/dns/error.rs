//! What can be wrong with a part of a message, and which fault of the message that is.

use std::fmt::Write;

use hickory_proto::serialize::binary::DecodeError;
use thiserror::Error;

use super::name::MAX_POINTERS;
use crate::model::dns::DnsFault;
use crate::model::printable::ascii;

/// Why a part of a message could not be read.
#[derive(Debug, Error)]
pub(super) enum ReadError {
    /// hickory's decoder could not.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A name that is spread over the message to keep its readers busy.
    #[error("a name of more than {MAX_POINTERS} compression pointers")]
    Pointers,
    /// The data says it is longer than its fields are.
    #[error("{0} bytes too many")]
    Left(usize),
    /// A field whose content cannot be.
    #[error("impossible {0}")]
    Field(&'static str),
}

impl ReadError {
    /// In words, safe to print: some of hickory's errors quote names out of the message. Such a name can fail to print,
    /// and `to_string` would panic.
    pub(super) fn words(&self) -> String {
        let mut text = String::new();
        match write!(text, "{self}") {
            Ok(()) => ascii(text.as_bytes()),
            Err(_) => "malformed".to_owned(),
        }
    }

    /// Reading beyond the end of a capture that was cut short is the capture's fault, not the message's.
    pub(super) fn fault(&self, cut: bool, blame: impl FnOnce(String) -> DnsFault) -> DnsFault {
        match self {
            ReadError::Decode(
                DecodeError::InsufficientBytes | DecodeError::IncorrectRDataLengthRead { .. },
            ) if cut => DnsFault::CutShort,
            error => blame(error.words()),
        }
    }
}
