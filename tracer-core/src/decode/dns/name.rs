//! Reads names and writes them in presentation format (RFC 1035 section 5.1), safe to print: whatever the
//! message holds, only printable ASCII comes out, so no terminal escape gets through.
//!
//! Does not use hickory's printing of names, which writes `\DDD` in octal and turns A-labels into Unicode.

use hickory_proto::rr::Name;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use super::error::ReadError;
use crate::model::dns::DnsName;
use crate::model::printable::push_label;

/// Compression pointers followed in one name: one for each label that a name can have.
pub(super) const MAX_POINTERS: usize = 127;
/// Maximum length of a name on the wire (RFC 1035 section 3.1).
const MAX_NAME: usize = 255;

/// Reads a name of `message`. hickory accepts any number of pointers that point backwards; thousands of them
/// in each of a message's names would keep it busy.
pub(super) fn read(message: &[u8], decoder: &mut BinDecoder<'_>) -> Result<Name, ReadError> {
    if pointers(message, decoder.index()) > MAX_POINTERS {
        return Err(ReadError::Pointers);
    }
    Ok(Name::read(decoder)?)
}

/// Counts the pointers from `at`. Stops where hickory stops reading, or at one over the limit.
fn pointers(message: &[u8], mut at: usize) -> usize {
    let mut count = 0;
    let mut length = 0;
    while let (Some(&first), true) = (message.get(at), length <= MAX_NAME) {
        match first {
            1..=0x3f => {
                let label = 1 + usize::from(first);
                length += label;
                at += label;
            }
            0xc0.. => {
                let Some(&second) = message.get(at + 1) else {
                    break;
                };
                count += 1;
                if count > MAX_POINTERS {
                    break;
                }
                at = usize::from(first & 0x3f) << 8 | usize::from(second);
            }
            _ => break,
        }
    }
    count
}

/// The name, absolute and in lower case.
pub(super) fn absolute(name: &Name) -> DnsName {
    DnsName::new(&text(name))
}

/// As [`absolute`], as a string.
pub(super) fn text(name: &Name) -> String {
    let mut out = String::new();
    for label in name.iter() {
        push_label(&mut out, label);
        out.push('.');
    }
    if out.is_empty() {
        out.push('.');
    }
    out
}
