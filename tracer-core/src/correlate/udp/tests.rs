use crate::correlate::testing::*;
use crate::model::connection::UdpState;
use crate::model::correlated::CorrelatedEvent;
use crate::model::flow::{Direction, Flow, Protocol, Role};
use crate::model::observation::{Observation, What};
use crate::model::settings::Limits;

use Direction::{FromPod, ToPod};

fn syslog() -> Flow {
    flow(Protocol::Udp, 40_000, 514)
}

fn datagram(at: u64, direction: Direction) -> Observation {
    packet(at, direction, syslog(), What::Other)
}

#[test]
fn first_packet_opens_the_flow() {
    let mut bench = Bench::new();
    bench.see(datagram(0, FromPod)).see(datagram(1, FromPod));
    let open = bench.udp();
    assert_eq!(
        (open.state, open.role, open.totals),
        (UdpState::Open, Role::Client, totals(1, 0))
    );
}

#[test]
fn silence_is_reported_once_after_six_seconds() {
    let mut bench = Bench::new();
    bench
        .see(datagram(0, FromPod))
        .see(datagram(3_000, FromPod));
    bench.udp();
    bench.at(5_999).silent();
    bench.at(6_000);
    let unanswered = bench.udp();
    assert_eq!(
        (unanswered.state, unanswered.totals),
        (UdpState::Unanswered, totals(2, 0))
    );
    bench.at(200_000).silent();
}

#[test]
fn an_answered_flow_emits_nothing_until_it_closes_when_idle() {
    let mut bench = Bench::new();
    bench.see(datagram(0, ToPod)).see(datagram(10, FromPod));
    assert_eq!(bench.udp().role, Role::Server);
    bench.at(300_009).silent();
    bench.at(300_010);
    let closed = bench.udp();
    assert_eq!(
        (closed.state, closed.totals),
        (UdpState::Closed, totals(1, 1))
    );
    bench.end(600_000).silent();
}

#[test]
fn an_answer_counted_only_by_the_kernel_counts() {
    let mut bench = Bench::new();
    bench.see(counted(datagram(0, FromPod), 1, 0));
    bench.udp();
    // The sweep before the reply is too old to prove silence.
    bench.sweep(1_000, syslog(), 0, 1, 0).at(7_000).silent();
    bench.sweep(8_000, syslog(), 6_500, 2, 1).silent();
    bench.at(306_499).silent();
    bench.at(306_500);
    assert_eq!(bench.udp().totals, totals(2, 1));
}

#[test]
fn silence_confirmed_by_a_sweep_is_reported_at_the_sweep() {
    let mut bench = Bench::new();
    bench.see(counted(datagram(0, FromPod), 1, 0));
    bench.udp();
    bench.sweep(6_100, syslog(), 0, 1, 0);
    assert_eq!(bench.udp().state, UdpState::Unanswered);
}

#[test]
fn a_flow_absent_from_later_sweeps_is_silent() {
    let mut bench = Bench::new();
    bench.see(counted(datagram(0, FromPod), 1, 0));
    bench.udp();
    bench.sweep(5_000, syslog(), 0, 1, 0).at(9_999).silent();
    // A sweep lists only flows with new packets: another flow's sweep shows that this one had none.
    bench
        .sweep(10_000, flow(Protocol::Udp, 1, 2), 9_000, 1, 0)
        .at(10_500);
    assert_eq!(bench.udp().state, UdpState::Unanswered);
}

#[test]
fn silence_without_any_sweep_takes_twice_as_long() {
    let mut bench = Bench::new();
    bench.see(counted(datagram(0, FromPod), 1, 0));
    bench.udp();
    bench.at(6_000).at(11_999).silent();
    bench.at(12_500);
    assert_eq!(bench.udp().state, UdpState::Unanswered);
}

#[test]
fn an_icmp_error_is_one_event_without_a_timeout() {
    let mut bench = Bench::new();
    bench.see(datagram(0, FromPod));
    bench.udp();
    bench
        .see(unreachable(1, syslog()))
        .see(datagram(2, FromPod))
        .see(unreachable(3, syslog()));
    let failed = bench.udp();
    assert_eq!(failed.state, UdpState::IcmpError);
    assert_eq!(failed.icmp.map(|icmp| icmp.icmp_code), Some(3));
    bench.at(10_000).silent();
}

