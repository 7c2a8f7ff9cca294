//! What stayed undecided, and why: the input ended first, the pod gave up too early to be judged, or records
//! were lost. It is no finding, and no success.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use super::FlowKey;
use crate::model::connection::{TcpConnection, TcpState, UdpFlow, UdpState};
use crate::model::dns::{DnsName, RecordType, type_mnemonic};
use crate::model::echo::{Echo, EchoState};
use crate::model::event::Ends;
use crate::model::exchange::{Exchange, Outcome, Transport};
use crate::model::identity::{PeerEnd, PodEnd};
use crate::model::lookup::Lookup;
use crate::model::printable::safe;
use crate::model::time::Timestamp;
use crate::model::units::count;

/// Names in a sentence.
const MAX_NAMES: usize = 3;
/// Undecided connections, UDP flows and pings to remember.
const MAX_FLOWS: usize = 4_096;
/// Answered questions to remember.
const MAX_ANSWERED: usize = 4_096;

/// What can stay undecided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Query,
    Lookup,
    Connection,
    UdpFlow,
    Ping,
}

impl What {
    fn noun(self) -> &'static str {
        match self {
            What::Query => "DNS query",
            What::Lookup => "lookup",
            What::Connection => "connection",
            What::UdpFlow => "UDP flow",
            What::Ping => "ping",
        }
    }
}

/// Why it stayed undecided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// It was younger than its timeout at the end.
    Ended,
    /// The same, or its answer is in bytes of its TCP connection that are missing.
    EndedOrMissing,
    /// The pod gave it up before its time was over.
    GivenUp,
    /// The event is incomplete.
    Lost,
}

impl Cause {
    fn clause(self) -> &'static str {
        match self {
            Cause::Ended => "still unanswered when the capture ended",
            Cause::EndedOrMissing => {
                "left undecided because the capture ended or lacks bytes of the TCP connection"
            }
            Cause::GivenUp => "given up without an answer, too early to be called a timeout",
            Cause::Lost => "left undecided because records were lost or a table was full",
        }
    }
}

/// The undecided ones among the events that pass the filter.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// Queries and lookups, which have one event each.
    decided: BTreeMap<(Cause, What), Group>,
    /// Questions of pods that got an answer, and when the lookup ended. musl asks all servers at once, and the
    /// silence of the others leaves nothing open.
    answered: BTreeMap<(IpAddr, DnsName, RecordType), Timestamp>,
    /// What can have further events.
    flows: BTreeMap<FlowKey, (Cause, What, String)>,
}

/// How many, and the names of the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Group {
    number: u64,
    named: Vec<String>,
}

impl Group {
    fn add(&mut self, name: impl FnOnce() -> String) {
        self.number += 1;
        if self.named.len() < MAX_NAMES {
            self.named.push(name());
        }
    }
}

impl Open {
    pub(super) fn lookup(
        &mut self,
        started: Timestamp,
        lookup: &Lookup,
        ends: &Ends,
        incomplete: bool,
    ) {
        if self.answered.len() >= MAX_ANSWERED {
            // A query can then be named although another server answered it.
            self.answered.clear();
        }
        let ended = started.after(lookup.duration);
        for step in &lookup.steps {
            if step.outcome.is_some_and(|outcome| !outcome.failed()) {
                let question = (ends.pod.ip, step.name.clone(), step.qtype);
                self.answered.insert(question, ended);
            }
        }
        // An undecided step is a query that is counted already.
        let decided =
            |outcome: Option<Outcome>| outcome.is_some_and(|outcome| outcome != Outcome::Undecided);
        let all_decided = lookup.steps.iter().all(|step| decided(step.outcome));
        if incomplete && lookup.outcome == Outcome::Undecided && all_decided {
            let first = || lookup.steps.first().map(|step| step.name.relative());
            let group = self.decided.entry((Cause::Lost, What::Lookup)).or_default();
            group.add(|| {
                let asked = lookup.asked.as_deref().or_else(first);
                format!("{} {}", asked.unwrap_or("a name"), between(ends))
            });
        }
    }

