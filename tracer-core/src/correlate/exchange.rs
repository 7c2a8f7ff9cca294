//! DNS exchanges: a query with its attempts, and its answer or its silence.
//!
//! Client, server, identifier, question and client port (over TCP, the connection) identify a query. The same
//! query from the same port is another attempt. From another port it is one too, if the previous attempt is
//! old enough for a resolver's retry: glibc opens a new socket and keeps the identifier when one of two
//! parallel queries stays unanswered. A truncated answer and the same question over TCP form one exchange of
//! two steps ([`truncated`]).

mod answered;
mod fragment;
mod key;
mod outcome;
mod truncated;

use std::sync::Arc;
use std::time::Duration;

use super::icmp::Quoted;
use crate::fair_table::{FairTable, Room};
use crate::model::correlated::{Asked, Correlated, CorrelatedEvent};
use crate::model::dns::{Message, OpCode, Question};
use crate::model::exchange::{ConnectionEnd, Details, Exchange, Outcome, Transport};
use crate::model::flow::{Direction, Flow, Protocol, Role};
use crate::model::heap_bytes::{HeapBytes, slice_bytes};
use crate::model::loss::{Losses, Stage, UNDECIDED_AT_END};
use crate::model::observation::IcmpError;
use crate::model::settings::{Limits, Thresholds};
use crate::model::time::Timestamp;
use answered::Answered;
use fragment::FirstFragment;
use key::{Key, SAME_ID, SAME_SOCKETS};
use outcome::outcome;
use truncated::{Held, Truncated};

/// No resolver retries sooner (musl after 2.5 s, glibc after 5 s, both down to 1 s by option): an earlier
/// repetition from another port is another process with the same question.
const NEW_PORT_RETRY: Duration = Duration::from_millis(900);
/// Ports of earlier attempts kept for late answers.
const MAX_EARLIER_PORTS: usize = 4;
/// Limits a search through one client's queries with the same identifier, the latest first. A client that
/// always uses the same one would otherwise cause a search through all of them for each packet.
const MAX_SEARCH: usize = 256;
/// Limits a search through the queries between two sockets: over TCP, of one connection.
const MAX_ON_SOCKETS: usize = 4096;
/// A query has one name of at most 255 bytes, a few EDNS options, and headers; padded ones have 128 bytes (RFC
/// 8467 section 4.1) or a multiple.
const MAX_QUERY_BYTES: u64 = 552;
/// A truncated answer waits this much longer than the connection timeout for the fate of the client's
/// connection.
const CONNECTION_GRACE: Duration = Duration::from_secs(1);

/// The loss of a query that may have been answered unseen.
const ANSWER_IN_A_GAP: &str = "dns over tcp: answer lost in a gap";

/// Where and when a message was observed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// A query's first packet, a response's last.
    pub(super) time: Timestamp,
    pub(super) flow: Flow,
    pub(super) direction: Direction,
    /// The message's start in its TCP stream was guessed.
    pub(super) resynchronised: bool,
}

/// DNS Stateful Operations (RFC 8490), an opcode that hickory-proto has no name for.
const DSO: OpCode = OpCode::Unknown(6);

/// A query without an answer so far.
#[derive(Clone, Debug)]
struct Query {
    /// Rises with every query, from 1 on. Over TCP, that of the truncated answer which it follows up.
    number: u64,
    /// Flow of the first attempt.
    flow: Flow,
    asked: Timestamp,
    last_attempt: Timestamp,
    attempts: u32,
    earlier_ports: Vec<u16>,
    /// Its timeout was emitted: an answer from now on is late.
    timed_out: bool,
    /// The truncated answer over UDP that this query over TCP follows up.
    follows: Option<Truncated>,
    /// Over TCP, a gap in the stream may have held the answer, so silence proves nothing.
    doubtful: bool,
    /// From the last attempt: some clients retry without EDNS.
    details: Details,
    /// An answer of which only the first fragment was seen.
    fragment: Option<Box<FirstFragment>>,
}

