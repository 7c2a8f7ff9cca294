//! TCP connections, UDP flows and pings as lines.

use super::line::{Row, Verdict};
use super::units::{bytes, count, duration, ping_milliseconds};
use super::{INCOMPLETE, icmp, names};
use crate::model::connection::{RefusedBy, TcpConnection, TcpState, UdpFlow, UdpState};
use crate::model::echo::{Echo, EchoState};
use crate::model::event::Ends;
use crate::model::flow::{FlowTotals, Role};

pub(super) fn tcp(connection: &TcpConnection, ends: Option<&Ends>, incomplete: bool) -> Row {
    let retransmits = u64::from(connection.syn_retransmits);
    let (verdict, word, detail) = match connection.state {
        TcpState::Opening => (
            Verdict::Warn,
            "opening",
            format!("{} yet", unanswered(connection)),
        ),
        TcpState::Established => {
            let mut detail = match connection.handshake {
                Some(handshake) => format!("in {}", duration(handshake)),
                None => String::new(),
            };
            if retransmits > 0 {
                detail.push_str(&format!(", {}", count(retransmits, "SYN retransmission")));
            }
            let slow = if retransmits > 0 {
                Verdict::Warn
            } else {
                Verdict::Good
            };
            (slow, "established", detail)
        }
        TcpState::Refused(by) => {
            let detail = match (by, &connection.icmp) {
                (RefusedBy::Rst, _) => "by a reset".to_owned(),
                (RefusedBy::Icmp, Some(error)) => icmp::sentence(error),
                (RefusedBy::Icmp, None) => "by an ICMP error".to_owned(),
            };
            (Verdict::Bad, "refused", detail)
        }
        TcpState::Timeout => (Verdict::Bad, "timeout", unanswered(connection)),
        TcpState::Reset => (Verdict::Bad, "reset", exchanged(connection.totals)),
        TcpState::Closed => {
            let totals = connection.totals;
            let silent = totals.tx.packets == 0 || totals.rx.packets == 0;
            let verdict = if silent {
                Verdict::Warn
            } else {
                Verdict::Neutral
            };
            (verdict, "closed", exchanged(totals))
        }
        TcpState::Idle => (Verdict::Neutral, "still open", exchanged(connection.totals)),
        TcpState::Undecided => (
            Verdict::Neutral,
            "undecided",
            undecided(connection, incomplete),
        ),
    };
    row(ends, "tcp", verdict, word, detail)
}

/// What became of the SYNs of an attempt.
fn unanswered(connection: &TcpConnection) -> String {
    let syns = count(u64::from(connection.syn_retransmits) + 1, "SYN");
    let evidence = &connection.evidence;
    match (&evidence.reply_from, evidence.late_answer) {
        (Some(reply), _) => format!("no usable answer to {syns}: answered from {}", reply.from),
        (None, Some(after)) => format!("answered after {}, when given up", duration(after)),
        (None, None) => format!("no answer to {syns}"),
    }
}

/// Why an attempt has no verdict.
fn undecided(connection: &TcpConnection, incomplete: bool) -> String {
    if incomplete {
        return INCOMPLETE.to_owned();
    }
    let syns = count(u64::from(connection.syn_retransmits) + 1, "SYN");
    match (
        connection.evidence.given_up,
        connection.evidence.late_answer,
    ) {
        (_, Some(after)) => format!("answered after {}, when given up", duration(after)),
        (Some(_), None) => format!("given up after {syns} without an answer"),
        (None, None) => format!("no answer to {syns} yet"),
    }
}

