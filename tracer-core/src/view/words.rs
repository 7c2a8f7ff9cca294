//! The words that the JSON contract, the text form and the filters share. They never change, only more come.

use crate::model::connection::{TcpState, UdpState};
use crate::model::dns::ResponseCode;
use crate::model::echo::EchoState;
use crate::model::event::Body;
use crate::model::exchange::Outcome;
use crate::model::finding::Severity;
use crate::model::flow::{Protocol, Role};

/// An event's "type".
pub fn kind(body: &Body) -> &'static str {
    match body {
        Body::Dns(..) => "dns",
        Body::Lookup(_) => "lookup",
        Body::Tcp(_) => "tcp",
        Body::Udp(_) => "udp",
        Body::Echo(_) | Body::IcmpError(_) => "icmp",
        Body::Finding(_) => "finding",
        Body::Lost(_) => "lost",
    }
}

/// Every word that [`outcome`] can give of an exchange or a lookup.
pub const DNS_OUTCOMES: [&str; 10] = [
    "answered",
    "nodata",
    "nxdomain",
    "servfail",
    "refused",
    "formerr",
    "truncated",
    "timeout",
    "icmp-error",
    "other",
];

/// Every word of a TCP connection.
pub const TCP_STATES: [&str; 6] = [
    "opening",
    "established",
    "refused",
    "timeout",
    "reset",
    "closed",
];

/// Every word of a UDP flow.
pub const UDP_STATES: [&str; 4] = ["open", "unanswered", "icmp-error", "closed"];

/// Every word of a ping.
pub const ECHO_STATES: [&str; 2] = ["running", "done"];

/// The word of an ICMP error on its own.
pub const ICMP_ERROR_OUTCOMES: [&str; 1] = ["icmp-error"];

/// Every word of a finding.
pub const FINDING_STATES: [&str; 2] = ["active", "resolved"];

/// Every word that [`outcome`] can give, each once.
pub fn outcomes() -> Vec<&'static str> {
    let mut words = Vec::new();
    for of_a_type in [
        DNS_OUTCOMES.as_slice(),
        &TCP_STATES,
        &UDP_STATES,
        &ECHO_STATES,
        &ICMP_ERROR_OUTCOMES,
        &FINDING_STATES,
    ] {
        for word in of_a_type {
            if !words.contains(word) {
                words.push(*word);
            }
        }
    }
    words
}

/// How an event ended, or where it stands: its "outcome" or "state". An ICMP error on its own has neither and is
/// `icmp-error`; a loss has none.
pub fn outcome(body: &Body) -> Option<&'static str> {
    Some(match body {
        Body::Dns(exchange, _) => exchange.outcome.as_str(),
        Body::Lookup(lookup) => lookup.outcome.as_str(),
        Body::Tcp(connection) => tcp_state(connection.state),
        Body::Udp(flow) => udp_state(flow.state),
        Body::Echo(echo) => echo_state(echo.state),
        Body::IcmpError(_) => "icmp-error",
        Body::Finding(finding) => finding_state(finding.resolved),
        Body::Lost(_) => return None,
    })
}

/// A TCP connection's "state".
pub fn tcp_state(state: TcpState) -> &'static str {
    match state {
        TcpState::Opening => "opening",
        TcpState::Established => "established",
        TcpState::Refused(_) => "refused",
        TcpState::Timeout => "timeout",
        TcpState::Reset => "reset",
        TcpState::Closed => "closed",
    }
}

/// A UDP flow's "state".
pub fn udp_state(state: UdpState) -> &'static str {
    match state {
        UdpState::Open => "open",
        UdpState::Unanswered => "unanswered",
        UdpState::IcmpError => "icmp-error",
        UdpState::Closed => "closed",
    }
}

/// An echo run's "state".
pub fn echo_state(state: EchoState) -> &'static str {
    match state {
        EchoState::Running => "running",
        EchoState::Done => "done",
    }
}

/// A finding's "state".
pub fn finding_state(resolved: bool) -> &'static str {
    if resolved { "resolved" } else { "active" }
}

/// A finding's "severity".
pub fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

/// An event's "direction": the pod's role.
pub fn direction(role: Role) -> &'static str {
    match role {
        Role::Client => "client",
        Role::Server => "server",
    }
}

/// A transport's name; `ip-proto-<n>` for one without a name here.
pub fn protocol(protocol: Protocol) -> String {
    match protocol {
        Protocol::Icmp => "icmp".to_owned(),
        Protocol::Tcp => "tcp".to_owned(),
        Protocol::Udp => "udp".to_owned(),
        Protocol::Icmpv6 => "icmpv6".to_owned(),
        Protocol::Other(number) => format!("ip-proto-{number}"),
    }
}

/// The response code that an outcome stands for; `None` where no response came or the outcome does not tell.
pub fn rcode_of(outcome: Outcome) -> Option<ResponseCode> {
    match outcome {
        Outcome::Answered | Outcome::Nodata | Outcome::Truncated => Some(ResponseCode::NoError),
        Outcome::Nxdomain => Some(ResponseCode::NXDomain),
        Outcome::Servfail => Some(ResponseCode::ServFail),
        Outcome::Refused => Some(ResponseCode::Refused),
        Outcome::Formerr => Some(ResponseCode::FormErr),
        Outcome::Timeout | Outcome::IcmpError | Outcome::Other => None,
    }
}