/// All exchanges.
#[derive(Debug)]
pub(super) struct Exchanges {
    open: FairTable<Key, Query, 2>,
    /// Answered recently, so that a second answer is recognised as a duplicate.
    answered: Answered,
    held: Held,
    timeout: Duration,
    late: Duration,
    tcp_wait: Duration,
    tcp_timeout: Duration,
    /// When the latest first fragment of an answer was seen.
    fragment_seen: Timestamp,
    /// Queries so far, their repetitions aside.
    queries: u64,
}

impl Exchanges {
    pub(super) fn new(thresholds: &Thresholds, limits: &Limits) -> Exchanges {
        let eighth = Room {
            entries: limits.exchanges / 8,
            bytes: limits.memory.exchanges / 8,
        };
        Exchanges {
            open: FairTable::new(Room {
                entries: limits.exchanges,
                bytes: limits.memory.exchanges - 2 * eighth.bytes,
            }),
            answered: Answered::new(thresholds.dns_timeout, eighth.bytes),
            held: Held::new(eighth),
            timeout: thresholds.dns_timeout,
            late: thresholds.dns_late,
            tcp_wait: thresholds.dns_tcp_wait,
            tcp_timeout: thresholds.tcp_timeout,
            fragment_seen: Timestamp(0),
            queries: 0,
        }
    }

    /// Takes a message.
    pub(super) fn observe(
        &mut self,
        seen: &Seen,
        mut message: Message,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        // The pod is the client if it sends the query or gets the response.
        let role = match (seen.direction, message.response) {
            (Direction::FromPod, false) | (Direction::ToPod, true) => Role::Client,
            (Direction::ToPod, false) | (Direction::FromPod, true) => Role::Server,
        };
        let key = Key::new(
            &seen.flow,
            role,
            message.opcode,
            message.id,
            message.question.take(),
        );
        // DSO messages with identifier 0 expect no answer (RFC 8490 section 5.4), so their silence proves
        // nothing.
        if message.opcode == DSO && message.id == 0 {
            losses.add(Stage::Decode, "dns message that expects no answer", 1);
            return;
        }
        if message.response {
            self.response(seen, &key, message, losses, out);
        } else {
            self.query(seen, key, &message, losses, out);
        }
    }

    fn query(
        &mut self,
        seen: &Seen,
        key: Key,
        message: &Message,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        let now = seen.time;
        self.asked_again(&key, now);
        // A query after its answer reuses the identifier.
        self.answered.remove(&key);
        let same = match self.open.get(&key) {
            Some(query) if !query.timed_out => Some(key.clone()),
            Some(_) => None,
            None => self.repeated_from_another_port(&key, now),
        };
        let repeated = same.and_then(|same| {
            let mut query = self.open.remove(&same)?;
            if same.port != key.port && query.earlier_ports.len() < MAX_EARLIER_PORTS {
                query.earlier_ports.push(same.port);
            }
            Some(query)
        });
        let mut query = repeated.unwrap_or_else(|| {
            let follows = match key.protocol {
                Protocol::Tcp => self
                    .held
                    .followed_up(&key, &seen.flow, now.after(self.tcp_wait)),
                _ => None,
            };
            self.queries += 1;
            Query {
                number: (follows.as_ref()).map_or(self.queries, Truncated::number),
                flow: seen.flow,
                asked: now,
                last_attempt: now,
                attempts: 0,
                earlier_ports: Vec::new(),
                timed_out: false,
                follows,
                doubtful: false,
                details: Details::default(),
                fragment: None,
            }
        });
        query.details = Details {
            resynchronised: seen.resynchronised,
            ..Details::asked(message)
        };
        query.attempts = query.attempts.saturating_add(1);
        query.last_attempt = query.last_attempt.max(now);
        // Only opcode QUERY asks for a name, so only it belongs to a lookup.
        if let Some(question) = &key.question
            && message.opcode == OpCode::Query
        {
            let asked = Asked {
                exchange: query.number,
                id: key.id,
                question: question.clone(),
                attempt: query.attempts + u32::from(query.follows.is_some()),
            };
            out.push(Correlated {
                time: now,
                flow: seen.flow,
                role: key.role,
                event: CorrelatedEvent::Asked(asked),
            });
        }
        let deadline = query.last_attempt.after(self.timeout);
        self.keep(key, query, deadline, losses, out);
    }

