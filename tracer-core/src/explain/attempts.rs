//! What the pod tried lately: which events are about the destination, counted by kind and outcome, and by the
//! endpoint behind the Service's address where that is known.
//!
//! A connection, flow or ping can have several events; the latest one counts.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::drops::{self, DropFacts};
use super::outcome::{Result, described, result};
use super::path::{self, PathFacts};
use super::resolution::nanoseconds;
use super::target::Reached;
use super::{Input, Resolution, Target, is_of};
use crate::model::dns::DnsName;
use crate::model::event::{Body, Ends, Event};
use crate::model::flow::{Flow, Role};
use crate::model::time::Timestamp;
use crate::view::text::one_line;
use crate::view::words;

/// Destinations that are listed without a target.
const MAX_GROUPS: usize = 12;
/// Attempts that are listed.
const MAX_LAST: usize = 3;

/// A time, and how long ago it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Wall time.
    pub time: jiff::Timestamp,
    /// Time since then.
    pub ago: Duration,
}

impl Moment {
    pub(super) fn new(input: &Input<'_>, at: Timestamp) -> Moment {
        Moment {
            time: input.clock.wall(at),
            ago: input.now.since(at),
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.9}", self.time))
    }
}

/// What the pod tried.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Attempts {
    /// The time that was looked at, in words; `None` if no events could be collected.
    pub span: Option<String>,
    /// By kind and, without a target, by destination.
    pub groups: Vec<Group>,
    /// Groups that are left out.
    #[serde(skip_serializing_if = "is_zero")]
    pub more: usize,
    /// The latest attempts, newest first; those that failed, if any did.
    pub last: Vec<Attempt>,
    /// Packets of them that a kernel dropped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drops: Vec<DropFacts>,
    /// The path of the latest one that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathFacts>,
}

/// One attempt.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    /// When it was made.
    pub at: Moment,
    /// What happened, as `tracer observe` shows it.
    pub event: String,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Attempts of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// `lookup`, `dns` (queries to a server that is the destination), `tcp`, `udp` or `ping`.
    pub kind: &'static str,
    /// The destination.
    pub to: String,
    /// Attempts.
    pub count: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that neither succeeded nor failed, as far as is known.
    pub undecided: u64,
    /// By outcome, as in events.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Median of the time to the answer, of those that succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub median_ns: Option<u64>,
    /// When the latest was made.
    pub last: Moment,
    /// Its outcome.
    pub last_outcome: &'static str,
    /// What its outcome means, in words.
    pub last_words: String,
    /// The share of each endpoint, where it is known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<PerEndpoint>,
    #[serde(skip)]
    pub(super) last_result: Result,
}

impl Group {
    /// `of web` for lookups, `to Service shop/web:80` for others.
    pub(super) fn subject(&self) -> String {
        match self.kind {
            "lookup" => format!("of {}", self.to),
            _ => format!("to {}", self.to),
        }
    }
}

/// Attempts that the Service's address led to one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PerEndpoint {
    /// Its address.
    pub ip: IpAddr,
    /// Its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Its node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Attempts.
    pub count: u64,
    /// Those that failed.
    pub failed: u64,
}

/// Which events are about the destination.
pub(super) struct Matcher<'a> {
    target: Option<&'a Target>,
    /// Names that the pod tries, and the name as it is asked for.
    names: Vec<DnsName>,
    asked: Option<String>,
    services: Vec<(&'a str, &'a str)>,
    pod: Option<(&'a str, &'a str)>,
    addresses: Vec<IpAddr>,
    port: Option<u16>,
}

