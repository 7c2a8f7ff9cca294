//! Which events are shown.
//!
//! Owns the meaning of every filter flag for every type of event. Options combine with and, the values of one option with
//! or. It never looks at anything but the event. Losses pass whatever is asked for: they say how far the rest can be
//! trusted. Input: a [`FilterConfig`], from the command line.
//!
//! | option | an event fits if |
//! |---|---|
//! | namespaces | its pod, the peer's pod or the peer's Service is in one of them |
//! | pods | its pod or the peer's pod fits, by name or by address |
//! | kinds | it is of that type, of a finding too |
//! | direction | its pod has that role |
//! | peers | its other end is one of them: by address, or as the Service or pod that the address was known as |
//! | ports | one of its two ends has one of these ports; of an ICMP error also the packet that it quotes |
//! | names | dns: the name asked for, or that of its lookup; lookup: what was asked, or a candidate; finding: a name that it is about; others: a name that the peer was resolved from |
//! | qtypes | dns, lookup: a type that was asked for; no other type fits |
//! | rcodes | dns: the response code; lookup: that of a query of it; no other type fits |
//! | outcomes | its outcome or state is that word; [`words::outcome`] |
//! | slow | what it measures took at least so long, see [`took`]; what measures nothing does not fit |
//! | failed | see [`failed`] |
//!
//! Traffic between two traced pods of one node is seen twice. It is told once: from the client's side, or from the side of
//! the one pod that `pods` names, or from the side whose other end `peers` names. Asking for a direction asks for that
//! side. A finding is one, whichever side it came from.
//!
//! [`pattern`] has the forms of names and addresses, [`warnings`] what is said of those that nobody has, [`emission`] and
//! [`interfaces`] what of it spares the probes their records.

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

/// What is asked for. Empty lists ask for everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FilterConfig {
    /// Namespaces.
    pub namespaces: Vec<Glob>,
    /// Pods.
    pub pods: Vec<PodPattern>,
    /// Types of events.
    pub kinds: Vec<Kind>,
    /// The pod's role.
    pub direction: Option<Role>,
    /// The other end.
    pub peers: Vec<PeerPattern>,
    /// Ports, of either end.
    pub ports: Vec<u16>,
    /// DNS names.
    pub names: Vec<NamePattern>,
    /// Types that were asked for.
    pub qtypes: Vec<RecordType>,
    /// Response codes.
    pub rcodes: Vec<ResponseCode>,
    /// Outcomes and states; of [`words::outcomes()`].
    pub outcomes: Vec<String>,
    /// Only what took at least so long.
    pub slow: Option<Duration>,
    /// Only what failed.
    pub failed: bool,
    /// How much is shown of what nobody asked for by name.
    pub detail: Detail,
}

/// A type of event that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
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
    /// Findings.
    Finding,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 6] = [
        Kind::Dns,
        Kind::Lookup,
        Kind::Tcp,
        Kind::Udp,
        Kind::Icmp,
        Kind::Finding,
    ];

    /// The event type's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Dns => "dns",
            Kind::Lookup => "lookup",
            Kind::Tcp => "tcp",
            Kind::Udp => "udp",
            Kind::Icmp => "icmp",
            Kind::Finding => "finding",
        }
    }
}

/// How much is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// Every event.
    #[default]
    All,
    /// What a person wants to see go by, see [`routine`]. A type that is asked for with [`FilterConfig::kinds`], and a
    /// state that is asked for with [`FilterConfig::outcomes`], is shown in full all the same.
    Digest,
}

/// Chooses events.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    asked: FilterConfig,
    unrecorded: Option<Unrecorded>,
}

impl From<FilterConfig> for Filter {
    fn from(asked: FilterConfig) -> Filter {
        Filter {
            asked,
            unrecorded: None,
        }
    }
}

impl Filter {
    /// The same for a source that leaves packets out that the filter has no use for.
    #[must_use]
    pub fn without(self, unrecorded: Unrecorded) -> Filter {
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
        let asked = &self.asked;
        self.kind(&event.body)
            && any(&asked.outcomes, |word| {
                words::outcome(&event.body) == Some(word)
            })
            && any(&asked.rcodes, |rcode| has_rcode(&event.body, *rcode))
            && any(&asked.qtypes, |qtype| has_qtype(&event.body, *qtype))
            && any(&asked.names, |name| has_name(event, name))
            && any(&asked.ports, |port| has_port(event, *port))
            && asked
                .slow
                .is_none_or(|slow| took(&event.body).is_some_and(|took| took >= slow))
            && (!asked.failed || failed(&event.body))
            && !self.is_part_of_unrecorded(&event.body)
            && self.ends(event)
            && !(asked.detail == Detail::Digest && !self.in_full(&event.body) && routine(event))
    }

    fn kind(&self, body: &Body) -> bool {
        any(&self.asked.kinds, |kind| kind.as_str() == words::kind(body))
    }

    fn is_part_of_unrecorded(&self, body: &Body) -> bool {
        match (&self.unrecorded, body) {
            (Some(unrecorded), Body::IcmpError(error)) => unrecorded.owns(error),
            _ => false,
        }
    }

