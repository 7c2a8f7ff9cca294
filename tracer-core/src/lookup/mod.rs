//! Folds the queries of one resolver call, over search path and record types, into one lookup.
//!
//! Pure. Input: a client pod's queries and the ends of its exchanges, in order of time, with the pod's
//! resolver configuration from `identity`. It never guesses what was asked: while the wire has several
//! readings, `asked` is `None`.
//!
//! A lookup is one call of one resolver: its queries leave from one socket, or one socket each at the same
//! moment, and each candidate follows the answer to the previous one at once (docs/resolvers.md).
//!
//! One file per idea: `candidates` reads names as what the application may have asked for, `listing` finds
//! the lookups that a query can belong to, `node_domains` learns the part of the search list that no object shows, `pairing` separates the queries of one call from
//! those of another, `open_step` a retry from a new question, `verdict` decides when a lookup is over,
//! `waiting` how long it took, `open_lookup` combines them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;

use self::candidates::SearchList;
use self::listing::{Listing, OwnerPart};
use self::node_domains::NodeDomains;
use self::open_lookup::{LookupId, OpenLookup, Places, Query};
use self::pairing::{Fit, Relation};
use self::verdict::Verdict;
use crate::fair_table::{Evicted, FairTable, Room, Update};
use crate::identity::{Owner, ResolverConfig};
use crate::model::correlated::Asked;
use crate::model::dns::DnsName;
use crate::model::event::Ends;
use crate::model::exchange::Exchange;
use crate::model::flow::{Flow, Protocol};
use crate::model::identity::PodIdentity;
use crate::model::lookup::{Lookup, Place};
use crate::model::loss::{Losses, Stage};
use crate::model::settings::{Limits, Thresholds};
use crate::model::time::Timestamp;

mod candidates;
mod listing;
mod node_domains;
mod open_lookup;
mod open_step;
mod pairing;
mod verdict;
mod waiting;

/// The names that a resolver tries for a name as an application writes it, in order. `node`: search domains of
/// the node's resolv.conf that queries have shown.
pub fn candidates(asked: &str, resolver: &ResolverConfig, node: &[DnsName]) -> Vec<DnsName> {
    candidates::candidates(asked, &SearchList::new(resolver, node, false))
}

/// A lookup that starts this soon after the first input may have begun before it. Its `asked` is set only if
/// no other candidate fits.
const CUT_WINDOW: Duration = Duration::from_secs(1);
/// At most this many leading labels of a name are tried as the asked name, the rest being an unknown search
/// domain of the node. Names that are searched for are short.
const MAX_LABELS: usize = 16;
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
    /// A table was full, so a part of it may be missing.
    pub incomplete: bool,
}

/// Folds client pods' queries into lookups.
#[derive(Debug)]
pub struct Folder {
    thresholds: Thresholds,
    step_limit: usize,
    /// The time of the first input.
    began: Option<Timestamp>,
    /// The time of the latest input.
    latest: Timestamp,
    next_id: u64,
    open: FairTable<LookupId, OpenLookup>,
    /// The lookups to which a pod's next query for a name can belong.
    expected: Listing,
    /// The lookups in which a query for the asked name with an unknown search domain of the node may come
    /// next.
    gaps: Listing,
    /// The steps of exchanges that have not ended, by the number of the exchange.
    queries: HashMap<u64, (LookupId, usize), RandomState>,
    node_domains: NodeDomains,
    losses: Losses,
}

impl Folder {
    /// A folder without open lookups.
    pub fn new(thresholds: &Thresholds, limits: &Limits) -> Folder {
        Folder {
            thresholds: thresholds.clone(),
            step_limit: limits.lookup_steps.max(1),
            began: None,
            latest: Timestamp(0),
            next_id: 0,
            open: FairTable::new(Room {
                entries: limits.lookups,
                bytes: limits.memory.lookups,
            }),
            expected: Listing::default(),
            gaps: Listing::default(),
            queries: HashMap::default(),
            node_domains: NodeDomains::default(),
            losses: Losses::default(),
        }
    }

