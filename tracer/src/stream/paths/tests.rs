//! What proves that a server's interface was watched, with events and a status as agents send them.

use super::*;
use tracer_core::model::connection::TcpState;
use tracer_core::view::gallery;

const SERVER: &str = "10.1.79.66";
/// The client's attempt.
const ATTEMPT: Timestamp = Timestamp(1_000_000_000_000);

fn server_pod() -> Arc<PodIdentity> {
    gallery::identity("myns", "apache", None, "k8s-worker01")
}

/// An attempt without an answer, as the client's node saw it.
fn attempt() -> Event {
    let mut ends = gallery::client(SERVER, 80);
    ends.peer.pod = Some(server_pod());
    let mut event = gallery::tcp(ends, TcpState::Timeout, |tcp| {
        tcp.syn_retransmits = 2;
        tcp.last = ATTEMPT.after(Duration::from_secs(3));
    });
    event.time = ATTEMPT;
    event
}

/// Another client's connection to the server that began at this time.
fn other(began: Timestamp) -> Event {
    let mut ends = gallery::server(server_pod(), SERVER, 80);
    ends.peer.ip = "10.1.39.194".parse().expect("an address");
    ends.peer.pod = None;
    let mut event = gallery::tcp(ends, TcpState::Closed, |tcp| tcp.last = ATTEMPT);
    event.time = began;
    event
}

fn statuses() -> BTreeMap<NodeName, AgentStatus> {
    let status = |node: &str| {
        let interface = proto::Interface {
            pod: Some(proto::Pod {
                uid: server_pod().uid.to_string(),
                ..proto::Pod::default()
            }),
            ..proto::Interface::default()
        };
        let status = proto::StatusResponse {
            node: Some(proto::NodeInfo {
                node: node.to_owned(),
                now_unix_ns: i64::MAX,
                ..proto::NodeInfo::default()
            }),
            interfaces: vec![interface],
            drops_seen: true,
            ..proto::StatusResponse::default()
        };
        let clock = Clock::default();
        (node.into(), AgentStatus { status, clock })
    };
    ["k8s-worker03", "k8s-worker01"].map(status).into()
}

/// The verdict, where the server's agent reported one connection of another client at this time.
fn verdict(began: Timestamp, reported: Timestamp) -> &'static str {
    let attempt = attempt();
    let asked = Asked::about_attempt("k8s-worker03", &attempt).expect("it has a path");
    assert_eq!(
        asked.nodes(),
        ["k8s-worker03", "k8s-worker01"].map(NodeName::from)
    );
    let statuses = statuses();
    let mut gathered = Gathered::new(&asked, &statuses);
    let _ = gathered.take(Part::Client, "k8s-worker03", &attempt, ATTEMPT);
    let _ = gathered.take(Part::Server, "k8s-worker01", &other(began), reported);
    gathered.path().expect("a path").verdict.as_str()
}

#[test]
fn a_server_was_watched_from_the_first_report_on_and_not_from_the_begin_of_what_it_reports() {
    let before = Timestamp(ATTEMPT.0 - 100_000_000_000);
    let after = ATTEMPT.after(Duration::from_secs(30));
    // A long connection that the agent reports at its end: of the time before, it may have no event.
    assert_eq!(verdict(before, after), "server-half-unknown");
    // Near miss: it reported it when it was established.
    assert_eq!(verdict(before, before), "lost-between-nodes");
    // Nor does what began after the attempt show anything.
    assert_eq!(verdict(after, after), "server-half-unknown");
}
