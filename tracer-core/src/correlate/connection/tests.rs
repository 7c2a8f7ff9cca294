use crate::correlate::testing::*;
use crate::model::connection::{RefusedBy, TcpState};
use crate::model::correlated::CorrelatedEvent;
use crate::model::flow::{Direction, Flow, FlowTotals, Protocol, Role};
use crate::model::observation::Observation;
use crate::model::settings::Limits;

use Direction::{FromPod, ToPod};

fn web() -> Flow {
    flow(Protocol::Tcp, 40_000, 80)
}

/// A bench on which the pod has opened a connection, with the events taken.
fn established() -> Bench {
    let mut bench = Bench::new();
    bench
        .see(tcp(0, FromPod, web(), "S", 100, 0))
        .see(tcp(1, ToPod, web(), "SA", 500, 101));
    assert_eq!(bench.tcp().state, TcpState::Established);
    bench
}

fn states(bench: &mut Bench) -> Vec<TcpState> {
    bench
        .events()
        .into_iter()
        .map(|item| match item.event {
            CorrelatedEvent::Tcp(connection) => connection.state,
            other => panic!("not a TCP connection: {other:?}"),
        })
        .collect()
}

#[test]
fn a_syn_ack_establishes_with_the_handshake_time() {
    let mut bench = Bench::new();
    bench.see(tcp(1_000, FromPod, web(), "S", 100, 0)).silent();
    bench.see(tcp(1_002, ToPod, web(), "SA", 500, 101));
    let events = bench.events();
    assert_eq!((events.len(), events[0].time), (1, ms(1_000)));
    let CorrelatedEvent::Tcp(connection) = &events[0].event else {
        panic!("{events:?}")
    };
    assert_eq!(
        (connection.state, connection.role),
        (TcpState::Established, Role::Client)
    );
    assert_eq!(
        (connection.handshake, connection.syn_retransmits),
        (Some(milliseconds(2)), 0)
    );
    // A repeated SYN-ACK, and data: one established event.
    bench
        .see(tcp(1_100, ToPod, web(), "SA", 500, 101))
        .see(tcp(1_101, FromPod, web(), "A", 101, 501))
        .silent();
}

#[test]
fn a_pod_that_receives_a_syn_is_the_server() {
    let mut bench = Bench::new();
    let served = flow(Protocol::Tcp, 80, 40_000);
    bench
        .see(tcp(0, ToPod, served, "S", 100, 0))
        .see(tcp(1, FromPod, served, "SA", 500, 101));
    assert_eq!(bench.tcp().role, Role::Server);
}

#[test]
fn opening_follows_the_second_retransmission_and_timeout_seven_seconds() {
    let mut bench = Bench::new();
    bench
        .see(tcp(0, FromPod, web(), "S", 100, 0))
        .see(tcp(1_000, FromPod, web(), "S", 100, 0))
        .silent();
    bench.see(tcp(3_000, FromPod, web(), "S", 100, 0));
    let opening = bench.tcp();
    assert_eq!(
        (opening.state, opening.syn_retransmits),
        (TcpState::Opening, 2)
    );
    bench.at(6_999).silent();
    bench.at(7_000);
    assert_eq!(bench.tcp().state, TcpState::Timeout);
    bench
        .see(tcp(7_001, FromPod, web(), "S", 100, 0))
        .at(20_000)
        .silent();
    // The pod may have given up by then; its reset would follow at once.
    bench
        .see(tcp(20_001, ToPod, web(), "SA", 500, 101))
        .silent()
        .at(20_051);
    let late = bench.tcp();
    assert_eq!(
        (late.state, late.handshake),
        (TcpState::Established, Some(milliseconds(20_001)))
    );
    assert_eq!(late.syn_retransmits, 3);
}

#[test]
fn single_syn_without_an_answer_times_out_too() {
    let mut bench = Bench::new();
    bench.see(tcp(0, FromPod, web(), "S", 100, 0)).at(7_000);
    assert_eq!(bench.tcp().state, TcpState::Timeout);
    bench.end(400_000).silent();
}

#[test]
fn a_reset_instead_of_an_answer_is_a_refusal() {
    let mut bench = Bench::new();
    bench
        .see(tcp(0, FromPod, web(), "S", 100, 0))
        .see(tcp(1, ToPod, web(), "RA", 0, 101));
    let refused = bench.tcp();
    assert_eq!(
        (refused.state, refused.icmp),
        (TcpState::Refused(RefusedBy::Rst), None)
    );
    bench.end(60_000).silent();
}