    /// A client pod sent a query. `resolver` gives the pod's resolver configuration, or `None` if its search
    /// list is unknown; only the first query of a lookup needs it.
    pub fn query(
        &mut self,
        seen: &ClientQuery<'_>,
        resolver: impl FnOnce() -> Option<Arc<ResolverConfig>>,
        out: &mut Vec<Decided>,
    ) {
        let ClientQuery {
            at, ends, asked, ..
        } = *seen;
        let began = *self.began.get_or_insert(at);
        self.latest = self.latest.max(at);
        let owner = Owner::from_ends(ends);
        let query = Query {
            exchange: asked.exchange,
            flow: seen.flow,
            id: asked.id,
            question: &asked.question,
        };
        if asked.attempt > 1 {
            self.retransmitted(at, &query, out);
            return;
        }
        let (id, relation) = match self.find(at, &owner, &query) {
            Some(found) => found,
            None => {
                let resolver = resolver();
                (
                    self.begin(seen, resolver.as_deref(), began, out),
                    Relation::Next,
                )
            }
        };
        let step_limit = self.step_limit;
        let asked = self.update(at, id, out, |open| {
            let step = open.ask(at, ends, &query, relation, step_limit);
            open.incomplete |= step.is_none();
            step
        });
        // Without an answer here, the lookup was larger than the table.
        let Some(step) = asked else { return };
        match step {
            Some(step) => drop(self.queries.insert(query.exchange, (id, step))),
            None => {
                let reason = "lookup step table full";
                self.losses.add_on(id.ifindex, Stage::Table, reason, 1);
            }
        }
    }

    fn made_room(
        &mut self,
        at: Timestamp,
        evicted: Evicted<LookupId, OpenLookup>,
        out: &mut Vec<Decided>,
    ) {
        for (id, mut open) in evicted {
            open.incomplete = true;
            let reason = "lookup table full";
            self.losses.add_on(id.ifindex, Stage::Table, reason, 1);
            self.decided(at, id, open, out);
        }
    }

    /// Opens a lookup that begins with this query, and returns its id.
    fn begin(
        &mut self,
        seen: &ClientQuery<'_>,
        resolver: Option<&ResolverConfig>,
        began: Timestamp,
        out: &mut Vec<Decided>,
    ) -> LookupId {
        let id = LookupId {
            ifindex: seen.flow.ifindex,
            number: self.next_id,
        };
        self.next_id += 1;
        let name = &seen.asked.question.name;
        let list = resolver.map(|resolver| {
            let (domains, complete) = self.node_domains.for_node(node(seen.ends));
            SearchList::new(resolver, domains, complete)
        });
        let cut = seen.at.since(began) < CUT_WINDOW;
        let readings = candidates::readings(name, list.as_ref(), cut);
        let open = OpenLookup::new(seen.at, seen.ends, name, readings, list.is_some());
        let (bytes, deadline) = (open.bytes, open.deadline);
        let evicted = self.open.insert(id, open, bytes, deadline);
        self.made_room(seen.at, evicted, out);
        id
    }

    /// A query is sent again under the same exchange: the same step. The retry of a truncated answer over TCP
    /// also belongs to the same exchange and is no further query of the lookup.
    fn retransmitted(&mut self, at: Timestamp, query: &Query<'_>, out: &mut Vec<Decided>) {
        if query.flow.protocol == Protocol::Tcp {
            return;
        }
        if let Some((id, step)) = self.queries.get(&query.exchange).copied() {
            self.update(at, id, out, |open| open.retransmitted(at, step, query));
        }
    }