impl<'a> Matcher<'a> {
    pub(super) fn new(
        input: &Input<'a>,
        reached: &Reached<'a>,
        resolution: Option<&Resolution>,
    ) -> Matcher<'a> {
        let names = resolution.iter().flat_map(|one| &one.candidates);
        let mut addresses: Vec<IpAddr> = names.clone().flat_map(|one| one.addresses()).collect();
        addresses.extend(reached.ip);
        if let Some(pod) = reached.pod.filter(|pod| !pod.host_network) {
            addresses.extend(&pod.ips);
        }
        let service = reached.service;
        if let Some(service) = service.filter(|one| one.cluster_ips.is_empty()) {
            // Applications connect to the endpoints of a headless Service themselves.
            let endpoints = input.index.endpoints(&service.namespace, &service.name);
            addresses.extend(endpoints.iter().map(|endpoint| endpoint.ip));
        }
        // An unlisted Service is known by its name alone, and an ExternalName leads to another one.
        let asked_for = match input.target {
            Some(Target::Service(namespace, name, _)) => Some((&**namespace, &**name)),
            _ => None,
        };
        Matcher {
            target: input.target,
            names: names.map(|one| DnsName::new(&one.name)).collect(),
            asked: resolution.map(|one| one.asked.clone()),
            services: asked_for
                .into_iter()
                .chain(service.map(|one| (&*one.namespace, &*one.name)))
                .collect(),
            pod: match input.target {
                Some(Target::Pod(namespace, name, _)) => Some((namespace, name)),
                _ => reached.pod.map(|one| (&*one.namespace, &*one.name)),
            },
            addresses,
            port: input.target.and_then(Target::port).map(|port| port.number),
        }
    }

    /// Whether an event is an attempt at the destination: a lookup of its name, or traffic with it.
    pub(super) fn attempt(&self, event: &Event) -> bool {
        let Some(ends) = event.ends.as_ref().filter(|ends| ends.role == Role::Client) else {
            return false;
        };
        match &event.body {
            _ if self.target.is_none() => {
                kind(&event.body).is_some() && !matches!(event.body, Body::Dns(..))
            }
            Body::Lookup(lookup) => {
                let asked = lookup.asked.as_deref();
                let by_name = asked.is_some_and(|asked| {
                    let same = self.asked.as_deref();
                    same.is_some_and(|same| same.eq_ignore_ascii_case(asked))
                        || self.names.contains(&DnsName::new(asked))
                });
                let first = lookup.steps.first().map(|step| &step.name);
                by_name || (asked.is_none() && first.is_some_and(|name| self.names.contains(name)))
            }
            Body::Tcp(_) | Body::Udp(_) => self.is_end(ends) && self.has_port(ends),
            Body::Echo(_) | Body::IcmpError(_) => self.is_end(ends),
            // The destination is the server that is asked.
            Body::Dns(exchange, _) => {
                self.is_end(ends) && self.has_port(ends) && !exchange.is_unsolicited()
            }
            // What the kernel says of an attempt's packets is in [`Attempts::drops`].
            Body::Drop(_) | Body::Finding(_) | Body::Lost(_) => false,
        }
    }

    /// Whether the other end is the destination, at whatever port.
    pub(super) fn is_end(&self, ends: &Ends) -> bool {
        let peer = &ends.peer;
        let service = peer.service.as_ref();
        let pod = peer.pod.as_ref();
        service.is_some_and(|one| self.services.contains(&(&*one.namespace, &*one.name)))
            || pod.is_some_and(|one| self.pod == Some((&*one.namespace, &*one.name)))
            || self.addresses.contains(&peer.ip)
            || (service.is_none()
                && pod.is_none()
                && peer.names.iter().any(|name| self.names.contains(name)))
    }

    pub(super) fn has_port(&self, ends: &Ends) -> bool {
        self.port.is_none() || self.port == ends.peer.port
    }

    /// Whether a name is one that the pod tries.
    pub(super) fn is_name(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        let asked = self.asked.as_deref();
        asked.is_some_and(|asked| asked.strip_suffix('.').unwrap_or(asked) == name)
            || self.names.iter().any(|one| one.relative() == name)
    }

    /// Whether the destination is found by a name.
    pub(super) fn by_name(&self) -> bool {
        self.asked.is_some()
    }

    /// Whether there is a destination.
    pub(super) fn has_target(&self) -> bool {
        self.target.is_some()
    }
}

/// Identifies an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Flow(Flow, Timestamp),
    Lookup(usize),
}

/// The attempts, each by its latest event, in the order in which they were made.
fn made<'a>(input: &Input<'a>, matcher: &Matcher<'_>) -> Vec<&'a Event> {
    let own = input
        .events
        .iter()
        .filter(|event| is_of(input.subject, event));
    let mut latest: HashMap<Key, &Event> = HashMap::new();
    let mut order = Vec::new();
    for (number, event) in own.enumerate().filter(|(_, event)| matcher.attempt(event)) {
        let key = match &event.body {
            Body::Tcp(one) => Key::Flow(one.flow, event.time),
            Body::Udp(one) => Key::Flow(one.flow, event.time),
            Body::Echo(one) => Key::Flow(one.flow, event.time),
            _ => Key::Lookup(number),
        };
        if latest.insert(key, event).is_none() {
            order.push(key);
        }
    }
    let mut events: Vec<&Event> = order
        .iter()
        .filter_map(|key| latest.get(key).copied())
        .collect();
    events.sort_by_key(|event| event.time);
    events
}

/// The latest attempt, or query for the destination's name, that failed.
pub(super) fn latest_failure<'a>(input: &Input<'a>, matcher: &Matcher<'_>) -> Option<&'a Event> {
    let queries = input.events.iter().filter(|event| {
        let Body::Dns(exchange, _) = &event.body else {
            return false;
        };
        let asks = |name: &DnsName| matcher.is_name(name.as_str());
        let asked = exchange.question.as_ref();
        is_of(input.subject, event)
            && (event.ends.as_ref()).is_some_and(|ends| ends.role == Role::Client)
            && asked.is_some_and(|question| !matcher.has_target() || asks(&question.name))
    });
    let traffic = made(input, matcher).into_iter();
    traffic
        .filter(|event| !matches!(event.body, Body::Lookup(_)))
        .chain(queries)
        .filter(|event| result(&event.body) == Result::Failed)
        .max_by_key(|event| event.time)
}