    /// Keeps a query until a deadline, and counts those that make room for it.
    fn keep(
        &mut self,
        key: Key,
        query: Query,
        deadline: Timestamp,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        let bytes = key.question.heap_bytes() + query.heap_bytes();
        for (key, evicted) in self.open.insert(key, query, bytes, deadline) {
            out.push(Correlated::made_room(evicted.asked, evicted.flow, key.role));
            if !evicted.timed_out {
                losses.add_on(key.ifindex, Stage::Table, "dns exchange table full", 1);
                out.push(event(evicted.undecided(&key)));
            }
        }
    }

    /// The client asks again for what it has the first fragment of an answer to: the rest was lost.
    fn asked_again(&mut self, key: &Key, now: Timestamp) {
        if now.since(self.fragment_seen) > self.timeout {
            return;
        }
        let waiting: Vec<Key> = self
            .open
            .group(SAME_ID, key)
            .take(MAX_SEARCH)
            .filter(|(other, query)| query.fragment.is_some() && other.same_question(key))
            .map(|(other, _)| other.clone())
            .collect();
        for waiting in waiting {
            let query = self.open.get_mut(&waiting);
            if let Some(fragment) = query.and_then(|query| query.fragment.as_mut()) {
                fragment.asked_again(now);
            }
        }
    }

    /// The open query that this one repeats from another port.
    fn repeated_from_another_port(&self, key: &Key, now: Timestamp) -> Option<Key> {
        self.open
            .group(SAME_ID, key)
            .take(MAX_SEARCH)
            .filter(|(other, query)| {
                other.server == key.server
                    && other.same_question(key)
                    && !query.timed_out
                    && now.since(query.last_attempt) >= NEW_PORT_RETRY
            })
            .min_by_key(|(_, query)| query.asked)
            .map(|(other, _)| other.clone())
    }

    fn response(
        &mut self,
        seen: &Seen,
        key: &Key,
        mut message: Message,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        let now = seen.time;
        // Mostly the answer has the key of its query. Else some other query is looked for.
        let mut query = self.open.remove(key);
        let other_key = match query {
            Some(_) => None,
            None => self.asked_as(key),
        };
        if let Some(other) = &other_key {
            query = self.open.remove(other);
        }
        if query.is_none() && self.answered.contains(key) {
            // A zone transfer takes several messages (RFC 5936 section 2.2); the first one decided the
            // outcome.
            let reason = match key.protocol {
                Protocol::Tcp => "dns over tcp: further answer",
                _ => "dns duplicate answer",
            };
            losses.add(Stage::Table, reason, 1);
            return;
        }
        let unexpected = match query {
            None => self.asked_of_another(key),
            Some(_) => None,
        };
        let fragment = message.fragment
            && key.protocol == Protocol::Udp
            && query.as_ref().is_some_and(|query| !query.timed_out);
        if query.is_some() && !fragment {
            if let Some(other) = &other_key {
                self.answered.add(other, now);
            }
            self.answered.add(key, now);
        }
        let query_key = other_key.as_ref().unwrap_or(key);
        let question = query_key.question.clone();
        let latency = query.as_ref().map(|query| now.since(query.asked));
        let mut exchange = match &mut query {
            // A first fragment keeps its query open.
            Some(query) if fragment => query.ended(key, question),
            Some(query) => Exchange {
                details: std::mem::take(&mut query.details),
                ..query.without_details(key, question)
            },
            None => unknown(key, question, seen.flow, now),
        };
        exchange.outcome = match unexpected {
            // The client discards it, whatever it contains.
            Some(_) => Outcome::Other,
            // Any host can send it: it shows nothing about the client's lookups.
            None if query.is_none() => Outcome::Undecided,
            None => outcome(&message, exchange.question.as_ref()),
        };
        exchange.rcode = Some(message.rcode);
        exchange.answers = std::mem::take(&mut message.answers);
        exchange.authorities = std::mem::take(&mut message.authorities);
        exchange.latency = latency;
        exchange.asked_peer = unexpected.map(|asked| asked.server);
        exchange.fault = message.fault.take();
        let truncated = message.flags.truncated;
        exchange.details = exchange.details.answered(message);
        exchange.details.resynchronised |= seen.resynchronised;
        match query {
            Some(mut query) if fragment => {
                self.fragment_seen = self.fragment_seen.max(now);
                FirstFragment::add(&mut query.fragment, now, exchange);
                let deadline = query.last_attempt.after(self.timeout);
                let key = query_key.clone();
                self.keep(key, query, deadline, losses, out);
            }
            // A late answer follows a reported timeout, and the client waits no longer.
            Some(query) if truncated && key.protocol == Protocol::Udp && !query.timed_out => {
                self.hold(now, key, exchange, losses, out);
            }
            Some(query) => out.push(event(query.with_steps(exchange))),
            None => out.push(event(exchange)),
        }
    }

