//! Any observations in any order: no panic, the same output for the same input, and every item accounted for.

use super::Correlator;
use super::testing::{counted, dns, echo, flow, icmp, ms, packet, query, response, tcp, totals};
use crate::decode::Decoder;
use crate::decode::robustness::{Random, mangled, seeds};
use crate::model::correlated::{Correlated, CorrelatedEvent};
use crate::model::dns::{RecordType, ResponseCode};
use crate::model::exchange::Outcome;
use crate::model::flow::{Direction, FlowSnapshot, Ifindex, Protocol, SeenFlags};
use crate::model::loss::Missing;
use crate::model::observation::{Observation, What};
use crate::model::record::Record;
use crate::model::settings::{Limits, Thresholds};
use crate::model::time::Timestamp;

/// Small enough to overflow.
fn tight() -> Limits {
    Limits {
        exchanges: 20,
        connections: 20,
        udp_flows: 20,
        echo_runs: 3,
        echo_outstanding: 8,
        ..Limits::default()
    }
}

/// An observation of one of a few flows, so that they collide.
fn any(random: &mut Random, now: u64) -> Observation {
    // Records of two CPUs overtake each other slightly.
    let at = now.saturating_sub(random.below(3) as u64);
    let direction = if random.below(2) == 0 {
        Direction::FromPod
    } else {
        Direction::ToPod
    };
    let port = 1_000 + random.below(12) as u16;
    let id = random.below(4) as u16;
    let qtype = [RecordType::A, RecordType::AAAA][random.below(2)];
    let seen = match random.below(9) {
        0 | 1 => dns(
            at,
            direction,
            flow(Protocol::Udp, port, 53),
            query(id, "a.example.", qtype),
        ),
        2 => {
            let rcode = ResponseCode::from(0, random.below(16) as u8);
            dns(
                at,
                direction,
                flow(Protocol::Udp, port, 53),
                response(id, "a.example.", qtype, rcode, &[qtype]),
            )
        }
        3 | 4 => {
            let flags = ["S", "SA", "A", "FA", "R", "RA", "SF", ""][random.below(8)];
            let number = |random: &mut Random| 100 + random.below(3) as u32;
            let (sequence, acknowledgment) = (number(random), number(random));
            tcp(
                at,
                direction,
                flow(Protocol::Tcp, port, 80),
                flags,
                sequence,
                acknowledgment,
            )
        }
        5 | 6 => echo(
            at,
            direction,
            random.below(2) == 0,
            id,
            random.below(40) as u16,
        ),
        7 => {
            let protocol = [Protocol::Udp, Protocol::Tcp, Protocol::Icmp][random.below(3)];
            let about = match protocol {
                Protocol::Icmp => flow(protocol, id, 0),
                _ => flow(protocol, port, [53, 80, 514][random.below(3)]),
            };
            let code = random.below(5) as u8;
            Observation {
                direction,
                ..icmp(at, about, 3, code, None, Some(random.below(40) as u16))
            }
        }
        _ => packet(at, direction, flow(Protocol::Udp, port, 514), What::Other),
    };
    match random.below(3) {
        0 => seen,
        // Invented counters would report pings that were never sent.
        _ if matches!(seen.what, What::Echo(_)) => seen,
        _ => counted(seen, random.below(50) as u64, random.below(50) as u64),
    }
}

/// Input totals, to compare with the output.
#[derive(Default)]
struct Tally {
    queries: u64,
    responses: u64,
    requests: u64,
    replies: u64,
}

fn run(seed: u64, limits: &Limits) -> (Vec<Correlated>, Correlator, Tally) {
    let mut random = Random(seed);
    let mut correlator = Correlator::new(Thresholds::default(), limits);
    let (mut out, mut tally, mut now) = (Vec::new(), Tally::default(), 10);
    for _ in 0..4_000 {
        now += [0, 1, 50, 900, 4_000][random.below(5)] * u64::from(random.below(20) == 0) + 1;
        match random.below(12) {
            0 => correlator.advance(ms(now), &mut out),
            1 => {
                let protocol = [Protocol::Udp, Protocol::Tcp][random.below(2)];
                let flow = flow(
                    protocol,
                    1_000 + random.below(12) as u16,
                    [80, 514][random.below(2)],
                );
                let totals = totals(random.below(90) as u64, random.below(90) as u64);
                correlator.counters(
                    ms(now),
                    &[FlowSnapshot {
                        flow,
                        totals,
                        first: ms(0),
                        last: ms(now - 1),
                        tcp_flags: SeenFlags {
                            tx: random.below(32) as u8,
                            rx: random.below(32) as u8,
                        },
                    }],
                    &mut out,
                );
            }
            _ => {
                let seen = any(&mut random, now);
                match &seen.what {
                    What::Dns(message) if message.response => tally.responses += 1,
                    What::Dns(_) => tally.queries += 1,
                    What::Echo(message) if message.reply => tally.replies += 1,
                    What::Echo(_) => tally.requests += 1,
                    _ => {}
                }
                correlator.observe(seen, &mut out);
            }
        }
    }
    correlator.end(ms(now + 1), &mut out);
    (out, correlator, tally)
}

