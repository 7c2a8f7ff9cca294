use std::time::Duration;

use crate::correlate::testing::*;
use crate::model::correlated::CorrelatedEvent;
use crate::model::echo::{Echo, EchoState};
use crate::model::flow::{Direction, Protocol, Role};
use crate::model::settings::{Limits, Thresholds};

use Direction::{FromPod, ToPod};

fn request(bench: &mut Bench, at: u64, sequence: u16) {
    bench.see(echo(at, FromPod, false, 77, sequence));
}

fn reply(bench: &mut Bench, at: u64, sequence: u16) {
    bench.see(echo(at, ToPod, true, 77, sequence));
}

fn runs(bench: &mut Bench) -> Vec<Echo> {
    bench
        .events()
        .into_iter()
        .map(|item| match item.event {
            CorrelatedEvent::Echo(echo) => *echo,
            other => panic!("not an echo run: {other:?}"),
        })
        .collect()
}

#[test]
fn run_is_done_three_seconds_after_its_last_request() {
    let mut bench = Bench::new();
    for sequence in 1..=8 {
        request(&mut bench, u64::from(sequence) * 1_000, sequence);
    }
    bench.at(10_999).silent();
    bench.at(11_000);
    let events = bench.events();
    assert_eq!((events.len(), events[0].time), (1, ms(1_000)));
    let CorrelatedEvent::Echo(echo) = &events[0].event else {
        panic!("{events:?}")
    };
    assert_eq!(
        (echo.sent, echo.received, echo.state),
        (8, 0, EchoState::Done)
    );
    assert_eq!(
        (echo.role, echo.id, echo.rtt, echo.samples),
        (Role::Client, 77, None, 0)
    );
    assert_eq!(echo.loss(), Some(1.0));
}

#[test]
fn a_running_ping_is_reported_every_ten_seconds_with_totals() {
    let mut bench = Bench::new();
    for second in 0..25 {
        request(&mut bench, second * 1_000, second as u16 + 1);
        reply(&mut bench, second * 1_000 + 1, second as u16 + 1);
    }
    bench.at(60_000);
    let seen: Vec<(EchoState, u64)> = runs(&mut bench)
        .iter()
        .map(|echo| (echo.state, echo.sent))
        .collect();
    assert_eq!(
        seen,
        [
            (EchoState::Running, 10),
            (EchoState::Running, 20),
            (EchoState::Done, 25)
        ]
    );
}

#[test]
fn duplicate_replies_are_counted_separately() {
    let mut bench = Bench::new();
    request(&mut bench, 0, 1);
    for at in [1, 2, 3] {
        reply(&mut bench, at, 1);
    }
    bench.end(10);
    let echo = bench.echo();
    assert_eq!(
        (echo.sent, echo.received, echo.duplicates, echo.samples),
        (1, 1, 2, 3)
    );
}

#[test]
fn replies_out_of_order_match_their_requests() {
    let mut bench = Bench::new();
    for sequence in 1..=3 {
        request(&mut bench, u64::from(sequence), sequence);
    }
    for (at, sequence) in [(13, 3), (14, 1), (15, 2)] {
        reply(&mut bench, at, sequence);
    }
    bench.end(20);
    let echo = bench.echo();
    assert_eq!((echo.received, echo.duplicates), (3, 0));
    let rtt = echo.rtt.expect("three samples");
    assert_eq!((rtt.min, rtt.max), (milliseconds(10), milliseconds(13)));
}

#[test]
fn a_late_reply_counts_while_the_run_continues() {
    let mut bench = Bench::new();
    request(&mut bench, 0, 1);
    for sequence in 2..=6 {
        request(&mut bench, u64::from(sequence) * 1_000, sequence);
    }
    reply(&mut bench, 6_500, 1);
    bench.end(7_000);
    let echo = bench.echo();
    assert_eq!((echo.sent, echo.received), (6, 1));
    assert_eq!(echo.rtt.map(|rtt| rtt.max), Some(milliseconds(6_500)));
}

