use super::{Doubt, Sockets, passes};
use crate::model::flow::{Direction, Flow, Ifindex, Protocol};
use crate::model::loss::{InterfaceLoss, Missing, Thinning};
use crate::model::record::Record;
use crate::model::time::Timestamp;

const POD: Ifindex = Ifindex(7);
const OTHER: Ifindex = Ifindex(8);

fn ms(milliseconds: u64) -> Timestamp {
    Timestamp(milliseconds * 1_000_000)
}

fn record(milliseconds: u64, ifindex: Ifindex, count: u16, thinning: u8) -> Record {
    Record {
        time: ms(milliseconds),
        ifindex,
        direction: Direction::FromPod,
        ethertype: 0x0800,
        wire_len: 0,
        chunk_offset: 0,
        totals: None,
        missing: Missing {
            count,
            thinning: Thinning(thinning),
        },
        sender_cgroup: 0,
        sender_process: None,
        bytes: Vec::new(),
    }
}

fn doubt(records: &[Record]) -> Doubt {
    let mut doubt = Doubt::default();
    for record in records {
        doubt.record(record);
    }
    doubt
}

/// The first flows by port that pass exactly this level.
fn flow(level: u8) -> Flow {
    (1..)
        .map(|port| Flow {
            ifindex: POD,
            protocol: Protocol::Udp,
            pod: ([10, 0, 0, 1], port).into(),
            peer: ([10, 96, 0, 10], 53).into(),
        })
        .find(|flow| passes(flow) == Thinning(level))
        .expect("one port in 2^(level + 1)")
}

fn any(doubt: &Doubt, milliseconds: u64) -> bool {
    doubt.since(ms(milliseconds), POD, Sockets::Any)
}

#[test]
fn nothing_is_in_doubt_while_the_count_stays() {
    let doubt = doubt(&[record(0, POD, 0, 0), record(500, POD, 0, 3)]);
    assert!(!any(&doubt, 0));
}

#[test]
fn a_changed_count_means_a_loss_between_two_records() {
    let doubt = doubt(&[
        record(0, OTHER, 3, 0),
        record(0, POD, 0, 0),
        record(500, POD, 2, 0),
        record(900, POD, 2, 0),
    ]);
    assert!(any(&doubt, 0) && any(&doubt, 500));
    assert!(!any(&doubt, 501));
    assert!(!doubt.since(ms(1), OTHER, Sockets::Any));
}

#[test]
fn the_count_wraps_around() {
    let doubt = doubt(&[
        record(0, POD, u16::MAX, 0),
        record(2_000, POD, u16::MAX, 0),
        record(2_100, POD, 0, 0),
    ]);
    assert!(any(&doubt, 2_100));
}

#[test]
fn records_lost_before_the_first_one_count() {
    assert!(any(&doubt(&[record(100, POD, 1, 0)]), 100));
}

#[test]
fn sockets_that_pass_the_thinning_are_whole() {
    let doubt = doubt(&[
        record(0, POD, 1, 2),
        record(500, POD, 1, 2),
        record(1_400, POD, 9, 2),
    ]);
    let since = |flow| doubt.since(ms(501), POD, Sockets::One(&flow));
    assert_eq!(
        [0, 1, 2, 3].map(|level| since(flow(level))),
        [true, true, false, false]
    );
    assert!(any(&doubt, 501), "a question about several sockets");
}

#[test]
fn thinning_that_fell_between_two_records_counts_at_its_higher_level() {
    let doubt = doubt(&[record(0, POD, 1, 3), record(900, POD, 5, 2)]);
    assert!(doubt.since(ms(1), POD, Sockets::One(&flow(2))));
    assert!(!doubt.since(ms(1), POD, Sockets::One(&flow(3))));
}

#[test]
fn thinning_that_rose_may_follow_a_full_ring() {
    let doubt = doubt(&[record(0, POD, 1, 1), record(900, POD, 5, 2)]);
    assert!(doubt.since(ms(1), POD, Sockets::One(&flow(5))));
}

#[test]
fn after_a_second_without_a_record_any_socket_may_be_concerned() {
    let doubt = doubt(&[record(0, POD, 1, 2), record(1_000, POD, 5, 2)]);
    assert!(doubt.since(ms(1), POD, Sockets::One(&flow(5))));
}

#[test]
fn reported_losses_count_as_those_in_band() {
    let mut doubt = Doubt::default();
    let loss = |ifindex, count, thinning| InterfaceLoss {
        ifindex,
        from: ms(0),
        until: ms(700),
        count,
        thinning,
    };
    doubt.lost(&loss(OTHER, 0, None));
    assert!(!doubt.since(ms(0), OTHER, Sockets::Any));
    doubt.lost(&loss(POD, 1, Some(Thinning(1))));
    assert!(doubt.since(ms(700), POD, Sockets::One(&flow(0))));
    assert!(!doubt.since(ms(0), POD, Sockets::One(&flow(1))));
    doubt.lost(&loss(POD, 1, None));
    assert!(doubt.since(ms(700), POD, Sockets::One(&flow(1))));
    assert!(!any(&doubt, 701));
    doubt.forget(POD);
    assert!(!any(&doubt, 0));
}

#[test]
fn interfaces_beyond_the_limit_are_in_doubt_together() {
    let mut doubt = Doubt::default();
    for number in 0..=super::MAX_INTERFACES as u32 {
        doubt.incomplete(Ifindex(number), ms(100));
    }
    assert_eq!(doubt.interfaces.len(), super::MAX_INTERFACES);
    let unknown = Ifindex(u32::MAX);
    assert!(doubt.since(ms(100), unknown, Sockets::Any));
    assert!(!doubt.since(ms(101), unknown, Sockets::Any));
}