    pub(super) fn query(&mut self, exchange: &Exchange, ends: &Ends, incomplete: bool) {
        if exchange.outcome != Outcome::Undecided {
            return;
        }
        // An answer without a query leaves no query open, unless that query's record was lost.
        if exchange.is_unsolicited() && !incomplete {
            return;
        }
        if let Some(question) = &exchange.question {
            let key = (ends.pod.ip, question.name.clone(), question.qtype);
            let ended = self.answered.get(&key);
            if ended.is_some_and(|ended| *ended >= exchange.asked) {
                return;
            }
        }
        let cause = match (incomplete, exchange.transport) {
            (true, _) => Cause::Lost,
            (false, Transport::Udp) => Cause::Ended,
            (false, Transport::Tcp) => Cause::EndedOrMissing,
        };
        let group = self.decided.entry((cause, What::Query)).or_default();
        group.add(|| {
            let asked = match &exchange.question {
                Some(question) => format!(
                    "{} {}",
                    type_mnemonic(question.qtype),
                    question.name.relative()
                ),
                None => "a query".to_owned(),
            };
            format!("{asked} {}", between(ends))
        });
    }

    pub(super) fn connection(
        &mut self,
        key: FlowKey,
        one: &TcpConnection,
        ends: &Ends,
        incomplete: bool,
    ) {
        let evidence = &one.evidence;
        let open = matches!(one.state, TcpState::Opening | TcpState::Undecided);
        let cause = match (open, incomplete) {
            (false, _) => None,
            (true, true) => Some(Cause::Lost),
            // A connection of which only the peer's segments were seen in the middle may not exist.
            (true, false) if evidence.picked_up => None,
            (true, false) if evidence.given_up.is_some() || evidence.late_answer.is_some() => {
                Some(Cause::GivenUp)
            }
            (true, false) => Some(Cause::Ended),
        };
        self.flow(key, What::Connection, cause, ends);
    }

    pub(super) fn udp(&mut self, key: FlowKey, one: &UdpFlow, ends: &Ends, incomplete: bool) {
        let undecided = one.state == UdpState::Undecided;
        let cause = if incomplete {
            Cause::Lost
        } else {
            Cause::Ended
        };
        self.flow(key, What::UdpFlow, undecided.then_some(cause), ends);
    }

    pub(super) fn ping(&mut self, key: FlowKey, one: &Echo, ends: &Ends) {
        // A run has a verdict at the end of the input, however short it was.
        let undecided = one.state == EchoState::Undecided;
        self.flow(key, What::Ping, undecided.then_some(Cause::Lost), ends);
    }

    /// Takes the latest state of a flow: undecided for this cause, or decided.
    fn flow(&mut self, key: FlowKey, what: What, cause: Option<Cause>, ends: &Ends) {
        match cause {
            None => {
                self.flows.remove(&key);
            }
            Some(cause) if self.flows.len() < MAX_FLOWS || self.flows.contains_key(&key) => {
                self.flows.insert(key, (cause, what, between(ends)));
            }
            Some(_) => {}
        }
    }

    pub(super) fn digest(&self) -> Undecided {
        let mut groups = self.decided.clone();
        for (cause, what, name) in self.flows.values() {
            let group = groups.entry((*cause, *what)).or_default();
            group.add(|| name.clone());
        }
        Undecided { groups }
    }
}

/// `from shop/web to kube-system/kube-dns`.
fn between(ends: &Ends) -> String {
    format!("from {} to {}", pod(&ends.pod), peer(&ends.peer))
}

fn pod(end: &PodEnd) -> String {
    match &end.identity {
        Ok(pod) => format!("{}/{}", pod.namespace, pod.name),
        Err(_) => end.ip.to_string(),
    }
}

fn peer(end: &PeerEnd) -> String {
    let port = |name: String| match end.port {
        Some(53) | None => name,
        Some(port) => format!("{name}:{port}"),
    };
    match (&end.service, &end.pod) {
        (Some(service), _) => port(format!("{}/{}", service.namespace, service.name)),
        (None, Some(pod)) => port(format!("{}/{}", pod.namespace, pod.name)),
        (None, None) if end.ip.is_ipv6() && end.port.is_some() => port(format!("[{}]", end.ip)),
        (None, None) => port(end.ip.to_string()),
    }
}

/// What stayed undecided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undecided {
    groups: BTreeMap<(Cause, What), Group>,
}

impl Undecided {
    /// How many.
    pub fn total(&self) -> u64 {
        self.groups.values().map(|group| group.number).sum()
    }
}

impl fmt::Display for Undecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((cause, what), Group { number, named }) in &self.groups {
            let were = if *number == 1 { "was" } else { "were" };
            let more = match number.saturating_sub(named.len() as u64) {
                0 => String::new(),
                more => format!("; and {more} more"),
            };
            writeln!(
                f,
                "{} {were} {}: {}{more}",
                count(*number, what.noun()),
                cause.clause(),
                safe(&named.join("; "))
            )?;
        }
        Ok(())
    }
}
