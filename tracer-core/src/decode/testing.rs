//! Shared by the tests of this stage and the next: records from bytes made by other programs.

use crate::model::flow::{Direction, Ifindex};
use crate::model::loss::Missing;
use crate::model::record::Record;
use crate::model::time::Timestamp;

/// A record of a packet sent by the pod.
pub(crate) fn from_pod(bytes: &[u8]) -> Record {
    let version = bytes.first().map_or(4, |byte| byte >> 4);
    Record {
        time: Timestamp(1),
        ifindex: Ifindex(7),
        direction: Direction::FromPod,
        ethertype: if version == 6 { 0x86dd } else { 0x0800 },
        wire_len: u32::try_from(bytes.len()).expect("a packet"),
        chunk_offset: 0,
        totals: None,
        missing: Missing::default(),
        sender_cgroup: 0,
        sender_process: None,
        bytes: bytes.to_vec(),
    }
}

/// A record of a packet sent to the pod.
pub(crate) fn to_pod(bytes: &[u8]) -> Record {
    Record {
        direction: Direction::ToPod,
        ..from_pod(bytes)
    }
}

/// Bytes from hexadecimal.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
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
pub(crate) struct Vector {
    pub(crate) case: &'static str,
    pub(crate) query: Vec<u8>,
    pub(crate) response: Vec<u8>,
    pub(crate) status: &'static str,
    pub(crate) flags: Vec<&'static str>,
    pub(crate) answers: Vec<&'static str>,
    pub(crate) authorities: Vec<&'static str>,
}

/// Exchanges between dig and named, with dig's output.
pub(crate) fn vectors() -> Vec<Vector> {
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

/// One captured packet of `vectors/flows.txt`, and tshark's reading of it.
pub(crate) struct Captured {
    pub(crate) record: Record,
    pub(crate) tshark: &'static str,
}

/// One run of a program: its packets and its output.
pub(crate) struct Capture {
    pub(crate) case: &'static str,
    pub(crate) packets: Vec<Captured>,
    pub(crate) output: Vec<&'static str>,
}

/// Packets of common programs.
pub(crate) fn captures() -> Vec<Capture> {
    include_str!("vectors/flows.txt")
        .split("\n\n")
        .filter(|block| !block.starts_with('#'))
        .map(|block| {
            let mut capture = Capture {
                case: "",
                packets: Vec::new(),
                output: Vec::new(),
            };
            for line in block.lines() {
                let (key, value) = line.split_once(' ').expect("a key and a value");
                match key {
                    "case" => capture.case = value,
                    "command" => {}
                    "packet" => capture.packets.push(Captured {
                        record: captured(value),
                        tshark: "",
                    }),
                    "tshark" => capture.packets.last_mut().expect("a packet before").tshark = value,
                    "said" => capture.output.push(value),
                    other => panic!("unknown key {other}"),
                }
            }
            capture
        })
        .collect()
}

/// The capture with this name.
pub(crate) fn capture(case: &str) -> Capture {
    captures()
        .into_iter()
        .find(|capture| capture.case == case)
        .expect("in the file")
}

/// Reads time, direction, length and bytes.
fn captured(packet: &str) -> Record {
    let fields: Vec<&str> = packet.split(' ').collect();
    let [time, direction, wire_len, bytes] = fields[..] else {
        panic!("four fields in {packet}")
    };
    Record {
        time: Timestamp(time.parse().expect("nanoseconds")),
        direction: if direction == "from" {
            Direction::FromPod
        } else {
            Direction::ToPod
        },
        wire_len: wire_len.parse().expect("a length"),
        ..from_pod(&unhex(bytes))
    }
}
