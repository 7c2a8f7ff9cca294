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
//! | names | dns: the name asked for, or that of its lookup; lookup: what was asked, or a candidate; others: a name that the peer was resolved from |
//! | rcodes | dns: the response code; lookup: that of a query of it; no other type fits |
//! | outcomes | its outcome or state is that word; [`words::outcome`] |
//! | failed | see [`failed`] |
//!
//! Traffic between two traced pods of one node is seen twice. It is told once: from the client's side, or from the side of
//! the one pod that `pods` names. Asking for a direction asks for that side.

use std::net::IpAddr;
use std::str::FromStr;

use super::words;
use crate::model::connection::{TcpState, UdpState};
use crate::model::dns::{DnsName, ResponseCode};
use crate::model::event::{Body, Ends, Event};
use crate::model::finding::Severity;
use crate::model::flow::Role;
use crate::model::glob::{Glob, GlobError};
use crate::model::identity::PodIdentity;

#[cfg(test)]
mod tests;

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
    /// DNS names.
    pub names: Vec<NamePattern>,
    /// Response codes.
    pub rcodes: Vec<ResponseCode>,
    /// Outcomes and states; of [`words::OUTCOMES`].
    pub outcomes: Vec<String>,
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

/// `[namespace/]name` with wildcards, or an address.
#[derive(Clone, Debug, PartialEq)]
pub enum PodPattern {
    /// By name.
    Named {
        /// Any namespace if there is none.
        namespace: Option<Glob>,
        /// The pod's name.
        name: Glob,
    },
    /// By address: for pods whose name is not known.
    Address(IpAddr),
}

impl FromStr for PodPattern {
    type Err = GlobError;

    fn from_str(written: &str) -> Result<PodPattern, GlobError> {
        if let Ok(address) = written.parse() {
            return Ok(PodPattern::Address(address));
        }
        Ok(match written.split_once('/') {
            Some((namespace, name)) => PodPattern::Named {
                namespace: Some(namespace.parse()?),
                name: name.parse()?,
            },
            None => PodPattern::Named {
                namespace: None,
                name: written.parse()?,
            },
        })
    }
}

impl PodPattern {
    fn matches(&self, ip: IpAddr, pod: Option<&PodIdentity>) -> bool {
        match self {
            PodPattern::Address(address) => *address == ip,
            PodPattern::Named { .. } => {
                pod.is_some_and(|pod| self.names(&pod.namespace, &pod.name))
            }
        }
    }

    /// Whether a pod of this name fits.
    fn names(&self, of_namespace: &str, of_name: &str) -> bool {
        match self {
            PodPattern::Address(_) => false,
            PodPattern::Named { namespace, name } => {
                namespace
                    .as_ref()
                    .is_none_or(|namespace| namespace.matches(of_namespace))
                    && name.matches(of_name)
            }
        }
    }
}

/// A pattern for DNS names. The trailing dot may be there or not, on either side.
#[derive(Clone, Debug, PartialEq)]
pub struct NamePattern(Glob);

impl FromStr for NamePattern {
    type Err = GlobError;

    fn from_str(written: &str) -> Result<NamePattern, GlobError> {
        match written.strip_suffix('.') {
            Some(relative) if !relative.is_empty() => relative.parse().map(NamePattern),
            _ => written.parse().map(NamePattern),
        }
    }
}

impl NamePattern {
    fn matches(&self, name: &DnsName) -> bool {
        self.0.matches(name.relative())
    }

    fn matches_written(&self, name: &str) -> bool {
        self.0.matches(name.strip_suffix('.').unwrap_or(name))
    }
}

/// Who is there, to tell a filter that can never match.
pub trait Directory {
    /// Whether some namespace fits.
    fn any_namespace(&self, fits: &dyn Fn(&str) -> bool) -> bool;
    /// Whether some pod, given as namespace and name, fits.
    fn any_pod(&self, fits: &dyn Fn(&str, &str) -> bool) -> bool;
}

