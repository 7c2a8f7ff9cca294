//! Folds the queries of one resolver call, over search path and record types, into one lookup. Pure.
//!
//! Input: a client pod's queries and the ends of its exchanges, in order of time, with the pod's resolver configuration
//! from `identity`. It never guesses what was asked: while several readings of the wire are possible, `asked` is `None`.
//!
//! One file per idea: `candidates` reads names as what may have been asked for, `node_domains` learns the part of the
//! search list that no object tells, `asking` tells a question asked again from one asked anew, `verdict`
//! says when a lookup is over, `open` puts them together.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use self::candidates::SearchList;
use self::node_domains::NodeDomains;
use self::open::{Belongs, Open, Query};
use self::verdict::Verdict;
use crate::identity::{Owner, ResolverConfig};
use crate::model::correlated::Asked;
use crate::model::dns::DnsName;
use crate::model::event::Ends;
use crate::model::exchange::Exchange;
use crate::model::flow::{Flow, Protocol};
use crate::model::lookup::{Lookup, Place};
use crate::model::loss::{Losses, Stage};
use crate::model::settings::{Limits, Thresholds};
use crate::model::time::Timestamp;

mod asking;
mod candidates;
mod node_domains;
mod open;
mod verdict;

/// A lookup that is seen to begin so soon after the first input may have begun before it: what was asked is told only if
/// it could not have been another candidate's.
const CUT: Duration = Duration::from_secs(1);
/// A name in the place of a node's domain is looked for behind so many labels of it; names that are searched for are short.
const MAX_LABELS: usize = 16;
/// So many of a pod's open lookups that expect a name are looked through, the youngest first. A pod that asks again and again
/// while nobody answers has thousands of them, and its next query belongs to none but the latest.
const MAX_SEARCH: usize = 256;

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
    /// The first input.
    began: Option<Timestamp>,
    next_id: u64,
    open: HashMap<u64, Open>,
    /// Under which names each pod's next query would belong to which lookups, oldest first.
    expected: HashMap<(Owner, DnsName), Vec<u64>>,
    /// Behind what was asked for, in which lookups, a domain of the node's that nobody knows may come next.
    gaps: HashMap<(Owner, DnsName), Vec<u64>>,
    queries: HashMap<Query, (u64, usize)>,
    deadlines: BTreeSet<(Timestamp, u64)>,
    node_domains: NodeDomains,
    losses: Losses,
}

impl Folder {
    /// With no lookup open.
    pub fn new(thresholds: &Thresholds, limits: &Limits) -> Folder {
        Folder {
            thresholds: thresholds.clone(),
            open_limit: limits.lookups.max(1),
            step_limit: limits.lookup_steps.max(1),
            began: None,
            next_id: 0,
            open: HashMap::new(),
            expected: HashMap::new(),
            gaps: HashMap::new(),
            queries: HashMap::new(),
            deadlines: BTreeSet::new(),
            node_domains: NodeDomains::default(),
            losses: Losses::default(),
        }
    }