#[test]
fn a_reset_that_acknowledges_another_syn_is_no_refusal() {
    let mut bench = Bench::new();
    bench
        .see(tcp(0, FromPod, web(), "S", 200_000, 0))
        .see(tcp(1, ToPod, web(), "RA", 0, 101))
        .silent();
    bench.see(tcp(2, ToPod, web(), "SA", 500, 200_001));
    assert_eq!(bench.tcp().state, TcpState::Established);
}

#[test]
fn an_icmp_error_refuses_once_despite_syn_retransmissions() {
    let mut bench = Bench::new();
    bench
        .see(tcp(0, FromPod, web(), "S", 100, 0))
        .see(unreachable(1, web()));
    let refused = bench.tcp();
    assert_eq!(refused.state, TcpState::Refused(RefusedBy::Icmp));
    assert_eq!(
        refused.icmp.map(|icmp| (icmp.icmp_type, icmp.icmp_code)),
        Some((3, 3))
    );
    bench
        .see(tcp(1_033, FromPod, web(), "S", 100, 0))
        .see(unreachable(1_034, web()))
        .silent();
    bench
        .see(tcp(3_000, FromPod, web(), "S", 100, 0))
        .see(tcp(3_001, ToPod, web(), "RA", 0, 101))
        .silent();
    bench.end(60_000).silent();
}

#[test]
fn connection_refused_by_icmp_may_still_be_established() {
    let mut bench = Bench::new();
    bench
        .see(tcp(0, FromPod, web(), "S", 100, 0))
        .see(unreachable(1, web()));
    bench.tcp();
    bench.see(tcp(1_000, FromPod, web(), "S", 100, 0)).see(tcp(
        1_001,
        ToPod,
        web(),
        "SA",
        500,
        101,
    ));
    assert_eq!(bench.tcp().state, TcpState::Established);
}

#[test]
fn fin_both_ways_closes_with_totals() {
    let mut bench = established();
    bench.see(tcp(10, FromPod, web(), "FA", 101, 501)).silent();
    // The last segments count too.
    bench
        .see(tcp(11, ToPod, web(), "FA", 501, 102))
        .see(tcp(12, FromPod, web(), "A", 102, 502))
        .silent()
        .at(312);
    let closed = bench.tcp();
    assert_eq!(
        (closed.state, closed.handshake),
        (TcpState::Closed, Some(milliseconds(1)))
    );
    assert_eq!(closed.totals, totals(3, 2));
    // A stray FIN belongs to the old connection.
    bench.see(tcp(400, ToPod, web(), "FA", 501, 102));
    bench.end(60_000).silent();
}

#[test]
fn a_reset_after_established_is_reported_with_the_segments_behind_it() {
    let mut bench = established();
    bench
        .see(tcp(10, ToPod, web(), "R", 501, 0))
        .see(tcp(11, ToPod, web(), "R", 501, 0))
        .silent()
        .at(312);
    let reset = bench.tcp();
    assert_eq!((reset.state, reset.totals), (TcpState::Reset, totals(1, 3)));
    bench
        .see(tcp(400, ToPod, web(), "R", 501, 0))
        .end(60_000)
        .silent();
}

#[test]
fn reset_after_one_sides_fin_closes() {
    let mut bench = established();
    bench
        .see(tcp(10, FromPod, web(), "FA", 101, 501))
        .see(tcp(11, ToPod, web(), "R", 501, 0))
        .at(400);
    assert_eq!(bench.tcp().state, TcpState::Closed);
}

#[test]
fn totals_come_from_the_kernel_if_it_counts() {
    let mut bench = Bench::new();
    bench.see(counted(tcp(0, FromPod, web(), "S", 100, 0), 1, 0));
    bench.see(counted(tcp(1, ToPod, web(), "SA", 500, 101), 1, 1));
    bench.tcp();
    bench.sweep(1_000, web(), 900, 40, 60).silent();
    bench.see(counted(tcp(2_000, FromPod, web(), "FA", 101, 501), 50, 80));
    bench
        .see(counted(tcp(2_001, ToPod, web(), "FA", 501, 102), 50, 81))
        .sweep(2_100, web(), 2_002, 51, 81)
        .at(2_400);
    assert_eq!(bench.tcp().totals, totals(51, 81));
}

