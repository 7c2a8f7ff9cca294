//! One step of an open lookup: a question, asked once or several times, and its result.
//!
//! Owns the rules by which the same question asked again is the same step. A retransmission to the same
//! server under the first query's identifier is an attempt of the same exchange and is counted there. The
//! queries that arrive here are exchanges of their own: to another server, over TCP, or after an answer that
//! made the resolver retry.

use std::net::SocketAddr;
use std::time::Duration;

use smallvec::{SmallVec, smallvec};

use super::open_lookup::Query;
use crate::model::dns::{DnsName, RecordType};
use crate::model::exchange::{Exchange, Outcome};
use crate::model::flow::{Flow, Protocol};
use crate::model::heap_bytes::{HeapBytes, slice_bytes};
use crate::model::lookup::{SentQuery, Step};
use crate::model::time::Timestamp;

/// After a failure a resolver retries or moves on immediately: a later query is a new question.
pub const IMMEDIATE: Duration = Duration::from_millis(100);
/// The default wait for an answer in glibc, bind and Go (resolv.conf(5), RES_TIMEOUT).
const TIMEOUT: Duration = Duration::from_secs(5);
/// By default musl asks twice within [`TIMEOUT`]: each round waits for this long.
const MUSL_ROUND: Duration = Duration::from_millis(2_500);
/// No resolver takes silence for a loss sooner: a second is the least that resolv.conf allows, less what a
/// coarse timer takes off.
pub const MIN_PATIENCE: Duration = Duration::from_millis(900);
/// A timer starts at most this long before the packet is seen.
const MAX_TIMER_EARLY: Duration = Duration::from_millis(50);
/// On a busy machine a timer fires at most this late.
const MAX_TIMER_LATE: Duration = Duration::from_millis(250);
/// How often a resolver that takes a new identifier for each attempt asks a silent server, by default (resolv.conf(5),
/// RES_DFLRETRY). Programs whose lookups fail often call again at once, and each call is a lookup of its own.
const ATTEMPTS: usize = 2;
/// The most that one call asks after failures: three servers, each twice, over UDP and over TCP.
const MOST_AFTER_FAILURES: usize = 12;
/// Queries kept per step.
const MAX_QUERIES: usize = 32;

/// A question and its result.
#[derive(Debug)]
pub struct OpenStep {
    /// The step as the lookup event will show it.
    pub step: Step,
    /// The candidate for which it is asked: its own name or, if that turned out to be an alias, the alias.
    candidate: DnsName,
    /// Where its queries came from and went to, the latest last.
    queries: SmallVec<[Origin; 1]>,
    /// How many of its queries have not ended.
    awaited: usize,
    /// The time of the latest query.
    last: Timestamp,
    /// The time of the latest answer.
    ended: Timestamp,
    /// The failure of one query while others are awaited.
    failure: Option<Outcome>,
}

/// A query of a step, its question aside.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    flow: Flow,
    id: u16,
}

impl Origin {
    fn of(query: &Query<'_>) -> Origin {
        Origin {
            flow: *query.flow,
            id: query.id,
        }
    }
}

impl OpenStep {
    /// A step with its first query.
    pub fn new(at: Timestamp, query: &Query<'_>, candidate: &DnsName) -> OpenStep {
        OpenStep {
            candidate: candidate.clone(),
            step: Step {
                name: query.question.name.clone(),
                qtype: query.question.qtype,
                outcome: None,
                latency: None,
                attempts: 1,
                data: Vec::new(),
                errors: Vec::new(),
                asked: at,
                sent: vec![sent(at, query)],
            },
            queries: smallvec![Origin::of(query)],
            awaited: 1,
            last: at,
            ended: at,
            failure: None,
        }
    }

    /// Whether this step is for that candidate.
    pub fn is_for(&self, name: &DnsName) -> bool {
        self.candidate == *name
    }

    /// The candidate for which it is asked.
    pub fn candidate(&self) -> &DnsName {
        &self.candidate
    }

    /// The type it asks for.
    pub fn qtype(&self) -> RecordType {
        self.step.qtype
    }

    /// The time of its latest query.
    pub fn last(&self) -> Timestamp {
        self.last
    }

    /// The time of its latest answer; without one, that of its first query.
    pub fn ended(&self) -> Timestamp {
        self.ended
    }

    /// Whether the pod's socket of this query is one of the step's.
    pub fn uses_socket(&self, query: &Query<'_>) -> bool {
        self.uses(query.flow)
    }

    fn uses(&self, flow: &Flow) -> bool {
        let from = |flow: &Flow| (flow.protocol, flow.pod.port());
        self.queries
            .iter()
            .any(|known| from(&known.flow) == from(flow))
    }

