//! Which findings a report has, in which order, and what it says about the rest.

use std::sync::Arc;
use std::time::Duration;

use super::Report;
use crate::model::connection::{TcpState, UdpState};
use crate::model::dns::RecordType;
use crate::model::echo::EchoState;
use crate::model::event::{Body, Event};
use crate::model::exchange::{Outcome, Transport};
use crate::model::finding::{Finding, Severity, State};
use crate::view::gallery;

fn finding(id: &str, severity: Severity, resolved: bool, count: u64) -> Event {
    let mut event = gallery::finding(severity, resolved);
    if let Body::Finding(finding) = &mut event.body {
        finding.id = id.to_owned();
        finding.cause = id.to_owned();
        finding.count = count;
    }
    event
}

/// A finding of a pod of Deployment shop/web.
fn of_pod(pod: &str, change: impl FnOnce(&mut Finding)) -> Event {
    let mut event = gallery::finding(Severity::Error, false);
    if let Some(ends) = &mut event.ends {
        let workload = Some(("Deployment", "web"));
        ends.pod.identity = Ok(gallery::identity("shop", pod, workload, "node-1"));
    }
    if let Body::Finding(finding) = &mut event.body {
        finding.id = format!("nxdomain-other-namespace:shop/{pod}:db");
        finding.headline = format!(
            "shop/{pod} can't resolve \"db\": the Service is in namespace data; use db.data"
        )
        .into();
        finding.fix = Some("use db.data".into());
        finding.remedies =
            vec![format!("kubectl -n shop exec {pod} -- getent hosts db.data").into()];
        (finding.count, finding.of) = (2, 2);
        change(finding);
    }
    event
}

fn findings(report: &Report) -> Vec<Finding> {
    let findings = report.findings().into_iter();
    findings
        .filter_map(|event| match event.body {
            Body::Finding(finding) => Some(*finding),
            _ => None,
        })
        .collect()
}

#[test]
fn each_finding_appears_once_with_its_latest_count_and_the_most_severe_first() {
    let mut report = Report::default();
    for event in [
        finding("hint", Severity::Info, false, 1),
        finding("over", Severity::Error, false, 1),
        finding("bad", Severity::Error, false, 1),
        finding("bad", Severity::Error, false, 7),
        finding("over", Severity::Error, true, 1),
        finding("mild", Severity::Warning, false, 2),
    ] {
        report.take(&event);
    }
    let listed: Vec<_> = findings(&report)
        .into_iter()
        .map(|finding| (finding.id, finding.count))
        .collect();
    let expected = [("bad", 7), ("mild", 2), ("hint", 1), ("over", 1)];
    let expected = expected.map(|(id, count)| (id.to_owned(), count));
    assert_eq!(listed, expected);
    assert_eq!(report.new_findings().len(), 4, "one line per finding");
    let digest = report.digest();
    assert_eq!(digest.worst, Some(Severity::Error));
    assert_eq!(
        digest.to_string().lines().next(),
        Some(
            "0 lookups, 0 connections, 0 pings looked at; 2 errors, 1 warning, 1 hint, of which 1 resolved"
        )
    );
}

#[test]
fn of_equally_severe_findings_the_newest_is_first() {
    let mut report = Report::default();
    for (id, seconds) in [("oldest", 1), ("newest", 9), ("between", 5)] {
        let mut event = finding(id, Severity::Error, false, 1);
        if let Body::Finding(finding) = &mut event.body {
            finding.last = finding.last.after(Duration::from_secs(seconds));
        }
        report.take(&event);
    }
    let ids: Vec<_> = findings(&report).into_iter().map(|one| one.id).collect();
    assert_eq!(ids, ["newest", "between", "oldest"]);
}

