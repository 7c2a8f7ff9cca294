//! The false-alarm test in virtual time: an hour of ordinary traffic of thousands of pods through the whole
//! pure pipeline, in which no failure may be found; and the same traffic with one fault, of which
//! exactly that is found.
//!
//! `traffic` makes healthy traffic with a fixed seed, and counts it; `cluster` lets pods come
//! and go; `story` puts both in order and plays them.

mod cluster;
mod story;
mod traffic;

use std::collections::BTreeMap;

use tracer_core::model::connection::TcpState;
use tracer_core::model::echo::EchoState;
use tracer_core::model::event::{Body, Event};
use tracer_core::model::exchange::Outcome;
use tracer_core::model::finding::Severity;
use tracer_core::model::flow::Role;
use tracer_core::pipeline::Input;

use cluster::{DNS, Guest};
use story::{Happening, MINUTE, MS, Played, SECOND, Story};
use traffic::{Done, Hour};

/// The inputs of some minutes of ordinary traffic.
pub(super) fn inputs(seed: u64, minutes: u64) -> Vec<Input> {
    let mut inputs = Vec::new();
    let hour = Hour::generate(seed, minutes * MINUTE);
    hour.story.each(|input| inputs.push(input));
    inputs
}

/// What was reported about it, in the generator's own terms.
fn reported(events: &[Event]) -> Done {
    let mut reported = Done::default();
    for event in events {
        let Some(ends) = &event.ends else { continue };
        let client = ends.role == Role::Client;
        match &event.body {
            Body::Dns(exchange, _) if client && exchange.outcome == Outcome::Answered => {
                reported.answers += 1;
            }
            Body::Dns(exchange, _) if client && exchange.outcome == Outcome::Nxdomain => {
                reported.nxdomains += 1;
            }
            Body::Lookup(lookup) if client && lookup.outcome == Outcome::Answered => {
                reported.lookups += 1;
            }
            Body::Tcp(connection) if connection.state == TcpState::Established => {
                *(if client {
                    &mut reported.connections
                } else {
                    &mut reported.accepted
                }) += 1;
            }
            Body::Echo(echo) if client && echo.state == EchoState::Done => {
                reported.pings += echo.sent;
                reported.pongs += echo.received;
            }
            _ => {}
        }
    }
    reported
}

/// Findings of severity warning or error, as `rule pod: summary`, with how often each was reported.
fn alarms(events: &[Event]) -> BTreeMap<String, u64> {
    let mut alarms = BTreeMap::new();
    for event in events {
        if let (Body::Finding(finding), Some(ends)) = (&event.body, &event.ends)
            && finding.severity != Severity::Info
            && !finding.is_resolved()
        {
            let who = ends.pod.identity.as_ref();
            let who = who.map_or_else(|_| ends.pod.ip.to_string(), |pod| pod.name.to_string());
            let line = format!("{} {who}: {}", finding.rule, finding.summary);
            *alarms.entry(line).or_default() += 1;
        }
    }
    alarms
}

#[test]
fn an_hour_of_ordinary_traffic_gives_no_warning_and_no_error() {
    let hour = Hour::generate(1, 60 * MINUTE);
    let Played { events, losses } = story::play(hour.story);
    assert_eq!(alarms(&events), BTreeMap::new());

    // All of it was seen and reported.
    let done = &hour.done;
    assert!(
        hour.pods > 2000 && done.lookups > 9_000 && done.connections > 5_000,
        "too little happened: {} pods, {done:?}",
        hour.pods
    );
    assert_eq!(reported(&events), *done);
    assert_eq!(losses, Vec::<String>::new());
}

#[test]
fn one_fault_in_the_same_traffic_is_found_and_nothing_else() {
    for fault in traffic::FAULTS {
        let mut hour = Hour::generate(2, 10 * MINUTE);
        let pod = hour.inject(5 * MINUTE, fault);
        let Played { events, .. } = story::play(hour.story);
        let alarms = alarms(&events);
        let expected = format!("{} {pod}: ", fault.rule);
        assert!(
            alarms.len() == 1 && alarms.keys().all(|alarm| alarm.starts_with(&expected)),
            "of {} in {pod}: {alarms:#?}",
            fault.rule
        );
    }
}

/// What is left of the search path carries the pod's name, as if the pod had asked for nothing else.
#[test]
fn a_lookup_that_began_before_its_pod_was_known_is_no_failure() {
    // It becomes known while the pod waits for the first answer, or after that.
    for answered_after in [500, 5] {
        began_unnamed(answered_after);
    }
}

fn began_unnamed(answered_after: u64) {
    let guest = Guest::new(0, 20, SECOND, MINUTE);
    let mut story = Story::default();
    let none = cluster::inventory([].into_iter());
    story.at(0, Happening::Cluster(Box::new(none)));
    let cluster = cluster::inventory([&guest].into_iter());
    story.at(5250 * MS, Happening::Cluster(Box::new(cluster)));
    story.at(SECOND, Happening::Attached(guest.ifindex));
    let asked = [
        (5000, "AAAA web.shop.svc.cluster.local.", "NOERROR"),
        (5600, "AAAA web.svc.cluster.local.", "NXDOMAIN"),
        (5610, "AAAA web.cluster.local.", "NXDOMAIN"),
        (5620, "AAAA web.", "NXDOMAIN"),
        (5630, "A web.shop.svc.cluster.local.", "NOERROR"),
    ];
    let latencies = [answered_after, 5, 5, 5, 5];
    let asked = asked.into_iter().zip(latencies);
    for (port, ((at, question, rcode), latency)) in (40_001..).zip(asked) {
        let (from, to) = (format!("{}:{port}", guest.ip), format!("{DNS}:53"));
        let answer = if question.starts_with("A ") {
            "5 A 10.152.183.40"
        } else {
            "+soa=5:5"
        };
        let query = format!("udp {from} {to} query {port} {question}");
        let reply = format!("udp {to} {from} answer {port} {rcode} {question} {answer}");
        story.out(at * MS, guest.ifindex, query);
        story.back((at + latency) * MS, guest.ifindex, reply);
    }
    let found = Happening::Found(guest.ifindex, guest.uid.clone());
    story.at(5300 * MS, found);
    let events = story::play(story).events;
    assert_eq!(alarms(&events), BTreeMap::new());
    let unnamed = |event: &&Event| {
        event
            .ends
            .as_ref()
            .is_some_and(|ends| ends.pod.identity.is_err())
    };
    assert!(
        events.iter().any(|event| unnamed(&event)),
        "the pod was known from the beginning"
    );
}
