//! Text that is safe to print, wherever untrusted bytes reach a terminal, a log or a scrape.
//!
//! Packets, inventory files and API servers all supply names. A control character in one can rewrite a terminal or
//! break a line of output; a bidirectional mark can make it read as another name. Wire bytes are escaped once, where
//! they are decoded ([`ascii`], [`quoted`], [`push_label`]); text from elsewhere is escaped where it is shown
//! ([`safe`], [`replaced`]).

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character must not reach a terminal: C0 and C1 controls, DEL, and Unicode's marks for direction, joining
/// and invisible space.
pub fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Whether a text is printable ASCII alone, as nearly all are.
pub fn is_plain(text: &str) -> bool {
    // Without an early end the compiler compares many octets at once.
    text.bytes()
        .fold(true, |plain, octet| plain & (0x20..=0x7e).contains(&octet))
}

/// Text with every unsafe character escaped as `\u{..}`.
pub fn safe(text: &str) -> Cow<'_, str> {
    if is_plain(text) || !text.contains(is_unsafe) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unsafe(character) {
            escaped.extend(character.escape_unicode());
        } else {
            escaped.push(character);
        }
    }
    escaped.into()
}

/// As [`safe`], but line feeds stay.
pub fn safe_lines(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(safe).collect();
    lines.join("\n")
}

/// As [`safe`], cut to at most `limit` characters of output.
pub fn safe_prefix(text: &str, limit: usize) -> String {
    safe(text).chars().take(limit).collect()
}

/// A parser's message in which words that are longer than names in a configuration are cut. A parser quotes what it
/// does not expect, and the file can be another one than the user thinks: one that contains a token.
pub fn without_long_words(message: &str) -> String {
    const LONGEST: usize = 64;
    const KEPT: usize = 8;
    let cut = |word: &str| match word.chars().count() > LONGEST {
        true => word.chars().take(KEPT).chain(['…']).collect(),
        false => word.to_owned(),
    };
    let words: Vec<String> = message.split(' ').map(cut).collect();
    words.join(" ")
}

/// Text with every unsafe character replaced by U+FFFD, for formats in which an escape would be read literally.
pub fn replaced(text: &str) -> Cow<'_, str> {
    if !is_plain(text) && text.contains(is_unsafe) {
        Cow::Owned(text.replace(is_unsafe, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Wire bytes as printable ASCII; every other byte becomes `\DDD` (RFC 1035 section 5.1).
pub fn ascii(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        push_byte(&mut out, byte);
    }
    out
}

/// A character string in quotes (RFC 1035 section 5.1).
pub fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for &byte in bytes {
        if matches!(byte, b'"' | b'\\') {
            out.push('\\');
        }
        push_byte(&mut out, byte);
    }
    out.push('"');
    out
}

/// Appends a domain name's label in lower case (RFC 4343), without its dot. Escapes the characters that mean something
/// in a zone file, the same set as BIND.
pub fn push_label(out: &mut String, label: &[u8]) {
    for &byte in label {
        match byte {
            b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            0x21..=0x7e => out.push(char::from(byte.to_ascii_lowercase())),
            _ => push_decimal(out, byte),
        }
    }
}

fn push_byte(out: &mut String, byte: u8) {
    match byte {
        0x20..=0x7e => out.push(char::from(byte)),
        _ => push_decimal(out, byte),
    }
}

fn push_decimal(out: &mut String, byte: u8) {
    // Writing to a String cannot fail.
    let _ = write!(out, "\\{byte:03}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_and_bidirectional_marks_are_escaped() {
        assert_eq!(safe("shop/web"), "shop/web");
        assert_eq!(safe("a\u{1b}[31m\u{202e}b"), "a\\u{1b}[31m\\u{202e}b");
        assert_eq!(safe_lines("a\r\nb\u{7}"), "a\\u{d}\nb\\u{7}");
        assert_eq!(safe_prefix("ab\ncd", 5), "ab\\u{");
        assert_eq!(replaced("a\r\u{200b}b"), "a\u{fffd}\u{fffd}b");
    }

    #[test]
    fn plain_text_is_printable_ascii() {
        assert!(is_plain("") && is_plain(" a~"));
        for text in ["a\u{1f}", "\u{7f}", "é", "a\u{202e}"] {
            assert!(!is_plain(text), "{text:?}");
        }
    }

    #[test]
    fn wire_bytes_become_presentation_format() {
        assert_eq!(ascii(b"a\xff \"b"), "a\\255 \"b");
        assert_eq!(quoted(b"a\"\\\n"), "\"a\\\"\\\\\\010\"");
        let mut label = String::new();
        push_label(&mut label, b"WeB.a \x00");
        assert_eq!(label, "web\\.a\\032\\000");
    }
}
