//! What the tests of this stage share: records from bytes that others made.

use crate::model::flow::{Ifindex, Way};
use crate::model::record::Record;
use crate::model::time::Timestamp;

/// A record of a packet that the pod sent.
pub(super) fn from_pod(bytes: &[u8]) -> Record {
    let version = bytes.first().map_or(4, |byte| byte >> 4);
    Record {
        time: Timestamp(1),
        ifindex: Ifindex(7),
        way: Way::FromPod,
        ethertype: if version == 6 { 0x86dd } else { 0x0800 },
        wire_len: u32::try_from(bytes.len()).expect("a packet"),
        chunk_offset: 0,
        totals: None,
        bytes: bytes.to_vec(),
    }
}

/// A record of a packet that was sent to the pod.
pub(super) fn to_pod(bytes: &[u8]) -> Record {
    Record {
        way: Way::ToPod,
        ..from_pod(bytes)
    }
}

/// Bytes from hexadecimal.
pub(super) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    assert_eq!(digits.len() % 2, 0, "whole bytes in {text:?}");
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// One exchange of `vectors/dns.txt`.
pub(super) struct Vector {
    pub(super) case: &'static str,
    pub(super) query: Vec<u8>,
    pub(super) response: Vec<u8>,
    pub(super) status: &'static str,
    pub(super) flags: Vec<&'static str>,
    pub(super) answers: Vec<&'static str>,
    pub(super) authorities: Vec<&'static str>,
}

/// What dig and named exchanged, and what dig printed.
pub(super) fn vectors() -> Vec<Vector> {
    include_str!("vectors/dns.txt")
        .split("\n\n")
        .filter(|block| !block.starts_with('#'))
        .map(|block| {
            let mut vector = Vector {
                case: "",
                query: Vec::new(),
                response: Vec::new(),
                status: "",
                flags: Vec::new(),
                answers: Vec::new(),
                authorities: Vec::new(),
            };
            for line in block.lines() {
                let (key, value) = line.split_once(' ').expect("a key and a value");
                match key {
                    "case" => vector.case = value,
                    "query" => vector.query = unhex(value),
                    "response" => vector.response = unhex(value),
                    "status" => vector.status = value,
                    "flags" => vector.flags = value.split(' ').collect(),
                    "answer" => vector.answers.push(value),
                    "authority" => vector.authorities.push(value),
                    other => panic!("unknown key {other}"),
                }
            }
            vector
        })
        .collect()
}