fn lost(correlator: &Correlator, reason: &str) -> u64 {
    correlator
        .losses()
        .iter()
        .filter(|loss| loss.reason == reason)
        .map(|loss| loss.count)
        .sum()
}

#[test]
fn same_input_gives_the_same_output() {
    for seed in 1..10 {
        let (first, ..) = run(seed, &tight());
        let (second, ..) = run(seed, &tight());
        assert_eq!(first.len(), second.len());
        assert_eq!(first, second);
    }
}

#[test]
fn every_query_and_answer_is_emitted_or_counted() {
    for seed in 1..25 {
        for limits in [tight(), Limits::default()] {
            let (out, correlator, tally) = run(seed, &limits);
            let exchanges = || {
                out.iter().filter_map(|item| match &item.event {
                    CorrelatedEvent::Exchange(exchange) => Some(exchange),
                    _ => None,
                })
            };
            let noted = out
                .iter()
                .filter(|item| matches!(item.event, CorrelatedEvent::Asked(_)))
                .count() as u64;
            assert_eq!(noted, tally.queries);
            let answered = exchanges()
                .filter(|exchange| exchange.rcode.is_some())
                .count() as u64;
            assert_eq!(
                answered + lost(&correlator, "dns duplicate answer"),
                tally.responses,
                "seed {seed}"
            );
            // A late answer's timeout was reported before.
            let attempts: u64 = exchanges()
                .filter(|exchange| !exchange.late && exchange.outcome != Outcome::Undecided)
                .map(|exchange| u64::from(exchange.attempts))
                .sum();
            let open = lost(&correlator, "dns undecided at the end")
                + lost(&correlator, "dns exchange table full");
            assert!(
                attempts + open <= tally.queries,
                "seed {seed}: more outcomes than queries"
            );
            if open == 0 {
                assert_eq!(attempts, tally.queries, "seed {seed}");
            }
        }
    }
}

#[test]
fn every_echo_request_and_reply_is_emitted_or_counted() {
    for seed in 1..25 {
        for limits in [tight(), Limits::default()] {
            let (out, correlator, tally) = run(seed, &limits);
            let (mut sent, mut replies) = (0, 0);
            for item in &out {
                if let CorrelatedEvent::Echo(echo) = &item.event
                    && echo.state != crate::model::echo::EchoState::Running
                {
                    sent += echo.sent;
                    replies += echo.received + echo.duplicates;
                }
            }
            assert_eq!(sent, tally.requests, "seed {seed}");
            let counted = lost(&correlator, "echo reply without a run")
                + lost(&correlator, "echo reply without a request");
            assert_eq!(replies + counted, tally.replies, "seed {seed}");
        }
    }
}

/// Messages of both directions with their prefixes, of a resolver that pipelines.
fn stream(responses: bool) -> Vec<u8> {
    use hickory_proto::op::{Message, MessageType, OpCode, Query};
    let kind = if responses {
        MessageType::Response
    } else {
        MessageType::Query
    };
    let mut bytes = Vec::new();
    for id in 0..12 {
        let mut message = Message::new(id, kind, OpCode::Query);
        let name = format!("name-{id}.example.").parse().expect("a name");
        message.add_query(Query::query(name, RecordType::A));
        let message = message.to_vec().expect("a message");
        bytes.extend((message.len() as u16).to_be_bytes());
        bytes.extend(message);
    }
    bytes
}

