//! The whole pipeline on arbitrary inputs, and both output formats on its events.
//!
//! Input: a byte that chooses the limits, then steps ([`steps`]): mostly plausible packets of a few flows, so
//! that queries meet answers, and ticks, counters and changes of the cluster between them.

pub mod packet;
pub mod steps;

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use tracer_core::decode::Decoder;
use tracer_core::model::event::{Body, Event};
use tracer_core::model::exchange::{Exchange, Transport};
use tracer_core::model::loss::Losses;
use tracer_core::model::observation::What;
use tracer_core::model::settings::{Limits, Memory, StreamLimits, Thresholds};
use tracer_core::model::time::Timestamp;
use tracer_core::pipeline::{Input, Pipeline, Settings};
use tracer_core::view::Encode;
use tracer_core::view::json::Json;
use tracer_core::view::text::{Text, TextSettings};

use super::safe;
use super::source::Source;

/// The target.
pub fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let limits = match source.byte() & 1 {
        0 => Limits::default(),
        _ => tight(),
    };
    let inputs = steps::inputs(&mut source);
    let (events, losses) = play(&limits, &inputs);
    check_dns(&inputs, &events, &losses);
    check_sinks(&events);
    let (again, again_lost) = play(&limits, &inputs);
    assert_eq!(events.len(), again.len(), "the same input, another output");
    assert_eq!(events, again, "the same input, another output");
    assert_eq!(losses, again_lost, "the same input, other losses");
}

/// Small enough to overflow.
fn tight() -> Limits {
    Limits {
        exchanges: 8,
        connections: 4,
        udp_flows: 4,
        echo_runs: 2,
        echo_outstanding: 4,
        lookups: 3,
        lookup_steps: 4,
        waiting_events: 4,
        memory: Memory {
            exchanges: 16 << 10,
            connections: 8 << 10,
            udp_flows: 4 << 10,
            echo_runs: 2 << 10,
            lookups: 8 << 10,
            names: 2 << 10,
            waiting_events: 4 << 10,
        },
        streams: StreamLimits {
            connections: 3,
            connection_bytes: 400,
            total_bytes: 800,
            out_of_order: 2,
            ..StreamLimits::default()
        },
    }
}

fn play(limits: &Limits, inputs: &[Input]) -> (Vec<Event>, Losses) {
    let mut pipeline = Pipeline::new(Settings {
        limits: limits.clone(),
        ..Settings::default()
    });
    let mut events = Vec::new();
    for input in inputs {
        let before = events.len();
        pipeline.step(input.clone(), &mut events);
        if matches!(input, Input::End(_)) {
            check_end(limits, &events[before..]);
        }
    }
    (events, pipeline.losses())
}

/// Events at the end were in a table, or waited for their pod's name: so there are no more of them than
/// they hold.
fn check_end(limits: &Limits, events: &[Event]) {
    let bounds = [
        (limits.connections, "tcp"),
        (limits.udp_flows, "udp"),
        (limits.echo_runs, "icmp"),
        (limits.lookups, "lookup"),
    ];
    for (limit, kind) in bounds {
        let reported = events
            .iter()
            .filter(|event| tracer_core::view::words::kind(&event.body) == kind)
            .count();
        assert!(
            reported <= limit + limits.waiting_events,
            "{reported} events of {kind} at the end"
        );
    }
}

/// The DNS input, as the decoder sees it.
#[derive(Default)]
struct Seen {
    queries: u64,
    responses: u64,
    /// Segments of DNS ports with payload: there may be messages in them.
    segments: u64,
}

impl Seen {
    fn of(inputs: &[Input]) -> Seen {
        let mut decoder = Decoder::new(vec![53]);
        let mut seen = Seen::default();
        for input in inputs {
            let Input::Record(record) = input else {
                continue;
            };
            match decoder.decode(record).map(|observation| observation.what) {
                Ok(What::Dns(message)) if message.response => seen.responses += 1,
                Ok(What::Dns(_)) => seen.queries += 1,
                Ok(What::Tcp(segment)) if !segment.payload.is_empty() => seen.segments += 1,
                _ => {}
            }
        }
        seen
    }
}

/// Every DNS message over UDP is reported, or what became of it is counted.
fn check_dns(inputs: &[Input], events: &[Event], losses: &Losses) {
    let seen = Seen::of(inputs);
    let (mut queries, mut responses) = (0, 0);
    for event in events {
        if let Body::Dns(exchange, _) = &event.body {
            queries += queries_of(exchange);
            responses += u64::from(reports_response(exchange));
        }
    }
    let lost = |reasons: &[&str]| -> u64 {
        let lost = losses.iter().filter(|loss| reasons.contains(&loss.reason));
        lost.map(|loss| loss.count).sum()
    };
    assert_eq!(
        lost(&["dns undecided at the end"]),
        0,
        "enough time passed for all to be decided"
    );
    let made_room = lost(&["dns exchange table full"]);
    let again = lost(&["dns duplicate answer"]);
    assert_eq!(
        responses + again,
        seen.responses,
        "answers reported or counted, and seen: {losses:?}"
    );
    if seen.segments > 0 {
        // Only the program itself knows how many attempts used TCP.
        return;
    }
    if made_room == 0 {
        assert_eq!(
            queries, seen.queries,
            "queries reported, and seen: {losses:?}"
        );
    } else {
        // An exchange that made room had one attempt or more.
        assert!(
            queries + made_room <= seen.queries,
            "{queries} reported, {made_room} made room, {} seen",
            seen.queries
        );
    }
}

/// Whether an exchange reports an answer over UDP. A truncated one that was followed up over TCP is its first
/// step; where the answer over TCP came late, the exchange was reported with its timeout before.
fn reports_response(exchange: &Exchange) -> bool {
    match exchange.transport {
        Transport::Udp => exchange.rcode.is_some(),
        Transport::Tcp => !exchange.steps.is_empty() && !exchange.late,
    }
}

/// How many queries an exchange reports. A late answer's were reported with its timeout.
fn queries_of(exchange: &Exchange) -> u64 {
    if exchange.late {
        0
    } else {
        exchange.attempts.into()
    }
}

/// Longer than every timeout.
fn all_thresholds() -> Duration {
    let thresholds = Thresholds::default();
    thresholds.dns_timeout + thresholds.dns_late + thresholds.tcp_timeout + thresholds.identity_wait
}

fn check_sinks(events: &[Event]) {
    let clock =
        |time: Timestamp| jiff::Timestamp::from_nanosecond(i128::from(time.0)).unwrap_or_default();
    let mut json = Json::new(Arc::from("a-node"));
    let mut texts = [false, true].map(|wide| {
        Text::new(TextSettings {
            wide,
            color: false,
            width: None,
            header: false,
            time_zone: TimeZone::UTC,
        })
    });
    let mut out = String::new();
    for event in events {
        out.clear();
        json.encode(event, &clock, &mut out).expect("a line");
        check_line(&out);
        for text in &mut texts {
            out.clear();
            text.encode(event, &clock, &mut out).expect("lines");
            assert!(out.ends_with('\n'), "{out:?}");
            safe::assert_terminal(&out);
        }
    }
}

fn check_line(written: &str) {
    let line = written.strip_suffix('\n').expect("the line is ended");
    assert!(!line.contains('\n'), "one line: {line:?}");
    safe::assert_terminal(line);
    let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
    let fields = value.as_object().expect("an object");
    for field in ["type", "time", "node"] {
        assert!(fields[field].is_string(), "{field} of {line}");
    }
}
