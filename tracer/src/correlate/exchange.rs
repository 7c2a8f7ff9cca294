//! DNS exchanges: a query with its attempts, and its answer or its silence.
//!
//! A query is known by who asked whom, the identifier, the question and the port. The same from the same port is another
//! attempt; the same from another port is one too, if the attempt before it is old enough for a resolver's retry: glibc
//! opens a new socket and keeps the identifier when one of two parallel queries stayed without an answer.

mod key;
mod outcome;

use std::time::Duration;

use super::table::Table;
use crate::model::correlated::{Asked, Correlated, Happening};
use crate::model::dns::{Message, OpCode};
use crate::model::exchange::{Details, Exchange, Outcome, Transport};
use crate::model::flow::{Flow, Protocol, Role, Way};
use crate::model::loss::{Losses, Stage};
use crate::model::observation::{IcmpError, Observation};
use crate::model::settings::{Limits, Thresholds};
use crate::model::time::Timestamp;
use key::Key;
use outcome::outcome;

/// No resolver retries sooner (musl after 2.5 s, glibc after 5 s, both down to 1 s by option): the same query from another
/// port before that is another process asking the same.
const NEW_PORT_RETRY: Duration = Duration::from_millis(900);
/// So many ports of earlier attempts are kept, for answers that come late.
const MAX_EARLIER_PORTS: usize = 4;
/// So many open queries between one client and one server are looked through for the one that an ICMP error quotes.
const MAX_QUOTE_SEARCH: usize = 4096;

/// A query that was seen and not answered.
#[derive(Clone, Debug)]
struct Query {
    /// Of the first attempt.
    flow: Flow,
    asked: Timestamp,
    last_attempt: Timestamp,
    attempts: u32,
    earlier_ports: Vec<u16>,
    /// Its timeout was told: an answer from now on is late.
    timed_out: bool,
    /// Of the last attempt: some clients try again without EDNS.
    details: Details,
}

/// All exchanges.
#[derive(Debug)]
pub(super) struct Exchanges {
    open: Table<Key, Query>,
    /// Answered not long ago, so that a second answer is known as one.
    answered: Table<Key, ()>,
    timeout: Duration,
    late: Duration,
}

impl Exchanges {
    pub(super) fn new(thresholds: &Thresholds, limits: &Limits) -> Exchanges {
        Exchanges {
            open: Table::new(limits.exchanges),
            // Only a convenience: a duplicate that is not known any more is told as an answer without a query.
            answered: Table::new(limits.exchanges / 8),
            timeout: thresholds.dns_timeout,
            late: thresholds.dns_late,
        }
    }

    /// Takes a message in.
    pub(super) fn observe(
        &mut self,
        observation: &Observation,
        message: &Message,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        // The pod is the client if it sends the query or gets the response.
        let role = match (observation.way, message.response) {
            (Way::FromPod, false) | (Way::ToPod, true) => Role::Client,
            (Way::ToPod, false) | (Way::FromPod, true) => Role::Server,
        };
        let key = Key::new(
            &observation.flow,
            role,
            message.opcode,
            message.id,
            message.question.clone(),
        );
        if message.response {
            self.response(observation, &key, message, losses, out);
        } else {
            self.query(observation, key, message, losses, out);
        }
    }

    fn query(
        &mut self,
        observation: &Observation,
        key: Key,
        message: &Message,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        let now = observation.time;
        // Asked again after the answer: the identifier is used anew.
        self.answered.remove(&key);
        let same = match self.open.get(&key) {
            Some(query) if !query.timed_out => Some(key.clone()),
            Some(_) => None,
            None => self.repeated_from_another_port(&key, now),
        };
        let mut query = same
            .and_then(|same| {
                let mut query = self.open.remove(&same)?;
                if same.port != key.port && query.earlier_ports.len() < MAX_EARLIER_PORTS {
                    query.earlier_ports.push(same.port);
                }
                Some(query)
            })
            .unwrap_or(Query {
                flow: observation.flow,
                asked: now,
                last_attempt: now,
                attempts: 0,
                earlier_ports: Vec::new(),
                timed_out: false,
                details: Details::default(),
            });
        query.details = Details::asked(message);
        query.attempts = query.attempts.saturating_add(1);
        query.last_attempt = now;
        // What is not a query asks for no name: it belongs to no lookup.
        if let Some(question) = &key.question
            && message.opcode == OpCode::Query
        {
            let asked = Asked {
                id: key.id,
                question: question.clone(),
                attempt: query.attempts,
            };
            out.push(Correlated {
                time: now,
                flow: observation.flow,
                role: key.role,
                what: Happening::Asked(asked),
            });
        }
        if let Some((_, evicted)) = self.open.insert(key, query, now.after(self.timeout))
            && !evicted.timed_out
        {
            losses.add(Stage::Table, "dns exchange table full", 1);
        }
    }

    /// The open query that this one repeats from another port.
    fn repeated_from_another_port(&self, key: &Key, now: Timestamp) -> Option<Key> {
        let first = Key {
            port: 0,
            ..key.clone()
        };
        self.open
            .from(&first)
            .take_while(|(other, _)| {
                other.same_ends(key)
                    && other.opcode == key.opcode
                    && other.id == key.id
                    && other.question == key.question
            })
            .filter(|(_, query)| {
                !query.timed_out && now.since(query.last_attempt) >= NEW_PORT_RETRY
            })
            .min_by_key(|(_, query)| query.asked)
            .map(|(other, _)| other.clone())
    }