#[test]
fn one_cause_in_the_pods_of_a_workload_is_one_finding() {
    let mut report = Report::default();
    for number in 0..12 {
        report.take(&of_pod(&format!("web-{number:02}"), |finding| {
            finding.state = State::Resolved;
            if number == 7 {
                finding.state = State::Intermittent;
                (finding.count, finding.of) = (10, 40);
            }
        }));
    }
    let findings = findings(&report);
    let [finding] = findings.as_slice() else {
        panic!("{findings:?}");
    };
    assert_eq!((finding.count, finding.of), (32, 62));
    assert_eq!(finding.state, State::Intermittent);
    assert_eq!(
        finding.headline.to_string(),
        "Deployment shop/web (12 pods) can't resolve \"db\": the Service is in namespace data; use db.data"
    );
    let pods = finding.pods.as_ref().expect("pods");
    assert_eq!(pods.count, 12);
    let expected: [Arc<str>; 3] = ["shop/web-07", "shop/web-00", "shop/web-01"].map(Arc::from);
    assert_eq!(pods.names, expected);
    // The commands are about the worst pod.
    assert!(finding.remedies[0].to_string().contains("exec web-07"));
    let digest = report.digest();
    assert_eq!((digest.errors, digest.intermittent), (1, 1));
}

#[test]
fn other_causes_workloads_and_pods_without_a_workload_stay_apart() {
    let mut report = Report::default();
    report.take(&of_pod("web-0", |_| {}));
    report.take(&of_pod("web-1", |finding| {
        finding.cause = "another".to_owned();
    }));
    // The gallery's pod has no workload.
    report.take(&finding("a", Severity::Error, false, 1));
    report.take(&finding("b", Severity::Error, false, 1));
    assert_eq!(findings(&report).len(), 4);
    assert!(
        findings(&report)
            .iter()
            .all(|finding| finding.pods.is_none())
    );
}

#[test]
fn a_headline_with_a_share_gets_the_sums_and_keeps_its_fix() {
    let long = "a-service-with-a-name-that-takes-nearly-all-of-the-room-of-a-line";
    let mut report = Report::default();
    for pod in ["web-0", "web-1"] {
        report.take(&of_pod(pod, |finding| {
            (finding.count, finding.of) = (30, 60);
            finding.fix = Some("probe default/web-1".into());
            finding.headline = format!(
                "shop/{pod}: 30 of 60 connections to Service default/{long} are refused: one endpoint; probe default/web-1"
            )
            .into();
        }));
    }
    let headline = findings(&report)[0].headline.to_string();
    let begin = "Deployment shop/web (2 pods): 60 of 120 connections to Service default/";
    assert!(headline.starts_with(begin), "{headline}");
    assert!(headline.ends_with("; probe default/web-1"), "{headline}");
    assert!(headline.chars().count() <= 160, "{headline}");
}

#[test]
fn a_connection_with_two_events_counts_once() {
    let mut report = Report::default();
    let states = [TcpState::Established, TcpState::Closed];
    for ends in [
        gallery::client("10.152.183.117", 80),
        gallery::client("10.152.183.117", 81),
    ] {
        for state in states {
            report.take(&gallery::tcp(ends.clone(), state, |_| {}));
        }
    }
    assert_eq!(report.digest().examined.connections, 2);
}

#[test]
fn what_is_open_at_the_end_is_named() {
    let mut report = Report::default();
    let open = gallery::exchange("db.shop.", RecordType::A, Outcome::Undecided);
    report.take(&gallery::dns(gallery::kube_dns(), open, None));
    let syn = |state| gallery::tcp(gallery::client("192.0.2.9", 25), state, |_| {});
    report.take(&syn(TcpState::Undecided));
    let digest = report.digest();
    assert_eq!((digest.worst, digest.undecided.total()), (None, 2));
    let text = digest.to_string();
    assert!(
        text.contains(
            "1 DNS query was still unanswered when the capture ended: A db.shop from default/deb-ubuntu to \
             kube-system/kube-dns"
        ),
        "{text}"
    );
    assert!(
        text.contains("1 connection was still unanswered when the capture ended: from default/deb-ubuntu to 192.0.2.9:25"),
        "{text}"
    );
    assert!(text.contains("nothing found, 2 undecided"), "{text}");
    // A later answer decides it.
    report.take(&syn(TcpState::Established));
    assert_eq!(report.digest().undecided.total(), 1);
}

