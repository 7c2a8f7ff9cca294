//! What was still open when the input ended, or given up too early to be judged: no finding, and no success.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use super::ConnectionKey;
use crate::model::connection::{TcpConnection, TcpState};
use crate::model::dns::{DnsName, RecordType, type_mnemonic};
use crate::model::event::Ends;
use crate::model::exchange::{Exchange, Outcome};
use crate::model::identity::{PeerEnd, PodEnd};
use crate::model::lookup::Lookup;
use crate::model::printable::safe;
use crate::model::time::Timestamp;
use crate::model::units::count;

/// Names in a sentence.
const MAX_NAMES: usize = 3;
/// Open connections to remember.
const MAX_CONNECTIONS: usize = 4_096;
/// Answered questions to remember.
const MAX_ANSWERED: usize = 4_096;

/// The undecided ones among the queries and connections that pass the filter.
#[derive(Debug, Default)]
pub(super) struct Open {
    queries: u64,
    named: Vec<String>,
    /// Questions of pods that got an answer, and when the lookup ended. musl asks all servers at once, and the
    /// silence of the others leaves nothing open.
    answered: BTreeMap<(IpAddr, DnsName, RecordType), Timestamp>,
    connections: BTreeMap<ConnectionKey, Opening>,
}

#[derive(Debug)]
struct Opening {
    name: String,
    /// The pod gave it up.
    given_up: bool,
}

impl Open {
    pub(super) fn lookup(&mut self, started: Timestamp, lookup: &Lookup, ends: &Ends) {
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
    }

    pub(super) fn query(&mut self, exchange: &Exchange, ends: &Ends) {
        // An answer without a query leaves no query open.
        if exchange.outcome != Outcome::Undecided || exchange.is_unsolicited() {
            return;
        }
        if let Some(question) = &exchange.question {
            let key = (ends.pod.ip, question.name.clone(), question.qtype);
            let ended = self.answered.get(&key);
            if ended.is_some_and(|ended| *ended >= exchange.asked) {
                return;
            }
        }
        self.queries += 1;
        if self.named.len() < MAX_NAMES {
            let asked = match &exchange.question {
                Some(question) => format!(
                    "{} {}",
                    type_mnemonic(question.qtype),
                    question.name.relative()
                ),
                None => "a query".to_owned(),
            };
            self.named.push(format!("{asked} {}", between(ends)));
        }
    }

    pub(super) fn connection(&mut self, key: ConnectionKey, one: &TcpConnection, ends: &Ends) {
        // A connection of which only the peer's segments were seen in the middle may not exist.
        if !matches!(one.state, TcpState::Opening | TcpState::Undecided) || one.evidence.picked_up {
            self.connections.remove(&key);
        } else if self.connections.len() < MAX_CONNECTIONS || self.connections.contains_key(&key) {
            let given_up = one.evidence.given_up.is_some() || one.evidence.late_answer.is_some();
            let name = between(ends);
            self.connections.insert(key, Opening { name, given_up });
        }
    }

    pub(super) fn digest(&self) -> Undecided {
        let openings = || self.connections.values();
        Undecided {
            queries: self.queries,
            waiting: openings().filter(|one| !one.given_up).count() as u64,
            given_up: openings().filter(|one| one.given_up).count() as u64,
            named_queries: self.named.clone(),
            named_waiting: first(openings().filter(|one| !one.given_up)),
            named_given_up: first(openings().filter(|one| one.given_up)),
        }
    }
}

fn first<'a>(openings: impl Iterator<Item = &'a Opening>) -> Vec<String> {
    openings
        .take(MAX_NAMES)
        .map(|one| one.name.clone())
        .collect()
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
    /// DNS queries.
    pub queries: u64,
    /// Connections that still waited for an answer.
    pub waiting: u64,
    /// Connections that the pod gave up before their time was over.
    pub given_up: u64,
    named_queries: Vec<String>,
    named_waiting: Vec<String>,
    named_given_up: Vec<String>,
}

impl Undecided {
    /// How many.
    pub fn total(&self) -> u64 {
        self.queries + self.waiting + self.given_up
    }
}

impl fmt::Display for Undecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let still = "still unanswered when the capture ended";
        for (number, what, how, named) in [
            (self.queries, "DNS query", still, &self.named_queries),
            (self.waiting, "connection", still, &self.named_waiting),
            (
                self.given_up,
                "connection",
                "given up without an answer, too early to be called a timeout",
                &self.named_given_up,
            ),
        ] {
            if number == 0 {
                continue;
            }
            let were = if number == 1 { "was" } else { "were" };
            let more = match number.saturating_sub(named.len() as u64) {
                0 => String::new(),
                more => format!("; and {more} more"),
            };
            writeln!(
                f,
                "{} {were} {how}: {}{more}",
                count(number, what),
                safe(&named.join("; "))
            )?;
        }
        Ok(())
    }
}
