//! Which events are shown.
//!
//! Owns the meaning of every filter option for every type of event. Options combine with and, the values of
//! one option with or. It looks only at the event. Losses pass every filter: they show how far the rest can
//! be trusted. Input: a [`FilterConfig`] from the command line.
//!
//! | option | an event matches if |
//! |---|---|
//! | namespaces | its pod, the peer's pod or the peer's Service is in one of them |
//! | pods | its pod or the peer's pod matches, by name or by address |
//! | types | it has that type |
//! | direction | its pod has that role |
//! | peers | its other end matches, by address or as the Service or pod behind the address |
//! | ports | one of its two ends has one of these ports, or the packet that an ICMP error quotes |
//! | names | dns: the queried name, or its lookup's name; lookup: the looked-up name, or a candidate; finding: a name that it concerns; others: a name that the pod resolved to the peer's address |
//! | qtypes | dns, lookup: a queried type; no other type matches |
//! | rcodes | dns: the response code; lookup: the response code of one of its queries; no other type matches |
//! | outcomes | its outcome or state is that word; see [`words::outcome`] |
//! | slow | its duration is at least this long, see [`took`]; an event without a duration does not match |
//! | failed | see [`failed`] |
//!
//! Traffic between two traced pods of one node is seen twice and shown once: from the client's side, or from
//! the side of the only pod that `pods` names, or from the side whose other end `peers` names. A direction
//! selects that side, and `both_sides` shows both. A finding is one event from either side.
//!
//! [`pattern`] owns the syntax of names and addresses, [`warnings`] the warnings about names that do not
//! exist, [`emission`] and [`interfaces`] which packets the probes need not record.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use self::emission::Unrecorded;
use super::words;
use crate::model::connection::{TcpState, UdpState};
use crate::model::dns::{RecordType, ResponseCode};
use crate::model::event::{Body, Ends, Event};
use crate::model::finding::Severity;
use crate::model::flow::{Protocol, Role};
use crate::model::glob::Glob;

pub mod emission;
mod interfaces;
mod pattern;
#[cfg(test)]
mod tests;
mod warnings;

pub use self::pattern::{NamePattern, ObjectPattern, PeerPattern, PeerPatternError, PodPattern};
pub use self::warnings::Directory;

/// The options of a filter. An empty list matches everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FilterConfig {
    /// Namespaces.
    pub namespaces: Vec<Glob>,
    /// Pods.
    pub pods: Vec<PodPattern>,
    /// Containers of the pod.
    pub containers: Vec<Glob>,
    /// Names of the pod's processes.
    pub comms: Vec<Glob>,
    /// Types of events.
    pub types: Vec<EventType>,
    /// The pod's role.
    pub direction: Option<Role>,
    /// Other ends.
    pub peers: Vec<PeerPattern>,
    /// Ports, of either end.
    pub ports: Vec<u16>,
    /// DNS names.
    pub names: Vec<NamePattern>,
    /// Queried record types.
    pub qtypes: Vec<RecordType>,
    /// Response codes.
    pub rcodes: Vec<ResponseCode>,
    /// Outcomes and states, out of [`words::outcomes()`].
    pub outcomes: Vec<String>,
    /// Only events with at least this duration.
    pub slow: Option<Duration>,
    /// Only failures.
    pub failed: bool,
    /// Whether routine events are shown.
    pub detail: Detail,
    /// Show traffic between two traced pods of one node from both sides: what a server answers differs from
    /// what its client gets.
    pub both_sides: bool,
}

/// A type of event that `--type` selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// DNS exchanges.
    Dns,
    /// Lookups.
    Lookup,
    /// TCP connections.
    Tcp,
    /// UDP flows.
    Udp,
    /// ICMP echo runs and errors.
    Icmp,
    /// Packets that the kernel dropped.
    Drop,
    /// Findings.
    Finding,
}

impl EventType {
    /// All types.
    pub const ALL: [EventType; 7] = [
        EventType::Dns,
        EventType::Lookup,
        EventType::Tcp,
        EventType::Udp,
        EventType::Icmp,
        EventType::Drop,
        EventType::Finding,
    ];

