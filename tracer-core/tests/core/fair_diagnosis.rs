//! What one pod does changes no finding of another.
//!
//! Each test plays a pod with failures twice: beside a pod that asks for a name that exists, and beside one that
//! asks for a new name that does not each time. So the pipeline takes a step at the same times in both.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use tracer_core::model::event::{Body, Event};
use tracer_core::model::finding::Finding;
use tracer_core::model::flow::Ifindex;
use tracer_core::pipeline::{Pipeline, Settings};

use super::scenario;

/// The interface of the pod that floods.
const FLOOD: u32 = 99;

/// The flood: fewer questions a second than a pod may have examined.
const PER_SECOND: u64 = 100;
const SECONDS: u64 = 60;

/// Failures of a pod that come and go: a name, a server that is silent, a port that refuses.
fn victim() -> Vec<(u64, String)> {
    let mut lines = Vec::new();
    let search = [
        "default.svc.cluster.local.",
        "svc.cluster.local.",
        "cluster.local.",
        "",
    ];
    for (round, at) in (0..).zip([0, 10_000, 20_000, 52_000]) {
        for (place, domain) in (0..).zip(search) {
            let port = 40_000 + round * 10 + place;
            let id = round * 10 + place;
            let name = format!("clusterip-apache2-ds-myns.{domain}");
            let ask = |at: u64, port: u64, name: &str, answer: &str| {
                format!("ask {at}ms 7 10.1.39.193:{port} 10.152.183.10:53 {id} A {name} {answer}")
            };
            let at = at + place;
            lines.push((at, ask(at, port, &name, "NXDOMAIN")));
            let found = "clusterip-apache2-ds-myns.myns.svc.cluster.local.";
            let at = at + 5000;
            if place == 0 {
                let name = "clusterip-apache2-ds-myns.myns.default.svc.cluster.local.";
                lines.push((at, ask(at, port + 4000, name, "NXDOMAIN")));
                lines.push((
                    at + 1,
                    ask(at + 1, port + 5000, found, "NOERROR 5 A 10.152.183.115"),
                ));
            }
        }
    }
    for (number, at) in (0..).zip((1500..50_000).step_by(3000)) {
        let (pod, peer) = (format!("10.1.39.193:{}", 30_000 + number), "203.0.113.7:81");
        lines.push((at, format!("at {at}ms 7 out tcp {pod} {peer} syn 100")));
        let at = at + 1;
        let answer = if number % 2 == 0 {
            "rst+ack 0 101"
        } else {
            "syn+ack 500 101"
        };
        lines.push((at, format!("at {at}ms 7 in tcp {peer} {pod} {answer}")));
    }
    for at in [3000, 8000] {
        let query = "udp 10.1.39.193:41999 203.0.113.53:53 query 9 A www.example.com.";
        lines.push((at, format!("at {at}ms 7 out {query}")));
    }
    lines
}

/// The victim beside a pod that asks questions for a minute. Returns the victim's events and the
/// other pod's findings.
fn play(ask: impl Fn(u64) -> String) -> (Vec<Event>, Vec<Finding>) {
    let mut lines = victim();
    for number in 0..PER_SECOND * SECONDS {
        let at = number * 1000 / PER_SECOND;
        let port = 20_000 + number % 20_000;
        let (id, question) = (number % 65_536, ask(number));
        let server = "10.152.183.10:53";
        lines.push((
            at,
            format!("ask {at}ms {FLOOD} 10.1.99.2:{port} {server} {id} A {question}"),
        ));
    }
    lines.sort_by_key(|(at, _)| *at);
    let mut text = "inventory testbed/lab/inventory.yaml\npod 7 default/deb-ubuntu\n".to_owned();
    for (_, line) in lines {
        writeln!(text, "{line}").expect("a string");
    }
    text.push_str("tick 63s\nend 100s\n");
    let events = scenario::play(&text).expect("a scenario").events;
    let of_flood = |event: &Event| {
        let ends = event.ends.as_ref();
        ends.is_some_and(|ends| ends.ifindex == Ifindex(FLOOD))
    };
    let (flood, victim): (Vec<Event>, Vec<Event>) = events.into_iter().partition(of_flood);
    let findings = flood.into_iter().filter_map(|event| match event.body {
        Body::Finding(finding) => Some(*finding),
        _ => None,
    });
    (victim, findings.collect())
}

