//! Errors in a part of a message, and the message fault each becomes.

use std::fmt::Write;

use hickory_proto::serialize::binary::DecodeError;
use thiserror::Error;

use super::name::MAX_POINTERS;
use crate::model::dns::DnsFault;
use crate::model::printable::ascii;

/// Why a part of a message could not be read.
#[derive(Debug, Error)]
pub(super) enum ReadError {
    /// hickory's decoder failed.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A name spread over the message to keep its readers busy.
    #[error("a name of more than {MAX_POINTERS} compression pointers")]
    Pointers,
    /// The stated length exceeds the fields.
    #[error("{0} bytes too many")]
    Left(usize),
    /// An invalid field value.
    #[error("impossible {0}")]
    Field(&'static str),
}

impl ReadError {
    /// The error in words, safe to print: some of hickory's errors quote names from the message. Such a name
    /// can fail to print, and `to_string` would panic.
    pub(super) fn words(&self) -> String {
        let mut text = String::new();
        match write!(text, "{self}") {
            Ok(()) => ascii(text.as_bytes()),
            Err(_) => "malformed".to_owned(),
        }
    }

    /// A read beyond the end of a truncated capture is the capture's fault, not the message's.
    pub(super) fn fault(&self, cut: bool, blame: impl FnOnce(String) -> DnsFault) -> DnsFault {
        match self {
            ReadError::Decode(
                DecodeError::InsufficientBytes | DecodeError::IncorrectRDataLengthRead { .. },
            ) if cut => DnsFault::CutShort,
            error => blame(error.words()),
        }
    }
}
