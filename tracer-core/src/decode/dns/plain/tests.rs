//! hickory-proto is the reference: what is read here is what it reads.

use crate::decode::dns::names::Names;
use crate::decode::dns::{content_tests, reference};
use crate::decode::robustness::{Random, mangled};
use crate::decode::testing::vectors;
use crate::model::dns::Message;

/// DNS messages without their network headers.
fn messages() -> Vec<Vec<u8>> {
    // IPv4 without options, and UDP.
    const HEADERS: usize = 28;
    let packets = vectors()
        .into_iter()
        .flat_map(|vector| [vector.query, vector.response])
        .map(|packet| packet[HEADERS..].to_vec());
    packets.chain(content_tests::messages()).collect()
}

/// As a decoder does, but without earlier names.
fn read(bytes: &[u8]) -> Option<Message> {
    super::read(bytes, &mut Names::default())
}

/// Reads a message both ways; whether it is plain.
fn agrees(bytes: &[u8]) -> bool {
    let Some(plain) = read(bytes) else {
        return false;
    };
    let cut = bytes.len().is_multiple_of(2);
    assert_eq!(Some(plain), reference(bytes, cut), "{bytes:02x?}");
    true
}

#[test]
fn a_plain_message_is_what_hickory_reads() {
    let messages = messages();
    let plain = messages.iter().filter(|bytes| agrees(bytes)).count();
    // The others have names that are escaped, other operations or faults.
    assert!(
        plain * 10 > messages.len() * 8,
        "{plain} of {}",
        messages.len()
    );
}

#[test]
fn a_mangled_message_is_plain_only_if_hickory_reads_the_same() {
    let (mut random, seeds) = (Random(0x0dd_5eed), messages());
    let mut names = Names::remembering();
    let mut plain = 0;
    for _ in 0..200_000 {
        let bytes = mangled(&mut random, &seeds);
        plain += usize::from(agrees(&bytes));
        assert_eq!(
            super::read(&bytes, &mut names),
            read(&bytes),
            "earlier names"
        );
    }
    assert!(plain > 20_000, "{plain}");
}

#[test]
fn a_message_with_every_octet_changed_to_a_pointer_is_plain_only_if_hickory_reads_the_same() {
    for message in messages() {
        for at in 12..message.len().saturating_sub(1) {
            for target in [0, 12, 13, at.saturating_sub(1), at, at + 1] {
                let mut changed = message.clone();
                changed[at] = 0xc0;
                changed[at + 1] = target as u8;
                agrees(&changed);
            }
        }
    }
}

/// A query, and a record with this owner and this data.
fn with_record(owner: &[u8], rtype: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 1, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    bytes.extend(b"\x03web\x04test\0\0\x01\0\x01");
    bytes.extend(owner);
    bytes.extend(rtype.to_be_bytes());
    bytes.extend([0, 1, 0, 0, 0, 60]);
    bytes.extend((data.len() as u16).to_be_bytes());
    bytes.extend(data);
    bytes
}

fn is_plain(bytes: &[u8]) -> bool {
    let plain: Option<Message> = read(bytes);
    if plain.is_some() {
        assert!(agrees(bytes));
    }
    plain.is_some()
}

#[test]
fn common_answers_are_plain() {
    let owner = b"\xc0\x0c";
    for (rtype, data) in [
        (1, &[10, 0, 0, 1][..]),
        (28, &[0xfd; 16]),
        (5, b"\x01a\xc0\x10"),
        (
            6,
            b"\xc0\x10\x01h\xc0\x0c\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\xff\xff\xff\xff",
        ),
        (12, b"\0"),
        (16, b"\x03\x07\"x"),
    ] {
        assert!(is_plain(&with_record(owner, rtype, data)), "type {rtype}");
    }
}

#[test]
fn what_is_malformed_or_escaped_is_not_plain() {
    for (owner, rtype, data) in [
        // A pointer to itself and forward, and one to itself in the data.
        (&b"\xc0\x1a"[..], 1, &[10, 0, 0, 1][..]),
        (b"\xc0\x1c", 1, &[10, 0, 0, 1]),
        (b"\xc0\x0c", 5, b"\xc0\x26"),
        // Labels of a reserved kind, with an octet that is escaped, and longer than the message.
        (b"\x80a\0", 1, &[10, 0, 0, 1]),
        (b"\x01\x1b\0", 1, &[10, 0, 0, 1]),
        (b"\x03a.b\0", 1, &[10, 0, 0, 1]),
        (b"\xc0\x0c", 5, b"\x3fa"),
        // Data of another length.
        (b"\xc0\x0c", 1, &[10, 0, 0]),
        (b"\xc0\x0c", 28, &[0; 17]),
        (b"\xc0\x0c", 5, b"\x01a\0\0"),
        (b"\xc0\x0c", 6, b"\0\0\0\0\0\x01"),
        (b"\xc0\x0c", 1, b""),
    ] {
        assert!(
            !is_plain(&with_record(owner, rtype, data)),
            "{owner:02x?} {data:02x?}"
        );
    }
}
