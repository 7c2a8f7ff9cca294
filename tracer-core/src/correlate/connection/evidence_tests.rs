//! What the packets of a connection show beyond its state.

use crate::correlate::testing::*;
use crate::model::connection::{TcpConnection, TcpState};
use crate::model::correlated::CorrelatedEvent;
use crate::model::flow::{Direction, Flow, Protocol};
use crate::model::observation::Observation;

use Direction::{FromPod, ToPod};

const MINUTE: u64 = 60_000;

fn web() -> Flow {
    flow(Protocol::Tcp, 40_000, 80)
}

/// A segment between the pod and a web server.
fn segment(
    at: u64,
    sender: Direction,
    sequence: u32,
    acknowledges: u32,
    bytes: u32,
) -> Observation {
    with_payload(tcp(at, sender, web(), "A", sequence, acknowledges), bytes)
}

/// A bench on which the pod has opened a connection, sent 100 bytes and received 50.
fn conversation() -> Bench {
    let mut bench = Bench::new();
    bench
        .see(tcp(0, FromPod, web(), "S", 100, 0))
        .see(tcp(1, ToPod, web(), "SA", 500, 101))
        .see(segment(2, FromPod, 101, 501, 0))
        .see(segment(3, FromPod, 101, 501, 100))
        .see(segment(4, ToPod, 501, 201, 50))
        .see(segment(5, FromPod, 201, 551, 0));
    assert_eq!(bench.tcp().state, TcpState::Established);
    bench
}

/// The evidence that the rules see without an event.
fn progress(bench: &mut Bench) -> Vec<TcpConnection> {
    bench
        .events()
        .into_iter()
        .filter_map(|item| match item.event {
            CorrelatedEvent::TcpProgress(connection) => Some(*connection),
            _ => None,
        })
        .collect()
}

#[test]
fn sends_without_an_answer_are_reported_whenever_their_time_has_doubled() {
    let mut bench = conversation();
    for at in [5_000, 5_200, 5_600, 6_400, 8_000, 11_200, 17_600, 30_400] {
        bench.see(segment(at, FromPod, 201, 551, 420));
    }
    let seen: Vec<_> = progress(&mut bench)
        .iter()
        .filter_map(|connection| connection.evidence.unanswered)
        .map(|sends| (sends.sender, sends.packets, sends.span(), sends.heard))
        .collect();
    let heard = Some(ms(4));
    assert_eq!(
        seen,
        [
            (FromPod, 5, milliseconds(3_000), heard),
            (FromPod, 6, milliseconds(6_200), heard),
            (FromPod, 7, milliseconds(12_600), heard),
            (FromPod, 8, milliseconds(25_400), heard),
        ]
    );
    // The answer clears it.
    bench.see(segment(31_000, ToPod, 551, 621, 0)).silent();
    bench.end(32_000);
    assert_eq!(bench.tcp().evidence.unanswered, None);
}

#[test]
fn a_transfer_that_is_acknowledged_is_never_without_an_answer() {
    let mut bench = conversation();
    let mut sequence = 201;
    for round in 0..20 {
        for segment_of_round in 0..10 {
            bench.see(segment(
                1_000 * (round + 1) + segment_of_round,
                FromPod,
                sequence,
                551,
                1_400,
            ));
            sequence += 1_400;
        }
        bench.see(segment(1_000 * (round + 1) + 200, ToPod, 551, sequence, 0));
    }
    bench.silent();
}

#[test]
fn unanswered_keepalive_probes_are_counted_as_such() {
    let mut bench = conversation();
    for at in [75_000, 150_000, 225_000] {
        // The last byte again, or none at its place.
        bench.see(segment(at, FromPod, 200, 551, 0));
    }
    let seen = progress(&mut bench);
    let sends = seen.last().and_then(|last| last.evidence.unanswered);
    let sends = sends.expect("three probes");
    assert_eq!((sends.packets, sends.probes), (3, 3));
}

#[test]
fn answered_keepalive_probes_are_no_evidence() {
    let mut bench = conversation();
    for at in [75_000, 150_000, 225_000, 300_000] {
        bench
            .see(segment(at, FromPod, 200, 551, 0))
            .see(segment(at + 1, ToPod, 551, 201, 0));
    }
    bench.silent();
}