    /// Asked for by its type or its state, so nothing of it is left out.
    fn in_full(&self, body: &Body) -> bool {
        !self.asked.kinds.is_empty() || !self.asked.outcomes.is_empty() && !in_lookup(body)
    }

    fn ends(&self, event: &Event) -> bool {
        let asked = &self.asked;
        let Some(ends) = &event.ends else {
            return asked.namespaces.is_empty()
                && asked.pods.is_empty()
                && asked.peers.is_empty()
                && asked.direction.is_none();
        };
        if !any(&asked.namespaces, |namespace| in_namespace(ends, namespace)) {
            return false;
        }
        let pod = any(&asked.pods, |pattern| {
            pattern.fits(ends.pod.ip, ends.pod.identity.as_deref().ok())
        });
        let peer = any(&asked.pods, |pattern| {
            pattern.fits(ends.peer.ip, ends.peer.pod.as_deref())
        });
        if !(pod || peer) || !any(&asked.peers, |pattern| pattern.fits(&ends.peer)) {
            return false;
        }
        if let Some(role) = asked.direction {
            return ends.role == role;
        }
        if !ends.peer_traced_here || matches!(event.body, Body::Finding(_)) {
            return true;
        }
        // Both ends are traced here: exactly one of the two tellings passes. The other one has pod and peer exchanged.
        let other = peer && any(&asked.peers, |pattern| pattern.fits_mirrored(&ends.pod));
        if pod == other {
            ends.role == Role::Client
        } else {
            pod
        }
    }
}

/// What a person who watches does not want line by line: an exchange that its lookup tells again; a UDP flow that opened or
/// ended as it should; a connection's end, unless one side never said anything.
pub fn routine(event: &Event) -> bool {
    match &event.body {
        Body::Dns(..) => in_lookup(&event.body),
        Body::Udp(flow) => matches!(flow.state, UdpState::Open | UdpState::Closed),
        Body::Tcp(connection) => {
            let totals = connection.totals;
            connection.state == TcpState::Closed && totals.tx.packets > 0 && totals.rx.packets > 0
        }
        _ => false,
    }
}

/// A client's exchange that is part of a lookup. A late answer is not: its lookup was told before.
fn in_lookup(body: &Body) -> bool {
    matches!(body, Body::Dns(exchange, Some(_)) if !exchange.late)
}

/// Whether something went wrong. dns, lookup: the asker got nothing to work with (an empty answer, `nodata`, is no failure,
/// nor is a truncated one, which is asked again over TCP). tcp: refused, timeout, reset, opening (the SYN was sent three
/// times). udp: unanswered or an ICMP error. icmp: an echo run with loss or errors; any ICMP error. finding: an active one
/// of severity warning or error.
pub fn failed(body: &Body) -> bool {
    match body {
        Body::Dns(exchange, _) => exchange.outcome.failed(),
        Body::Lookup(lookup) => lookup.outcome.failed(),
        Body::Tcp(connection) => {
            !matches!(connection.state, TcpState::Established | TcpState::Closed)
        }
        Body::Udp(flow) => matches!(flow.state, UdpState::Unanswered | UdpState::IcmpError),
        Body::Echo(echo) => echo.received < echo.sent || echo.errors > 0,
        Body::IcmpError(_) => true,
        Body::Finding(finding) => !finding.resolved && finding.severity >= Severity::Warning,
        Body::Lost(_) => true,
    }
}

/// How long what an event is about took, if it measures that. dns: first query to answer; lookup: first query to last
/// answer; tcp: first SYN to SYN-ACK; icmp: an echo run's longest round trip. What was never answered took no time that
/// anybody knows: it failed.
pub fn took(body: &Body) -> Option<Duration> {
    match body {
        Body::Dns(exchange, _) => exchange.latency,
        Body::Lookup(lookup) => Some(lookup.duration),
        Body::Tcp(connection) => connection.handshake,
        Body::Echo(echo) => echo.rtt.map(|rtt| rtt.max),
        Body::Udp(_) | Body::IcmpError(_) | Body::Finding(_) | Body::Lost(_) => None,
    }
}

/// No value asks for everything.
fn any<T>(asked: &[T], fits: impl FnMut(&T) -> bool) -> bool {
    asked.is_empty() || asked.iter().any(fits)
}

fn in_namespace(ends: &Ends, namespace: &Glob) -> bool {
    let pod = ends.pod.identity.as_ref().ok();
    let peer = ends.peer.pod.as_ref();
    pod.is_some_and(|pod| namespace.matches(&pod.namespace))
        || peer.is_some_and(|pod| namespace.matches(&pod.namespace))
        || ends
            .peer
            .service
            .as_ref()
            .is_some_and(|service| namespace.matches(&service.namespace))
}

fn has_rcode(body: &Body, rcode: ResponseCode) -> bool {
    // By number: 16 has two names.
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
    // By number, as it stands on the wire.
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
        // Of a quoted echo the port is an identifier.
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