    /// The type's word; see [`words::kind`].
    pub fn as_str(self) -> &'static str {
        match self {
            EventType::Dns => "dns",
            EventType::Lookup => "lookup",
            EventType::Tcp => "tcp",
            EventType::Udp => "udp",
            EventType::Icmp => "icmp",
            EventType::Drop => "drop",
            EventType::Finding => "finding",
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no [`EventType`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{written}` is not a type of event: use dns, lookup, tcp, udp, icmp or finding")]
pub struct EventTypeError {
    /// The word.
    pub written: String,
}

impl FromStr for EventType {
    type Err = EventTypeError;

    fn from_str(written: &str) -> Result<EventType, EventTypeError> {
        EventType::ALL
            .into_iter()
            .find(|known| known.as_str() == written)
            .ok_or_else(|| EventTypeError {
                written: written.to_owned(),
            })
    }
}

/// Whether routine events are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// Every event.
    #[default]
    All,
    /// No [`routine`] events, unless [`FilterConfig::types`] or [`FilterConfig::outcomes`] selects them.
    Digest,
}

/// Chooses events.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    config: FilterConfig,
    unrecorded: Option<Unrecorded>,
}

impl From<FilterConfig> for Filter {
    fn from(config: FilterConfig) -> Filter {
        Filter {
            config,
            unrecorded: None,
        }
    }
}

impl Filter {
    /// The same filter for a source that does not record some packets.
    #[must_use]
    pub fn with_unrecorded(self, unrecorded: Unrecorded) -> Filter {
        Filter {
            unrecorded: Some(unrecorded),
            ..self
        }
    }

    /// Whether an event is shown.
    pub fn matches(&self, event: &Event) -> bool {
        if matches!(event.body, Body::Lost(_)) {
            return true;
        }
        let config = &self.config;
        self.has_type(&event.body)
            && any(&config.outcomes, |word| {
                words::outcome(&event.body) == Some(word)
            })
            && any(&config.rcodes, |rcode| has_rcode(&event.body, *rcode))
            && any(&config.qtypes, |qtype| has_qtype(&event.body, *qtype))
            && any(&config.names, |name| has_name(event, name))
            && any(&config.ports, |port| has_port(event, *port))
            && config
                .slow
                .is_none_or(|slow| took(&event.body).is_some_and(|took| took >= slow))
            && (!config.failed || failed(&event.body))
            && !self.is_part_of_unrecorded(&event.body)
            && self.ends(event)
            && !(config.detail == Detail::Digest && !self.in_full(&event.body) && routine(event))
    }

    fn has_type(&self, body: &Body) -> bool {
        any(&self.config.types, |event_type| {
            event_type.as_str() == words::kind(body)
        })
    }

    fn is_part_of_unrecorded(&self, body: &Body) -> bool {
        match (&self.unrecorded, body) {
            (Some(unrecorded), Body::IcmpError(error)) => unrecorded.owns(error),
            _ => false,
        }
    }

    /// Whether the filter selects the event's type or state, so that routine events are shown.
    fn in_full(&self, body: &Body) -> bool {
        !self.config.types.is_empty() || !self.config.outcomes.is_empty() && !in_lookup(body)
    }

    fn ends(&self, event: &Event) -> bool {
        let config = &self.config;
        let Some(ends) = &event.ends else {
            return config.namespaces.is_empty()
                && config.pods.is_empty()
                && config.containers.is_empty()
                && config.comms.is_empty()
                && config.peers.is_empty()
                && config.direction.is_none();
        };
        let container = ends.pod.container.as_deref();
        let comm = ends.pod.process.as_ref().map(|process| &*process.comm);
        if !any(&config.namespaces, |namespace| {
            in_namespace(ends, namespace)
        }) || !any(&config.containers, |name| {
            container.is_some_and(|container| name.matches(container))
        }) || !any(&config.comms, |name| {
            comm.is_some_and(|comm| name.matches(comm))
        }) {
            return false;
        }
        let pod = any(&config.pods, |pattern| {
            pattern.fits(ends.pod.ip, ends.pod.identity.as_deref().ok())
        });
        let peer = any(&config.pods, |pattern| {
            pattern.fits(ends.peer.ip, ends.peer.any_pod().map(|pod| &**pod))
        });
        if !(pod || peer) || !any(&config.peers, |pattern| pattern.fits(&ends.peer)) {
            return false;
        }
        if let Some(role) = config.direction {
            return ends.role == role;
        }
        // A drop and a finding are one event each, also between two traced pods.
        let shown_once = ends.peer_traced_here && !config.both_sides;
        if !shown_once || matches!(event.body, Body::Drop(_) | Body::Finding(_)) {
            return true;
        }
        // Both ends are traced here: exactly one of the two events passes. The other one has pod and peer
        // exchanged.
        let other = peer && any(&config.peers, |pattern| pattern.fits_mirrored(&ends.pod));
        if pod == other {
            ends.role == Role::Client
        } else {
            pod
        }
    }
}

/// Whether an event is routine for a person who watches: an exchange that its lookup also shows, a UDP flow
/// that opened or ended normally, the end of a connection on which both sides sent packets, a dropped packet.
pub fn routine(event: &Event) -> bool {
    match &event.body {
        Body::Dns(..) => in_lookup(&event.body),
        // A healthy network stack drops packets too: duplicates, and those for a closed port.
        Body::Drop(_) => true,
        Body::Udp(flow) => matches!(
            flow.state,
            UdpState::Open | UdpState::Closed | UdpState::Undecided
        ),
        Body::Tcp(connection) => {
            let totals = connection.totals;
            match connection.state {
                TcpState::Closed => totals.tx.packets > 0 && totals.rx.packets > 0,
                TcpState::Idle => true,
                _ => false,
            }
        }
        _ => false,
    }
}

/// Whether an exchange is part of a lookup that follows. A late answer is not: its lookup was emitted before.
fn in_lookup(body: &Body) -> bool {
    matches!(body, Body::Dns(exchange, Some(_)) if !exchange.late)
}

/// Whether an event is a failure. dns, lookup: the client got no usable answer (an empty answer, `nodata`, is
/// not a failure; neither is a truncated one, which the client repeats over TCP). tcp: refused, timeout,
/// reset, opening (after two SYN retransmissions). udp: unanswered or an ICMP error. icmp: a ping with loss
/// or errors; an ICMP error about a packet that the pod sent. finding: active, of severity warning or error.
pub fn failed(body: &Body) -> bool {
    match body {
        Body::Dns(exchange, _) => exchange.outcome.failed(),
        Body::Lookup(lookup) => lookup.outcome.failed(),
        Body::Tcp(connection) => !matches!(
            connection.state,
            TcpState::Established | TcpState::Closed | TcpState::Idle | TcpState::Undecided
        ),
        Body::Udp(flow) => matches!(flow.state, UdpState::Unanswered | UdpState::IcmpError),
        Body::Echo(echo) => echo.loss().is_some_and(|loss| loss > 0.0) || echo.errors > 0,
        Body::IcmpError(error) => !error.unconfirmed,
        Body::Drop(_) => false,
        Body::Finding(finding) => !finding.is_resolved() && finding.severity >= Severity::Warning,
        Body::Lost(_) => true,
    }
}

/// An event's duration, if it has one. dns: first query to answer; lookup: first query to last answer; tcp:
/// first SYN to SYN-ACK; icmp: a ping's longest round trip. Without an answer there is no duration;
/// [`failed`] covers that case.
pub fn took(body: &Body) -> Option<Duration> {
    match body {
        Body::Dns(exchange, _) => exchange.latency,
        Body::Lookup(lookup) => Some(lookup.duration),
        Body::Tcp(connection) => connection.handshake,
        Body::Echo(echo) => echo.rtt.map(|rtt| rtt.max),
        Body::Udp(_) | Body::IcmpError(_) | Body::Drop(_) | Body::Finding(_) | Body::Lost(_) => {
            None
        }
    }
}

/// An option without values matches everything.
fn any<T>(values: &[T], fits: impl FnMut(&T) -> bool) -> bool {
    values.is_empty() || values.iter().any(fits)
}

fn in_namespace(ends: &Ends, namespace: &Glob) -> bool {
    let pod = ends.pod.identity.as_ref().ok();
    let peer = ends.peer.any_pod();
    pod.is_some_and(|pod| namespace.matches(&pod.namespace))
        || peer.is_some_and(|pod| namespace.matches(&pod.namespace))
        || ends
            .peer
            .service
            .as_ref()
            .is_some_and(|service| namespace.matches(&service.namespace))
}

fn has_rcode(body: &Body, rcode: ResponseCode) -> bool {
    // Compare numbers: 16 has two names.
    let same = |other: ResponseCode| u16::from(other) == u16::from(rcode);
    match body {
        Body::Dns(exchange, _) => exchange.rcode.is_some_and(same),
        Body::Lookup(lookup) => lookup
            .steps
            .iter()
            .filter_map(|step| step.outcome.and_then(words::rcode_of))
            .any(same),
        _ => false,
    }
}

fn has_qtype(body: &Body, qtype: RecordType) -> bool {
    // Compare the numbers of the wire.
    let same = |other: RecordType| u16::from(other) == u16::from(qtype);
    match body {
        Body::Dns(exchange, _) => exchange
            .question
            .as_ref()
            .is_some_and(|question| same(question.qtype)),
        Body::Lookup(lookup) => lookup.qtypes.iter().copied().any(same),
        _ => false,
    }
}

fn has_port(event: &Event, port: u16) -> bool {
    let ends = event
        .ends
        .as_ref()
        .is_some_and(|ends| [ends.pod.port, ends.peer.port].contains(&Some(port)));
    let quoted = match &event.body {
        // A quoted echo has an identifier instead of a port.
        Body::IcmpError(error) => {
            matches!(error.about.protocol, Protocol::Tcp | Protocol::Udp)
                && [error.about.src.port(), error.about.dst.port()].contains(&port)
        }
        _ => false,
    };
    ends || quoted
}

fn has_name(event: &Event, pattern: &NamePattern) -> bool {
    match &event.body {
        Body::Dns(exchange, place) => {
            let question = exchange.question.as_ref();
            let asked = place.as_ref().and_then(|place| place.asked.as_deref());
            question.is_some_and(|question| pattern.matches(&question.name))
                || asked.is_some_and(|asked| pattern.matches_written(asked))
        }
        Body::Lookup(lookup) => {
            lookup
                .asked
                .as_deref()
                .is_some_and(|asked| pattern.matches_written(asked))
                || lookup.steps.iter().any(|step| pattern.matches(&step.name))
        }
        Body::Finding(finding) => {
            let mut names = finding.names.iter();
            names.any(|name| pattern.matches_written(name))
        }
        _ => event
            .ends
            .as_ref()
            .is_some_and(|ends| ends.peer.names.iter().any(|name| pattern.matches(name))),
    }
}