#[test]
fn flood_counts_exactly_beyond_the_sequence_numbers_range() {
    let mut bench = Bench::new();
    for number in 0..150_000_u64 {
        let at = 1_000 + number / 20;
        request(&mut bench, at, number as u16);
        // Every hundredth gets no reply; the other replies come ten requests later.
        if number >= 10 && (number - 10) % 100 != 0 {
            reply(&mut bench, at, (number - 10) as u16);
        }
    }
    bench.end(20_000);
    let echo = runs(&mut bench).pop().expect("the run");
    assert_eq!((echo.sent, echo.received), (150_000, 149_990 - 1_500));
    assert_eq!((echo.duplicates, echo.samples), (0, echo.received));
    assert_eq!(bench.lost("echo reply without a request"), 0);
}

#[test]
fn replies_count_even_if_the_round_trip_was_evicted() {
    let mut bench = Bench::with(Limits {
        echo_outstanding: 10,
        ..Limits::default()
    });
    for sequence in 0..30 {
        request(&mut bench, 0, sequence);
    }
    for sequence in 0..30 {
        reply(&mut bench, 5, sequence);
    }
    assert_eq!(bench.lost("echo requests without their round trip"), 20);
    bench.end(10);
    let echo = bench.echo();
    assert_eq!((echo.sent, echo.received, echo.samples), (30, 30, 10));
}

#[test]
fn requests_that_repeat_a_sequence_number_are_counted() {
    let mut bench = Bench::new();
    for at in 0..5 {
        request(&mut bench, at * 100, 0);
        reply(&mut bench, at * 100 + 1, 0);
    }
    bench.end(1_000);
    let echo = bench.echo();
    assert_eq!((echo.sent, echo.received, echo.duplicates), (5, 5, 0));
}

#[test]
fn a_pinged_pod_is_the_server() {
    let mut bench = Bench::new();
    bench
        .see(echo(0, ToPod, false, 77, 1))
        .see(echo(1, FromPod, true, 77, 1))
        .end(2);
    let echo = bench.echo();
    assert_eq!((echo.role, echo.sent, echo.received), (Role::Server, 1, 1));
}

#[test]
fn opposite_pings_with_one_identifier_are_two_runs() {
    let mut bench = Bench::new();
    request(&mut bench, 0, 1);
    bench
        .see(echo(1, ToPod, false, 77, 1))
        .see(echo(2, FromPod, true, 77, 1))
        .end(3);
    let seen: Vec<(Role, u64, u64)> = runs(&mut bench)
        .iter()
        .map(|echo| (echo.role, echo.sent, echo.received))
        .collect();
    assert_eq!(seen, [(Role::Client, 1, 0), (Role::Server, 1, 1)]);
}

#[test]
fn icmp_errors_are_counted_with_the_run_they_quote() {
    let mut bench = Bench::new();
    let about = flow(Protocol::Icmp, 77, 0);
    for sequence in 1..=2 {
        request(&mut bench, u64::from(sequence) * 1_000, sequence);
        bench.see(icmp(
            u64::from(sequence) * 1_000 + 1,
            about,
            3,
            3,
            None,
            Some(sequence),
        ));
    }
    // The same error again does not count twice.
    bench.see(icmp(2_002, about, 3, 3, None, Some(2)));
    bench.end(3_000);
    let echo = bench.echo();
    assert_eq!((echo.sent, echo.received, echo.errors), (2, 0, 2));
    assert_eq!(
        echo.last_error
            .map(|error| (error.icmp_type, error.icmp_code)),
        Some((3, 3))
    );
}

#[test]
fn reply_without_a_run_is_counted() {
    let mut bench = Bench::new();
    reply(&mut bench, 0, 1);
    bench.end(1).silent();
    assert_eq!(bench.lost("echo reply without a run"), 1);
}

#[test]
fn missed_reports_of_a_run_are_merged() {
    let mut bench = Bench::waiting(Thresholds {
        echo_report: Duration::from_nanos(1),
        ..Thresholds::default()
    });
    request(&mut bench, 0, 1);
    bench.at(1_000);
    assert_eq!(runs(&mut bench).len(), 1);
    bench.at(2_000);
    assert_eq!(runs(&mut bench).len(), 1);
}