    /// A client pod's query was seen. `resolver` is `None` for a pod whose search list is not known.
    pub fn asked(
        &mut self,
        at: Timestamp,
        flow: &Flow,
        ends: &Ends,
        asked: &Asked,
        resolver: Option<&ResolverConfig>,
        out: &mut Vec<Decided>,
    ) {
        let began = *self.began.get_or_insert(at);
        let query = Query {
            flow: *flow,
            id: asked.id,
            question: asked.question.clone(),
        };
        if asked.attempt > 1 {
            self.retransmitted(at, &Owner::of(ends), &query);
            return;
        }
        let (id, belongs) = self.find(at, &Owner::of(ends), &query).unwrap_or_else(|| {
            let id = self.next_id;
            self.next_id += 1;
            let name = &query.question.name;
            let list = resolver.map(|resolver| {
                let (domains, complete) = self.node_domains.of(node(ends));
                SearchList::new(resolver, domains, complete)
            });
            let readings = candidates::readings(name, list.as_ref(), at.since(began) < CUT);
            let open = Open::new(at, ends, name, readings, list.is_some());
            self.insert(id, open);
            (id, Belongs::Next)
        });
        let step_limit = self.step_limit;
        match self
            .update(id, |open| {
                open.ask(at, ends, query.clone(), belongs, step_limit)
            })
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

    /// A query is sent again, and its exchange goes on: the same step. That a truncated answer is asked for again over TCP
    /// is the same exchange too, and no further query of the lookup.
    fn retransmitted(&mut self, at: Timestamp, owner: &Owner, query: &Query) {
        let key = (owner.clone(), query.question.name.clone());
        let open = self.expected.get(&key).into_iter().flatten().rev();
        let belongs = open.take(MAX_SEARCH).copied().find_map(|id| {
            let Some(Belongs::Again(step)) = self.open.get(&id)?.repeated(query) else {
                return None;
            };
            Some((id, step))
        });
        if let Some((id, step)) = belongs
            && query.flow.protocol != Protocol::Tcp
        {
            self.update(id, |open| open.retransmitted(at, step));
        }
    }

    /// The open lookup that a query belongs to: one that asked the very same, else the youngest that can go on with it.
    fn find(&self, at: Timestamp, owner: &Owner, query: &Query) -> Option<(u64, Belongs)> {
        let youngest = |ids: Option<&Vec<u64>>, how: &dyn Fn(&Open) -> Option<Belongs>| {
            let mut ids = ids.into_iter().flatten().rev().take(MAX_SEARCH);
            ids.find_map(|id| Some((*id, how(self.open.get(id)?)?)))
        };
        let name = &query.question.name;
        let expected = self.expected.get(&(owner.clone(), name.clone()));
        youngest(expected, &|open| open.repeated(query))
            .or_else(|| youngest(expected, &|open| open.continued(at, query)))
            .or_else(|| {
                let dots = name.relative().match_indices('.').take(MAX_LABELS);
                let mut heads = dots.map(|(dot, _)| DnsName::new(&name.as_str()[..dot]));
                heads.find_map(|head| {
                    let waiting = self.gaps.get(&(owner.clone(), head));
                    youngest(waiting, &|open| open.in_gap(at, name))
                })
            })
    }

    /// A client pod's exchange ended at `at`. Says where it stands in its lookup; `out` gets a lookup that this decided.
    pub fn exchange(
        &mut self,
        at: Timestamp,
        exchange: &Exchange,
        out: &mut Vec<Decided>,
    ) -> Option<Place> {
        if exchange.asked_peer.is_some() {
            // From somebody who was not asked: the query goes on to wait.
            return None;
        }
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
        self.began.get_or_insert(now);
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
            let key = (open.owner.clone(), name);
            self.expected.entry(key).or_default().push(id);
        }
        if let Some(asked) = open.gap() {
            let key = (open.owner.clone(), DnsName::new(asked));
            self.gaps.entry(key).or_default().push(id);
        }
        self.insert(id, open);
        Some(result)
    }

    fn forget(&mut self, id: u64, open: &Open) {
        self.deadlines.remove(&(open.deadline, id));
        for name in open.expected() {
            unlist(&mut self.expected, &(open.owner.clone(), name), id);
        }
        if let Some(asked) = open.gap() {
            let key = (open.owner.clone(), DnsName::new(asked));
            unlist(&mut self.gaps, &key, id);
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
        if let Some(seen) = open.node_domains()
            && self.node_domains.learn(node(&open.ends), seen)
        {
            self.losses
                .add(Stage::Table, "nodes whose domains are learned", 1);
        }
        out.push(Decided {
            time: open.started,
            ends: open.ends.clone(),
            lookup: open.finish(),
        });
    }
}

fn unlist(table: &mut HashMap<(Owner, DnsName), Vec<u64>>, key: &(Owner, DnsName), id: u64) {
    if let Some(ids) = table.get_mut(key) {
        ids.retain(|other| *other != id);
        if ids.is_empty() {
            table.remove(key);
        }
    }
}

/// The node that the pod runs on.
fn node(ends: &Ends) -> Option<&Arc<str>> {
    ends.pod.who.as_ref().ok()?.node.as_ref()
}

#[cfg(test)]
mod tests;
