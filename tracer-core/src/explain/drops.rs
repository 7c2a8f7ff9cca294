//! Packets that a kernel dropped of the pod's attempts, alike ones together.
//!
//! A drop belongs to an attempt if protocol and port of the pod are the same, the other end is the peer or an
//! endpoint behind it, and it is not earlier. The node that dropped it is the pod's or the other end's: each agent
//! reports what its own kernel dropped.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Serialize;

use super::attempts::{Group, Matcher, Moment, destination, kind};
use super::outcome::{Result, result};
use super::{Input, Subject, is_of};
use crate::diagnose::is_deliberate_drop;
use crate::model::event::{Body, Event};
use crate::model::exchange::Transport;
use crate::model::flow::{Protocol, Role};
use crate::model::signal::{DropPlace, PacketDrop};
use crate::model::time::Timestamp;
use crate::view::words;

/// Drops that are listed.
const MAX_DROPS: usize = 6;
/// The clocks of two nodes agree within this time.
const CLOCKS: Duration = Duration::from_millis(500);

/// Packets that a kernel dropped.
#[derive(Clone, Debug, Serialize)]
pub struct DropFacts {
    /// The kernel's reason.
    pub reason: &'static str,
    /// The node whose kernel it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// `node` or `pod`: whose network namespace the packets were in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<&'static str>,
    /// The device in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The kernel function, where symbols can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// Sent by the pod; otherwise answers to it.
    pub sent: bool,
    /// The protocol.
    pub protocol: String,
    /// The other end; behind the translation of a Service's address the endpoint.
    pub peer: SocketAddr,
    /// Packets: at least this many.
    pub packets: u64,
    /// The latest.
    pub last: Moment,
    /// They are of attempts of this kind, as in [`Group::kind`].
    pub kind: &'static str,
    /// They explain why the latest attempt failed.
    #[serde(skip)]
    pub(super) explains: bool,
}

impl DropFacts {
    /// The node, as the subject of a sentence.
    pub(super) fn node(&self) -> String {
        match &self.node {
            Some(node) => format!("node {node}"),
            None => "a node".to_owned(),
        }
    }

    /// The other end, without a port where the protocol has none.
    pub(super) fn peer(&self) -> String {
        match self.peer.port() {
            0 => self.peer.ip().to_string(),
            _ => self.peer.to_string(),
        }
    }
}

/// Whether an event is a drop with the pod at its other end.
pub(super) fn is_of_peer(subject: &Subject, event: &Event) -> bool {
    let (Body::Drop(_), Some(ends)) = (&event.body, &event.ends) else {
        return false;
    };
    match (&ends.peer.pod, &subject.pod) {
        (Some(pod), _) => subject.is(pod),
        (None, Some(pod)) => !pod.host_network && pod.ips.contains(&ends.peer.ip),
        (None, None) => false,
    }
}

/// The packets of one attempt.
struct Sent {
    protocol: Protocol,
    pod: SocketAddr,
    peer: SocketAddr,
    /// What the peer's address can be translated to.
    behind: Vec<IpAddr>,
    since: Timestamp,
    kind: &'static str,
    /// The latest attempt of its group failed, and so did this one.
    failed: bool,
    succeeded: bool,
}

/// The drops of these attempts, and of the queries that they made; the latest first.
pub(super) fn collect(
    input: &Input<'_>,
    matcher: &Matcher<'_>,
    attempts: &[&Event],
    groups: &[Group],
) -> Vec<DropFacts> {
    let is_drop = |event: &&Event| {
        matches!(event.body, Body::Drop(_))
            && (is_of(input.subject, event) || is_of_peer(input.subject, event))
    };
    let mut drops = input.events.iter().filter(is_drop).peekable();
    if drops.peek().is_none() {
        return Vec::new();
    }
    let mut sent: Vec<Sent> = attempts
        .iter()
        .filter_map(|event| of_attempt(input, event, groups))
        .collect();
    sent.extend(queries(input, matcher, groups));
    sent.sort_by_key(|one| one.since);
    let mut facts: Vec<DropFacts> = Vec::new();
    for event in drops {
        let Body::Drop(dropped) = &event.body else {
            continue;
        };
        if let Some(one) = sent.iter().rev().find(|one| one.has(event, dropped)) {
            add(input, event, dropped, one, &mut facts);
        }
    }
    facts.sort_by_key(|one| (!one.explains, one.last.ago));
    facts.truncate(MAX_DROPS);
    facts
}