#[test]
fn the_counters_show_sends_without_an_answer_too() {
    let mut bench = Bench::new();
    bench
        .see(counted(tcp(0, FromPod, web(), "S", 100, 0), 1, 0))
        .see(counted(tcp(1, ToPod, web(), "SA", 500, 101), 1, 1))
        .sweep_bytes(5_000, web(), 4_000, (10, 4_000), (10, 4_000));
    bench.events();
    bench
        .sweep_bytes(10_000, web(), 9_000, (12, 6_000), (10, 4_000))
        .silent()
        .sweep_bytes(15_000, web(), 14_000, (14, 8_000), (10, 4_000));
    let sends = bench.progress().evidence.unanswered.expect("four packets");
    assert_eq!(
        (sends.sender, sends.packets, sends.counted),
        (FromPod, 4, true)
    );
    // Acknowledgments alone expect no answer.
    let mut bench = Bench::new();
    bench
        .see(counted(tcp(0, FromPod, web(), "S", 100, 0), 1, 0))
        .see(counted(tcp(1, ToPod, web(), "SA", 500, 101), 1, 1))
        .sweep_bytes(5_000, web(), 4_000, (10, 4_000), (10, 4_000))
        .sweep_bytes(10_000, web(), 9_000, (12, 4_104), (10, 4_000))
        .sweep_bytes(15_000, web(), 14_000, (14, 4_208), (10, 4_000));
    assert_eq!(progress(&mut bench), []);
}

#[test]
fn a_reset_instead_of_an_answer_names_its_sender_and_age() {
    let mut bench = conversation();
    bench
        .see(segment(10, FromPod, 201, 551, 40))
        .see(segment(11, ToPod, 551, 241, 0))
        .see(tcp(12, ToPod, web(), "RA", 551, 241))
        .at(1_000);
    let reset = bench.tcp();
    assert_eq!(reset.state, TcpState::Reset);
    let evidence = reset.evidence.reset.expect("a reset");
    assert_eq!(
        (evidence.sender, evidence.age, evidence.idle),
        (ToPod, milliseconds(11), milliseconds(1))
    );
    assert!(evidence.answers_payload && evidence.completed);
    let payload = reset.evidence.payload;
    assert!(payload.from_pod && payload.to_pod);
}

#[test]
fn the_silence_before_a_reset_is_that_before_the_segment_it_answers() {
    let mut bench = conversation();
    bench
        .see(segment(16 * MINUTE, FromPod, 201, 551, 60))
        .see(segment(16 * MINUTE + 200, FromPod, 201, 551, 60))
        .see(segment(16 * MINUTE + 30_000, FromPod, 201, 551, 60))
        .see(tcp(16 * MINUTE + 30_001, ToPod, web(), "R", 551, 0))
        .at(17 * MINUTE);
    let events = bench.events();
    let Some(CorrelatedEvent::Tcp(reset)) = events.last().map(|item| &item.event) else {
        panic!("{events:?}")
    };
    let idle = reset.evidence.reset.expect("a reset").idle;
    assert_eq!(idle, milliseconds(16 * MINUTE - 5));
}

#[test]
fn a_connection_that_was_used_after_a_silence_was_not_idle() {
    let mut bench = conversation();
    bench
        .see(segment(16 * MINUTE, FromPod, 201, 551, 60))
        .see(segment(16 * MINUTE + 1, ToPod, 551, 261, 60))
        .see(segment(16 * MINUTE + 2, FromPod, 261, 611, 60))
        .see(tcp(16 * MINUTE + 3, ToPod, web(), "R", 611, 0))
        .at(17 * MINUTE);
    let idle = bench.tcp().evidence.reset.expect("a reset").idle;
    assert_eq!(idle, milliseconds(1));
}

#[test]
fn a_syn_ack_that_its_opener_resets_completes_nothing() {
    let mut bench = Bench::new();
    let served = flow(Protocol::Tcp, 80, 40_000);
    bench
        .see(tcp(0, ToPod, served, "S", 100, 0))
        .see(tcp(1, FromPod, served, "SA", 500, 101))
        .see(tcp(2, ToPod, served, "R", 101, 0));
    bench.events();
    bench.at(1_000);
    let reset = bench.tcp().evidence.reset.expect("a reset");
    assert!(!reset.completed && reset.sender == ToPod);
}

#[test]
fn large_segments_that_never_reach_the_pod_leave_a_hole() {
    let mut bench = conversation();
    // 2,800 bytes are missing before these 160.
    bench
        .see(segment(10, ToPod, 551 + 2_800, 201, 160))
        .see(segment(11, FromPod, 201, 551, 0))
        .silent();
    bench.see(tcp(30_000, FromPod, web(), "FA", 201, 551));
    let lost = bench.progress().evidence.large_lost.expect("a hole");
    assert_eq!(
        (lost.sender, lost.bytes, lost.seen, lost.largest_delivered),
        (ToPod, 2_800, 0, 160)
    );
}