    /// Whether a query of this step and one of the other come from the same socket.
    pub fn shares_socket(&self, other: &OpenStep) -> bool {
        self.queries.iter().any(|query| other.uses(&query.flow))
    }

    /// Whether the step asked the server of this query.
    pub fn asked_server(&self, query: &Query<'_>) -> bool {
        self.queries
            .iter()
            .any(|known| known.flow.peer == query.flow.peer)
    }

    /// Whether it has no answer.
    pub fn is_silent(&self) -> bool {
        matches!(self.step.outcome, None | Some(Outcome::Timeout))
    }

    /// Whether the exchange of one of its queries has not ended, and none gave an outcome.
    pub fn is_awaited(&self) -> bool {
        self.step.outcome.is_none() && self.awaited > 0
    }

    /// Its outcome, once it has ended.
    pub fn outcome(&self) -> Option<Outcome> {
        self.step.outcome
    }

    /// Whether the step has a query with the same identifier and question.
    pub fn has_id(&self, query: &Query<'_>) -> bool {
        self.queries.iter().any(|known| known.id == query.id)
            && self.step.qtype == query.question.qtype
            && self.step.name == query.question.name
    }

    /// Whether a query for the same question under another identifier is a retry by the same resolver call,
    /// judged by its time: Go takes a new identifier for each attempt, bind for the one over TCP.
    pub fn is_retry(&self, at: Timestamp, query: &Query<'_>) -> bool {
        let over_tcp = query.flow.protocol == Protocol::Tcp
            && self
                .queries
                .iter()
                .all(|known| known.flow.protocol == Protocol::Udp);
        match self.step.outcome {
            // Where both are part of one exchange, the query over TCP is not a first attempt and never gets
            // here.
            Some(Outcome::Truncated) if over_tcp => true,
            Some(outcome) if fails(outcome) && outcome != Outcome::Timeout => {
                at.since(self.ended) <= IMMEDIATE && self.queries.len() < MOST_AFTER_FAILURES
            }
            None | Some(Outcome::Timeout) => {
                let again = !self.keeps_identifier() && self.times_asked(query) < ATTEMPTS;
                again && self.is_timer(at)
            }
            Some(_) => false,
        }
    }

    /// Whether one of its queries was repeated under its own identifier. Such a resolver takes no new one.
    fn keeps_identifier(&self) -> bool {
        let retransmitted = self.step.attempts as usize > self.queries.len();
        let mut ids: SmallVec<[u16; 4]> = self.queries.iter().map(|query| query.id).collect();
        ids.sort_unstable();
        retransmitted || ids.windows(2).any(|pair| pair[0] == pair[1])
    }

    /// How often it asked the server of this query.
    fn times_asked(&self, query: &Query<'_>) -> usize {
        let servers = self.queries.iter().map(|known| known.flow.peer);
        servers.filter(|server| *server == query.flow.peer).count()
    }

    /// Whether the resolver may move on to another candidate at that time, because it got no usable answer.
    /// Go also moves on after silence.
    pub fn may_move_on(&self, at: Timestamp) -> bool {
        match self.step.outcome {
            None | Some(Outcome::Timeout) => self.is_timer(at),
            Some(outcome) => !matches!(outcome, Outcome::Answered | Outcome::Truncated),
        }
    }

    /// Whether the resolver's timer for the latest query fires at that time.
    fn is_timer(&self, at: Timestamp) -> bool {
        let silent = at.since(self.last);
        let patience = patience(&self.step.sent);
        let fires = |after: Duration| {
            after.saturating_sub(MAX_TIMER_EARLY) <= silent && silent <= after + MAX_TIMER_LATE
        };
        // c-ares doubles its wait with every round.
        fires(patience) || self.step.sent.len() > 1 && fires(patience * 2)
    }

    /// How much longer the timer for the latest query may take to fire.
    pub fn timer_may_still_wait(&self, at: Timestamp) -> Duration {
        let latest = patience(&self.step.sent) + MAX_TIMER_LATE;
        latest.saturating_sub(at.since(self.last))
    }

    /// One of its queries is retransmitted.
    pub fn retransmitted(&mut self, at: Timestamp, query: &Query<'_>) {
        self.step.attempts = self.step.attempts.saturating_add(1);
        self.last = at;
        self.keep_sent(at, query);
    }

    fn keep_sent(&mut self, at: Timestamp, query: &Query<'_>) {
        if self.step.sent.len() < MAX_QUERIES {
            self.step.sent.push(sent(at, query));
        }
    }