pub(super) fn udp(flow: &UdpFlow, ends: Option<&Ends>, incomplete: bool) -> Row {
    let (verdict, word, detail) = match flow.state {
        UdpState::Open => (Verdict::Neutral, "open", String::new()),
        UdpState::Unanswered => {
            // `tx` and `rx` are the pod's: a client pod sent the unanswered packets, a server pod received
            // them.
            let packets = match ends.map(|ends| ends.role) {
                Some(Role::Server) => flow.totals.rx.packets,
                _ => flow.totals.tx.packets,
            };
            let mut detail = format!("no answer to {}", count(packets, "packet"));
            if let Some(reply) = &flow.reply_from {
                detail = format!(
                    "no usable answer to {}: answered from {}",
                    count(packets, "packet"),
                    reply.from
                );
            }
            (Verdict::Bad, "unanswered", detail)
        }
        UdpState::IcmpError => {
            let detail = match &flow.icmp {
                Some(error) => icmp::sentence(error),
                None => String::new(),
            };
            (Verdict::Bad, "ICMP error", detail)
        }
        UdpState::Closed => (Verdict::Neutral, "closed", exchanged(flow.totals)),
        UdpState::Undecided => {
            let why = if incomplete {
                INCOMPLETE
            } else {
                "no answer yet"
            };
            (Verdict::Neutral, "undecided", why.to_owned())
        }
    };
    row(ends, "udp", verdict, word, detail)
}

pub(super) fn echo(echo: &Echo, ends: Option<&Ends>) -> Row {
    let (verdict, word) = if echo.state == EchoState::Undecided {
        (Verdict::Neutral, "undecided")
    } else if echo.received == 0 && echo.sent > 0 {
        (Verdict::Bad, "no answer")
    } else if echo.received < echo.sent || echo.errors > 0 {
        (Verdict::Warn, "some lost")
    } else {
        (Verdict::Good, "answered")
    };
    let mut detail = format!("{} sent, {} received", echo.sent, echo.received);
    if echo.duplicates > 0 {
        detail.push_str(&format!(", {}", count(echo.duplicates, "duplicate")));
    }
    if let Some(loss) = echo.loss() {
        let loss = loss * 100.0;
        // A small loss must not round to 0 %, nor a single answer to 100 %.
        let digits = if loss > 0.0 && loss < 1.0 || loss > 99.0 && loss < 100.0 {
            2
        } else {
            0
        };
        detail.push_str(&format!(", {loss:.digits$} % loss"));
    }
    match echo.state {
        EchoState::Running => detail.push_str(" so far"),
        EchoState::Undecided => detail.push_str(&format!(", {INCOMPLETE}")),
        EchoState::Done => {}
    }
    let mut tail = Vec::new();
    if let Some(rtt) = echo.rtt {
        tail.push(format!(
            "rtt min/avg/max/mdev {}/{}/{}/{} ms",
            ping_milliseconds(rtt.min),
            ping_milliseconds(rtt.avg),
            ping_milliseconds(rtt.max),
            ping_milliseconds(rtt.mdev)
        ));
        // Late replies have no round-trip time, so the numbers can cover fewer replies than were received.
        if echo.samples != echo.received {
            tail.push(format!("of {}", count(echo.samples, "reply")));
        }
    }
    if let Some(error) = &echo.last_error {
        tail.push(format!(
            "{}: {}",
            count(echo.errors, "error"),
            icmp::sentence(error)
        ));
    }
    let mut row = row(ends, "ping", verdict, word, detail);
    if let Some(ends) = ends {
        row.subject = format!("{} {}", names::arrow(Some(ends)), names::peer(&ends.peer));
    }
    row.tail = tail.join(" ");
    row
}

fn row(
    ends: Option<&Ends>,
    kind: &'static str,
    verdict: Verdict,
    word: &str,
    detail: String,
) -> Row {
    let subject = match ends {
        Some(ends) if ends.role == Role::Client => names::peer_with_port(&ends.peer),
        // The client's port is ephemeral and means nothing; the pod's own port identifies the server.
        Some(ends) => match ends.pod.port {
            Some(port) => format!("{} on :{port}", names::peer(&ends.peer)),
            None => names::peer(&ends.peer),
        },
        None => String::new(),
    };
    Row {
        kind,
        subject: format!("{} {subject}", names::arrow(ends)),
        verdict: Some((verdict, word.to_owned())),
        detail,
        ..Row::default()
    }
}

fn exchanged(totals: FlowTotals) -> String {
    let mut text = format!(
        "sent {}, received {}",
        bytes(totals.tx.bytes),
        bytes(totals.rx.bytes)
    );
    if let Some(segments) = totals.retransmits.filter(|segments| *segments > 0) {
        text.push_str(&format!(", {} sent again", count(segments, "segment")));
    }
    text
}