    fn response(
        &mut self,
        observation: &Observation,
        key: &Key,
        message: &Message,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        let now = observation.time;
        let query_key = self.asked_as(key);
        let query = query_key.as_ref().and_then(|key| self.open.remove(key));
        if query.is_none() && self.answered.get(key).is_some() {
            losses.add(Stage::Table, "dns duplicate answer", 1);
            return;
        }
        let keep = now.after(self.timeout);
        self.answered.insert(key.clone(), (), keep);
        let question = match query_key {
            Some(query_key) => {
                let question = query_key.question.clone();
                self.answered.insert(query_key, (), keep);
                question
            }
            None => key.question.clone(),
        };
        let exchange = Exchange {
            flow: query.as_ref().map_or(observation.flow, |query| query.flow),
            role: key.role,
            transport: transport(observation.flow.protocol),
            id: message.id,
            outcome: outcome(message, question.as_ref()),
            question,
            asked: query.as_ref().map_or(now, |query| query.asked),
            attempts: query.as_ref().map_or(0, |query| query.attempts),
            rcode: Some(message.rcode),
            answers: message.answers.clone(),
            authorities: message.authorities.clone(),
            latency: query.as_ref().map(|query| now.since(query.asked)),
            late: query.as_ref().is_some_and(|query| query.timed_out),
            icmp: None,
            fault: message.fault.clone(),
            details: query
                .map(|query| query.details)
                .unwrap_or_default()
                .answered(message),
        };
        out.push(told(exchange));
    }

    /// The key of the open query that a response of this key answers.
    fn asked_as(&self, key: &Key) -> Option<Key> {
        if self.open.get(key).is_some() {
            return Some(key.clone());
        }
        // Some servers leave the question out of an error response; and the answer to an earlier attempt goes to the port
        // of that attempt.
        let first = Key {
            question: None,
            port: 0,
            ..key.clone()
        };
        self.open
            .from(&first)
            .take_while(|(other, _)| {
                other.same_ends(key) && other.opcode == key.opcode && other.id == key.id
            })
            .filter(|(other, query)| {
                (key.question.is_none() || other.question == key.question)
                    && (other.port == key.port || query.earlier_ports.contains(&key.port))
            })
            .min_by_key(|(_, query)| query.asked)
            .map(|(other, _)| other.clone())
    }

    /// An ICMP error quotes a packet of `flow`, seen from the pod in that role. Whether it was an open query.
    pub(super) fn icmp(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        role: Role,
        error: &IcmpError,
        out: &mut Vec<Correlated>,
    ) -> bool {
        // The first opcode is that of queries: from there on all that is open between the two is looked through.
        let quoted = Key::new(flow, role, OpCode::Query, 0, None);
        let first = Key {
            port: 0,
            ..quoted.clone()
        };
        // The quote ends before the identifier, or may do so: of the open queries of that port it is the oldest.
        let hit = self
            .open
            .from(&first)
            .take_while(|(other, _)| other.same_ends(&quoted))
            .take(MAX_QUOTE_SEARCH)
            .filter(|(other, query)| other.port == quoted.port && !query.timed_out)
            .min_by_key(|(_, query)| query.asked)
            .map(|(other, _)| other.clone());
        let Some(key) = hit else { return false };
        let Some(query) = self.open.remove(&key) else {
            return false;
        };
        self.answered
            .insert(key.clone(), (), now.after(self.timeout));
        out.push(told(silent(&key, &query, Outcome::IcmpError, Some(*error))));
        true
    }

    pub(super) fn advance(&mut self, now: Timestamp, out: &mut Vec<Correlated>) {
        while let Some((key, query)) = self.open.pop_due(now) {
            if query.timed_out {
                continue;
            }
            out.push(told(silent(&key, &query, Outcome::Timeout, None)));
            let deadline = query.last_attempt.after(self.timeout).after(self.late);
            self.open.insert(
                key,
                Query {
                    timed_out: true,
                    ..query
                },
                deadline,
            );
        }
        while self.answered.pop_due(now).is_some() {}
    }

    /// What is open has not been silent for long enough to say so.
    pub(super) fn end(&mut self, losses: &mut Losses) {
        while let Some((_, query)) = self.open.pop_oldest() {
            if !query.timed_out {
                losses.add(Stage::Table, "dns undecided at the end", 1);
            }
        }
    }
}

fn told(exchange: Exchange) -> Correlated {
    Correlated {
        time: exchange.asked,
        flow: exchange.flow,
        role: exchange.role,
        what: Happening::Exchange(Box::new(exchange)),
    }
}

/// An exchange without a response.
fn silent(key: &Key, query: &Query, outcome: Outcome, icmp: Option<IcmpError>) -> Exchange {
    Exchange {
        flow: query.flow,
        role: key.role,
        transport: transport(key.protocol),
        id: key.id,
        question: key.question.clone(),
        asked: query.asked,
        attempts: query.attempts,
        outcome,
        rcode: None,
        answers: Vec::new(),
        authorities: Vec::new(),
        latency: None,
        late: false,
        icmp,
        fault: None,
        details: query.details.clone(),
    }
}

fn transport(protocol: Protocol) -> Transport {
    if protocol == Protocol::Tcp {
        Transport::Tcp
    } else {
        Transport::Udp
    }
}

#[cfg(test)]
mod tests;