    /// Notes what the latest query to the exchange's server got.
    fn note_answer(&mut self, at: Timestamp, exchange: &Exchange) {
        if exchange.outcome == Outcome::Timeout {
            return;
        }
        let server = exchange.flow.peer.ip();
        let mut latest = self.step.sent.iter_mut().rev();
        if let Some(sent) =
            latest.find(|sent| sent.server == server && sent.outcome.is_none() && sent.at <= at)
        {
            sent.outcome = Some(exchange.outcome);
            sent.latency = exchange.latency.map(|_| at.since(sent.at));
        }
    }

    /// The number of its queries, retransmissions aside.
    pub fn queries(&self) -> usize {
        self.queries.len()
    }

    /// The number of servers asked.
    pub fn servers(&self) -> usize {
        if let [_] = self.queries.as_slice() {
            return 1;
        }
        let mut servers: Vec<SocketAddr> =
            self.queries.iter().map(|query| query.flow.peer).collect();
        servers.sort_unstable();
        servers.dedup();
        servers.len()
    }

    /// How long after a failure it may still be asked again. musl sends a failing query up to three times in
    /// a row from one socket, and starts another round half its timeout later; other resolvers stop after
    /// two.
    pub fn may_be_asked_again_for(&self) -> Duration {
        let times = |flow| {
            let same = self.queries.iter().filter(|query| query.flow == flow);
            same.count()
        };
        if self.queries.iter().any(|query| times(query.flow) > 2) {
            MUSL_ROUND + MAX_TIMER_LATE
        } else {
            IMMEDIATE
        }
    }

    /// It is asked again. Returns whether the end of this query will be tracked.
    pub fn again(&mut self, at: Timestamp, query: &Query<'_>) -> bool {
        self.step.attempts = self.step.attempts.saturating_add(1);
        self.keep_sent(at, query);
        if self.queries.len() >= MAX_QUERIES {
            return false;
        }
        self.queries.push(Origin::of(query));
        self.awaited += 1;
        self.last = at;
        // A usable answer stays the outcome.
        if self.step.outcome.is_some_and(fails) {
            self.failure = self.step.outcome.take();
            self.step.latency = None;
        }
        true
    }

    /// Memory of what the answer said.
    pub fn answer_bytes(&self) -> usize {
        let errors = self.step.errors.iter().map(|error| error.text.heap_bytes());
        self.step.data.heap_bytes() + slice_bytes(&self.step.errors) + errors.sum::<usize>()
    }

    /// One of its queries ended at `at`.
    pub fn end(&mut self, at: Timestamp, exchange: &Exchange) {
        self.awaited = self.awaited.saturating_sub(1);
        if exchange.outcome == Outcome::Undecided {
            return;
        }
        self.ended = self.ended.max(at);
        self.note_answer(at, exchange);
        if self.step.outcome.is_some_and(|outcome| !fails(outcome)) {
            return;
        }
        let outcome = if fails(exchange.outcome) {
            // An earlier failure that a server reported says more than the silence of another.
            let reported = self
                .failure
                .filter(|_| exchange.outcome == Outcome::Timeout);
            let failure = reported.unwrap_or(exchange.outcome);
            self.failure = Some(failure);
            if self.awaited > 0 {
                return;
            }
            failure
        } else {
            exchange.outcome
        };
        self.step.outcome = Some(outcome);
        self.step.latency = exchange.latency.map(|_| at.since(self.step.asked));
        self.step.errors = exchange.extended_errors().to_vec();
        let wanted = exchange
            .answers
            .iter()
            .filter(|record| record.rtype == self.step.qtype);
        self.step.data = wanted.map(|record| record.data.clone()).collect();
    }
}

/// How long the resolver waits for an answer, as its repetitions show; its default without one.
pub fn patience(sent: &[SentQuery]) -> Duration {
    let Some(last) = sent.last() else {
        return TIMEOUT;
    };
    let mut earlier = sent.iter().rev().map(|earlier| last.at.since(earlier.at));
    let shown = earlier.find(|between| *between >= MIN_PATIENCE);
    shown.unwrap_or(TIMEOUT)
}

fn sent(at: Timestamp, query: &Query<'_>) -> SentQuery {
    SentQuery {
        at,
        server: query.flow.peer.ip(),
        port: query.flow.pod.port(),
        outcome: None,
        latency: None,
    }
}

/// Whether a resolver has reason to ask again after this outcome: it learned nothing.
pub fn fails(outcome: Outcome) -> bool {
    !matches!(
        outcome,
        Outcome::Answered | Outcome::Nodata | Outcome::Nxdomain
    )
}