/// Counts the attempts.
pub(super) fn collect(input: &Input<'_>, matcher: &Matcher<'_>) -> Attempts {
    let events = made(input, matcher);
    let mut groups = groups(input, matcher, &events);
    let drops = drops::collect(input, matcher, &events, &groups);
    let more = groups.len().saturating_sub(MAX_GROUPS);
    groups.truncate(MAX_GROUPS);
    Attempts {
        span: input.span.as_ref().map(super::Span::words),
        groups,
        more,
        last: last(input, &events),
        drops,
        path: path::facts(input),
    }
}

/// The latest attempts; those that failed, if any did.
fn last(input: &Input<'_>, events: &[&Event]) -> Vec<Attempt> {
    let failed = |event: &&&Event| result(&event.body) == Result::Failed;
    let any_failed = events.iter().any(|event| failed(&event));
    let newest = events.iter().rev();
    newest
        .filter(|event| !any_failed || failed(event))
        .take(MAX_LAST)
        .map(|event| Attempt {
            at: Moment::new(input, event.time),
            event: one_line(event),
        })
        .collect()
}

fn groups(input: &Input<'_>, matcher: &Matcher<'_>, events: &[&Event]) -> Vec<Group> {
    let mut by_key: BTreeMap<(usize, String), Vec<&Event>> = BTreeMap::new();
    for event in events {
        let Some((rank, _)) = kind(&event.body) else {
            continue;
        };
        by_key
            .entry((rank, destination(event)))
            .or_default()
            .push(event);
    }
    let groups = by_key.into_iter();
    let mut groups: Vec<Group> = groups
        .filter_map(|((_, to), events)| group(input, to, &events))
        .collect();
    if !matcher.has_target() {
        // What fails comes first, then what was tried last.
        groups.sort_by_key(|group| (group.failed == 0, group.last.ago));
    }
    groups
}

/// The place in the order of an attempt, and the word.
pub(super) fn kind(body: &Body) -> Option<(usize, &'static str)> {
    Some(match body {
        Body::Lookup(_) => (0, "lookup"),
        Body::Dns(..) => (1, "dns"),
        Body::Tcp(_) => (2, "tcp"),
        Body::Udp(_) => (3, "udp"),
        Body::Echo(_) => (4, "ping"),
        _ => return None,
    })
}

pub(super) fn destination(event: &Event) -> String {
    if let Body::Lookup(lookup) = &event.body {
        let first = || Some(lookup.steps.first()?.name.as_str().to_owned());
        return lookup.asked.clone().or_else(first).unwrap_or_default();
    }
    let Some(peer) = event.ends.as_ref().map(|ends| &ends.peer) else {
        return String::new();
    };
    let port = peer.port.filter(|_| !matches!(event.body, Body::Echo(_)));
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    match (&peer.service, &peer.pod) {
        (Some(service), _) => format!("Service {}/{}{port}", service.namespace, service.name),
        (None, Some(pod)) => format!("pod {}/{}{port}", pod.namespace, pod.name),
        (None, None) => match peer.ip {
            IpAddr::V6(ip) if !port.is_empty() => format!("[{ip}]{port}"),
            ip => format!("{ip}{port}"),
        },
    }
}

fn group(input: &Input<'_>, to: String, events: &[&Event]) -> Option<Group> {
    let latest = events.last()?;
    let (_, kind) = kind(&latest.body)?;
    let mut outcomes = BTreeMap::new();
    let mut latencies = Vec::new();
    let (mut failed, mut undecided) = (0, 0);
    for event in events {
        *outcomes.entry(words::outcome(&event.body)?).or_default() += 1;
        match result(&event.body) {
            Result::Failed => failed += 1,
            Result::Undecided => undecided += 1,
            Result::Succeeded => latencies.extend(took(&event.body)),
        }
    }
    latencies.sort_unstable();
    let median = latencies.get(latencies.len() / 2);
    Some(Group {
        kind,
        to,
        count: events.len() as u64,
        failed,
        undecided,
        outcomes,
        median_ns: median.copied().map(nanoseconds),
        last: Moment::new(input, latest.time),
        last_outcome: words::outcome(&latest.body)?,
        last_words: described(&latest.body),
        endpoints: per_endpoint(events),
        last_result: result(&latest.body),
    })
}

fn took(body: &Body) -> Option<Duration> {
    match body {
        Body::Echo(echo) => echo.rtt.map(|rtt| rtt.avg),
        body => crate::view::filter::took(body),
    }
}

/// The share of each endpoint behind the Service's address.
fn per_endpoint(events: &[&Event]) -> Vec<PerEndpoint> {
    let mut shares: BTreeMap<IpAddr, PerEndpoint> = BTreeMap::new();
    for event in events {
        let ends = event.ends.as_ref();
        let Some(backend) = ends.and_then(|ends| ends.peer.backend.as_ref()) else {
            continue;
        };
        let pod = backend.pod.as_ref();
        let share = shares.entry(backend.ip).or_insert_with(|| PerEndpoint {
            ip: backend.ip,
            pod: pod.map(|pod| format!("{}/{}", pod.namespace, pod.name)),
            node: backend.node.as_ref().map(ToString::to_string),
            count: 0,
            failed: 0,
        });
        share.count += 1;
        share.failed += u64::from(result(&event.body) == Result::Failed);
    }
    shares.into_values().collect()
}
