//! Names and text of a message in presentation format (RFC 1035 section 5.1), safe to print: whatever bytes a message
//! holds, nothing but printable ASCII comes out, so no terminal escape ever gets through.
//!
//! hickory's own way of printing names is not used: it writes `\DDD` in octal and turns A-labels into Unicode.

use std::fmt::{self, Write};

use hickory_proto::rr::Name;
use hickory_proto::serialize::binary::DecodeError;

use crate::model::dns::DnsName;

/// The name, absolute and in lower case.
pub(super) fn absolute(name: &Name) -> DnsName {
    DnsName::new(&text(name))
}

/// The name as [`absolute`] has it, as a string.
pub(super) fn text(name: &Name) -> String {
    let mut out = String::new();
    for label in name.iter() {
        for &byte in label {
            match byte {
                // The same set as BIND: what means something in a zone file.
                b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => {
                    out.push('\\');
                    out.push(char::from(byte));
                }
                0x21..=0x7e => out.push(char::from(byte.to_ascii_lowercase())),
                _ => decimal(&mut out, byte),
            }
        }
        out.push('.');
    }
    if out.is_empty() {
        out.push('.');
    }
    out
}

/// A character string in quotes.
pub(super) fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            0x20..=0x7e => out.push(char::from(byte)),
            _ => decimal(&mut out, byte),
        }
    }
    out.push('"');
    out
}

/// Text that is in presentation format already, made sure of.
pub(super) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        match byte {
            0x20..=0x7e => out.push(char::from(byte)),
            _ => decimal(&mut out, byte),
        }
    }
    out
}

/// What hickory says is wrong. Its errors quote names, which can fail to print, and `to_string` would panic.
pub(super) fn error(error: &DecodeError) -> String {
    let mut text = String::new();
    match write!(text, "{error}") {
        Ok(()) => printable(&text),
        Err(fmt::Error) => "malformed".to_owned(),
    }
}

fn decimal(out: &mut String, byte: u8) {
    // Writing to a String cannot fail.
    let _ = write!(out, "\\{byte:03}");
}