/// Chooses events.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    asked: FilterConfig,
}

impl From<FilterConfig> for Filter {
    fn from(asked: FilterConfig) -> Filter {
        Filter { asked }
    }
}

impl Filter {
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
            && any(&asked.names, |name| has_name(event, name))
            && (!asked.failed || failed(&event.body))
            && self.ends(event.ends.as_ref())
            && !(asked.detail == Detail::Digest && !self.in_full(&event.body) && routine(event))
    }

    /// Sentences about namespaces and pods that this filter names and nobody knows. A pattern with wildcards may fit
    /// somebody later, as may a name; so these are warnings.
    pub fn warnings(&self, directory: &dyn Directory) -> Vec<String> {
        let mut warnings = Vec::new();
        for namespace in &self.asked.namespaces {
            if !directory.any_namespace(&|name| namespace.matches(name)) {
                warnings.push(format!(
                    "no namespace {}{namespace} is known: nothing matches -n until there is one",
                    like(namespace)
                ));
            }
        }
        for pod in &self.asked.pods {
            let PodPattern::Named { namespace, name } = pod else {
                continue;
            };
            if directory.any_pod(&|of_namespace, of_name| pod.names(of_namespace, of_name)) {
                continue;
            }
            let whole = match namespace {
                Some(namespace) => format!("{namespace}/{name}"),
                None => name.to_string(),
            };
            let mut warning = format!(
                "no pod {}{whole} is known: nothing matches -p until there is one",
                like(name)
            );
            if !name.is_wild() && directory.any_pod(&|_, of_name| name.matches(of_name)) {
                warning.push_str("; a pod of that name is in another namespace");
            } else if !name.is_wild()
                && directory.any_pod(&|_, of_name| {
                    of_name.len() > name.as_str().len() && of_name.starts_with(name.as_str())
                })
            {
                warning.push_str(&format!("; pods whose names start so are: try '{whole}*'"));
            }
            warnings.push(warning);
        }
        warnings
    }

    fn kind(&self, body: &Body) -> bool {
        any(&self.asked.kinds, |kind| kind.as_str() == words::kind(body))
    }

    /// Asked for by its type or its state, so nothing of it is left out.
    fn in_full(&self, body: &Body) -> bool {
        !self.asked.kinds.is_empty() || !self.asked.outcomes.is_empty() && !in_lookup(body)
    }

    fn ends(&self, ends: Option<&Ends>) -> bool {
        let asked = &self.asked;
        let Some(ends) = ends else {
            return asked.namespaces.is_empty()
                && asked.pods.is_empty()
                && asked.direction.is_none();
        };
        if !any(&asked.namespaces, |namespace| in_namespace(ends, namespace)) {
            return false;
        }
        let pod = any(&asked.pods, |pattern| {
            pattern.matches(ends.pod.ip, ends.pod.who.as_deref().ok())
        });
        let peer = any(&asked.pods, |pattern| {
            pattern.matches(ends.peer.ip, ends.peer.pod.as_deref())
        });
        if !pod && !peer {
            return false;
        }
        match asked.direction {
            Some(role) => ends.role == role,
            None if !ends.peer_traced_here => true,
            // Both ends are traced here: exactly one of the two tellings passes.
            None if pod == peer => ends.role == Role::Client,
            None => pod,
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

/// No value asks for everything.
fn any<T>(asked: &[T], fits: impl FnMut(&T) -> bool) -> bool {
    asked.is_empty() || asked.iter().any(fits)
}

fn like(glob: &Glob) -> &'static str {
    if glob.is_wild() { "like " } else { "" }
}

fn in_namespace(ends: &Ends, namespace: &Glob) -> bool {
    let pod = ends.pod.who.as_ref().ok();
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
        _ => event
            .ends
            .as_ref()
            .is_some_and(|ends| ends.peer.names.iter().any(|name| pattern.matches(name))),
    }
}