#[test]
fn a_flood_of_names_that_do_not_exist_changes_nothing_about_another_pod() {
    let (calm, none) = play(|_| "www.example.com. NOERROR 5 A 192.0.2.1".to_owned());
    let (beside, flood) = play(|number| format!("x{number}.example.com. NXDOMAIN"));
    assert!(none.is_empty(), "{none:?}");

    let rules: BTreeSet<&str> = calm
        .iter()
        .filter_map(|event| match &event.body {
            Body::Finding(finding) => Some(finding.rule),
            _ => None,
        })
        .collect();
    assert_eq!(
        rules.into_iter().collect::<Vec<_>>(),
        [
            "connection-refused",
            "dns-timeout",
            "nxdomain-other-namespace"
        ],
        "the victim's failures"
    );
    assert_eq!(beside.len(), calm.len());
    for (beside, calm) in beside.iter().zip(&calm) {
        assert_eq!(beside, calm);
    }

    // The 32nd name gives way to the finding that counts the rest, so all failures are counted somewhere.
    let counts: BTreeMap<&str, u64> = flood
        .iter()
        .map(|finding| (finding.id.as_str(), finding.count))
        .collect();
    assert_eq!(counts.len(), 33, "{counts:#?}");
    assert_eq!(counts.values().sum::<u64>(), PER_SECOND * SECONDS);
    let rest = flood.iter().rfind(|finding| finding.cause == "more");
    let rest = rest.expect("a finding that counts the rest");
    assert_eq!(rest.id, "nxdomain-unknown-name:10.1.99.2:more");
    let headline = rest.headline.to_string();
    assert!(
        headline.contains("failures that have no finding of their own"),
        "{headline}"
    );
}

/// The size of findings counts, not only their number: names that are as long as DNS allows take all of the
/// room.
#[test]
fn large_findings_of_one_pod_drop_none_of_another() {
    let mut text = "inventory testbed/lab/inventory.yaml\npod 7 default/deb-ubuntu\n\
        ask 0ms 7 10.1.39.193:40000 10.152.183.10:53 1 A no-such-name.example.com. NXDOMAIN\n"
        .to_owned();
    let label = "x".repeat(60);
    for number in 0..30 {
        writeln!(
            text,
            "ask {}ms {FLOOD} 10.1.99.2:{} 10.152.183.10:53 {number} A x{number}.{label}.{label}.{label}.com. NXDOMAIN",
            1000 + number * 10,
            30_000 + number,
        )
        .expect("a string");
    }
    text.push_str("end 100s\n");
    let inputs = scenario::play(&text).expect("a scenario").inputs;
    let findings = |bytes: Option<usize>| {
        let mut settings = Settings::default();
        settings.diagnosis.finding_bytes = bytes.unwrap_or(settings.diagnosis.finding_bytes);
        let mut pipeline = Pipeline::new(settings);
        let mut events = Vec::new();
        for input in inputs.clone() {
            pipeline.step(input, &mut events);
        }
        let losses = pipeline.losses();
        let dropped = |ifindex: u32| {
            let own = losses.interfaces().iter().filter(|(of, loss)| {
                *of == Ifindex(ifindex) && loss.reason == "finding table full"
            });
            own.map(|(_, loss)| loss.count).sum::<u64>()
        };
        (dropped(7), dropped(FLOOD))
    };
    assert_eq!(findings(None), (0, 0), "all have room by default");
    let (victim, flood) = findings(Some(60_000));
    assert!(victim == 0 && flood > 10, "{victim} and {flood} dropped");
}
