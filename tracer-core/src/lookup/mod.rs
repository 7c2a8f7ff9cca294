//! Folds the queries of one resolver call, over search path and record types, into one lookup.
//!
//! Pure. Input: a client pod's queries and the ends of its exchanges, in order of time, with the pod's
//! resolver configuration from `identity`. It never guesses what was asked: while the wire has several
//! readings, `asked` is `None`.
//!
//! One file per idea: `candidates` reads names as what the application may have asked for, `node_domains`
//! learns the part of the search list that no object shows, `open_step` separates a retry from a new
//! question, `verdict` decides when a lookup is over, `open_lookup` combines them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use self::candidates::SearchList;
use self::node_domains::NodeDomains;
use self::open_lookup::{OpenLookup, Query, Relation};
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

mod candidates;
mod node_domains;
mod open_lookup;
mod open_step;
mod verdict;
mod waiting;

/// A lookup that starts this soon after the first input may have begun before it. Its `asked` is set only if
/// no other candidate fits.
const CUT_WINDOW: Duration = Duration::from_secs(1);
/// At most this many leading labels of a name are tried as the asked name, the rest being an unknown search
/// domain of the node. Names that are searched for are short.
const MAX_LABELS: usize = 16;
/// Open lookups of one pod and name that are searched for a match, the youngest first. A pod that keeps
/// asking a silent server has thousands of them, and its next query belongs to one of the latest.
const MAX_SEARCH: usize = 256;

/// A client pod's query with everything that is known about it.
#[derive(Clone, Copy, Debug)]
pub struct ClientQuery<'a> {
    /// When it was seen.
    pub at: Timestamp,
    /// Its flow.
    pub flow: &'a Flow,
    /// The identified ends of its flow.
    pub ends: &'a Ends,
    /// Its identifier, question and attempt.
    pub asked: &'a Asked,
    /// The pod's resolver configuration; `None` if its search list is unknown.
    pub resolver: Option<&'a ResolverConfig>,
}

/// A decided lookup.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// The time of its first query.
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
    /// The time of the first input.
    began: Option<Timestamp>,
    next_id: u64,
    open: HashMap<u64, OpenLookup>,
    /// The lookups to which a pod's next query for a name can belong, oldest first.
    expected: HashMap<(Owner, DnsName), Vec<u64>>,
    /// The lookups in which a query for the asked name with an unknown search domain of the node may come
    /// next.
    gaps: HashMap<(Owner, DnsName), Vec<u64>>,
    queries: HashMap<Query, (u64, usize)>,
    deadlines: BTreeSet<(Timestamp, u64)>,
    node_domains: NodeDomains,
    losses: Losses,
}

impl Folder {
    /// A folder without open lookups.
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

    /// A client pod sent a query.
    pub fn query(&mut self, seen: &ClientQuery<'_>, out: &mut Vec<Decided>) {
        let ClientQuery {
            at, ends, asked, ..
        } = *seen;
        let began = *self.began.get_or_insert(at);
        let owner = Owner::from_ends(ends);
        let query = Query {
            flow: *seen.flow,
            id: asked.id,
            question: asked.question.clone(),
        };
        if asked.attempt > 1 {
            self.retransmitted(at, &owner, &query);
            return;
        }
        let (id, relation) = match self.find(at, &owner, &query) {
            Some(found) => found,
            None => (self.begin(seen, began), Relation::Next),
        };
        let step_limit = self.step_limit;
        let step = self.update(id, |open| {
            open.ask(at, ends, query.clone(), relation, step_limit)
        });
        match step.flatten() {
            Some(step) => drop(self.queries.insert(query, (id, step))),
            None => self.losses.add(Stage::Table, "lookup step table full", 1),
        }
        while self.open.len() > self.open_limit {
            let Some((_, oldest)) = self.deadlines.first().copied() else {
                break;
            };
            self.losses.add(Stage::Table, "lookup table full", 1);
            self.decide(oldest, out);
        }
    }

    /// Opens a lookup that begins with this query, and returns its id.
    fn begin(&mut self, seen: &ClientQuery<'_>, began: Timestamp) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let name = &seen.asked.question.name;
        let list = seen.resolver.map(|resolver| {
            let (domains, complete) = self.node_domains.for_node(node(seen.ends));
            SearchList::new(resolver, domains, complete)
        });
        let cut = seen.at.since(began) < CUT_WINDOW;
        let readings = candidates::readings(name, list.as_ref(), cut);
        let open = OpenLookup::new(seen.at, seen.ends, name, readings, list.is_some());
        self.insert(id, open);
        id
    }

    /// A query is sent again under the same exchange: the same step. The retry of a truncated answer over TCP
    /// also belongs to the same exchange and is no further query of the lookup.
    fn retransmitted(&mut self, at: Timestamp, owner: &Owner, query: &Query) {
        let key = (owner.clone(), query.question.name.clone());
        let open = self.expected.get(&key).into_iter().flatten().rev();
        let repeated = open.take(MAX_SEARCH).copied().find_map(|id| {
            let Some(Relation::Repeat(step)) = self.open.get(&id)?.repeated(query) else {
                return None;
            };
            Some((id, step))
        });
        if let Some((id, step)) = repeated
            && query.flow.protocol != Protocol::Tcp
        {
            self.update(id, |open| open.retransmitted(at, step, query));
        }
    }

    /// The open lookup that a query belongs to: one with the very same query, else the youngest that it can
    /// continue.
    fn find(&self, at: Timestamp, owner: &Owner, query: &Query) -> Option<(u64, Relation)> {
        let youngest = |ids: Option<&Vec<u64>>,
                        matches: &dyn Fn(&OpenLookup) -> Option<Relation>| {
            let mut ids = ids.into_iter().flatten().rev().take(MAX_SEARCH);
            ids.find_map(|id| Some((*id, matches(self.open.get(id)?)?)))
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

    /// A client pod's exchange ended at `at`. Returns its place in its lookup; a lookup that this decides
    /// goes to `out`.
    pub fn exchange(
        &mut self,
        at: Timestamp,
        exchange: &Exchange,
        out: &mut Vec<Decided>,
    ) -> Option<Place> {
        if exchange.asked_peer.is_some() {
            // The answer is from a server that was not asked: the query keeps waiting.
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

    /// Decides the lookups whose deadline has passed.
    pub fn advance(&mut self, now: Timestamp, out: &mut Vec<Decided>) {
        self.began.get_or_insert(now);
        while let Some((deadline, id)) = self.deadlines.first().copied() {
            if deadline > now {
                break;
            }
            self.decide(id, out);
        }
    }

    /// The input ended: decides every open lookup with what is known.
    pub fn end(&mut self, out: &mut Vec<Decided>) {
        while let Some((_, id)) = self.deadlines.first().copied() {
            self.decide(id, out);
        }
    }

    /// Losses so far.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    fn insert(&mut self, id: u64, open: OpenLookup) {
        self.deadlines.insert((open.deadline, id));
        self.open.insert(id, open);
    }

    /// Changes an open lookup and updates the tables that refer to it. `None` if no lookup has this id.
    fn update<T>(&mut self, id: u64, change: impl FnOnce(&mut OpenLookup) -> T) -> Option<T> {
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

    fn forget(&mut self, id: u64, open: &OpenLookup) {
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
            self.losses.add(Stage::Table, "node domain table full", 1);
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

/// The node on which the pod runs.
fn node(ends: &Ends) -> Option<&Arc<str>> {
    ends.pod.identity.as_ref().ok()?.node.as_ref()
}

#[cfg(test)]
mod tests;
