//! Events from the packets of common programs agree with the programs' own reports.

use std::time::Duration;

use super::Correlator;
use crate::decode::Decoder;
use crate::decode::testing::{Capture, capture};
use crate::model::connection::{RefusedBy, TcpConnection, TcpState, UdpState};
use crate::model::correlated::CorrelatedEvent;
use crate::model::echo::{Echo, EchoState};
use crate::model::exchange::Outcome;
use crate::model::flow::{Role, Traffic};
use crate::model::settings::{Limits, Thresholds};
use crate::model::time::Timestamp;

/// The events of a capture followed by ten minutes of silence.
fn events(capture: &Capture) -> Vec<CorrelatedEvent> {
    let mut decoder = Decoder::new(vec![53]);
    let mut correlator = Correlator::new(Thresholds::default(), &Limits::default());
    let mut out = Vec::new();
    for packet in &capture.packets {
        let observation = decoder.decode(&packet.record).expect(packet.tshark);
        correlator.observe(observation, &mut out);
    }
    for second in 0..600 {
        correlator.advance(Timestamp(second * 1_000_000_000), &mut out);
    }
    correlator.end(Timestamp(600_000_000_000), &mut out);
    assert_eq!(correlator.losses().total(), 0, "{}", capture.case);
    out.into_iter()
        .map(|item| item.event)
        .filter(|what| !matches!(what, CorrelatedEvent::Asked(_)))
        .collect()
}

/// The number before this word in the program's output.
fn reported(capture: &Capture, word: &str) -> u64 {
    let line = capture
        .output
        .iter()
        .find(|line| line.contains(" packets transmitted"))
        .expect("ping's summary");
    let before = line.split(", ").find_map(|part| part.strip_suffix(word));
    before.map_or(0, |number| {
        number.trim_start_matches('+').parse().expect("a number")
    })
}

fn echo(capture: &Capture) -> Echo {
    let events = events(capture);
    let [CorrelatedEvent::Echo(echo)] = &events[..] else {
        panic!("{}: {events:#?}", capture.case)
    };
    Echo::clone(echo)
}

fn tcp(capture: &Capture) -> Vec<TcpConnection> {
    events(capture)
        .into_iter()
        .map(|what| match what {
            CorrelatedEvent::Tcp(connection) => *connection,
            other => panic!("{}: {other:?}", capture.case),
        })
        .collect()
}

#[test]
fn ping_counts_what_ping_counts() {
    for case in [
        "ping",
        "ping-lost",
        "ping-ttl",
        "ping-frag",
        "ping6",
        "ping6-frag",
    ] {
        let capture = capture(case);
        let echo = echo(&capture);
        assert_eq!(
            echo.sent,
            reported(&capture, " packets transmitted"),
            "{case}"
        );
        assert_eq!(echo.received, reported(&capture, " received"), "{case}");
        assert_eq!(echo.errors, reported(&capture, " errors"), "{case}");
        assert_eq!(
            (echo.role, echo.state, echo.duplicates),
            (Role::Client, EchoState::Done, 0),
            "{case}"
        );
    }
}

#[test]
fn round_trips_agree_with_pings() {
    for case in ["ping", "ping6"] {
        let capture = capture(case);
        let figures: Vec<Duration> = capture
            .output
            .iter()
            .find_map(|line| line.strip_prefix("rtt min/avg/max/mdev = "))
            .expect("ping's figures")
            .trim_end_matches(" ms")
            .split('/')
            .map(|figure| {
                Duration::from_secs_f64(figure.parse::<f64>().expect("a number") / 1_000.0)
            })
            .collect();
        let rtt = echo(&capture).rtt.expect("replies");
        // The veth is closer to the server than the program.
        for (ours, pings) in [rtt.min, rtt.avg, rtt.max].into_iter().zip(&figures) {
            assert!(
                ours <= *pings && *pings - ours < Duration::from_micros(300),
                "{case}: {ours:?} {pings:?}"
            );
        }
        assert!(
            rtt.mdev <= figures[3] + Duration::from_micros(20),
            "{case}: {:?} {:?}",
            rtt.mdev,
            figures[3]
        );
    }
}

