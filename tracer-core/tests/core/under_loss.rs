//! What was lost is never evidence: records are dropped from traffic of every kind, and what is left must not
//! accuse anybody whom the whole traffic does not.
//!
//! The traffic is that of the scenario files, of some minutes of ordinary traffic, and of the captures. Losses
//! are random but seeded ([`lossy`]), and are reported as the probes do: with each record, before each tick, or
//! both. A failure names the case, and [`ONLY`] repeats it.

mod lossy;

use std::collections::BTreeSet;
use std::path::Path;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tracer_core::files::capture::{Reader, Replay, ReplaySettings};
use tracer_core::model::connection::{TcpState, UdpState};
use tracer_core::model::event::{Body, Event};
use tracer_core::model::exchange::Outcome;
use tracer_core::model::finding::Severity;
use tracer_core::pipeline::{Input, Pipeline, Settings};

use super::ordinary_hour;
use super::scenarios::{self, Scenario};
use lossy::Traffic;

/// Repeats one case: `TRACER_LOSS_CASE=finding-dns-timeout:7`.
const ONLY: &str = "TRACER_LOSS_CASE";

fn events(inputs: impl IntoIterator<Item = Input>) -> Vec<Event> {
    let mut pipeline = Pipeline::new(Settings::default());
    let mut events = Vec::new();
    for input in inputs {
        pipeline.step(input, &mut events);
    }
    events
}

/// What the events accuse of a failure: who, of what. Without times, which losses may change.
fn accusations(events: &[Event]) -> BTreeSet<String> {
    let mut accusations = BTreeSet::new();
    for event in events {
        let Some(ends) = &event.ends else { continue };
        let between = format!("{} and {}", ends.pod.ip, ends.peer.ip);
        let what = match &event.body {
            Body::Finding(finding) if finding.severity != Severity::Info => {
                let who = ends.pod.identity.as_ref();
                let who = who.map_or_else(|_| ends.pod.ip.to_string(), |pod| pod.name.to_string());
                accusations.insert(format!("{} {who}", finding.rule));
                continue;
            }
            Body::Dns(exchange, _) => match exchange.outcome {
                Outcome::Timeout => "dns timeout",
                Outcome::Other if exchange.asked_peer.is_some() => "dns from another address",
                _ if exchange.late => "dns late",
                _ if exchange.fragments_lost > 0 => "dns fragments lost",
                _ => continue,
            },
            Body::Lookup(lookup) if lookup.outcome == Outcome::Timeout => "lookup timeout",
            Body::Tcp(connection) => match connection.state {
                TcpState::Opening => "tcp opening",
                TcpState::Timeout => "tcp timeout",
                TcpState::Refused(_) => "tcp refused",
                TcpState::Reset => "tcp reset",
                _ if connection.evidence.unanswered.is_some() => "tcp stalled",
                _ => continue,
            },
            Body::Udp(flow) => match flow.state {
                UdpState::Unanswered => "udp unanswered",
                _ if flow.unanswered.is_some() => "udp stalled",
                _ => continue,
            },
            Body::Echo(echo) if echo.loss().is_some_and(|loss| loss > 0.0) => "ping loss",
            _ => continue,
        };
        accusations.insert(format!("{what} between {between}"));
    }
    accusations
}

/// Drops records of this traffic in so many ways, and compares.
fn check(name: &str, inputs: Vec<Input>, cases: u64) -> Vec<String> {
    let whole = accusations(&events(inputs.iter().cloned()));
    compare(name, inputs, &whole, cases)
}

/// The same, where the accusations of the whole traffic are known.
fn compare(name: &str, inputs: Vec<Input>, whole: &BTreeSet<String>, cases: u64) -> Vec<String> {
    let only = std::env::var(ONLY).ok();
    let only = only.as_deref().and_then(|only| only.split_once(':'));
    if only.is_some_and(|(wanted, _)| wanted != name) {
        return Vec::new();
    }
    let traffic = Traffic::new(inputs);
    let mut failures = Vec::new();
    for case in 0..cases {
        if only.is_some_and(|(_, wanted)| wanted != case.to_string()) {
            continue;
        }
        // A case does not depend on how many precede it.
        let mut random = StdRng::seed_from_u64(case);
        let loss = traffic.lose(&mut random);
        let events = events(traffic.without(&loss));
        let accused = accusations(&events);
        let new: Vec<&String> = accused.difference(whole).collect();
        if !new.is_empty() {
            failures.push(format!("{ONLY}={name}:{case} ({loss}): {new:?}"));
        }
    }
    failures
}

fn assert_none(failures: &[String]) {
    assert!(
        failures.is_empty(),
        "{} cases report a failure because of lost records:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn no_loss_in_a_scenario_makes_an_accusation() {
    let mut failures = Vec::new();
    for Scenario { name, played } in scenarios::all() {
        let whole = accusations(&played.events);
        failures.extend(compare(name, played.inputs.clone(), &whole, 12));
    }
    assert_none(&failures);
}

/// The same losses without their reports: the comparison above can fail.
#[test]
fn losses_that_nothing_reports_do_accuse() {
    let mut accused = BTreeSet::new();
    for Scenario { played, .. } in scenarios::all() {
        let whole = accusations(&played.events);
        let traffic = Traffic::new(played.inputs.clone());
        let loss = traffic.lose_silently(&mut StdRng::seed_from_u64(1));
        let found = accusations(&events(traffic.without(&loss)));
        accused.extend(found.difference(&whole).cloned());
    }
    assert!(accused.len() > 10, "{accused:?}");
}

#[test]
fn no_loss_in_ordinary_traffic_makes_an_accusation() {
    assert_none(&check("ordinary", ordinary_hour::inputs(3, 1), 4));
}

#[test]
fn no_loss_in_a_capture_makes_an_accusation() {
    let mut failures = Vec::new();
    for file in ["ethernet.pcapng", "dns-session.pcap.gz"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/captures")
            .join(file);
        let reader = Reader::open(path).expect("the fixture is in the repository");
        let mut replay = Replay::new(reader, &ReplaySettings::default());
        let pods = ["10.1.39.193", "fd00::39:193"].map(|pod| pod.parse().expect("an address"));
        let mut records = Vec::new();
        while replay
            .step(|ip| pods.contains(&ip), &mut records)
            .expect("it is whole")
        {}
        let end = records.last().expect("some").time;
        let mut inputs: Vec<Input> = records.into_iter().map(Input::Record).collect();
        inputs.push(Input::End(end));
        failures.extend(check(file, inputs, 30));
    }
    assert_none(&failures);
}
