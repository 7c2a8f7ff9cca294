//! Folds the queries of one resolver call, over search path and record types, into one lookup. Pure.
//!
//! Input: a client pod's queries and the ends of its exchanges, in order of time, with the pod's resolver configuration
//! from `identity`. It never guesses what was asked: while several readings of the wire are possible, `asked` is `None`.

use std::collections::{BTreeSet, HashMap};

use self::open::{Client, Open, Query, Verdict};
use crate::identity::ResolverConfig;
use crate::model::correlated::Asked;
use crate::model::dns::{DnsName, Question};
use crate::model::event::Ends;
use crate::model::exchange::Exchange;
use crate::model::flow::Flow;
use crate::model::lookup::{Lookup, Place};
use crate::model::loss::{Losses, Stage};
use crate::model::settings::{Limits, Thresholds};
use crate::model::time::Timestamp;

mod candidates;
mod open;

/// A lookup that was decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// Its first query.
    pub time: Timestamp,
    /// The pod and the server of its last query.
    pub ends: Ends,
    /// The lookup.
    pub lookup: Lookup,
}

/// Folds client pods' queries into lookups.
#[derive(Debug)]
pub struct Folder {
    thresholds: Thresholds,
    open_limit: usize,
    step_limit: usize,
    next_id: u64,
    open: HashMap<u64, Open>,
    /// Under which names each client's next query would belong to which lookups, oldest first.
    expected: HashMap<(Client, DnsName), Vec<u64>>,
    queries: HashMap<Query, (u64, usize)>,
    deadlines: BTreeSet<(Timestamp, u64)>,
    losses: Losses,
}

impl Folder {
    /// With no lookup open.
    pub fn new(thresholds: &Thresholds, limits: &Limits) -> Folder {
        Folder {
            thresholds: thresholds.clone(),
            open_limit: limits.lookups.max(1),
            step_limit: limits.lookup_steps.max(1),
            next_id: 0,
            open: HashMap::new(),
            expected: HashMap::new(),
            queries: HashMap::new(),
            deadlines: BTreeSet::new(),
            losses: Losses::default(),
        }
    }

    /// A client pod's query was seen. `resolver` is `None` for a pod that is not known.
    pub fn asked(
        &mut self,
        at: Timestamp,
        flow: &Flow,
        ends: &Ends,
        asked: &Asked,
        resolver: Option<&ResolverConfig>,
        out: &mut Vec<Decided>,
    ) {
        if asked.attempt > 1 {
            // A retransmission is the same step; its exchange counts its attempts.
            return;
        }
        let client = Client::of(flow);
        let Question { name, qtype } = &asked.question;
        let waiting = self.expected.get(&(client, name.clone()));
        let joined = waiting.into_iter().flatten().rev().copied().find(|id| {
            self.open
                .get(id)
                .is_some_and(|open| open.accepts(name, *qtype))
        });
        let id = joined.unwrap_or_else(|| {
            let id = self.next_id;
            self.next_id += 1;
            let readings = candidates::readings(name, resolver);
            self.insert(
                id,
                Open::new(client, at, ends, name, readings, resolver.is_some()),
            );
            id
        });
        let step_limit = self.step_limit;
        let query = Query {
            flow: *flow,
            id: asked.id,
            question: asked.question.clone(),
        };
        match self
            .update(id, |open| open.ask(at, ends, query.clone(), step_limit))
            .flatten()
        {
            Some(step) => drop(self.queries.insert(query, (id, step))),
            None => self.losses.add(Stage::Table, "steps of a lookup", 1),
        }
        while self.open.len() > self.open_limit {
            let Some((_, oldest)) = self.deadlines.first().copied() else {
                break;
            };
            self.losses.add(Stage::Table, "lookup table full", 1);
            self.decide(oldest, out);
        }
    }

    /// A client pod's exchange ended at `at`. Says where it stands in its lookup; `out` gets a lookup that this decided.
    pub fn exchange(
        &mut self,
        at: Timestamp,
        exchange: &Exchange,
        out: &mut Vec<Decided>,
    ) -> Option<Place> {
        let question = exchange.question.clone()?;
        let query = Query {
            flow: exchange.flow,
            id: exchange.id,
            question,
        };
        let (id, step) = self.queries.remove(&query)?;
        let (place, verdict) = self.update(id, |open| {
            open.answer(at, &query, step, exchange);
            (open.place(), open.verdict())
        })?;
        if verdict == Verdict::Decided {
            self.decide(id, out);
        }
        Some(place)
    }

    /// Decides what the passing of time alone decides.
    pub fn advance(&mut self, now: Timestamp, out: &mut Vec<Decided>) {
        while let Some((deadline, id)) = self.deadlines.first().copied() {
            if deadline > now {
                break;
            }
            self.decide(id, out);
        }
    }

    /// The input ended: tells the undecided with what is known.
    pub fn end(&mut self, out: &mut Vec<Decided>) {
        while let Some((_, id)) = self.deadlines.first().copied() {
            self.decide(id, out);
        }
    }

    /// What was lost so far.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    fn insert(&mut self, id: u64, open: Open) {
        self.deadlines.insert((open.deadline, id));
        self.open.insert(id, open);
    }

    /// Changes an open lookup and keeps the tables that point to it in step. `None` if there is none of that id.
    fn update<T>(&mut self, id: u64, change: impl FnOnce(&mut Open) -> T) -> Option<T> {
        let mut open = self.open.remove(&id)?;
        self.forget(id, &open);
        let result = change(&mut open);
        open.deadline = open.wait(&self.thresholds);
        for name in open.expected() {
            self.expected
                .entry((open.client, name))
                .or_default()
                .push(id);
        }
        self.insert(id, open);
        Some(result)
    }

    fn forget(&mut self, id: u64, open: &Open) {
        self.deadlines.remove(&(open.deadline, id));
        for name in open.expected() {
            let key = (open.client, name);
            if let Some(ids) = self.expected.get_mut(&key) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    self.expected.remove(&key);
                }
            }
        }
    }

    fn decide(&mut self, id: u64, out: &mut Vec<Decided>) {
        let Some(open) = self.open.remove(&id) else {
            return;
        };
        self.forget(id, &open);
        for query in open.awaited() {
            self.queries.remove(query);
        }
        out.push(Decided {
            time: open.started,
            ends: open.ends.clone(),
            lookup: open.finish(),
        });
    }
}

#[cfg(test)]
mod tests;
