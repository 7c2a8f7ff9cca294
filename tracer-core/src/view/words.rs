//! The words that the JSON contract, the text form and the filters share. A word never changes; new ones can
//! follow.

use crate::model::connection::{TcpState, UdpState};
use crate::model::dns::ResponseCode;
use crate::model::echo::EchoState;
use crate::model::event::Body;
use crate::model::exchange::Outcome;
use crate::model::finding::{Severity, State};
use crate::model::flow::{Protocol, Role};

/// An event's "type".
pub fn kind(body: &Body) -> &'static str {
    match body {
        Body::Dns(..) => "dns",
        Body::Lookup(_) => "lookup",
        Body::Tcp(_) => "tcp",
        Body::Udp(_) => "udp",
        Body::Echo(_) | Body::IcmpError(_) => "icmp",
        Body::Drop(_) => "drop",
        Body::Finding(_) => "finding",
        Body::Lost(_) => "lost",
    }
}

/// Every outcome of an exchange or a lookup.
pub const DNS_OUTCOMES: [&str; 11] = [
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
    "undecided",
];

/// Every state of a TCP connection.
pub const TCP_STATES: [&str; 8] = [
    "opening",
    "established",
    "refused",
    "timeout",
    "reset",
    "closed",
    "idle",
    "undecided",
];

/// Every state of a UDP flow.
pub const UDP_STATES: [&str; 5] = ["open", "unanswered", "icmp-error", "closed", "undecided"];

/// Every state of a ping.
pub const ECHO_STATES: [&str; 3] = ["running", "done", "undecided"];

/// The outcome of an ICMP error that is an event of its own.
pub const ICMP_ERROR_OUTCOMES: [&str; 1] = ["icmp-error"];

/// Every state of a finding.
pub const FINDING_STATES: [&str; 3] = ["active", "intermittent", "resolved"];

/// Every word that [`outcome`] can return, each once.
pub fn outcomes() -> Vec<&'static str> {
    outcomes_of(&["dns", "tcp", "udp", "icmp", "finding"])
}

/// The words that [`outcome`] can return for events of these types ([`kind`]), each once.
pub fn outcomes_of(kinds: &[&str]) -> Vec<&'static str> {
    let mut words = Vec::new();
    for kind in kinds {
        let of_kind: [&[&'static str]; 2] = match *kind {
            "dns" | "lookup" => [&DNS_OUTCOMES, &[]],
            "tcp" => [&TCP_STATES, &[]],
            "udp" => [&UDP_STATES, &[]],
            "icmp" => [&ECHO_STATES, &ICMP_ERROR_OUTCOMES],
            "finding" => [&FINDING_STATES, &[]],
            _ => [&[], &[]],
        };
        for word in of_kind.concat() {
            if !words.contains(&word) {
                words.push(word);
            }
        }
    }
    words
}

/// An event's "outcome" or "state". An event of an ICMP error has neither field and counts as `icmp-error`; a
/// drop and a loss have no outcome.
pub fn outcome(body: &Body) -> Option<&'static str> {
    Some(match body {
        Body::Dns(exchange, _) => exchange.outcome.as_str(),
        Body::Lookup(lookup) => lookup.outcome.as_str(),
        Body::Tcp(connection) => tcp_state(connection.state),
        Body::Udp(flow) => udp_state(flow.state),
        Body::Echo(echo) => echo_state(echo.state),
        Body::IcmpError(_) => "icmp-error",
        Body::Finding(finding) => finding_state(finding.state),
        Body::Drop(_) | Body::Lost(_) => return None,
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
        TcpState::Idle => "idle",
        TcpState::Undecided => "undecided",
    }
}

/// A UDP flow's "state".
pub fn udp_state(state: UdpState) -> &'static str {
    match state {
        UdpState::Open => "open",
        UdpState::Unanswered => "unanswered",
        UdpState::IcmpError => "icmp-error",
        UdpState::Closed => "closed",
        UdpState::Undecided => "undecided",
    }
}

/// An echo run's "state".
pub fn echo_state(state: EchoState) -> &'static str {
    match state {
        EchoState::Running => "running",
        EchoState::Done => "done",
        EchoState::Undecided => "undecided",
    }
}

/// A finding's "state".
pub fn finding_state(state: State) -> &'static str {
    match state {
        State::Active => "active",
        State::Intermittent => "intermittent",
        State::Resolved => "resolved",
    }
}

/// A finding's "severity".
pub fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

/// Every "direction", as the words of [`direction`] have it.
pub const DIRECTIONS: [Role; 2] = [Role::Client, Role::Server];

/// An event's "direction": the pod's role.
pub fn direction(role: Role) -> &'static str {
    match role {
        Role::Client => "client",
        Role::Server => "server",
    }
}

/// A protocol's name, or `ip-proto-<n>` for a protocol without one here.
pub fn protocol(protocol: Protocol) -> String {
    match protocol {
        Protocol::Icmp => "icmp".to_owned(),
        Protocol::Tcp => "tcp".to_owned(),
        Protocol::Udp => "udp".to_owned(),
        Protocol::Icmpv6 => "icmpv6".to_owned(),
        Protocol::Other(number) => format!("ip-proto-{number}"),
    }
}

/// The response code that an outcome implies; `None` if there was no response or the outcome fits several
/// codes.
pub fn rcode_of(outcome: Outcome) -> Option<ResponseCode> {
    match outcome {
        Outcome::Answered | Outcome::Nodata | Outcome::Truncated => Some(ResponseCode::NoError),
        Outcome::Nxdomain => Some(ResponseCode::NXDomain),
        Outcome::Servfail => Some(ResponseCode::ServFail),
        Outcome::Refused => Some(ResponseCode::Refused),
        Outcome::Formerr => Some(ResponseCode::FormErr),
        Outcome::Timeout | Outcome::IcmpError | Outcome::Other | Outcome::Undecided => None,
    }
}