#[test]
fn the_end_of_input_emits_totals_so_far() {
    let mut bench = Bench::new();
    bench
        .see(datagram(0, FromPod))
        .see(datagram(1, ToPod))
        .end(2);
    let events = bench.events();
    assert_eq!(events.len(), 2);
}

#[test]
fn a_failed_flow_does_not_fail_again_at_the_end_of_the_input() {
    let mut bench = Bench::new();
    bench.see(datagram(0, FromPod)).at(6_000);
    assert_eq!(bench.events().len(), 2, "opened, unanswered");
    bench.end(7_000).silent();
    let mut bench = Bench::new();
    bench
        .see(datagram(0, FromPod))
        .see(unreachable(1, syslog()));
    assert_eq!(bench.events().len(), 2, "opened, rejected");
    bench.end(7_000).silent();
}

#[test]
fn a_full_table_evicts_the_oldest_and_counts_it() {
    let mut bench = Bench::with(Limits {
        udp_flows: 2,
        ..Limits::default()
    });
    for port in 1..=3 {
        bench.see(packet(
            0,
            FromPod,
            flow(Protocol::Udp, port, 514),
            What::Other,
        ));
    }
    assert_eq!(bench.lost("udp flow table full"), 1);
}

#[test]
fn other_protocols_are_not_udp_flows() {
    let mut bench = Bench::new();
    bench
        .see(packet(
            0,
            FromPod,
            flow(Protocol::Other(132), 0, 0),
            What::Other,
        ))
        .end(1)
        .silent();
    assert_eq!(bench.all_lost(), 0);
}

/// A flow that was answered once a second until 5 s.
fn answered_until_five_seconds(bench: &mut Bench, radius: Flow) {
    for second in 0..5 {
        bench
            .see(packet(second * 1_000, FromPod, radius, What::Other))
            .see(packet(second * 1_000 + 1, ToPod, radius, What::Other));
    }
    bench.events();
}

#[test]
fn a_flow_that_was_answered_and_is_no_more_is_evidence() {
    let radius = flow(Protocol::Udp, 50_000, 1_812);
    let mut bench = Bench::new();
    answered_until_five_seconds(&mut bench, radius);
    for second in 5..12 {
        bench.see(packet(second * 1_000, FromPod, radius, What::Other));
    }
    let seen: Vec<_> = bench
        .events()
        .into_iter()
        .map(|item| match item.event {
            CorrelatedEvent::UdpProgress(flow) => flow.unanswered.expect("sends"),
            other => panic!("not evidence on a UDP flow: {other:?}"),
        })
        .map(|sends| (sends.sender, sends.packets, sends.span(), sends.heard))
        .collect();
    let heard = Some(ms(4_001));
    assert_eq!(
        seen,
        [
            (FromPod, 4, milliseconds(3_000), heard),
            (FromPod, 7, milliseconds(6_000), heard),
        ]
    );
}

#[test]
fn the_counters_show_that_a_flow_is_no_longer_answered() {
    let radius = flow(Protocol::Udp, 50_000, 1_812);
    let mut bench = Bench::new();
    bench
        .see(counted(packet(0, FromPod, radius, What::Other), 1, 0))
        .sweep(5_000, radius, 4_900, 20, 20);
    bench.events();
    bench
        .sweep(10_000, radius, 9_900, 24, 20)
        .silent()
        .sweep(15_000, radius, 14_900, 28, 20);
    let events = bench.events();
    let [CorrelatedEvent::UdpProgress(flow)] = &events
        .iter()
        .map(|item| item.event.clone())
        .collect::<Vec<_>>()[..]
    else {
        panic!("{events:?}")
    };
    let sends = flow.unanswered.expect("sends");
    assert_eq!((sends.packets, sends.counted), (8, true));
}

#[test]
fn a_flow_that_pauses_after_an_answer_is_no_evidence() {
    let radius = flow(Protocol::Udp, 50_000, 1_812);
    let mut bench = Bench::new();
    answered_until_five_seconds(&mut bench, radius);
    bench
        .see(packet(60_000, FromPod, radius, What::Other))
        .see(packet(60_001, ToPod, radius, What::Other))
        .silent();
}
