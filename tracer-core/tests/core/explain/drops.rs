//! Dropped packets of the attempt.

use std::net::SocketAddr;

use tracer_core::explain::VerdictKind;
use tracer_core::identity::Index;
use tracer_core::model::connection::TcpState;
use tracer_core::model::event::{Body, Event};
use tracer_core::model::flow::Protocol;
use tracer_core::model::signal::{DropPlace, PacketDrop, Tuple};
use tracer_core::model::time::Timestamp;

use super::question::{Question, ROUTING, ROUTING_POLICIES, connection, ends};

/// A packet of a connection's flow that the node of the pod `of` dropped.
fn dropped(
    index: &Index,
    second: u64,
    (src, dst): (&str, &str),
    reason: &'static str,
    of: &str,
) -> Event {
    let end = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let (src, dst) = (end(src), end(dst));
    let known = index.pods_named(of).next().expect("a pod");
    let own = |end: &SocketAddr| {
        let object = index.pod_object(known).expect("its object");
        object.ips.contains(&end.ip())
    };
    let addresses = if own(&src) { (src, dst) } else { (dst, src) };
    Event {
        time: Timestamp(second * 1_000_000_000),
        ends: Some(ends(index, of, addresses)),
        incomplete: false,
        body: Body::Drop(Box::new(PacketDrop {
            tuple: Tuple {
                protocol: Protocol::Tcp,
                src,
                dst,
            },
            tcp_flags: Some(2),
            reason,
            function: None,
            place: DropPlace::Node,
            device: None,
            unreported: 0,
        })),
    }
}

#[test]
fn a_dropped_packet_of_the_attempt_is_the_answer() {
    let question = Question::new(&[ROUTING]);
    let attempt = connection(
        &question.index,
        90,
        "10.97.0.5:443",
        None,
        TcpState::Timeout,
    );
    let packets = ("10.20.1.5:40090", "10.20.2.7:8080");
    let drop =
        |second, packets, reason| dropped(&question.index, second, packets, reason, "client");
    let events = vec![
        attempt,
        drop(90, packets, "NETFILTER_DROP"),
        drop(91, packets, "NETFILTER_DROP"),
        // Another flow's, one of an earlier flow, and an answer that came after the socket was closed.
        drop(91, ("10.20.1.5:40091", "10.20.2.7:8080"), "NETFILTER_DROP"),
        drop(80, packets, "NETFILTER_DROP"),
        drop(97, ("10.97.0.5:443", "10.20.1.5:40090"), "NO_SOCKET"),
    ];
    let question = question.with(events);
    let answer = question.ask("team/client", Some("admitted:443"));
    let drops: Vec<(&str, bool, u64, Option<&str>)> = answer
        .attempts
        .drops
        .iter()
        .map(|one| (one.reason, one.sent, one.packets, one.node.as_deref()))
        .collect();
    assert_eq!(
        drops,
        [
            ("NETFILTER_DROP", true, 2, Some("worker-1")),
            ("NO_SOCKET", false, 1, Some("worker-1"))
        ]
    );
    assert_eq!(answer.verdict.kind, VerdictKind::Fails);
    assert_eq!(
        answer.verdict.says,
        "team/client can't reach admitted:443: node worker-1 drops its packets (NETFILTER_DROP)"
    );
    assert!(
        answer.next.says.contains("rule of node worker-1"),
        "{:?}",
        answer.next
    );
    assert!(answer.next.command.is_some());
}

#[test]
fn a_dropped_packet_that_policies_deny_leads_to_the_policy() {
    let question = Question::new(&[ROUTING, ROUTING_POLICIES]);
    let events = vec![
        connection(
            &question.index,
            90,
            "10.97.0.5:443",
            None,
            TcpState::Timeout,
        ),
        // The agent of the server's node reports it.
        dropped(
            &question.index,
            90,
            ("10.20.1.5:40090", "10.20.2.7:8080"),
            "TC_INGRESS",
            "api-0",
        ),
    ];
    let answer = question
        .with(events)
        .ask("team/client", Some("admitted:443"));
    assert_eq!(answer.verdict.kind, VerdictKind::Fails);
    assert_eq!(
        answer.verdict.says,
        "team/client can't reach admitted:443: node worker-2 drops its packets (TC_INGRESS); team/client-out denies it"
    );
    assert_eq!(
        answer.next.command.as_deref(),
        Some("kubectl -n team describe networkpolicy client-out")
    );
}

#[test]
fn a_drop_of_an_attempt_that_succeeded_later_is_not_the_answer() {
    let question = Question::new(&[ROUTING]);
    let events = vec![
        connection(
            &question.index,
            90,
            "10.97.0.5:443",
            None,
            TcpState::Timeout,
        ),
        dropped(
            &question.index,
            90,
            ("10.20.1.5:40090", "10.97.0.5:443"),
            "NETFILTER_DROP",
            "client",
        ),
        connection(
            &question.index,
            95,
            "10.97.0.5:443",
            None,
            TcpState::Established,
        ),
        dropped(
            &question.index,
            96,
            ("10.97.0.5:443", "10.20.1.5:40095"),
            "TCP_OLD_DATA",
            "client",
        ),
    ];
    let answer = question
        .with(events)
        .ask("team/client", Some("admitted:443"));
    assert_eq!(answer.verdict.kind, VerdictKind::Works);
    assert_eq!(
        answer.attempts.drops.len(),
        1,
        "{:?}",
        answer.attempts.drops
    );
}
