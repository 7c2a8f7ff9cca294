//! A capture file of arbitrary bytes: read, put in order, made records, decoded.
//!
//! Input: the bytes of the file, pcap or pcapng, gzipped or not.

use std::error::Error;
use std::io::Cursor;
use std::iter::successors;
use std::net::IpAddr;

use tracer_core::decode::Decoder;
use tracer_core::files::capture::{Reader, Replay, ReplaySettings, UNREADABLE_SIGNAL, Writer};
use tracer_core::model::loss::Stage;
use tracer_core::model::signal::Signal;
use tracer_core::model::time::Timestamp;

use super::safe;

/// The longest packet, whatever the block's header claims.
const MAX_PACKET_BYTES: usize = 4 << 20;
/// The least size in a file of a packet, or of a block with an error.
const MIN_BLOCK_BYTES: usize = 12;
/// Gzip compresses a thousandfold: more packets than this only take time.
const MAX_PACKETS: usize = 20_000;

/// The target.
pub fn run(data: &[u8]) {
    // Few, so that they overflow.
    let settings = ReplaySettings {
        flows: 8,
        ..ReplaySettings::default()
    };
    let reader = Reader::new("fuzz", Cursor::new(data.to_vec()));
    let mut replay = Replay::new(reader, &settings);
    let mut decoder = Decoder::new(settings.dns_ports);
    let packed = data.starts_with(&[0x1f, 0x8b]);
    let (mut packets, mut errors) = (0, 0);
    let mut signals = 0;
    let mut records = Vec::new();
    loop {
        records.clear();
        match replay.step(is_pod, &mut records) {
            Ok(true) => packets += 1,
            Ok(false) => break,
            Err(error) => {
                errors += 1;
                safe::assert_terminal(&error.to_string());
                let causes = successors(error.source(), |&cause| cause.source());
                causes.for_each(|cause| safe::assert_terminal(&cause.to_string()));
            }
        }
        assert!(
            records.len() <= 2,
            "a packet is seen at two pods at the most"
        );
        if let Some(record) = records.first() {
            let due = replay.signals(Some(record.time));
            assert!(due.iter().all(|(at, _)| *at <= record.time));
            assert!(due.is_sorted_by_key(|(at, _)| *at));
            due.iter().for_each(check);
            signals += due.len();
        }
        for record in &records {
            assert!(record.bytes.len() <= MAX_PACKET_BYTES);
            let _ = decoder.decode(record);
        }
        if packed && packets + errors > MAX_PACKETS {
            return;
        }
        assert!(
            packed || (packets + errors) * MIN_BLOCK_BYTES <= data.len() + MIN_BLOCK_BYTES,
            "more packets than there is room for"
        );
    }
    let rest = replay.signals(None);
    rest.iter().for_each(check);
    signals += rest.len();
    assert!(
        packed || signals * MIN_BLOCK_BYTES <= data.len(),
        "more signals than there is room for"
    );
    let (stats, _) = replay.stats();
    let losses = replay.losses();
    let unreadable: u64 = losses
        .iter()
        .filter(|loss| loss.stage == Stage::Decode && loss.reason != UNREADABLE_SIGNAL)
        .map(|loss| loss.count)
        .sum();
    // The fragments of one packet are one packet here.
    let reported = packets as u64 + stats.not_ip + unreadable;
    assert!(
        reported == stats.packets || reported < stats.packets && replay.reassembled() > 0,
        "every packet of the file is reported or counted: {packets} of {stats:?}, {losses:?}"
    );
    assert!(!replay.has_waiting(), "nothing follows, so nothing waits");
}

/// What is read of a signal reaches terminals, and is read again as it was.
fn check((at, signal): &(Timestamp, Signal)) {
    if let Signal::Dropped(dropped) = signal {
        safe::assert_terminal(dropped.reason);
        let names = [&dropped.function, &dropped.device];
        let names = names.into_iter().flatten();
        names.for_each(|name| safe::assert_terminal(name));
    }
    let mut writer = Writer::new("fuzz", Vec::new());
    writer.signal(*at, signal).expect("memory");
    let (bytes, ..) = writer.finish();
    let mut reader = Reader::new("fuzz", Cursor::new(bytes));
    assert!(reader.next().is_none(), "there is no packet");
    assert_eq!(reader.take_signals(), [(*at, signal.clone())]);
}

/// Some are, some are not.
fn is_pod(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[3] % 2 == 1,
        IpAddr::V6(address) => address.octets()[15] % 2 == 1,
    }
}
