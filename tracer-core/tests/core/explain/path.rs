//! Where the latest failed attempt ended.

use tracer_core::model::connection::TcpState;
use tracer_core::model::path::{Hop, Path as PacketPath, Place, Verdict as PathVerdict};
use tracer_core::model::time::Timestamp;

use super::question::{Question, ROUTING, connection};

/// A path of a connection that was not answered.
fn unanswered_path(probable: bool) -> PacketPath {
    let hop = |place, name: &str, seen, what: &str| Hop {
        place,
        name: name.into(),
        node: None,
        seen,
        what: what.to_owned(),
    };
    PacketPath {
        time: Timestamp(90_000_000_000),
        verdict: PathVerdict::NotAnswered,
        line: "client ─✓─ a ─✓─ b ─✓─ ✗ web-0 (got 1 SYN, sent nothing)".to_owned(),
        hops: vec![
            hop(Place::Pod, "client", Some(true), "sent 1 SYN"),
            hop(Place::Node, "a", Some(true), ""),
            hop(Place::Node, "b", Some(true), "arrived"),
            hop(Place::Pod, "web-0", Some(false), "got 1 SYN, sent nothing"),
        ],
        probable,
    }
}

#[test]
fn the_path_of_the_failed_attempt_decides_where_no_finding_does() {
    let question = Question::new(&[ROUTING]);
    let failed = connection(
        &question.index,
        90,
        "10.21.0.10:80",
        None,
        TcpState::Timeout,
    );
    let earlier = connection(
        &question.index,
        80,
        "10.21.0.10:80",
        None,
        TcpState::Timeout,
    );
    let question = question.with(vec![earlier, failed]);
    let without = question.ask("team/client", None);
    assert!(without.attempts.path.is_none());
    assert!(
        without.verdict.says.contains("no rule found a cause"),
        "{:?}",
        without.verdict
    );
    let path = unanswered_path(false);
    let explained = question.follow("team/client", &path);
    let shown = explained.attempts.path.as_ref().expect("a path");
    assert_eq!(
        (shown.verdict, shown.hops.len()),
        ("not-answered-by-pod", 4)
    );
    let says = &explained.verdict.says;
    assert!(
        says.ends_with("it came to web-0, which sent nothing"),
        "{says}"
    );
    assert_eq!(explained.next.says, "check web-0");
    // Near miss: a match that is probable only is shown, and decides nothing.
    let explained = question.follow("team/client", &unanswered_path(true));
    assert!(explained.attempts.path.is_some());
    assert_eq!(explained.verdict, without.verdict);
}