fn add(
    input: &Input<'_>,
    event: &Event,
    dropped: &PacketDrop,
    sent: &Sent,
    facts: &mut Vec<DropFacts>,
) {
    let tuple = dropped.tuple;
    let from_pod = tuple.src.ip() == sent.pod.ip();
    let deliberate = is_deliberate_drop(dropped.reason);
    // A healthy kernel drops duplicates and what comes too late.
    if sent.succeeded && !deliberate {
        return;
    }
    let pod = event.ends.as_ref().map(|ends| &ends.pod);
    let node = pod.and_then(|pod| pod.identity.as_ref().ok()?.node.clone());
    let fact = DropFacts {
        reason: dropped.reason,
        node: node.map(|node| node.to_string()),
        place: match dropped.place {
            DropPlace::Node => Some("node"),
            DropPlace::Pod => Some("pod"),
            DropPlace::Unknown => None,
        },
        device: dropped.device.as_ref().map(ToString::to_string),
        function: dropped.function.as_ref().map(ToString::to_string),
        sent: from_pod,
        protocol: words::protocol(tuple.protocol),
        peer: if from_pod { tuple.dst } else { tuple.src },
        packets: 1,
        last: Moment::new(input, event.time),
        kind: sent.kind,
        // An answer can come after its socket is closed, which is the failure's effect.
        explains: sent.failed && (from_pod || deliberate),
    };
    let alike = |known: &&mut DropFacts| {
        (known.reason, &known.node, known.place, &known.device)
            == (fact.reason, &fact.node, fact.place, &fact.device)
            && (known.sent, known.peer, known.kind) == (fact.sent, fact.peer, fact.kind)
    };
    match facts.iter_mut().find(alike) {
        Some(known) => {
            known.packets += 1;
            known.explains |= fact.explains;
            if fact.last.ago <= known.last.ago {
                known.last = fact.last;
            }
        }
        None => facts.push(fact),
    }
}

impl Sent {
    fn has(&self, event: &Event, dropped: &PacketDrop) -> bool {
        let tuple = dropped.tuple;
        let other = match (tuple.src == self.pod, tuple.dst == self.pod) {
            (true, _) => tuple.dst,
            (false, true) => tuple.src,
            // An ICMP drop's source has the identifier, and its destination no port.
            _ if self.is_ping() && tuple.src.ip() == self.pod.ip() => tuple.dst,
            _ if self.is_ping() && tuple.dst.ip() == self.pod.ip() => tuple.src,
            _ => return false,
        };
        let same = other == self.peer
            || self.is_ping() && other.ip() == self.peer.ip()
            || self.behind.contains(&other.ip());
        tuple.protocol == self.protocol && same && event.time.after(CLOCKS) >= self.since
    }

    fn is_ping(&self) -> bool {
        matches!(self.protocol, Protocol::Icmp | Protocol::Icmpv6)
    }
}

fn of_attempt(input: &Input<'_>, event: &Event, groups: &[Group]) -> Option<Sent> {
    let flow = match &event.body {
        Body::Tcp(connection) => connection.flow,
        Body::Udp(flow) => flow.flow,
        Body::Echo(echo) => echo.flow,
        Body::Dns(exchange, _) => exchange.flow,
        _ => return None,
    };
    let (_, kind) = kind(&event.body)?;
    let to = destination(event);
    let mut groups = groups.iter();
    let group = groups.find(|group| group.kind == kind && group.to == to);
    let outcome = result(&event.body);
    let fails = group.is_some_and(|group| group.last_result == Result::Failed);
    Some(Sent {
        protocol: flow.protocol,
        pod: flow.pod,
        peer: flow.peer,
        behind: behind(input, event),
        since: event.time,
        kind,
        failed: fails && outcome == Result::Failed,
        succeeded: outcome == Result::Succeeded,
    })
}

/// The queries for the destination's name that failed.
fn queries(input: &Input<'_>, matcher: &Matcher<'_>, groups: &[Group]) -> Vec<Sent> {
    let mut lookups = groups.iter();
    let fails = lookups.any(|group| group.kind == "lookup" && group.last_result == Result::Failed);
    if !matcher.has_target() {
        return Vec::new();
    }
    let own = input
        .events
        .iter()
        .filter(|event| is_of(input.subject, event));
    let queries = own.filter_map(|event| {
        let Body::Dns(exchange, _) = &event.body else {
            return None;
        };
        let client = event.ends.as_ref()?.role == Role::Client;
        let name = &exchange.question.as_ref()?.name;
        let failed = result(&event.body) == Result::Failed;
        (client && failed && matcher.is_name(name.as_str())).then(|| Sent {
            protocol: match exchange.transport {
                Transport::Udp => Protocol::Udp,
                Transport::Tcp => Protocol::Tcp,
            },
            pod: exchange.flow.pod,
            peer: exchange.flow.peer,
            behind: behind(input, event),
            since: exchange.asked,
            kind: "lookup",
            failed: fails,
            succeeded: false,
        })
    });
    queries.collect()
}

/// The endpoint of the flow if it is known, else all of its Service.
fn behind(input: &Input<'_>, event: &Event) -> Vec<IpAddr> {
    let Some(peer) = event.ends.as_ref().map(|ends| &ends.peer) else {
        return Vec::new();
    };
    match (&peer.backend, &peer.service) {
        (Some(backend), _) => vec![backend.ip],
        (None, Some(service)) => {
            let endpoints = input.index.endpoints(&service.namespace, &service.name);
            endpoints.iter().map(|endpoint| endpoint.ip).collect()
        }
        (None, None) => Vec::new(),
    }
}
