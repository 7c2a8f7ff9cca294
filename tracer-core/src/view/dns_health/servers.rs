//! How DNS servers answer.
//!
//! A NodeLocal DNSCache has the same address on every node, and what it does not answer names no pod. So the row is the
//! address's, and the pods that answered there only add a name.

use super::latencies::Latencies;
use super::object::Object;
use crate::model::event::Ends;
use crate::model::exchange::{Exchange, Outcome};
use crate::model::flow::Role;
use crate::model::identity::PodIdentity;
use crate::view::words::DNS_OUTCOMES;

/// A DNS server and the side from which it was seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Server {
    /// At the clients: what they asked, mostly a Service. At the server: the pod that answers.
    pub object: Object,
    /// The pod's role where the queries were seen.
    pub seen_at: Role,
}

impl Server {
    pub(super) fn of(cluster: Option<&str>, ends: &Ends) -> Server {
        Server {
            object: match ends.role {
                Role::Client => Object::peer(cluster, &ends.peer),
                Role::Server => Object::server_pod(cluster, &ends.pod),
            },
            seen_at: ends.role,
        }
    }
}

/// How often each outcome occurred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes([u64; DNS_OUTCOMES.len()]);

impl Outcomes {
    fn add(&mut self, outcome: Outcome) {
        let word = outcome.as_str();
        let counts = self.0.iter_mut().zip(DNS_OUTCOMES);
        for (count, _) in counts.filter(|(_, known)| *known == word) {
            *count += 1;
        }
    }

    /// How often this outcome occurred.
    pub fn count(&self, outcome: Outcome) -> u64 {
        let word = outcome.as_str();
        let mut words = self.iter();
        words
            .find(|(known, _)| *known == word)
            .map_or(0, |(_, count)| count)
    }

    /// All outcomes, in the order of the words.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        DNS_OUTCOMES.into_iter().zip(self.0)
    }

    /// Queries of which it is known how they ended.
    pub fn decided(&self) -> u64 {
        let all: u64 = self.0.iter().sum();
        all - self.count(Outcome::Undecided)
    }

    /// Queries that the server did not answer, or could not: NXDOMAIN is an answer.
    pub fn failed(&self) -> u64 {
        let failures = [
            Outcome::Timeout,
            Outcome::IcmpError,
            Outcome::Servfail,
            Outcome::Refused,
            Outcome::Formerr,
            Outcome::Other,
        ];
        failures.iter().map(|outcome| self.count(*outcome)).sum()
    }
}

/// The hostNetwork pods that answered at an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum AnsweredBy {
    /// None is known.
    #[default]
    Unknown,
    /// All answers are of one pod.
    Pod { pod: Object, workload: Object },
    /// Of several pods of a workload.
    Workload(Object),
    /// Of different workloads.
    Different,
}

impl AnsweredBy {
    pub(super) fn add(&mut self, cluster: Option<&str>, answering: &PodIdentity) {
        let pod = Object::from_pod(cluster, answering);
        let workload = Object::workload(cluster, answering);
        let known = std::mem::replace(self, AnsweredBy::Different);
        *self = match known {
            AnsweredBy::Unknown => AnsweredBy::Pod { pod, workload },
            AnsweredBy::Pod { pod: one, .. } if one == pod => AnsweredBy::Pod { pod, workload },
            AnsweredBy::Pod { workload: one, .. } | AnsweredBy::Workload(one)
                if one == workload =>
            {
                AnsweredBy::Workload(workload)
            }
            _ => AnsweredBy::Different,
        };
    }
}

/// One server's numbers.
#[derive(Clone, Debug, Default)]
pub struct ServerStats {
    /// Query packets, repetitions included. The repetition over TCP of a query whose answer was truncated is
    /// not counted.
    pub queries: u64,
    /// Those among them that repeat another.
    pub repeated: u64,
    /// How the queries ended, each counted once however often it was repeated.
    pub outcomes: Outcomes,
    /// Decided queries that got a response, whatever its code.
    pub responses: u64,
    /// Timeouts whose answer came late.
    pub late: u64,
    /// From a query's first attempt to its answer.
    pub latencies: Latencies,
    pub(super) answered_by: AnsweredBy,
}

impl ServerStats {
    /// The hostNetwork pod that answered at an address, or the workload if several of its pods did.
    pub fn answered_by(&self) -> Option<&Object> {
        match &self.answered_by {
            AnsweredBy::Pod { pod, .. } => Some(pod),
            AnsweredBy::Workload(workload) => Some(workload),
            AnsweredBy::Unknown | AnsweredBy::Different => None,
        }
    }

    pub(super) fn add(&mut self, exchange: &Exchange, incomplete: bool) {
        if exchange.late {
            self.late += 1;
            return;
        }
        self.queries += u64::from(exchange.attempts);
        self.repeated += u64::from(exchange.attempts.saturating_sub(1));
        let outcome = match incomplete {
            true => Outcome::Undecided,
            false => exchange.outcome,
        };
        self.outcomes.add(outcome);
        let decided = outcome != Outcome::Undecided;
        self.responses += u64::from(decided && exchange.rcode.is_some());
        if let (Some(latency), false) = (exchange.latency, incomplete) {
            self.latencies.add(latency);
        }
    }
}
