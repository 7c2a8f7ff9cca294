//! Appends JSON to a line, without a value in between: the lines of queries and lookups are most of an output.
//!
//! Owns how strings are escaped. What is rare in a line, serde_json writes ([`Line::value`]).

use std::fmt::Write as _;
use std::net::IpAddr;

use serde::Serialize;

use crate::model::printable::is_unsafe;

/// Appends the key of an object's first field.
macro_rules! first {
    ($line:expr, $key:literal) => {
        $line.raw(concat!("{\"", $key, "\":"))
    };
}

/// Appends the key of a later field.
macro_rules! field {
    ($line:expr, $key:literal) => {
        $line.raw(concat!(",\"", $key, "\":"))
    };
}

pub(super) use {field, first};

/// A line that grows.
pub(super) struct Line<'a>(pub(super) &'a mut String);

impl Line<'_> {
    /// Appends text that is JSON already.
    pub(super) fn raw(&mut self, text: &str) {
        self.0.push_str(text);
    }

    /// Appends a word of the contract, which needs no escapes.
    pub(super) fn word(&mut self, word: &str) {
        self.0.push('"');
        self.0.push_str(word);
        self.0.push('"');
    }

    /// Appends any string.
    pub(super) fn string(&mut self, text: &str) {
        // Folding instead of stopping at the first one lets the compiler look at many octets at once.
        let escaped = text.bytes().fold(false, |escaped, octet| {
            escaped | !(0x20..0x7f).contains(&octet) | (octet == b'"') | (octet == b'\\')
        });
        if escaped {
            self.escaped(text);
        } else {
            self.word(text);
        }
    }

    fn escaped(&mut self, text: &str) {
        // A string always has an encoded form.
        if let Ok(encoded) = serde_json::to_string(text) {
            self.safe(&encoded);
        }
    }

    /// Appends JSON and escapes what it allows and terminals do not: DEL, the C1 controls (U+009B starts an
    /// escape sequence on many terminals) and marks that reorder text. JSON's syntax has none of them, so each
    /// is inside a string.
    pub(super) fn safe(&mut self, encoded: &str) {
        for character in encoded.chars() {
            if is_unsafe(character) {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    // Writing to a String does not fail.
                    let _ = write!(self.0, "\\u{unit:04x}");
                }
            } else {
                self.0.push(character);
            }
        }
    }

    pub(super) fn number(&mut self, number: impl Into<u64>) {
        self.0
            .push_str(itoa::Buffer::new().format::<u64>(number.into()));
    }

    pub(super) fn flag(&mut self, flag: bool) {
        self.0.push_str(if flag { "true" } else { "false" });
    }

    pub(super) fn ip(&mut self, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) => {
                let [first, rest @ ..] = ip.octets();
                self.0.push('"');
                self.number(first);
                for octet in rest {
                    self.0.push('.');
                    self.number(octet);
                }
                self.0.push('"');
            }
            IpAddr::V6(ip) => {
                let _ = write!(self.0, "\"{ip}\"");
            }
        }
    }

    /// Appends a value, or null.
    pub(super) fn nullable<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => write(self, value),
            None => self.raw("null"),
        }
    }

    /// Appends an array.
    pub(super) fn array<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.0.push('[');
        for (number, item) in items.into_iter().enumerate() {
            if number > 0 {
                self.0.push(',');
            }
            write(self, item);
        }
        self.0.push(']');
    }

    /// Appends what serde_json makes of a value.
    pub(super) fn value(&mut self, value: &impl Serialize) -> serde_json::Result<()> {
        let encoded = serde_json::to_string(value)?;
        self.safe(&encoded);
        Ok(())
    }

    /// Appends the fields of a value to an object that has some.
    pub(super) fn fields(&mut self, value: &impl Serialize) -> serde_json::Result<()> {
        let encoded = serde_json::to_string(value)?;
        let fields = encoded.strip_prefix('{');
        if let Some(fields) = fields.and_then(|fields| fields.strip_suffix('}')) {
            self.0.push(',');
            self.safe(fields);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Line;

    /// What serde_json reads from a line.
    fn read<T: serde::de::DeserializeOwned>(write: impl FnOnce(&mut Line<'_>)) -> T {
        let mut text = String::new();
        write(&mut Line(&mut text));
        assert!(
            !text.contains(crate::model::printable::is_unsafe),
            "{text:?}"
        );
        serde_json::from_str(&text).expect("JSON")
    }

    #[test]
    fn strings_read_back_and_are_safe_on_a_terminal() {
        for text in [
            "",
            "web.shop.svc.cluster.local.",
            "a\"b\\c",
            "\u{1b}[31m\u{7f}\u{9b}",
            "\u{202e}ü\u{1f600}\u{e0041}",
            "\n\t\r\0",
        ] {
            assert_eq!(read::<String>(|line| line.string(text)), text);
        }
    }

    #[test]
    fn numbers_and_addresses_are_as_the_standard_library_prints_them() {
        for ip in [
            "0.0.0.0",
            "10.96.0.10",
            "255.255.255.255",
            "fd00::1",
            "::ffff:1.2.3.4",
        ] {
            let parsed = ip.parse().expect("an address");
            assert_eq!(read::<String>(|line| line.ip(parsed)), ip);
        }
        assert_eq!(read::<u64>(|line| line.number(u64::MAX)), u64::MAX);
        assert_eq!(
            read::<Vec<u64>>(|line| line.array([1_u8, 2], Line::number)),
            [1, 2]
        );
    }
}
