//! A lookup that is not decided yet: its readings, its steps, and whether a query belongs to it.

use std::time::Duration;

use super::candidates::Reading;
use super::node_domains::SeenDomains;
use super::open_step::{IMMEDIATE, OpenStep};
use super::verdict::outcome;
use super::waiting::waited;
use crate::identity::Owner;
use crate::model::alias::aliases;
use crate::model::dns::{DnsName, Question, RecordType};
use crate::model::event::Ends;
use crate::model::exchange::{Exchange, Outcome};
use crate::model::flow::Flow;
use crate::model::lookup::{Lookup, Place, Step};
use crate::model::time::Timestamp;

/// One query on the wire, the key to its step when its exchange ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Query {
    /// The flow of its first attempt.
    pub flow: Flow,
    /// The message's ID.
    pub id: u16,
    /// The question it asks.
    pub question: Question,
}

/// How a query relates to an open lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It repeats the question of this step.
    Repeat(usize),
    /// It is the next question.
    Next,
    /// It asks for another type of the current candidate, under the canonical name of that alias.
    Alias,
    /// It asks for the next candidate, with an unknown search domain of the node.
    NodeDomain,
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
    canonical: Option<DnsName>,
    /// When silence decides it.
    pub deadline: Timestamp,
    pub(super) readings: Vec<Reading>,
    pub(super) resolver_known: bool,
    pub(super) steps: Vec<OpenStep>,
    awaited: Vec<Query>,
    queries: u32,
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
            deadline: at,
            readings,
            resolver_known,
            steps: Vec::new(),
            awaited: Vec::new(),
            queries: 0,
        }
    }

    /// Matches a query that repeats the question of one of this lookup's queries under the same identifier.
    pub fn repeated(&self, query: &Query) -> Option<Relation> {
        let place = self
            .steps
            .iter()
            .rposition(|step| step.is_for(&self.current) && step.has_id(query))?;
        Some(Relation::Repeat(place))
    }

    /// Matches a query that can belong to this lookup, judged by its name, type and time.
    pub fn continued(&self, at: Timestamp, query: &Query) -> Option<Relation> {
        let Question { name, qtype } = &query.question;
        if *name == self.current {
            let Some(place) = self
                .steps
                .iter()
                .rposition(|step| step.is_for(name) && step.qtype() == *qtype)
            else {
                return Some(Relation::Next);
            };
            let again = self.steps[place].is_retry(at, query);
            return again.then_some(Relation::Repeat(place));
        }
        if self.canonical.as_ref() == Some(name) {
            // bind's nslookup asks for AAAA under the canonical name of the A answer.
            let new_type = self.current_steps().all(|step| step.qtype() != *qtype);
            return (*qtype == RecordType::AAAA && new_type).then_some(Relation::Alias);
        }
        // A resolver moves on only when the candidate failed for every type asked.
        let moves_on = self.current_steps().all(|step| step.may_move_on(at))
            && self
                .readings
                .iter()
                .any(|reading| reading.position_after(&self.current, name).is_some());
        moves_on.then_some(Relation::Next)
    }

    /// The asked name, if an unknown search domain of the node may come next. Only where no other reading is
    /// left, and where the previous candidate does not exist: after any other outcome the resolver may have
    /// stopped, and the application may have asked for another name that begins alike.
    pub fn gap(&self) -> Option<&str> {
        let [reading] = self.readings.as_slice() else {
            return None;
        };
        let missing = self
            .current_steps()
            .all(|step| step.outcome() == Some(Outcome::Nxdomain));
        let in_gap =
            self.resolver_known && missing && reading.node_domain_may_follow(&self.current);
        in_gap.then_some(&reading.asked)
    }

    /// Matches a query for `name` that fills the gap at this time.
    pub fn in_gap(&self, at: Timestamp, name: &DnsName) -> Option<Relation> {
        let [reading] = self.readings.as_slice() else {
            return None;
        };
        let fits = self.gap().is_some()
            && at.since(self.touched) <= IMMEDIATE
            && reading.position(name).is_none()
            && reading.domain_of(name).is_some();
        fits.then_some(Relation::NodeDomain)
    }

    /// Adds a query. Returns the index of its step, or `None` if the lookup keeps no more steps.
    pub fn ask(
        &mut self,
        at: Timestamp,
        ends: &Ends,
        query: Query,
        relation: Relation,
        limit: usize,
    ) -> Option<usize> {
        self.ends = ends.clone();
        self.touched = at;
        self.queries = self.queries.saturating_add(1);
        let place = match relation {
            Relation::Repeat(place) => self
                .steps
                .get_mut(place)?
                .again(at, &query)
                .then_some(place)?,
            Relation::Next | Relation::NodeDomain | Relation::Alias => {
                let name = &query.question.name;
                if relation == Relation::NodeDomain
                    && let [reading] = self.readings.as_mut_slice()
                {
                    reading.insert_after(&self.current, name);
                }
                if *name != self.current && relation != Relation::Alias {
                    self.canonical = None;
                    let previous = std::mem::replace(&mut self.current, name.clone());
                    self.readings
                        .retain(|reading| reading.position_after(&previous, name).is_some());
                }
                if self.steps.len() >= limit {
                    return None;
                }
                self.steps.push(OpenStep::new(at, &query, &self.current));
                self.steps.len() - 1
            }
        };
        self.awaited.push(query);
        Some(place)
    }

    /// A step's query is retransmitted.
    pub fn retransmitted(&mut self, at: Timestamp, step: usize, query: &Query) {
        self.touched = at;
        self.queries = self.queries.saturating_add(1);
        if let Some(step) = self.steps.get_mut(step) {
            step.retransmitted(at, query);
        }
    }

    /// An exchange of this lookup ended.
    pub fn answer(&mut self, at: Timestamp, query: &Query, step: usize, exchange: &Exchange) {
        self.awaited.retain(|awaited| awaited != query);
        self.touched = self.touched.max(at);
        let Some(step) = self.steps.get_mut(step) else {
            return;
        };
        step.end(at, exchange);
        if step.is_for(&self.current) && step.outcome() == Some(Outcome::Answered) {
            let aliases = aliases(&query.question.name, &exchange.answers);
            let canonical = aliases.into_iter().skip(1).last();
            self.canonical = canonical.map(|(name, _)| name).or(self.canonical.take());
        }
    }

    /// The current candidate's place in the lookup.
    pub fn place(&self) -> Place {
        let asked = self.asked();
        let reading = match self.readings.as_slice() {
            [reading] => Some(reading),
            _ => None,
        };
        let position = reading.and_then(|reading| reading.position(&self.current));
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Place {
            candidate: count(position.unwrap_or_else(|| self.names().len().saturating_sub(1)) + 1),
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
            [reading] if self.resolver_known => Some(reading.asked.clone()),
            _ => None,
        }
    }

    /// The queries whose exchanges have not ended.
    pub fn awaited(&self) -> &[Query] {
        &self.awaited
    }

    /// The names for which the next query of this lookup may ask: the current candidate, and those after it.
    pub fn expected(&self) -> Vec<DnsName> {
        let mut names = vec![self.current.clone()];
        names.extend(self.canonical.clone());
        for reading in &self.readings {
            let here = reading.position(&self.current);
            for name in reading
                .candidates
                .iter()
                .skip(here.map_or(usize::MAX, |here| here + 1))
            {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
        }
        names
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

    /// The steps of the current candidate.
    pub(super) fn current_steps(&self) -> impl Iterator<Item = &OpenStep> {
        self.steps
            .iter()
            .rev()
            .take_while(|step| step.is_for(&self.current))
    }

    /// The lookup event, in its current state.
    pub fn finish(self) -> Lookup {
        let asked = self.asked();
        let steps: Vec<Step> = self.steps.into_iter().map(|open| open.step).collect();
        let mut qtypes = Vec::new();
        for step in &steps {
            if !qtypes.contains(&step.qtype) {
                qtypes.push(step.qtype);
            }
        }
        let ended = |step: &Step| step.asked.after(step.latency.unwrap_or(Duration::ZERO));
        let end = steps.iter().map(ended).max().unwrap_or(self.started);
        Lookup {
            asked,
            qtypes,
            outcome: outcome(&steps),
            queries: self.queries,
            duration: end.since(self.started),
            waited: waited(&steps),
            steps,
        }
    }
}
