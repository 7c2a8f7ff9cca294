//! One step of a lookup that is not decided yet: a question, asked once or several times, and what came of it.
//!
//! Owns the rules by which the same question asked again is the same step. A retransmission under the identifier of the
//! first query to the same server is the exchange's own attempt and is counted there; what arrives here is a query that is
//! an exchange of its own: to another server, over TCP, or after an answer that made the resolver try again.

use std::net::SocketAddr;
use std::time::Duration;

use super::open::Query;
use crate::model::dns::{DnsName, RecordType};
use crate::model::exchange::{Exchange, Outcome};
use crate::model::flow::Protocol;
use crate::model::lookup::Step;
use crate::model::time::Timestamp;

/// After a failure a resolver tries again, or goes on, at once: what comes later is asked anew.
pub const AT_ONCE: Duration = Duration::from_millis(100);
/// The wait for an answer that glibc, bind and Go have by default (resolv.conf(5), RES_TIMEOUT).
const TIMEOUT: Duration = Duration::from_secs(5);
/// musl asks twice within that time by default.
const MUSL_ROUND: Duration = Duration::from_millis(2_500);
/// A timer starts this much before the packet is seen, at most,
const TIMER_EARLY: Duration = Duration::from_millis(50);
/// and it fires so much late on a busy machine.
const TIMER_LATE: Duration = Duration::from_millis(250);
/// So many queries of one step are told apart: three servers, asked twice over UDP and over TCP, are 12.
const MAX_QUERIES: usize = 32;

/// A question and what came of it.
#[derive(Debug)]
pub struct Asking {
    /// As it will be told.
    pub step: Step,
    /// The candidate that it is asked for: its own name or, where that turned out to be an alias, the alias.
    candidate: DnsName,
    /// Its queries, the latest last.
    queries: Vec<Query>,
    /// How many of them have not ended.
    awaited: usize,
    /// The latest query.
    last: Timestamp,
    /// The latest answer.
    ended: Timestamp,
    /// How a query of it failed while others are awaited.
    failure: Option<Outcome>,
}

impl Asking {
    /// Asked for the first time.
    pub fn new(at: Timestamp, query: &Query, candidate: &DnsName) -> Asking {
        Asking {
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
            },
            queries: vec![query.clone()],
            awaited: 1,
            last: at,
            ended: at,
            failure: None,
        }
    }

    /// Whether this is a step for that candidate.
    pub fn is_for(&self, name: &DnsName) -> bool {
        self.candidate == *name
    }

    /// The candidate that it is asked for.
    pub fn candidate(&self) -> &DnsName {
        &self.candidate
    }

    /// Its type.
    pub fn qtype(&self) -> RecordType {
        self.step.qtype
    }

    /// How it ended.
    pub fn outcome(&self) -> Option<Outcome> {
        self.step.outcome
    }

    /// Whether a query under the same identifier is one of this step. Resolvers choose it at random, so nobody else has it:
    /// musl asks all servers at once, glibc and bind the next one, and the same one again after a failure.
    pub fn has_id(&self, query: &Query) -> bool {
        let same = |known: &&Query| known.id == query.id && known.question == query.question;
        self.queries.iter().any(|known| same(&known))
    }

    /// Whether a query for the same under another identifier comes from the same resolver call, as far as its time tells:
    /// Go takes a new one for each attempt, bind for the one over TCP.
    pub fn tried_again(&self, at: Timestamp, query: &Query) -> bool {
        let over_tcp = query.flow.protocol == Protocol::Tcp
            && self
                .queries
                .iter()
                .all(|known| known.flow.protocol == Protocol::Udp);
        match self.step.outcome {
            // Where both could be told as one exchange, the query over TCP is no first attempt and does not come here.
            Some(Outcome::Truncated) if over_tcp => true,
            Some(outcome) if fails(outcome) && outcome != Outcome::Timeout => {
                at.since(self.ended) <= AT_ONCE
            }
            None | Some(Outcome::Timeout) => {
                let silent = at.since(self.last);
                TIMEOUT - TIMER_EARLY <= silent && silent <= TIMEOUT + TIMER_LATE
            }
            Some(_) => false,
        }
    }

    /// Whether the resolver may go on to another candidate at that time: it got no answer that it can use. Go goes on after
    /// silence, too.
    pub fn lets_go(&self, at: Timestamp) -> bool {
        match self.step.outcome {
            Some(outcome) => !matches!(outcome, Outcome::Answered | Outcome::Truncated),
            None => at.since(self.last) >= TIMEOUT - TIMER_EARLY,
        }
    }

    /// One of its queries is sent again.
    pub fn retransmitted(&mut self, at: Timestamp) {
        self.step.attempts = self.step.attempts.saturating_add(1);
        self.last = at;
    }

    /// How many servers it was asked of.
    pub fn servers(&self) -> usize {
        let mut servers: Vec<SocketAddr> =
            self.queries.iter().map(|query| query.flow.peer).collect();
        servers.sort_unstable();
        servers.dedup();
        servers.len()
    }

    /// For how long it may still be asked again after it failed. musl sends a query that fails up to three times at once,
    /// all from one socket, and begins anew half of its timeout later; others stop after two.
    pub fn may_be_asked_again_for(&self) -> Duration {
        let times = |flow| {
            let same = self.queries.iter().filter(|query| query.flow == flow);
            same.count()
        };
        if self.queries.iter().any(|query| times(query.flow) > 2) {
            MUSL_ROUND + TIMER_LATE
        } else {
            AT_ONCE
        }
    }

    /// It is asked again. Says whether the end of this query will be taken note of.
    pub fn again(&mut self, at: Timestamp, query: &Query) -> bool {
        self.step.attempts = self.step.attempts.saturating_add(1);
        if self.queries.len() >= MAX_QUERIES {
            return false;
        }
        self.queries.push(query.clone());
        self.awaited += 1;
        self.last = at;
        // An answer that counts still counts.
        if self.step.outcome.is_some_and(fails) {
            self.failure = self.step.outcome.take();
            self.step.latency = None;
        }
        true
    }

    /// One of its queries ended at `at`.
    pub fn end(&mut self, at: Timestamp, exchange: &Exchange) {
        self.awaited = self.awaited.saturating_sub(1);
        self.ended = self.ended.max(at);
        if self.step.outcome.is_some_and(|outcome| !fails(outcome)) {
            return;
        }
        let outcome = if fails(exchange.outcome) {
            // Silence of one server says less than what another one said.
            let said = self
                .failure
                .filter(|_| exchange.outcome == Outcome::Timeout);
            let failure = said.unwrap_or(exchange.outcome);
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

/// Whether a resolver has reason to ask again after this: it knows no more than before.
pub fn fails(outcome: Outcome) -> bool {
    !matches!(
        outcome,
        Outcome::Answered | Outcome::Nodata | Outcome::Nxdomain
    )
}