#[test]
fn a_full_table_reports_the_oldest_run_and_counts_it() {
    let mut bench = Bench::with(Limits {
        echo_runs: 1,
        ..Limits::default()
    });
    request(&mut bench, 0, 1);
    bench.see(echo(1, FromPod, false, 78, 1));
    let evicted = bench.echo();
    assert_eq!((evicted.id, evicted.loss()), (77, None));
    assert_eq!(bench.lost("echo run table full"), 1);
}

/// A flood with one record per `every` packets; the kernel counts all. Every tenth request gets no reply.
fn flood(bench: &mut Bench, requests: u64, told_of: u64) -> u64 {
    let mut replies = 0;
    for number in 1..=requests {
        let at = 1_000 + number / 10;
        let sequence = number as u16;
        if number % told_of == 1 {
            bench.see(counted(
                echo(at, FromPod, false, 77, sequence),
                number,
                replies,
            ));
        }
        if number % 10 != 0 {
            replies += 1;
            // Records of requests and of replies are suppressed independently.
            if number % told_of <= 2 {
                bench.see(counted(
                    echo(at, ToPod, true, 77, sequence),
                    number,
                    replies,
                ));
            }
        }
    }
    replies
}

#[test]
fn a_flood_with_suppressed_records_uses_the_kernels_counts() {
    let mut bench = Bench::new();
    let replies = flood(&mut bench, 5_000, 50);
    bench.events();
    let about = flow(Protocol::Icmp, 77, 0);
    // The flood is over at 1.5 s; the sweep with its last packets comes at 5 s.
    bench.at(4_999).silent();
    bench.sweep(5_000, about, 1_500, 5_000, replies);
    bench.at(5_600);
    let echo = bench.echo();
    assert_eq!((echo.sent, echo.received), (5_000, replies));
    assert_eq!(echo.state, EchoState::Done);
    assert_eq!((echo.samples, echo.duplicates), (100, 0), "those recorded");
    assert_eq!(bench.all_lost(), 0);
}

#[test]
fn a_flood_is_reported_without_a_sweep_if_none_comes() {
    let mut bench = Bench::new();
    flood(&mut bench, 5_000, 50);
    bench.at(14_400).silent();
    bench.at(14_600);
    let echo = bench.echo();
    // As of the last record.
    assert_eq!((echo.sent, echo.received), (4_952, 4_457));
}

#[test]
fn a_ping_with_kernel_counters_is_done_after_three_seconds() {
    let mut bench = Bench::new();
    for number in 1..=5 {
        let at = number * 1_000;
        bench.see(counted(
            echo(at, FromPod, false, 77, number as u16),
            number,
            number - 1,
        ));
        bench.see(counted(
            echo(at + 1, ToPod, true, 77, number as u16),
            number,
            number,
        ));
    }
    bench.at(8_000);
    let echo = bench.echo();
    assert_eq!((echo.sent, echo.received, echo.samples), (5, 5, 5));
}

#[test]
fn reply_to_a_request_before_the_start_is_not_counted_as_an_answer() {
    let mut bench = Bench::new();
    bench
        .see(counted(echo(1_000, FromPod, false, 77, 9), 9, 7))
        .see(counted(echo(1_001, ToPod, true, 77, 8), 9, 8))
        .end(2_000);
    let echo = bench.echo();
    assert_eq!((echo.sent, echo.received), (1, 0));
    assert_eq!(bench.lost("echo reply without a request"), 1);
}

#[test]
fn opposite_pings_share_the_kernels_counters_and_count_separately() {
    let mut bench = Bench::new();
    let (mut sent, mut got) = (0, 0);
    for number in 0..3_u16 {
        let at = u64::from(number) * 1_000;
        for (after, direction, reply) in [
            (0, FromPod, false),
            (1, ToPod, true),
            (2, ToPod, false),
            (3, FromPod, true),
        ] {
            match direction {
                FromPod => sent += 1,
                ToPod => got += 1,
            }
            bench.see(counted(
                echo(at + after, direction, reply, 77, number),
                sent,
                got,
            ));
        }
    }
    bench.end(2_100);
    let seen: Vec<(Role, u64, u64)> = runs(&mut bench)
        .iter()
        .map(|echo| (echo.role, echo.sent, echo.received))
        .collect();
    assert_eq!(seen, [(Role::Client, 3, 3), (Role::Server, 3, 3)]);
}
