//! What was seen: attempts and findings of the pod.

use std::net::IpAddr;
use std::time::Duration;

use tracer_core::explain::VerdictKind;
use tracer_core::model::connection::{RefusedBy, TcpState};
use tracer_core::model::event::{Body, Event};
use tracer_core::model::finding::Severity;
use tracer_core::view::gallery;

use super::question::{Question, ROUTING, connection};

#[test]
fn failures_are_counted_for_each_endpoint() {
    let question = Question::new(&[ROUTING]);
    let refused = TcpState::Refused(RefusedBy::Rst);
    let events: Vec<Event> = [
        ("10.20.2.7", TcpState::Established),
        ("10.20.1.20", refused),
        ("10.20.2.7", TcpState::Established),
        ("10.20.1.20", refused),
        ("10.20.1.20", refused),
    ]
    .into_iter()
    .enumerate()
    .map(|(number, (backend, state))| {
        connection(
            &question.index,
            90 + number as u64,
            "10.97.0.2:80",
            Some(backend),
            state,
        )
    })
    // Another Service, and another port.
    .chain([
        connection(
            &question.index,
            97,
            "10.97.0.10:80",
            Some("10.20.2.7"),
            refused,
        ),
        connection(&question.index, 98, "10.97.0.2:81", None, refused),
    ])
    .collect();
    let answer = question
        .with(events)
        .ask("team/client", Some("local-here:80"));
    let [group] = &answer.attempts.groups[..] else {
        panic!("{:?}", answer.attempts.groups);
    };
    assert_eq!((group.kind, group.count, group.failed), ("tcp", 5, 3));
    assert_eq!(group.last.ago, Duration::from_secs(6));
    let shares: Vec<(IpAddr, u64, u64)> = group
        .endpoints
        .iter()
        .map(|one| (one.ip, one.count, one.failed))
        .collect();
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    assert_eq!(shares, [(ip("10.20.1.20"), 3, 3), (ip("10.20.2.7"), 2, 0)]);
    assert_eq!(answer.verdict.kind, VerdictKind::Fails);
}

#[test]
fn the_latest_event_of_a_connection_counts() {
    let question = Question::new(&[ROUTING]);
    let opening = connection(&question.index, 90, "10.97.0.2:80", None, TcpState::Opening);
    let timeout = connection(&question.index, 90, "10.97.0.2:80", None, TcpState::Timeout);
    let answer = question
        .with(vec![opening, timeout])
        .ask("team/client", Some("local-here"));
    assert_eq!(answer.attempts.groups[0].count, 1);
    assert_eq!(answer.attempts.groups[0].last_outcome, "timeout");
}

#[test]
fn events_of_other_pods_do_not_count() {
    let question = Question::new(&[ROUTING]);
    let event = connection(&question.index, 90, "10.97.0.2:80", None, TcpState::Timeout);
    let answer = question
        .with(vec![event])
        .ask("team/api-0", Some("local-here"));
    assert!(answer.attempts.groups.is_empty());
    assert_eq!(answer.verdict.kind, VerdictKind::Unknown);
}

#[test]
fn a_finding_about_another_port_of_the_service_is_not_the_answer() {
    let mut question = Question::new(&[ROUTING]);
    let failed = connection(&question.index, 90, "10.97.0.2:80", None, TcpState::Timeout);
    let mut event = gallery::finding(Severity::Error, false);
    event.ends = failed.ends;
    if let Body::Finding(finding) = &mut event.body {
        finding.rule = "connect-timeout";
    }
    question = question.with(vec![event]);
    for (to, rules) in [
        ("local-here", &["connect-timeout"][..]),
        ("local-here:80", &["connect-timeout"]),
        ("local-here:81", &[]),
    ] {
        let answer = question.ask("team/client", Some(to));
        let found: Vec<&str> = answer.findings.iter().map(|one| one.rule).collect();
        assert_eq!(found, rules, "{to}");
    }
}

#[test]
fn without_a_target_what_fails_comes_first() {
    let question = Question::new(&[ROUTING]);
    let events = vec![
        connection(&question.index, 90, "10.97.0.2:80", None, TcpState::Timeout),
        connection(
            &question.index,
            95,
            "10.97.0.10:80",
            None,
            TcpState::Established,
        ),
    ];
    let answer = question.with(events).ask("team/client", None);
    let groups: Vec<&str> = answer
        .attempts
        .groups
        .iter()
        .map(|one| one.to.as_str())
        .collect();
    assert_eq!(
        groups,
        ["Service team/local-here:80", "Service team/pair:80"]
    );
    assert_eq!(answer.verdict.kind, VerdictKind::Fails);
}