    /// The key of the open query that a response answers whose own key is no query's.
    fn asked_as(&self, key: &Key) -> Option<Key> {
        // Some servers omit the question from an error response, and the answer to an earlier attempt goes to
        // that attempt's port.
        self.open
            .group(SAME_ID, key)
            .take(MAX_SEARCH)
            .filter(|(other, query)| {
                other.server == key.server
                    && other.same_id(key)
                    && (key.question.is_none() || other.question == key.question)
                    && (other.port == key.port || query.earlier_ports.contains(&key.port))
            })
            .min_by_key(|(_, query)| query.asked)
            .map(|(other, _)| other.clone())
    }

    /// The key of the open query that a response would answer if it came from the queried server.
    fn asked_of_another(&self, key: &Key) -> Option<Key> {
        if key.protocol != Protocol::Udp || key.question.is_none() {
            return None;
        }
        self.open
            .group(SAME_ID, key)
            .take(MAX_SEARCH)
            .filter(|(other, query)| {
                other.server != key.server
                    && other.same_question(key)
                    && (other.port == key.port || query.earlier_ports.contains(&key.port))
            })
            .min_by_key(|(_, query)| query.asked)
            .map(|(other, _)| other.clone())
    }

    fn hold(
        &mut self,
        now: Timestamp,
        key: &Key,
        exchange: Exchange,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        let until = now.after(self.tcp_wait);
        let truncated = Truncated::new(exchange);
        // Queried again and truncated again: nothing followed the first answer.
        emit_alone(self.held.take(key), out);
        for (key, evicted) in self.held.hold(key.clone(), truncated, until) {
            let reason = "dns truncated answer not awaited over tcp";
            losses.add_on(key.ifindex, Stage::Table, reason, 1);
            let evicted = evicted.alone();
            out.push(Correlated::made_room(
                evicted.asked,
                evicted.flow,
                evicted.role,
            ));
            out.push(event(evicted));
        }
    }

    /// Takes a client's SYN to a DNS port.
    pub(super) fn connecting(&mut self, now: Timestamp, flow: &Flow, role: Role) {
        if !self.held.is_empty() {
            let until = now.after(self.tcp_timeout).after(CONNECTION_GRACE);
            let key = Key::from_flow(flow, role);
            self.held.connecting(&key, flow, until);
        }
    }

    /// A TCP connection ended before a query: it was refused, timed out or broke.
    pub(super) fn unconnected(
        &mut self,
        flow: &Flow,
        role: Role,
        end: ConnectionEnd,
        icmp: Option<IcmpError>,
        out: &mut Vec<Correlated>,
    ) {
        if self.held.is_empty() {
            return;
        }
        let key = Key::from_flow(flow, role);
        for truncated in self.held.unconnected(&key, flow) {
            out.push(event(truncated.unconnected(end, icmp)));
        }
    }