#[test]
fn a_hole_that_is_filled_or_that_only_the_capture_has_is_no_evidence() {
    let mut bench = conversation();
    // Out of order, and filled by a retransmission.
    bench
        .see(segment(10, ToPod, 551 + 1_400, 201, 1_400))
        .see(segment(11, FromPod, 201, 551, 0))
        .see(segment(200, ToPod, 551, 201, 1_400))
        .see(segment(201, FromPod, 201, 551 + 2_800, 0));
    // Its receiver acknowledges what the capture missed.
    bench
        .see(segment(300, ToPod, 551 + 4_200, 201, 160))
        .see(segment(301, FromPod, 201, 551 + 4_360, 0))
        .see(tcp(30_000, FromPod, web(), "FA", 201, 551 + 4_360))
        .silent();
}

#[test]
fn a_large_segment_sent_again_and_again_while_smaller_ones_arrive() {
    let mut bench = conversation();
    for at in [5_000, 5_200, 5_600, 6_400, 8_000, 11_200] {
        bench.see(segment(at, FromPod, 201, 551, 1_400));
    }
    let seen = progress(&mut bench);
    let lost = seen.last().and_then(|last| last.evidence.large_lost);
    let lost = lost.expect("a segment");
    assert_eq!(
        (lost.sender, lost.bytes, lost.seen, lost.largest_delivered),
        (FromPod, 1_400, 6, 100)
    );
}

#[test]
fn a_repeated_segment_that_is_no_larger_than_delivered_ones_says_nothing_about_sizes() {
    let mut bench = conversation();
    bench
        .see(segment(1_000, FromPod, 201, 551, 1_400))
        .see(segment(1_001, ToPod, 551, 1_601, 0));
    for at in [5_000, 5_200, 5_600, 6_400, 8_000, 11_200] {
        bench.see(segment(at, FromPod, 1_601, 551, 1_400));
    }
    let seen = progress(&mut bench);
    assert!(seen.iter().all(|seen| seen.evidence.large_lost.is_none()));
    assert!(seen.iter().all(|seen| seen.evidence.unanswered.is_some()));
}

#[test]
fn short_attempts_that_are_given_up_are_undecided() {
    let mut bench = Bench::new();
    for (number, at) in (0_u16..).zip([0, 1_500, 3_000]) {
        let attempt = flow(Protocol::Tcp, 40_000 + number, 80);
        bench.see(tcp(at, FromPod, attempt, "S", 100, 0));
    }
    bench.end(3_100);
    let given_up: Vec<_> = bench
        .events()
        .into_iter()
        .map(|item| match item.event {
            CorrelatedEvent::Tcp(attempt) => (attempt.state, attempt.evidence.given_up),
            other => panic!("not a TCP connection: {other:?}"),
        })
        .collect();
    // A SYN is repeated after a second; the last one is too young to be judged.
    assert_eq!(
        given_up,
        [
            (TcpState::Undecided, Some(ms(1_250))),
            (TcpState::Undecided, Some(ms(2_750))),
            (TcpState::Undecided, None),
        ]
    );
}

#[test]
fn an_answer_from_another_address_needs_the_number_of_the_syn() {
    let mut bench = Bench::new();
    let endpoint = Flow {
        peer: "10.1.39.9:80".parse().expect("a socket"),
        ..web()
    };
    bench
        .see(tcp(0, FromPod, web(), "S", 100, 0))
        .see(tcp(1, ToPod, endpoint, "SA", 900, 101));
    let reply = bench.progress().evidence.reply_from.expect("a reply");
    assert_eq!(
        (reply.from, reply.packets, reply.syn_ack),
        (endpoint.peer, 1, true)
    );
    bench
        .see(tcp(2, FromPod, endpoint, "R", 101, 0))
        .see(tcp(3, ToPod, endpoint, "SA", 900, 7_777))
        .end(10_000);
    let events = bench.events();
    let Some(CorrelatedEvent::Tcp(timeout)) = events.first().map(|item| &item.event) else {
        panic!("{events:?}")
    };
    assert_eq!(timeout.state, TcpState::Timeout);
    let reply = timeout.evidence.reply_from.expect("the first reply");
    assert_eq!((reply.packets, reply.resets), (1, 1));
}

#[test]
fn segments_of_an_established_connection_from_another_address_belong_to_it() {
    let mut bench = conversation();
    let endpoint = Flow {
        peer: "10.1.39.9:8080".parse().expect("a socket"),
        ..web()
    };
    let mut stray = segment(10, ToPod, 551, 201, 40);
    stray.flow = endpoint;
    bench.see(stray);
    let reply = bench.progress().evidence.reply_from.expect("a reply");
    assert_eq!((reply.from, reply.syn_ack), (endpoint.peer, false));
    // Other numbers are another connection, seen in the middle.
    let mut other = segment(20, ToPod, 4_000_000, 9_000_000, 40);
    other.flow = endpoint;
    bench.see(other).silent();
    bench.end(30);
    assert_eq!(bench.events().len(), 2);
}
