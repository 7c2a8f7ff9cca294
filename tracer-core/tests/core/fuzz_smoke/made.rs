//! Seeds made from packets of other programs: those of the decoder's vectors, in the form that each target
//! reads.
//!
//! libFuzzer starts from files, so they are committed, too. Write them again after the vectors grew or a
//! target's form changed: `TRACER_BLESS=1 cargo test -p tracer-core --all-features --test core
//! fuzz_smoke::made`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::{env, fs};

use super::attempt;
use super::targets::pipeline::steps;
use super::targets::{self, record, tcp_stream};

/// Header of IPv4 without options, and of UDP.
const HEADERS: usize = 20 + 8;

/// A packet or a message, and whether it went to the pod.
struct Packet {
    to_pod: bool,
    bytes: Vec<u8>,
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .collect();
    assert_eq!(digits.len(), text.len(), "hexadecimal: {text:?}");
    digits
        .chunks_exact(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8)
        .collect()
}

/// The cases of a file of vectors, each with its name and its packets in order.
fn cases(vectors: &str) -> Vec<(String, Vec<Packet>)> {
    let mut cases: Vec<(String, Vec<Packet>)> = Vec::new();
    for line in vectors.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (to_pod, hex) = match words[..] {
            ["case", ..] => {
                cases.push((file_name(&words[1..].join("-")), Vec::new()));
                continue;
            }
            ["query", hex] => (false, hex),
            ["response", hex] => (true, hex),
            ["packet", _, direction, _, hex] => (direction == "to", hex),
            _ => continue,
        };
        let bytes = unhex(hex);
        let (_, packets) = cases.last_mut().expect("a case before its packets");
        packets.push(Packet { to_pod, bytes });
    }
    cases
}

/// A name that every file system and shell accepts.
fn file_name(case: &str) -> String {
    let name: String = case
        .chars()
        .take(48)
        .map(|character| match character {
            'a'..='z' | '0'..='9' | '-' => character,
            'A'..='Z' => character.to_ascii_lowercase(),
            _ => '_',
        })
        .collect();
    name.trim_matches(['-', '_']).to_owned()
}

/// Target and file name, and content.
type Made = BTreeMap<(&'static str, String), Vec<u8>>;

fn made() -> Made {
    let mut made = Made::new();
    let exchanges = cases(include_str!("../../../src/decode/vectors/dns.txt"));
    let mut messages = cases(include_str!("../../../src/decode/vectors/content.txt"));
    messages.extend(exchanges.iter().map(|(case, packets)| {
        let message = |packet: &Packet| Packet {
            to_pod: packet.to_pod,
            bytes: packet.bytes[HEADERS..].to_vec(),
        };
        (case.clone(), packets.iter().map(message).collect())
    }));
    for (case, messages) in &messages {
        // Queries are much the same.
        for response in messages.iter().filter(|message| message.to_pod) {
            made.insert(("dns_message", case.clone()), response.bytes.clone());
        }
    }
    for (case, packets) in cases(include_str!("../../../src/decode/vectors/flows.txt")) {
        for (number, packet) in packets.iter().take(4).enumerate() {
            let switches = u8::from(packet.to_pod) * record::TO_POD;
            made.insert(
                ("record", format!("{case}-{number}")),
                [&[switches], &packet.bytes[..]].concat(),
            );
        }
        made.insert(("pipeline", case), in_the_lab(&packets));
    }
    for (case, packets) in exchanges.iter().take(8) {
        made.insert(("pipeline", case.clone()), in_the_lab(packets));
    }
    let several: Vec<Packet> = messages
        .into_iter()
        .take(8)
        .flat_map(|(_, messages)| messages)
        .collect();
    made.insert(("tcp_stream", "arbitrary".into()), segments(&several));
    made.insert(("tcp_stream", "honest".into()), parts());
    made
}

/// The packets at a pod's interface in the lab, a millisecond from one to the next.
fn in_the_lab(packets: &[Packet]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend([0, steps::CHANGE, steps::OBJECTS, 0, 0]);
    bytes.extend([0, steps::CHANGE, steps::POD, 0, 0]);
    for packet in packets.iter().take(12) {
        let length = u16::try_from(packet.bytes.len()).expect("a packet");
        bytes.extend([0x41, steps::RAW, 0]);
        bytes.extend(length.to_be_bytes());
        bytes.push(u8::from(packet.to_pod) * record::TO_POD);
        bytes.extend(&packet.bytes);
    }
    bytes
}

/// A connection with these messages, a segment for each.
fn segments(messages: &[Packet]) -> Vec<u8> {
    let mut bytes = vec![tcp_stream::ARBITRARY, 0];
    let mut sequence = 0x4000_u16;
    let mut segment = |kind: u8, payload: &[u8]| {
        bytes.extend([kind, 0]);
        bytes.extend(sequence.to_be_bytes());
        let length = u16::try_from(payload.len()).expect("a short message");
        bytes.extend(length.to_be_bytes());
        bytes.extend(payload);
        sequence += length.max(1);
    };
    segment(tcp_stream::SYN, &[]);
    for message in messages {
        let length = u16::try_from(message.bytes.len()).expect("a short message");
        segment(0, &[&length.to_be_bytes(), &message.bytes[..]].concat());
    }
    bytes
}

/// Three messages of 100, 200 and 300 bytes beside their headers; first whole, then again in parts.
fn parts() -> Vec<u8> {
    let mut bytes = vec![tcp_stream::HONEST];
    bytes.extend([0xff, 0xff, 0xff, 0x80, 2, 0, 100, 0, 200, 1, 44, 0]);
    for (start, length) in [
        (214_u16, 214_u16),
        (0, 150),
        (428, 314),
        (150, 64),
        (100, 500),
    ] {
        bytes.push(0);
        bytes.extend(start.to_be_bytes());
        bytes.extend(length.to_be_bytes());
    }
    bytes
}

#[test]
fn targets_hold_on_made_seeds() {
    let seeds = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let bless = env::var_os("TRACER_BLESS").is_some();
    for ((name, file), content) in made() {
        if bless {
            let path = seeds.join(name).join(&file);
            fs::write(path, &content).expect("the seed directories are there");
        }
        let (_, run) = targets::TARGETS
            .into_iter()
            .find(|(target, _)| *target == name)
            .expect("a target of this name");
        attempt(run, &content, &file);
    }
}
