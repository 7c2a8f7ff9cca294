//! A lookup that is not decided yet: its readings and its steps.

use smallvec::SmallVec;

use super::Decided;
use super::candidates::Reading;
use super::listing;
use super::node_domains::SeenDomains;
use super::open_step::{OpenStep, Origin};
use super::pairing::Relation;
use super::verdict::outcome;
use super::waiting;
use crate::fair_table;
use crate::identity::Owner;
use crate::model::alias::aliases;
use crate::model::dns::{DnsName, Question};
use crate::model::event::Ends;
use crate::model::exchange::{Exchange, Outcome};
use crate::model::flow::{Flow, Ifindex};
use crate::model::heap_bytes::{ALLOCATION, HeapBytes};
use crate::model::lookup::{Lookup, Place, SentQuery, Step};
use crate::model::time::Timestamp;

/// One query on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The number of its exchange: the key to its step when the exchange ends.
    pub exchange: u64,
    /// Its flow.
    pub flow: &'a Flow,
    /// The message's ID.
    pub id: u16,
    /// The question it asks.
    pub question: &'a Question,
}

/// An open lookup's number, and the interface of its first query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LookupId {
    pub(super) ifindex: Ifindex,
    pub(super) number: u64,
}

impl fair_table::Key for LookupId {
    type Owner = Ifindex;

    fn owner(&self) -> Ifindex {
        self.ifindex
    }
}

/// The places in a listing of one lookup: its candidates, often in two readings.
pub(super) type Places = SmallVec<[listing::Place; 8]>;

/// Memory of one query in a lookup: in a step's list of origins and in the one of queries sent, among the
/// awaited exchanges, and in the index of those. The lists grow by doubling.
const QUERY_BYTES: usize =
    3 * ALLOCATION + 2 * (size_of::<Origin>() + size_of::<SentQuery>() + 8 + 40);

/// The identifiers and ports of a lookup's queries, each as a bit of its hash. A search goes through hundreds of
/// lookups for one name, and most of them have nothing in common with the query.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Origins {
    ids: u64,
    ports: u64,
}

impl Origins {
    fn add(&mut self, query: &Query<'_>) {
        self.ids |= bit(query.id);
        self.ports |= bit(query.flow.pod.port());
    }

    /// Whether one of the queries may have the identifier of this one.
    pub fn may_have_id(self, query: &Query<'_>) -> bool {
        self.ids & bit(query.id) != 0
    }

    /// Whether one of the queries may come from the port of this one.
    pub fn may_have_port(self, query: &Query<'_>) -> bool {
        self.ports & bit(query.flow.pod.port()) != 0
    }
}

/// One of 64 bits: Fibonacci hashing, as identifiers and ports may be consecutive.
fn bit(value: u16) -> u64 {
    1 << (value.wrapping_mul(0x9e37) >> 10)
}

/// An undecided lookup.
#[derive(Debug)]
pub struct OpenLookup {
    /// The pod that asks.
    pub owner: Owner,
    /// The pod and the server of its latest query.
    pub ends: Ends,
    /// The time of its first query.
    pub started: Timestamp,
    /// The time of its latest query or answer.
    pub touched: Timestamp,
    /// The candidate that is being asked for.
    pub current: DnsName,
    /// The canonical name of the current candidate, according to an answer.
    pub(super) canonical: Option<DnsName>,
    /// Its candidates are asked for all at once, and none of them is the current one.
    pub(super) at_once: bool,
    /// When silence decides it.
    pub deadline: Timestamp,
    /// The names that its next query may ask for have changed.
    pub(super) moved: bool,
    /// The names under which it is listed as expecting a query.
    pub(super) listed: Places,
    /// The name under which it is listed as expecting an unknown search domain.
    pub(super) listed_gap: Option<listing::Place>,
    pub(super) readings: Vec<Reading>,
    pub(super) resolver_known: bool,
    pub(super) steps: Vec<OpenStep>,
    /// The exchanges that have not ended.
    pub(super) awaited: SmallVec<[u64; 2]>,
    /// A part of it was not kept.
    pub(super) incomplete: bool,
    queries: u32,
    /// Where its queries came from.
    pub(super) origins: Origins,
    /// Memory that it owns, at least.
    pub(super) bytes: usize,
}

