//! Record to observation: one packet of arbitrary bytes.
//!
//! Input: a byte of switches (see [`record`]), what they ask for, then the packet from the network header on.

use std::net::IpAddr;

use tracer_core::decode::Decoder;
use tracer_core::model::dns::Message;
use tracer_core::model::flow::{Direction, FlowTotals, Ifindex, Traffic};
use tracer_core::model::loss::Missing;
use tracer_core::model::observation::{Observation, What};
use tracer_core::model::record::Record;
use tracer_core::model::time::Timestamp;

use super::safe;
use super::source::{Source, direction};

/// The packet went to the pod.
pub const TO_POD: u8 = 1;
/// The EtherType follows; else it follows from the packet's version.
const ETHERTYPE: u8 = 1 << 1;
/// The chunk's offset follows; else it is 0.
const CHUNK: u8 = 1 << 2;
/// The flow's counters follow; else they are not known.
pub const TOTALS: u8 = 1 << 3;
/// How many bytes those are.
pub const TOTALS_BYTES: usize = 12;
/// The number of bytes that were not captured follows; else there were none.
const LONGER: u8 = 1 << 4;

/// A record: switches and what they ask for from `source`, then `bytes` of them, or all, as the packet.
pub fn record(time: Timestamp, ifindex: Ifindex, source: &mut Source<'_>, bytes: usize) -> Record {
    let switches = source.byte();
    let ethertype = (switches & ETHERTYPE != 0).then(|| source.u16());
    let chunk_offset = match switches & CHUNK {
        0 => 0,
        _ => u32::from(source.u16()),
    };
    let mut traffic = || Traffic {
        packets: source.u16().into(),
        bytes: source.u32().into(),
    };
    let totals = (switches & TOTALS != 0).then(|| FlowTotals {
        tx: traffic(),
        rx: traffic(),
        retransmits: None,
    });
    let longer = match switches & LONGER {
        0 => 0,
        _ => u32::from(source.u16()),
    };
    let bytes = source.bytes(bytes).to_vec();
    let of_version = match bytes.first().map(|first| first >> 4) {
        Some(6) => 0x86dd,
        _ => 0x0800,
    };
    Record {
        time,
        ifindex,
        direction: direction(switches & TO_POD != 0),
        ethertype: ethertype.unwrap_or(of_version),
        wire_len: longer + u32::try_from(bytes.len()).expect("a fuzzer's input is short"),
        chunk_offset,
        totals,
        missing: Missing::default(),
        sender_cgroup: 0,
        sender_process: None,
        bytes,
    }
}

/// The target.
pub fn run(data: &[u8]) {
    let record = record(Timestamp(1), Ifindex(7), &mut Source::new(data), usize::MAX);
    let decode = || Decoder::new(vec![53]).decode(&record);
    let decoded = decode();
    assert_eq!(decoded, decode(), "the same record, another observation");
    if let Ok(observation) = decoded {
        check(&record, &observation);
    }
}

fn check(record: &Record, observation: &Observation) {
    assert_eq!(observation.time, record.time);
    assert_eq!(observation.flow.ifindex, record.ifindex);
    assert_eq!(observation.totals, record.totals);
    let (src, dst) = addresses(&record.bytes);
    let (pod, peer) = match record.direction {
        Direction::FromPod => (src, dst),
        Direction::ToPod => (dst, src),
    };
    assert_eq!(observation.flow.pod.ip(), pod);
    assert_eq!(observation.flow.peer.ip(), peer);
    match &observation.what {
        What::Dns(message) => check_message(message),
        What::Tcp(segment) => {
            assert!(segment.payload.len() <= record.bytes.len());
            assert!(segment.dns || segment.payload.is_empty());
        }
        What::Echo(_) | What::IcmpError(_) | What::Other => {}
    }
}

/// Source and destination where RFC 791 and RFC 8200 have them.
fn addresses(packet: &[u8]) -> (IpAddr, IpAddr) {
    fn address<const N: usize>(packet: &[u8], at: usize) -> [u8; N] {
        packet[at..at + N].try_into().expect("of that length")
    }
    if packet[0] >> 4 == 4 {
        (
            address::<4>(packet, 12).into(),
            address::<4>(packet, 16).into(),
        )
    } else {
        (
            address::<16>(packet, 8).into(),
            address::<16>(packet, 24).into(),
        )
    }
}

/// The promises about every message: all of it can be printed, and its size is bounded.
pub fn check_message(message: &Message) {
    if let Some(question) = &message.question {
        check_name(question.name.as_str());
    }
    let records = || message.answers.iter().chain(&message.authorities);
    for record in records() {
        check_name(record.name.as_str());
        safe::assert_ascii(&record.data);
    }
    if let Some(fault) = &message.fault {
        safe::assert_ascii(&fault.to_string());
    }
    if let Some(edns) = &message.edns {
        let texts = [&edns.nsid, &edns.cookie, &edns.client_subnet];
        texts
            .into_iter()
            .flatten()
            .for_each(|text| safe::assert_ascii(text));
        edns.errors
            .iter()
            .for_each(|error| safe::assert_ascii(&error.text));
        edns.others
            .iter()
            .for_each(|option| safe::assert_ascii(&option.data));
        assert!(
            edns.errors.len() + edns.others.len() <= 32,
            "more options than are ever read"
        );
    }
    assert!(records().count() <= 512, "more records than are ever read");
    assert!(message.answers.len() <= usize::from(message.answer_count));
}

fn check_name(name: &str) {
    safe::assert_ascii(name);
    assert!(name.ends_with('.'), "not absolute: {name:?}");
    assert!(
        !name.bytes().any(|byte| byte.is_ascii_uppercase()),
        "not in lower case: {name:?}"
    );
    // 255 bytes on the wire (RFC 1035 section 2.3.4), at most four characters for each.
    assert!(name.len() <= 4 * 255, "longer than a name can be: {name:?}");
}