    /// The open lookups of a pod that are listed under a name, the youngest first.
    fn listed<'a>(
        &'a self,
        listing: &'a Listing,
        owner: &'a Owner,
        part: OwnerPart,
        name: &str,
    ) -> impl Iterator<Item = (LookupId, &'a OpenLookup)> + use<'a> {
        let ids = listing.youngest(listing.place(part, name));
        let lookups = ids.filter_map(|id| Some((id, self.open.get(&id)?)));
        lookups.filter(move |(_, open)| open.owner == *owner)
    }

    /// The open lookup that a query belongs to: the one that it fits best and, of equals, the one that it
    /// follows soonest.
    fn find(
        &self,
        at: Timestamp,
        owner: &Owner,
        query: &Query<'_>,
    ) -> Option<(LookupId, Relation)> {
        if self.open.is_empty() {
            return None;
        }
        let name = &query.question.name;
        let part = self.expected.owner(owner);
        let mut best: Option<(Fit, Duration, LookupId, Relation)> = None;
        for (id, open) in self.listed(&self.expected, owner, part, name.relative()) {
            let Some((fit, soon, relation)) = open.fit(at, query, &self.thresholds) else {
                continue;
            };
            if best.is_none_or(|(than, later, ..)| fit > than || fit == than && soon < later) {
                best = Some((fit, soon, id, relation));
            }
            if fit == Fit::SameQuery {
                break;
            }
        }
        if let Some((.., id, relation)) = best {
            return Some((id, relation));
        }
        if self.gaps.is_empty() {
            return None;
        }
        let part = self.gaps.owner(owner);
        let mut dots = name.relative().match_indices('.').take(MAX_LABELS);
        dots.find_map(|(dot, _)| {
            let mut waiting = self.listed(&self.gaps, owner, part, &name.as_str()[..dot]);
            waiting.find_map(|(id, open)| Some((id, open.in_gap(at, name)?)))
        })
    }

    /// The hostNetwork pod of this node that answered in an exchange which ends: no query shows it.
    pub fn answered_by(&mut self, exchange: u64, pod: Option<&Arc<PodIdentity>>) {
        let open = self.queries.get(&exchange).map(|(id, _)| *id);
        if let Some(open) = open.and_then(|id| self.open.get_mut(&id)) {
            open.ends.peer.host_pod = pod.cloned();
        }
    }

    /// A client pod's exchange ended at `at`. Returns its place in its lookup; a lookup that this decides
    /// goes to `out`.
    pub fn exchange(
        &mut self,
        at: Timestamp,
        exchange: &Exchange,
        out: &mut Vec<Decided>,
    ) -> Option<Place> {
        self.latest = self.latest.max(at);
        if exchange.asked_peer.is_some() {
            // The answer is from a server that was not asked: the query keeps waiting.
            return None;
        }
        let (id, step) = self.queries.remove(&exchange.number)?;
        let open = self.open.get_mut(&id)?;
        open.answer(at, step, exchange);
        let place = open.place(step);
        if open.verdict() == Verdict::Decided {
            if let Some(open) = self.open.remove(&id) {
                self.decided(at, id, open, out);
            }
        } else {
            self.update(at, id, out, |_| ());
        }
        Some(place)
    }

    /// Decides the lookups whose deadline has passed.
    pub fn advance(&mut self, now: Timestamp, out: &mut Vec<Decided>) {
        self.began.get_or_insert(now);
        self.latest = self.latest.max(now);
        while let Some((id, open)) = self.open.pop_due(now) {
            self.decided(open.deadline, id, open, out);
        }
    }

    /// The input ended: decides every open lookup with what is known.
    pub fn end(&mut self, out: &mut Vec<Decided>) {
        let mut open = Vec::new();
        while let Some(oldest) = self.open.pop_oldest() {
            open.push(oldest);
        }
        open.sort_by_key(|(id, open)| (open.deadline, id.number));
        for (id, open) in open {
            self.decided(self.latest, id, open, out);
        }
    }

    /// Losses so far.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Changes an open lookup and updates the tables that refer to it. Decides lookups that make room for it.
    /// `None` if no lookup has this id.
    fn update<T>(
        &mut self,
        at: Timestamp,
        id: LookupId,
        out: &mut Vec<Decided>,
        change: impl FnOnce(&mut OpenLookup) -> T,
    ) -> Option<T> {
        let Folder {
            open,
            expected,
            gaps,
            thresholds,
            ..
        } = self;
        let (result, evicted) = open.update(&id, |open| {
            let result = change(open);
            open.deadline = open.wait(thresholds);
            // Most changes leave the names as they are: an answer, the second type.
            if std::mem::take(&mut open.moved) {
                list_expected(expected, id, open);
            }
            let gap = open.gap().map(|asked| {
                let part = gaps.owner(&open.owner);
                gaps.place(part, asked.trim_end_matches('.'))
            });
            if gap != open.listed_gap {
                gaps.move_to(id, open.listed_gap.as_slice(), gap.as_slice());
                open.listed_gap = gap;
            }
            Update {
                result,
                heap: open.bytes,
                deadline: open.deadline,
            }
        })?;
        self.made_room(at, evicted, out);
        Some(result)
    }

    /// Ends a lookup that left the table: at `at` it is clear that nothing follows.
    fn decided(&mut self, at: Timestamp, id: LookupId, open: OpenLookup, out: &mut Vec<Decided>) {
        self.expected.move_to(id, &open.listed, &[]);
        self.gaps.move_to(id, open.listed_gap.as_slice(), &[]);
        for exchange in open.awaited() {
            self.queries.remove(exchange);
        }
        if let Some(seen) = open.node_domains()
            && self.node_domains.learn(node(&open.ends), seen)
        {
            self.losses.add(Stage::Table, "node domain table full", 1);
        }
        out.push(open.finish(at));
    }
}

/// Lists a lookup under the names that its next query may ask for.
fn list_expected(expected: &mut Listing, id: LookupId, open: &mut OpenLookup) {
    let part = expected.owner(&open.owner);
    let mut places = Places::new();
    let mut before = None;
    for name in open.expected() {
        // One reading often repeats the name of another.
        if before.replace(name) == Some(name) {
            continue;
        }
        let place = expected.place(part, name.relative());
        if !places.contains(&place) {
            places.push(place);
        }
    }
    expected.move_to(id, &open.listed, &places);
    open.listed = places;
}

/// The node on which the pod runs.
fn node(ends: &Ends) -> Option<&Arc<str>> {
    ends.pod.identity.as_ref().ok()?.node.as_ref()
}

#[cfg(test)]
mod tests;