    /// A gap hides part of what the pod in this role receives, or sends, on a TCP connection: it may have
    /// held answers to open queries.
    pub(super) fn doubt(&mut self, flow: &Flow, role: Role) {
        for key in self.open_on(flow, role) {
            if let Some(query) = self.open.get_mut(&key) {
                query.doubtful = true;
            }
        }
    }

    /// A TCP connection ended, so the pod in this role receives, or sends, no more answers on it. `gap` marks
    /// missing bytes before its end.
    pub(super) fn disconnected(
        &mut self,
        flow: &Flow,
        role: Role,
        end: ConnectionEnd,
        gap: bool,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        for key in self.open_on(flow, role) {
            let Some(query) = self.open.remove(&key) else {
                continue;
            };
            if gap || query.doubtful {
                losses.add(Stage::Decode, ANSWER_IN_A_GAP, 1);
                out.push(event(query.undecided(&key)));
                continue;
            }
            let mut exchange = query.ended(&key, key.question.clone());
            exchange.connection = Some(end);
            out.push(event(query.with_steps(exchange)));
        }
    }

    /// The queries between two sockets that wait for an answer, the oldest first.
    fn open_on(&self, flow: &Flow, role: Role) -> Vec<Key> {
        let sockets = Key::from_flow(flow, role);
        let mut open: Vec<Key> = self
            .open
            .group(SAME_SOCKETS, &sockets)
            .take(MAX_ON_SOCKETS)
            .filter(|(key, query)| key.same_sockets(&sockets) && !query.timed_out)
            .map(|(key, _)| key.clone())
            .collect();
        open.reverse();
        open
    }

    /// Takes an ICMP error that quotes a packet of `flow`, from the view of the pod in that role. Returns
    /// whether the packet was an open query.
    pub(super) fn icmp(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        role: Role,
        error: &IcmpError,
        out: &mut Vec<Correlated>,
    ) -> bool {
        // Some errors quote only the ports: assume the oldest open query on that port.
        let hit = (self.open_on(flow, role).into_iter())
            .filter(|key| error.datagram_id.is_none_or(|id| id == key.id))
            .min_by_key(|key| self.open.get(key).map(|query| query.asked));
        let Some(key) = hit else { return false };
        let Some(query) = self.open.remove(&key) else {
            return false;
        };
        self.answered.add(&key, now);
        let mut exchange = query.ended(&key, key.question.clone());
        exchange.outcome = Outcome::IcmpError;
        exchange.icmp = Some(*error);
        out.push(event(exchange));
        true
    }

    /// The exchange between two sockets, open or recently answered, in which the pod sent the quoted message.
    pub(super) fn quoted(&self, flow: &Flow) -> Option<Quoted> {
        let answered = |role| {
            let sockets = Key::from_flow(flow, role);
            self.answered.contains_sockets(&sockets)
        };
        let (role, sent_bytes) =
            if answered(Role::Client) || !self.open_on(flow, Role::Client).is_empty() {
                (Role::Client, MAX_QUERY_BYTES)
            } else if answered(Role::Server) {
                (Role::Server, u64::MAX)
            } else {
                return None;
            };
        Some(Quoted {
            flow: Some((*flow, role)),
            sent_bytes,
        })
    }

    pub(super) fn advance(
        &mut self,
        now: Timestamp,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        while let Some((key, query)) = self.open.pop_due(now) {
            if query.timed_out {
                continue;
            }
            if query.doubtful {
                losses.add(Stage::Decode, ANSWER_IN_A_GAP, 1);
                out.push(event(query.undecided(&key)));
                continue;
            }
            if let Some(answered) = query.arrived_in_fragments() {
                self.answered.add(&key, now);
                out.push(event(query.with_steps(answered)));
                continue;
            }
            let mut exchange = query.ended(&key, key.question.clone());
            exchange.outcome = Outcome::Timeout;
            out.push(event(query.with_steps(exchange)));
            let deadline = query.last_attempt.after(self.timeout).after(self.late);
            let query = Query {
                timed_out: true,
                ..query
            };
            self.keep(key, query, deadline, losses, out);
        }
        while let Some(truncated) = self.held.pop_due(now) {
            out.push(event(truncated.alone()));
        }
        self.answered.advance(now);
    }