#[test]
fn a_query_over_tcp_may_have_been_answered_in_bytes_that_are_missing() {
    let mut report = Report::default();
    let mut open = gallery::exchange("db.shop.", RecordType::A, Outcome::Undecided);
    open.transport = Transport::Tcp;
    report.take(&gallery::dns(gallery::kube_dns(), open, None));
    let text = report.digest().to_string();
    let line = "1 DNS query was left undecided because the capture ended or lacks bytes of the TCP connection: A db.shop";
    assert!(text.contains(line), "{text}");
    assert!(!text.contains("still unanswered"), "{text}");
}

fn incomplete(mut event: Event) -> Event {
    event.incomplete = true;
    event
}

#[test]
fn what_lost_records_left_undecided_is_named_with_that_cause() {
    let mut report = Report::default();
    let query = gallery::exchange("db.shop.", RecordType::A, Outcome::Undecided);
    report.take(&incomplete(gallery::dns(gallery::kube_dns(), query, None)));
    let host = || gallery::client("192.0.2.9", 25);
    let opening = gallery::tcp(host(), TcpState::Opening, |_| {});
    report.take(&opening);
    let lost = gallery::tcp(host(), TcpState::Undecided, |_| {});
    report.take(&incomplete(lost));
    let udp = gallery::udp(host(), UdpState::Undecided, |_| {});
    report.take(&incomplete(udp));
    // A run that continues has several events.
    for sent in [4, 9] {
        let ping = gallery::echo(host(), sent, 3, |echo| echo.state = EchoState::Undecided);
        report.take(&incomplete(ping));
    }
    let digest = report.digest();
    assert_eq!(digest.worst, None);
    assert_eq!(
        digest.to_string(),
        "0 lookups, 1 connection, 1 UDP flow, 1 ping looked at; nothing found, 4 undecided\n\
         1 DNS query was left undecided because records were lost or a table was full: A db.shop from \
         default/deb-ubuntu to kube-system/kube-dns\n\
         1 connection was left undecided because records were lost or a table was full: from \
         default/deb-ubuntu to 192.0.2.9:25\n\
         1 UDP flow was left undecided because records were lost or a table was full: from \
         default/deb-ubuntu to 192.0.2.9:25\n\
         1 ping was left undecided because records were lost or a table was full: from \
         default/deb-ubuntu to 192.0.2.9\n"
    );
}

#[test]
fn a_udp_flow_without_an_answer_at_the_end_is_named_as_still_unanswered() {
    let mut report = Report::default();
    let undecided = gallery::udp(
        gallery::client("192.0.2.9", 25),
        UdpState::Undecided,
        |_| {},
    );
    report.take(&undecided);
    let text = report.digest().to_string();
    let line = "1 UDP flow was still unanswered when the capture ended: from default/deb-ubuntu to 192.0.2.9:25";
    assert!(text.contains(line), "{text}");
}

#[test]
fn an_incomplete_lookup_counts_unless_one_of_its_queries_does() {
    let mut report = Report::default();
    let of_steps = |steps: &[Outcome]| {
        let mut event = gallery::lookup(Some("db"), Outcome::Undecided, Vec::new());
        if let Body::Lookup(lookup) = &mut event.body {
            lookup.steps = steps
                .iter()
                .map(|outcome| gallery::step("db.shop.", RecordType::A, Some(*outcome), &[]))
                .collect();
        }
        incomplete(event)
    };
    report.take(&of_steps(&[Outcome::Nxdomain, Outcome::Undecided]));
    assert_eq!(report.digest().undecided.total(), 0);
    report.take(&of_steps(&[Outcome::Nxdomain]));
    let text = report.digest().to_string();
    let line = "1 lookup was left undecided because records were lost or a table was full: db from \
                default/deb-ubuntu to kube-system/kube-dns";
    assert!(text.contains(line), "{text}");
}