impl OpenLookup {
    /// A lookup that begins with a query for `name`; [`OpenLookup::ask`] adds the step itself.
    pub fn new(
        at: Timestamp,
        ends: &Ends,
        name: &DnsName,
        readings: Vec<Reading>,
        resolver_known: bool,
    ) -> OpenLookup {
        OpenLookup {
            owner: Owner::from_ends(ends),
            ends: ends.clone(),
            started: at,
            touched: at,
            current: name.clone(),
            canonical: None,
            at_once: false,
            deadline: at,
            moved: true,
            listed: Places::new(),
            listed_gap: None,
            bytes: ends.peer.names.heap_bytes()
                + readings.iter().map(Reading::bytes).sum::<usize>(),
            readings,
            resolver_known,
            steps: Vec::new(),
            awaited: SmallVec::new(),
            incomplete: false,
            queries: 0,
            origins: Origins::default(),
        }
    }

    /// Adds a query. Returns the index of its step, or `None` if the lookup keeps no more steps.
    pub fn ask(
        &mut self,
        at: Timestamp,
        ends: &Ends,
        query: &Query<'_>,
        relation: Relation,
        limit: usize,
    ) -> Option<usize> {
        if self.ends != *ends {
            self.ends = ends.clone();
        }
        self.touched = at;
        self.queries = self.queries.saturating_add(1);
        self.origins.add(query);
        self.bytes += QUERY_BYTES + query.question.name.heap_bytes();
        let place = match relation {
            Relation::Repeat(place) => self
                .steps
                .get_mut(place)?
                .again(at, query)
                .then_some(place)?,
            Relation::Next | Relation::AtOnce | Relation::NodeDomain | Relation::Alias => {
                if self.steps.len() >= limit {
                    self.move_on(&query.question.name, relation);
                    return None;
                }
                self.move_on(&query.question.name, relation);
                let candidate = match relation {
                    Relation::AtOnce => &query.question.name,
                    _ => &self.current,
                };
                self.bytes += 2 * size_of::<OpenStep>() + candidate.heap_bytes();
                // Most lookups have one step or two, and thousands are open.
                if self.steps.len() == self.steps.capacity() {
                    self.steps.reserve_exact(self.steps.len().max(1));
                }
                self.steps.push(OpenStep::new(at, query, candidate));
                self.steps.len() - 1
            }
        };
        self.awaited.push(query.exchange);
        Some(place)
    }

    /// The next query is for this name.
    fn move_on(&mut self, name: &DnsName, relation: Relation) {
        match relation {
            Relation::NodeDomain => {
                if let [reading] = self.readings.as_mut_slice() {
                    reading.insert_after(&self.current, name);
                    self.moved = true;
                }
            }
            // The readings are those with both names, in whatever order.
            Relation::AtOnce => {
                self.at_once = true;
                self.moved = true;
                self.readings
                    .retain(|reading| reading.position(name).is_some());
            }
            _ => {}
        }
        if *name != self.current && matches!(relation, Relation::Next | Relation::NodeDomain) {
            self.moved = true;
            self.canonical = None;
            let previous = std::mem::replace(&mut self.current, name.clone());
            self.readings
                .retain(|reading| reading.position_after(&previous, name).is_some());
        }
    }

    /// A step's query is retransmitted.
    pub fn retransmitted(&mut self, at: Timestamp, step: usize, query: &Query<'_>) {
        self.touched = at;
        self.queries = self.queries.saturating_add(1);
        self.origins.add(query);
        if let Some(step) = self.steps.get_mut(step) {
            step.retransmitted(at, query);
        }
    }