#[test]
fn retransmissions_count_from_the_start_of_the_connection_and_are_unknown_where_the_kernel_shows_none()
 {
    let again = |observation: Observation, tx, rx, segments| {
        let mut observation = counted(observation, tx, rx);
        observation.totals = observation.totals.map(|totals| FlowTotals {
            retransmits: segments,
            ..totals
        });
        observation
    };
    let mut bench = Bench::new();
    bench.see(again(tcp(0, FromPod, web(), "S", 100, 0), 1, 0, Some(0)));
    bench.see(again(tcp(1, ToPod, web(), "SA", 500, 101), 1, 1, Some(0)));
    bench.see(again(
        tcp(2, FromPod, web(), "FA", 101, 501),
        20,
        30,
        Some(6),
    ));
    bench.see(again(tcp(3, ToPod, web(), "FA", 501, 102), 20, 31, Some(6)));
    // The kernel's counters continue with the next connection from the same port.
    bench.see(again(
        tcp(10, FromPod, web(), "S", 9_000, 0),
        21,
        31,
        Some(6),
    ));
    bench.see(again(
        tcp(11, ToPod, web(), "SA", 700, 9_001),
        21,
        32,
        Some(6),
    ));
    bench.see(again(
        tcp(12, FromPod, web(), "R", 9_001, 0),
        30,
        40,
        Some(8),
    ));
    bench.at(1_000);
    let seen: Vec<_> = bench
        .events()
        .into_iter()
        .filter_map(|item| match item.event {
            CorrelatedEvent::Tcp(connection) => {
                Some((connection.state, connection.totals.retransmits))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        seen,
        [
            (TcpState::Established, Some(0)),
            (TcpState::Closed, Some(6)),
            (TcpState::Established, Some(0)),
            (TcpState::Reset, Some(2)),
        ]
    );
    let mut bench = Bench::new();
    bench.see(again(tcp(0, FromPod, web(), "S", 100, 0), 1, 0, None));
    bench.see(again(tcp(1, ToPod, web(), "SA", 500, 101), 1, 1, None));
    assert_eq!(bench.tcp().totals.retransmits, None);
}

#[test]
fn port_reused_right_after_close_counts_from_zero() {
    let mut bench = Bench::new();
    bench.see(counted(tcp(0, FromPod, web(), "S", 100, 0), 1, 0));
    bench.see(counted(tcp(1, ToPod, web(), "SA", 500, 101), 1, 1));
    bench.see(counted(tcp(2, FromPod, web(), "FA", 101, 501), 20, 30));
    bench.see(counted(tcp(3, ToPod, web(), "FA", 501, 102), 20, 31));
    // The kernel's counters continue: the last acknowledgment, then the next connection.
    bench.see(counted(tcp(10, FromPod, web(), "S", 9_000, 0), 22, 31));
    assert_eq!(
        states(&mut bench),
        [TcpState::Established, TcpState::Closed]
    );
    bench.see(counted(tcp(11, ToPod, web(), "SA", 700, 9_001), 22, 32));
    let again = bench.tcp();
    assert_eq!(
        (again.state, again.handshake),
        (TcpState::Established, Some(milliseconds(1)))
    );
    assert_eq!(again.totals, totals(1, 1));
}

#[test]
fn a_new_syn_on_an_open_connections_ports_closes_it() {
    let mut bench = established();
    bench.see(tcp(50, FromPod, web(), "S", 7_000, 0));
    let closed = bench.tcp();
    assert_eq!(
        (closed.state, closed.totals),
        (TcpState::Closed, totals(1, 1))
    );
    bench.see(tcp(51, ToPod, web(), "SA", 900, 7_001));
    assert_eq!(bench.tcp().state, TcpState::Established);
}

#[test]
fn an_idle_connection_is_not_closed() {
    let mut bench = established();
    bench
        .sweep(200_000, web(), 199_000, 5, 5)
        .at(4_000_000)
        .silent();
    bench
        .see(tcp(4_000_001, FromPod, web(), "FA", 101, 501))
        .see(tcp(4_000_002, ToPod, web(), "FA", 501, 102))
        .at(4_001_000);
    assert_eq!(bench.tcp().state, TcpState::Closed);
}

#[test]
fn an_idle_connection_makes_room_once_without_a_loss() {
    let mut bench = Bench::with(Limits {
        connections: 1,
        ..Limits::default()
    });
    bench
        .see(tcp(0, FromPod, web(), "S", 100, 0))
        .see(tcp(1, ToPod, web(), "SA", 500, 101));
    bench.events();
    let other = flow(Protocol::Tcp, 40_001, 80);
    bench.see(tcp(400_000, FromPod, other, "S", 100, 0));
    assert_eq!(bench.tcp().state, TcpState::Idle);
    assert_eq!(bench.lost("tcp connection table full"), 0);
}

#[test]
fn connection_seen_from_the_middle_is_not_established_but_closes() {
    let mut bench = Bench::new();
    bench
        .see(counted(tcp(0, FromPod, web(), "A", 101, 501), 1, 0))
        .silent();
    bench.see(counted(tcp(5, FromPod, web(), "FA", 101, 501), 2, 0));
    bench
        .see(counted(tcp(6, ToPod, web(), "FA", 501, 102), 2, 1))
        .at(400);
    let closed = bench.tcp();
    assert_eq!(
        (closed.state, closed.role, closed.handshake),
        (TcpState::Closed, Role::Client, None)
    );
    assert_eq!(closed.totals, totals(2, 1));
}

#[test]
fn a_reset_of_an_unknown_flow_is_ignored() {
    let mut bench = Bench::new();
    bench.see(tcp(0, ToPod, web(), "R", 1, 0)).end(1).silent();
}

#[test]
fn simultaneous_open_establishes() {
    let mut bench = Bench::new();
    bench
        .see(tcp(0, FromPod, web(), "S", 100, 0))
        .see(tcp(1, ToPod, web(), "S", 500, 0))
        .silent();
    bench.see(tcp(2, ToPod, web(), "SA", 500, 101));
    assert_eq!(bench.tcp().state, TcpState::Established);
}

#[test]
fn fast_open_data_in_the_syn_is_acknowledged_with_it() {
    let mut bench = Bench::new();
    bench
        .see(with_payload(tcp(0, FromPod, web(), "S", u32::MAX, 0), 400))
        .see(tcp(1, ToPod, web(), "SA", 500, 400));
    assert_eq!(bench.tcp().state, TcpState::Established);
}

#[test]
fn the_end_of_input_emits_totals_and_the_current_state() {
    let mut bench = established();
    let silent = flow(Protocol::Tcp, 40_001, 81);
    for at in [100, 1_100, 3_100] {
        bench.see(tcp(at, FromPod, silent, "S", 100, 0));
    }
    let young = flow(Protocol::Tcp, 40_002, 82);
    bench.see(tcp(3_200, FromPod, young, "S", 100, 0));
    bench.events();
    bench.end(3_300);
    assert_eq!(
        states(&mut bench),
        [TcpState::Idle, TcpState::Timeout, TcpState::Undecided]
    );
}

#[test]
fn a_full_table_evicts_the_oldest_and_counts_it() {
    let mut bench = Bench::with(Limits {
        connections: 2,
        ..Limits::default()
    });
    for port in 1..=3 {
        bench.see(tcp(0, FromPod, flow(Protocol::Tcp, port, 80), "S", 100, 0));
    }
    assert_eq!(bench.lost("tcp connection table full"), 1);
    assert_eq!(states(&mut bench), [TcpState::Undecided]);
    bench.end(7_000);
    assert_eq!(states(&mut bench), [TcpState::Timeout, TcpState::Timeout]);
}

/// The states in which a RST can come, and the events for a RST by the peer and by the pod.
#[test]
fn reset_in_every_state() {
    let syn = |at| tcp(at, FromPod, web(), "S", 100, 0);
    let syn_ack = |at| tcp(at, ToPod, web(), "SA", 500, 101);
    let refused = TcpState::Refused(RefusedBy::Rst);
    let cases: [(&str, Vec<_>, &[TcpState], &[TcpState]); 8] = [
        ("nothing", vec![], &[], &[]),
        ("syn sent", vec![syn(0)], &[refused], &[TcpState::Undecided]),
        (
            "timed out",
            vec![syn(0), syn(7_000)],
            &[TcpState::Timeout, refused],
            &[TcpState::Timeout],
        ),
        (
            "rejected by ICMP",
            vec![syn(0), unreachable(1, web())],
            &[TcpState::Refused(RefusedBy::Icmp)],
            &[TcpState::Refused(RefusedBy::Icmp)],
        ),
        (
            "established",
            vec![syn(0), syn_ack(1)],
            &[TcpState::Established, TcpState::Reset],
            &[TcpState::Established, TcpState::Reset],
        ),
        (
            "closed by the pod's side",
            vec![syn(0), syn_ack(1), tcp(2, FromPod, web(), "FA", 101, 501)],
            &[TcpState::Established, TcpState::Closed],
            &[TcpState::Established, TcpState::Closed],
        ),
        (
            "closed by the peer's side",
            vec![syn(0), syn_ack(1), tcp(2, ToPod, web(), "FA", 501, 101)],
            &[TcpState::Established, TcpState::Closed],
            &[TcpState::Established, TcpState::Closed],
        ),
        (
            "closed",
            vec![
                syn(0),
                syn_ack(1),
                tcp(2, FromPod, web(), "FA", 101, 501),
                tcp(3, ToPod, web(), "FA", 501, 102),
            ],
            &[TcpState::Established, TcpState::Closed],
            &[TcpState::Established, TcpState::Closed],
        ),
    ];
    for (state, before, by_peer, by_pod) in cases {
        for (direction, flags, expected) in [(ToPod, "RA", by_peer), (FromPod, "R", by_pod)] {
            let mut bench = Bench::new();
            for seen in before.clone() {
                bench.see(seen);
            }
            let at = if state == "timed out" { 7_001 } else { 5 };
            bench
                .see(tcp(at, direction, web(), flags, 101, 101))
                .end(at + 1);
            assert_eq!(states(&mut bench), expected, "{state}, {direction:?}");
        }
    }
}

#[test]
fn a_half_open_connection_emits_one_reset() {
    // The peer has forgotten the connection, as after a reboot, and answers the pod's next segment with a
    // RST.
    let mut bench = established();
    bench.see(tcp(1_001, ToPod, web(), "SA", 500, 101)).see(tcp(
        3_001,
        ToPod,
        web(),
        "SA",
        500,
        101,
    ));
    let repeated = bench.progress();
    assert_eq!(repeated.evidence.syn_ack_repeats, 2);
    bench
        .see(tcp(60_000, FromPod, web(), "A", 101, 501))
        .see(tcp(60_001, ToPod, web(), "R", 501, 0))
        .at(61_000);
    assert_eq!(bench.tcp().state, TcpState::Reset);
}

#[test]
fn one_sided_fin_closes_when_nothing_follows() {
    let mut bench = established();
    bench.see(tcp(10, ToPod, web(), "FA", 501, 101));
    // The pod keeps sending: the kernel counts without a record.
    bench
        .sweep(100_000, web(), 90_000, 50, 20)
        .at(389_999)
        .silent();
    bench.at(390_000);
    let closed = bench.tcp();
    assert_eq!(
        (closed.state, closed.totals),
        (TcpState::Closed, totals(50, 20))
    );
}

#[test]
fn a_port_can_be_reused_after_every_kind_of_end() {
    for end in ["refused", "reset", "closed"] {
        let mut bench = Bench::new();
        bench.see(tcp(0, FromPod, web(), "S", 100, 0));
        if end != "refused" {
            bench.see(tcp(1, ToPod, web(), "SA", 500, 101));
        }
        if end == "closed" {
            bench.see(tcp(2, FromPod, web(), "FA", 101, 501)).see(tcp(
                3,
                ToPod,
                web(),
                "FA",
                501,
                102,
            ));
        } else {
            bench.see(tcp(3, ToPod, web(), "RA", 501, 101));
        }
        // Stray segments of the old connection, then the new one.
        bench
            .see(tcp(4, FromPod, web(), "A", 102, 502))
            .see(tcp(5, FromPod, web(), "S", 9_000, 0));
        assert_ne!(bench.events(), [], "{end}");
        bench.see(tcp(6, ToPod, web(), "SA", 700, 9_001));
        let again = bench.tcp();
        assert_eq!(
            (again.state, again.handshake, again.syn_retransmits),
            (TcpState::Established, Some(milliseconds(1)), 0),
            "{end}"
        );
    }
}

#[test]
fn later_chunks_of_a_segment_are_not_counted_as_packets() {
    use crate::model::observation::What;
    let dns = flow(Protocol::Tcp, 40_000, 53);
    let mut bench = Bench::new();
    bench
        .see(tcp(0, FromPod, dns, "S", 100, 0))
        .see(tcp(1, ToPod, dns, "SA", 500, 101));
    bench.tcp();
    for chunk in 0..3 {
        let mut seen = tcp(2, ToPod, dns, "FA", 501, 101);
        if let What::Tcp(segment) = &mut seen.what {
            segment.dns = true;
            segment.length = 6_000;
            segment.payload = vec![0; 2_000];
            segment.payload_offset = chunk * 2_000;
        }
        bench.see(seen);
    }
    bench.see(tcp(3, FromPod, dns, "FA", 101, 6_502)).at(500);
    assert_eq!(bench.tcp().totals, totals(2, 2));
}
