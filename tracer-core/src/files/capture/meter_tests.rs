//! The meter at its limit. `sides_tests` compares its sums with tshark's.

use std::time::Duration;

use super::Meter;
use super::testing::udp;
use crate::model::flow::{Direction, Ifindex, Traffic};
use crate::model::loss::Missing;
use crate::model::record::Record;
use crate::model::time::Timestamp;

fn record(seconds: u64, port: u16) -> Record {
    let bytes = udp(("10.0.0.1", port), ("10.0.0.2", 9), b"x");
    Record {
        time: Timestamp(seconds * 1_000_000_000),
        ifindex: Ifindex(3),
        direction: Direction::FromPod,
        ethertype: 0x0800,
        wire_len: 29,
        chunk_offset: 0,
        totals: None,
        missing: Missing::default(),
        sender_cgroup: 0,
        sender_process: None,
        bytes,
    }
}

fn sent(meter: &mut Meter, seconds: u64, port: u16) -> Option<Traffic> {
    let mut record = record(seconds, port);
    meter.count(&mut record);
    record.totals.map(|totals| totals.tx)
}

fn traffic(packets: u64) -> Option<Traffic> {
    Some(Traffic {
        packets,
        bytes: 29 * packets,
    })
}

#[test]
fn a_flow_without_room_has_no_totals_rather_than_wrong_ones() {
    let mut meter = Meter::new(2, Duration::from_secs(300));
    assert_eq!(sent(&mut meter, 0, 1), traffic(1));
    assert_eq!(sent(&mut meter, 1, 2), traffic(1));
    assert_eq!(sent(&mut meter, 2, 3), None);
    assert_eq!(sent(&mut meter, 3, 3), None);
    assert_eq!(sent(&mut meter, 4, 1), traffic(2));
    assert_eq!(meter.losses().total(), 2);
}

#[test]
fn a_flow_with_a_long_silence_makes_room() {
    let mut meter = Meter::new(2, Duration::from_secs(300));
    sent(&mut meter, 0, 1);
    sent(&mut meter, 1, 2);
    sent(&mut meter, 200, 1);
    assert_eq!(sent(&mut meter, 301, 3), traffic(1));
    assert_eq!(meter.expired(), 1);
    // The second flow was dropped.
    assert_eq!(sent(&mut meter, 302, 1), traffic(3));
    assert_eq!(sent(&mut meter, 303, 2), None);
}

#[test]
fn each_interface_counts_a_flow_separately() {
    let mut meter = Meter::new(9, Duration::from_secs(300));
    let mut sender = record(0, 1);
    let mut receiver = Record {
        ifindex: Ifindex(4),
        direction: Direction::ToPod,
        ..record(0, 1)
    };
    meter.count(&mut sender);
    meter.count(&mut receiver);
    let (sender, receiver) = (sender.totals.expect("room"), receiver.totals.expect("room"));
    assert_eq!(Some(sender.tx), traffic(1));
    assert_eq!(Some(receiver.rx), traffic(1));
    assert_eq!(receiver.tx, Traffic::default());
}