#[test]
fn errors_carry_the_mtu_that_ping_printed() {
    for (case, words) in [("ping-frag", "(mtu = 1300)"), ("ping6-frag", "mtu=1300")] {
        let capture = capture(case);
        assert!(
            capture.output.iter().any(|line| line.contains(words)),
            "{case}"
        );
        assert_eq!(
            echo(&capture).last_error.and_then(|error| error.mtu),
            Some(1300),
            "{case}"
        );
    }
}

#[test]
fn dig_that_was_refused_is_an_exchange_ended_by_icmp() {
    for case in ["dig-refused", "dig6-refused"] {
        let events = events(&capture(case));
        let [CorrelatedEvent::Exchange(exchange)] = &events[..] else {
            panic!("{case}: {events:#?}")
        };
        assert_eq!(
            (exchange.outcome, exchange.attempts),
            (Outcome::IcmpError, 1),
            "{case}"
        );
        assert_eq!(
            exchange
                .question
                .as_ref()
                .map(|question| question.name.as_str()),
            Some("a.example.")
        );
    }
}

#[test]
fn a_refused_connection_names_what_refused_it() {
    for (case, by) in [
        ("tcp-rst", RefusedBy::Rst),
        ("tcp6-rst", RefusedBy::Rst),
        ("tcp-icmp", RefusedBy::Icmp),
    ] {
        let capture = capture(case);
        assert!(
            capture
                .output
                .iter()
                .any(|line| line.contains("Connection refused")),
            "{case}"
        );
        let connections = tcp(&capture);
        assert_eq!(connections.len(), 1, "{case}: {connections:#?}");
        assert_eq!(connections[0].state, TcpState::Refused(by), "{case}");
    }
}

#[test]
fn dropped_syns_are_opening_and_then_a_timeout() {
    let connections = tcp(&capture("tcp-drop"));
    let seen: Vec<(TcpState, u32)> = connections
        .iter()
        .map(|connection| (connection.state, connection.syn_retransmits))
        .collect();
    // The last of the seven SYNs came more than 7 s after the first.
    assert_eq!(seen, [(TcpState::Opening, 2), (TcpState::Timeout, 5)]);
}

#[test]
fn curl_is_established_and_closed_with_its_bytes() {
    let capture = capture("curl");
    let connections = tcp(&capture);
    let states: Vec<TcpState> = connections
        .iter()
        .map(|connection| connection.state)
        .collect();
    assert_eq!(states, [TcpState::Established, TcpState::Closed]);
    let handshake = connections[0].handshake.expect("the SYN was seen");
    let line = capture
        .output
        .iter()
        .find_map(|line| line.strip_prefix("connect="))
        .expect("curl's figure");
    let connect: f64 = line
        .split(' ')
        .next()
        .expect("a word")
        .parse()
        .expect("seconds");
    assert!(
        handshake < Duration::from_secs_f64(connect),
        "{handshake:?}"
    );
    // tshark's frame lengths without Ethernet.
    let closed = connections[1].totals;
    assert_eq!(
        closed.tx,
        Traffic {
            packets: 7,
            bytes: 60 + 52 + 124 + 52 + 52 + 52 + 52
        }
    );
    assert_eq!(
        closed.rx,
        Traffic {
            packets: 5,
            bytes: 60 + 52 + 236 + 58 + 52
        }
    );
}

#[test]
fn datagrams_are_answered_by_icmp_or_stay_unanswered() {
    for (case, expected) in [
        (
            "udp-port",
            [UdpState::Open, UdpState::IcmpError, UdpState::Closed],
        ),
        (
            "udp-silent",
            [UdpState::Open, UdpState::Unanswered, UdpState::Closed],
        ),
    ] {
        let states: Vec<UdpState> = events(&capture(case))
            .into_iter()
            .map(|what| match what {
                CorrelatedEvent::Udp(flow) => flow.state,
                other => panic!("{case}: {other:?}"),
            })
            .collect();
        assert_eq!(states, expected, "{case}");
    }
}