/// Segments of DNS streams: cut anywhere, reordered, repeated, lost, aborted, their ports reused.
fn dns_streams(seed: u64, limits: &Limits) -> (Vec<Correlated>, Correlator) {
    let mut random = Random(seed);
    let mut correlator = Correlator::new(Thresholds::default(), limits);
    let (mut out, mut now) = (Vec::new(), 10);
    let (queries, responses) = (stream(false), stream(true));
    // The position of each direction of each connection: most segments follow one another.
    let mut next = [[0; 2]; 4];
    for _ in 0..3_000 {
        now += [0, 1, 300, 7_000][random.below(4)] * u64::from(random.below(30) == 0) + 1;
        let (port, which) = (random.below(4), random.below(2));
        let (direction, bytes, first) = match which {
            0 => (Direction::FromPod, &queries, 101),
            _ => (Direction::ToPod, &responses, 501),
        };
        let flow = flow(Protocol::Tcp, 1_000 + port as u16, 53);
        let at = &mut next[port][which];
        if *at >= bytes.len() || random.below(80) == 0 {
            // A new connection; some SYNs are lost.
            next[port] = [0; 2];
            let flags = ["S", "SA"][which];
            correlator.observe(tcp(now, direction, flow, flags, first - 1, 0), &mut out);
            continue;
        }
        let from = match random.below(12) {
            0 => random.below(bytes.len()),
            _ => *at,
        };
        let to = from + random.below((bytes.len() - from).min(90)) + 1;
        *at = to;
        if random.below(40) == 0 {
            // Lost before the capture.
            continue;
        }
        let flags = match random.below(60) {
            0 => "R",
            1 => "FA",
            _ => "A",
        };
        let mut seen = tcp(now, direction, flow, flags, first + from as u32, 0);
        if let What::Tcp(segment) = &mut seen.what {
            segment.dns = true;
            segment.payload = bytes[from..to].to_vec();
            segment.length = (to - from) as u32 + u32::from(random.below(50) == 0);
            segment.cut = segment.length as usize > to - from;
        }
        correlator.observe(seen, &mut out);
    }
    correlator.advance(ms(now + 60_000), &mut out);
    correlator.end(ms(now + 60_000), &mut out);
    (out, correlator)
}

#[test]
fn every_query_over_tcp_is_emitted_or_counted() {
    let mut all = 0;
    for seed in 1..40 {
        for limits in [tight(), Limits::default()] {
            let (out, correlator) = dns_streams(seed, &limits);
            let (again, _) = dns_streams(seed, &limits);
            assert_eq!(out, again, "seed {seed}");
            let (mut noted, mut attempts) = (0, 0);
            for item in &out {
                match &item.event {
                    CorrelatedEvent::Asked(_) => noted += 1,
                    CorrelatedEvent::Exchange(exchange)
                        if !exchange.late && exchange.outcome != Outcome::Undecided =>
                    {
                        attempts += u64::from(exchange.attempts);
                    }
                    _ => {}
                }
            }
            let counted = lost(&correlator, "dns over tcp: answer lost in a gap")
                + lost(&correlator, "dns exchange table full");
            all += noted;
            assert!(
                attempts + counted <= noted,
                "seed {seed}: {attempts} {noted}"
            );
            if counted == 0 {
                assert_eq!(attempts, noted, "seed {seed}");
            }
            assert_eq!(lost(&correlator, "dns undecided at the end"), 0);
        }
    }
    assert!(all > 1_000, "only {all} queries came out of the streams");
}

#[test]
fn mangled_packets_correlate_without_panic() {
    let mut random = Random(0xc0ffee);
    let seeds = seeds();
    let mut decoder = Decoder::new(vec![53]);
    let mut correlator = Correlator::new(Thresholds::default(), &tight());
    let mut out = Vec::new();
    let mut now = 0;
    for _ in 0..30_000 {
        now += random.below(200_000_000) as u64;
        let bytes = mangled(&mut random, &seeds);
        let record = Record {
            time: Timestamp(now),
            ifindex: Ifindex(random.below(3) as u32),
            direction: if random.below(2) == 0 {
                Direction::FromPod
            } else {
                Direction::ToPod
            },
            ethertype: if bytes.first().is_some_and(|first| first >> 4 == 6) {
                0x86dd
            } else {
                0x0800
            },
            wire_len: bytes.len() as u32,
            chunk_offset: 0,
            missing: Missing::default(),
            totals: None,
            sender_cgroup: 0,
            sender_process: None,
            bytes,
        };
        if let Ok(observation) = decoder.decode(&record) {
            correlator.observe(observation, &mut out);
        }
        out.clear();
    }
    correlator.end(Timestamp(now), &mut out);
}
