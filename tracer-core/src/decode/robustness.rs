//! Decoding never panics on any bytes, and its output is safe to print.

use super::Decoder;
use super::testing::{captures, vectors};
use crate::model::dns::Message;
use crate::model::flow::{Direction, Ifindex};
use crate::model::loss::Missing;
use crate::model::observation::What;
use crate::model::record::Record;
use crate::model::time::Timestamp;

/// Marsaglia's xorshift64: the same bytes in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// Packets made by other programs, in both directions.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for vector in vectors() {
        seeds.push(vector.query);
        seeds.push(vector.response);
    }
    seeds.extend(
        captures()
            .into_iter()
            .flat_map(|capture| capture.packets)
            .map(|packet| packet.record.bytes),
    );
    seeds
}

/// A packet with some bytes changed, cut off or doubled.
pub(crate) fn mangled(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..random.below(6) {
        let at = random.below(bytes.len());
        match random.below(8) {
            0 => bytes.truncate(at),
            1 => bytes.extend_from_within(at..),
            2 if !bytes.is_empty() => bytes[at] = 0xc0,
            3 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            _ if !bytes.is_empty() => bytes[at] = random.next() as u8,
            _ => {}
        }
    }
    bytes
}

fn check(record: &Record) {
    let Ok(observation) = Decoder::new(vec![53]).decode(record) else {
        return;
    };
    let What::Dns(message) = observation.what else {
        return;
    };
    assert_printable(&message);
}

/// Asserts that a message's text is printable ASCII.
pub(crate) fn assert_printable(message: &Message) {
    let safe = |text: &str| {
        assert!(
            text.bytes().all(|byte| (0x20..0x7f).contains(&byte)),
            "{text:?}"
        );
    };
    if let Some(question) = &message.question {
        safe(question.name.as_str());
    }
    for record in message.answers.iter().chain(&message.authorities) {
        safe(record.name.as_str());
        safe(&record.data);
    }
    if let Some(edns) = &message.edns {
        let texts = [&edns.nsid, &edns.cookie, &edns.client_subnet];
        texts.into_iter().flatten().for_each(|text| safe(text));
        edns.errors.iter().for_each(|error| safe(&error.text));
        edns.others.iter().for_each(|option| safe(&option.data));
    }
    if let Some(fault) = &message.fault {
        safe(&fault.to_string());
    }
}

fn record(random: &mut Random, bytes: Vec<u8>) -> Record {
    Record {
        time: Timestamp(0),
        ifindex: Ifindex(1),
        direction: if random.below(2) == 0 {
            Direction::FromPod
        } else {
            Direction::ToPod
        },
        ethertype: if bytes.first().is_some_and(|first| first >> 4 == 6) {
            0x86dd
        } else {
            0x0800
        },
        wire_len: bytes.len() as u32,
        chunk_offset: 0,
        missing: Missing::default(),
        totals: None,
        sender_cgroup: 0,
        sender_process: None,
        bytes,
    }
}

#[test]
fn mangled_packets_decode_without_panic_to_printable_text() {
    let mut random = Random(0x5eed);
    let seeds = seeds();
    for _ in 0..60_000 {
        let bytes = mangled(&mut random, &seeds);
        check(&record(&mut random, bytes));
    }
}

#[test]
fn random_bytes_after_valid_headers_decode_without_panic() {
    let mut random = Random(0xdecade);
    let seeds = seeds();
    for _ in 0..20_000 {
        let mut bytes = seeds[random.below(seeds.len())].clone();
        let keep = 20 + random.below(28);
        for byte in bytes.iter_mut().skip(keep) {
            *byte = random.next() as u8;
        }
        check(&record(&mut random, bytes));
    }
}

#[test]
fn every_cut_of_every_packet_decodes_without_panic() {
    let mut random = Random(1);
    for seed in seeds() {
        for end in 0..seed.len() {
            check(&record(&mut random, seed[..end].to_vec()));
        }
    }
}
