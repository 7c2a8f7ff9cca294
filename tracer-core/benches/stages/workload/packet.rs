//! The bytes of DNS messages over UDP and IPv4, as dnsperf and NSD write them: no EDNS, compressed owner names.

use std::net::Ipv4Addr;

/// A pointer to the question's name.
const QUESTION: [u8; 2] = [0xc0, 12];
const TYPE_A: u16 = 1;
const TYPE_SOA: u16 = 6;
const CLASS_IN: u16 = 1;

/// What the server answers.
#[derive(Clone, Copy)]
pub enum Answer {
    Address,
    NoData,
    NxDomain,
}

pub fn query(id: u16, name: &str) -> Vec<u8> {
    let mut message = header(id, 0x0100, [1, 0, 0, 0]);
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.bytes());
    }
    message.push(0);
    put(&mut message, &[TYPE_A, CLASS_IN]);
    message
}

pub fn response(query: &[u8], answer: Answer) -> Vec<u8> {
    let id = u16::from_be_bytes([query[0], query[1]]);
    let (flags, counts) = match answer {
        Answer::Address => (0x8580, [1, 1, 0, 0]),
        Answer::NoData => (0x8580, [1, 0, 1, 0]),
        Answer::NxDomain => (0x8583, [1, 0, 1, 0]),
    };
    let mut message = header(id, flags, counts);
    message.extend_from_slice(&query[12..]);
    match answer {
        Answer::Address => {
            message.extend(QUESTION);
            put(&mut message, &[TYPE_A, CLASS_IN, 0, 300, 4]);
            message.extend([10, 96, 1, 1]);
        }
        Answer::NoData | Answer::NxDomain => {
            // The zone is the name without its first label.
            let zone = 12 + 1 + u16::from(query[12]);
            put(&mut message, &[0xc000 | zone, TYPE_SOA, CLASS_IN, 0, 300]);
            let names: &[u8] = b"\x02ns\xc0\x00\x05admin\xc0\x00";
            put(&mut message, &[names.len() as u16 + 20]);
            let start = message.len();
            message.extend_from_slice(names);
            for pointer in [start + 3, start + 11] {
                message[pointer..pointer + 2].copy_from_slice(&(0xc000 | zone).to_be_bytes());
            }
            for field in [2_026_010_101_u32, 3_600, 900, 604_800, 300] {
                message.extend(field.to_be_bytes());
            }
        }
    }
    message
}

pub fn udp(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u16 + 8;
    let mut bytes = vec![0x45, 0];
    put(&mut bytes, &[length + 20, 1, 0, 64 << 8 | 17, 0]);
    bytes.extend(from.0.octets());
    bytes.extend(to.0.octets());
    put(&mut bytes, &[from.1, to.1, length, 0]);
    bytes.extend_from_slice(payload);
    bytes
}

fn header(id: u16, flags: u16, counts: [u16; 4]) -> Vec<u8> {
    let mut message = Vec::with_capacity(256);
    put(&mut message, &[id, flags]);
    put(&mut message, &counts);
    message
}

fn put(bytes: &mut Vec<u8>, fields: &[u16]) {
    bytes.extend(fields.iter().flat_map(|field| field.to_be_bytes()));
}
