//! Whether an attempt succeeded, and its outcome in words.

use std::time::Duration;

use crate::model::connection::{RefusedBy, TcpState, UdpState};
use crate::model::echo::{Echo, EchoState};
use crate::model::event::Body;
use crate::model::exchange::Outcome;
use crate::model::units::{count, duration};
use crate::view::filter;

/// Whether an attempt succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Result {
    /// It did.
    Succeeded,
    /// It failed.
    Failed,
    /// Nothing is known.
    Undecided,
}

/// Whether an attempt succeeded. A lookup of one type that comes back empty did not find an address, and is no
/// failure either: the other type may have one.
pub(super) fn result(body: &Body) -> Result {
    if let Body::Dns(exchange, _) = body {
        // It is about the server, which says that a name does not exist as readily as that it does.
        return match exchange.outcome {
            Outcome::Undecided => Result::Undecided,
            Outcome::Nxdomain => Result::Succeeded,
            outcome if outcome.failed() => Result::Failed,
            _ => Result::Succeeded,
        };
    }
    let undecided = match body {
        Body::Lookup(lookup) => matches!(lookup.outcome, Outcome::Undecided | Outcome::Nodata),
        Body::Tcp(connection) => connection.state == TcpState::Undecided,
        Body::Udp(flow) => {
            let unanswered = flow.state == UdpState::Closed && flow.totals.rx.packets == 0;
            unanswered || matches!(flow.state, UdpState::Undecided | UdpState::Open)
        }
        Body::Echo(echo) => echo.state == EchoState::Undecided,
        _ => false,
    };
    match (undecided, filter::failed(body)) {
        (true, _) => Result::Undecided,
        (false, true) => Result::Failed,
        (false, false) => Result::Succeeded,
    }
}

/// An outcome in words.
pub(super) fn described(body: &Body) -> String {
    match body {
        Body::Lookup(lookup) => of_dns(lookup.outcome, lookup.duration),
        Body::Dns(exchange, _) => of_dns(exchange.outcome, exchange.latency.unwrap_or_default()),
        Body::Tcp(connection) => match connection.state {
            TcpState::Refused(RefusedBy::Rst) => "refused by a RST".to_owned(),
            TcpState::Refused(RefusedBy::Icmp) => "refused by an ICMP error".to_owned(),
            TcpState::Timeout | TcpState::Opening if connection.evidence.reply_from.is_some() => {
                "answered from another address alone".to_owned()
            }
            TcpState::Timeout | TcpState::Opening => format!(
                "no answer to {}",
                count(u64::from(connection.syn_retransmits) + 1, "SYN")
            ),
            TcpState::Reset => "reset after it was established".to_owned(),
            TcpState::Undecided => "undecided".to_owned(),
            TcpState::Established | TcpState::Closed | TcpState::Idle => match connection.handshake
            {
                Some(handshake) => format!("established in {}", duration(handshake)),
                None => "established".to_owned(),
            },
        },
        Body::Udp(flow) => match flow.state {
            UdpState::Unanswered => "no answer".to_owned(),
            UdpState::IcmpError => "rejected by an ICMP error".to_owned(),
            _ if flow.totals.rx.packets > 0 => "answered".to_owned(),
            _ => "undecided".to_owned(),
        },
        Body::Echo(echo) => of_ping(echo),
        _ => String::new(),
    }
}

fn of_dns(outcome: Outcome, took: Duration) -> String {
    let took = duration(took);
    match outcome {
        Outcome::Answered => format!("answered in {took}"),
        Outcome::Nodata => "the name exists without an address of this type".to_owned(),
        Outcome::Nxdomain => "NXDOMAIN".to_owned(),
        Outcome::Servfail => "SERVFAIL".to_owned(),
        Outcome::Refused => "REFUSED".to_owned(),
        Outcome::Formerr => "FORMERR".to_owned(),
        Outcome::Truncated => "truncated".to_owned(),
        Outcome::Timeout => "no answer".to_owned(),
        Outcome::Undecided => "undecided".to_owned(),
        Outcome::IcmpError => "rejected by an ICMP error".to_owned(),
        Outcome::Other => "failed".to_owned(),
    }
}

fn of_ping(echo: &Echo) -> String {
    let mut words = format!("{} sent, {} received", echo.sent, echo.received);
    if echo.errors > 0 {
        words.push_str(&format!(", {}", count(echo.errors, "ICMP error")));
    }
    words
}