    /// An exchange of this lookup ended.
    pub fn answer(&mut self, at: Timestamp, step: usize, exchange: &Exchange) {
        self.awaited.retain(|awaited| *awaited != exchange.number);
        self.touched = self.touched.max(at);
        let Some(step) = self.steps.get_mut(step) else {
            return;
        };
        let before = step.answer_bytes();
        step.end(at, exchange);
        self.bytes = (self.bytes + step.answer_bytes()).saturating_sub(before);
        if step.is_for(&self.current) && step.outcome() == Some(Outcome::Answered) {
            let aliases = aliases(&step.step.name, &exchange.answers);
            if let Some((canonical, _)) = aliases.into_iter().skip(1).last() {
                self.canonical = Some(canonical);
                self.moved = true;
            }
        }
    }

    /// The place of a step's candidate in the lookup.
    pub fn place(&self, step: usize) -> Place {
        let candidate = self.steps.get(step).map(OpenStep::candidate);
        let candidate = candidate.unwrap_or(&self.current);
        let asked = self.asked();
        let reading = match self.readings.as_slice() {
            [reading] => Some(reading),
            _ => None,
        };
        let position = reading.and_then(|reading| reading.position(candidate));
        let position = position.or_else(|| {
            let names = self.names();
            names.iter().position(|name| *name == candidate)
        });
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Place {
            candidate: count(position.unwrap_or_default() + 1),
            of: asked
                .as_ref()
                .and(reading)
                .map(|reading| count(reading.candidates.len())),
            asked,
        }
    }

    /// The candidates asked for, without repetition.
    fn names(&self) -> Vec<&DnsName> {
        let mut names: Vec<&DnsName> = self.steps.iter().map(OpenStep::candidate).collect();
        names.dedup();
        names
    }

    fn asked(&self) -> Option<String> {
        match self.readings.as_slice() {
            [reading] if self.search_known() => Some(reading.asked.clone()),
            _ => None,
        }
    }

    /// Whether the search list is known: from the pod's resolver configuration, or because the candidates so
    /// far fit no other reading.
    pub(super) fn search_known(&self) -> bool {
        let inferred = matches!(self.readings.as_slice(), [reading] if reading.inferred);
        self.resolver_known || inferred
    }

    /// The exchanges that have not ended.
    pub fn awaited(&self) -> &[u64] {
        &self.awaited
    }

    /// The names for which the next query of this lookup may ask: the current candidate, those after it and,
    /// for a resolver that asks for all at once, those before it. Some repeat.
    pub fn expected(&self) -> impl Iterator<Item = &DnsName> {
        let candidates = self.readings.iter().flat_map(|reading| &reading.candidates);
        let named = std::iter::once(&self.current).chain(&self.canonical);
        named.chain(candidates)
    }

    /// The node's search domains that it showed: the candidates between the cluster's last domain and what
    /// comes after the node's.
    pub fn node_domains(&self) -> Option<SeenDomains> {
        let [reading] = self.readings.as_slice() else {
            return None;
        };
        self.resolver_known
            .then(|| reading.seen(&self.names()))
            .flatten()
    }

    /// The steps of the current candidate; all steps if the candidates are asked for at once.
    pub(super) fn current_steps(&self) -> impl Iterator<Item = &OpenStep> {
        self.steps
            .iter()
            .rev()
            .take_while(|step| self.at_once || step.is_for(&self.current))
    }

    /// The lookup event, in its current state. It is decided at `at`.
    pub fn finish(mut self, at: Timestamp) -> Decided {
        let asked = self.asked();
        if self.at_once {
            // Candidate by candidate, as other resolvers ask.
            let names: Vec<DnsName> = self.names().into_iter().cloned().collect();
            self.steps
                .sort_by_key(|step| names.iter().position(|name| step.is_for(name)));
        }
        let (end, waited) = waiting::times(&self.steps, at);
        let steps: Vec<Step> = self.steps.into_iter().map(|open| open.step).collect();
        let mut qtypes = Vec::new();
        for step in &steps {
            if !qtypes.contains(&step.qtype) {
                qtypes.push(step.qtype);
            }
        }
        Decided {
            time: self.started,
            ends: self.ends,
            incomplete: self.incomplete,
            lookup: Lookup {
                asked,
                qtypes,
                outcome: outcome(&steps),
                queries: self.queries,
                duration: end.since(self.started),
                waited,
                steps,
            },
        }
    }
}