    /// Open queries have not been silent for long enough to count as timeouts.
    pub(super) fn end(&mut self, losses: &mut Losses, out: &mut Vec<Correlated>) {
        while let Some((key, query)) = self.open.pop_oldest() {
            if query.fragments_lost() > 0 && !query.timed_out {
                // Proven by the repeated query, however young that is.
                let mut exchange = query.ended(&key, key.question.clone());
                exchange.outcome = Outcome::Timeout;
                out.push(event(query.with_steps(exchange)));
            } else if !query.timed_out {
                losses.add(Stage::Table, UNDECIDED_AT_END, 1);
                out.push(event(query.undecided(&key)));
            }
        }
        while let Some(truncated) = self.held.pop() {
            out.push(event(truncated.alone()));
        }
    }
}

impl HeapBytes for Query {
    fn heap_bytes(&self) -> usize {
        slice_bytes(&self.earlier_ports)
            + self.follows.heap_bytes()
            + self.details.heap_bytes()
            + self.fragment.heap_bytes()
    }
}

impl Query {
    /// This query's exchange without an answer; the caller adds the outcome.
    fn ended(&self, key: &Key, question: Option<Question>) -> Exchange {
        Exchange {
            details: self.details.clone(),
            ..self.without_details(key, question)
        }
    }

    fn without_details(&self, key: &Key, question: Option<Question>) -> Exchange {
        Exchange {
            number: self.number,
            flow: self.flow,
            asked: self.asked,
            last_attempt: self.last_attempt,
            attempts: self.attempts,
            late: self.timed_out,
            fragments_lost: self.fragments_lost(),
            ..unknown(key, question, self.flow, self.asked)
        }
    }

    /// This query's exchange if its answer can come unseen, or have come.
    fn undecided(&self, key: &Key) -> Exchange {
        let mut exchange = self.ended(key, key.question.clone());
        exchange.outcome = Outcome::Undecided;
        self.with_steps(exchange)
    }

    /// Answers of which only the first fragment arrived.
    fn fragments_lost(&self) -> u32 {
        (self.fragment.as_ref()).map_or(0, |fragment| fragment.lost())
    }

    /// The answer of which only the first fragment was seen, if the client did not ask again.
    fn arrived_in_fragments(&self) -> Option<Exchange> {
        self.fragment
            .as_ref()
            .filter(|_| !self.timed_out)
            .and_then(|fragment| fragment.arrived())
    }

    /// Adds the preceding step over UDP, if there was one.
    fn with_steps(&self, exchange: Exchange) -> Exchange {
        match &self.follows {
            Some(truncated) => truncated.followed_by(exchange),
            None => exchange,
        }
    }
}

/// Emits a truncated answer that nothing is known to have followed.
fn emit_alone(truncated: Option<Truncated>, out: &mut Vec<Correlated>) {
    if let Some(truncated) = truncated {
        out.push(event(truncated.alone()));
    }
}

fn event(exchange: Exchange) -> Correlated {
    Correlated {
        time: exchange.asked,
        flow: exchange.flow,
        role: exchange.role,
        event: CorrelatedEvent::Exchange(Arc::new(exchange)),
    }
}

/// An exchange with neither query nor answer.
fn unknown(key: &Key, question: Option<Question>, flow: Flow, asked: Timestamp) -> Exchange {
    Exchange {
        number: 0,
        flow,
        role: key.role,
        transport: match key.protocol {
            Protocol::Tcp => Transport::Tcp,
            _ => Transport::Udp,
        },
        id: key.id,
        question,
        asked,
        last_attempt: asked,
        attempts: 0,
        outcome: Outcome::Other,
        rcode: None,
        answers: Vec::new(),
        authorities: Vec::new(),
        latency: None,
        late: false,
        icmp: None,
        connection: None,
        asked_peer: None,
        fragments_lost: 0,
        caused_by: None,
        upstream: None,
        steps: Vec::new(),
        fault: None,
        details: Details::default(),
    }
}

#[cfg(test)]
mod tests;
