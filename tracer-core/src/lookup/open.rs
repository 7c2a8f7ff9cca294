//! A lookup that is not decided yet.

use std::time::Duration;

use super::asking::{AT_ONCE, Asking};
use super::candidates::Reading;
use super::node_domains::Seen;
use super::verdict::outcome;
use crate::identity::Owner;
use crate::model::alias::aliases;
use crate::model::dns::{DnsName, Question, RecordType};
use crate::model::event::Ends;
use crate::model::exchange::{Exchange, Outcome};
use crate::model::flow::Flow;
use crate::model::lookup::{Lookup, Place, Step};
use crate::model::time::Timestamp;

/// One query on the wire, to find its step when its exchange ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Query {
    /// The flow of its first attempt.
    pub flow: Flow,
    /// The message's identifier.
    pub id: u16,
    /// What it asks.
    pub question: Question,
}

/// How a query belongs to an open lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belongs {
    /// A question that it has a step for, asked again.
    Again(usize),
    /// Its next question.
    Next,
    /// The current candidate for another type, under the name that it is an alias of.
    Alias,
    /// The next candidate, with a domain of the node's that nobody knew.
    InGap,
}

/// A lookup that is not decided yet.
#[derive(Debug)]
pub struct Open {
    /// Whose it is.
    pub owner: Owner,
    /// The pod and the server of its latest query.
    pub ends: Ends,
    /// Its first query.
    pub started: Timestamp,
    /// Its latest query or answer.
    pub touched: Timestamp,
    /// The candidate that is asked for now.
    pub current: DnsName,
    /// What the current candidate is an alias of, as an answer said.
    canonical: Option<DnsName>,
    /// When it is decided by silence.
    pub deadline: Timestamp,
    pub(super) readings: Vec<Reading>,
    pub(super) resolver_known: bool,
    pub(super) steps: Vec<Asking>,
    awaited: Vec<Query>,
    queries: u32,
}

impl Open {
    /// Begins with a query for `name`; the step itself is added by [`Open::ask`].
    pub fn new(
        at: Timestamp,
        ends: &Ends,
        name: &DnsName,
        readings: Vec<Reading>,
        resolver_known: bool,
    ) -> Open {
        Open {
            owner: Owner::of(ends),
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

    /// Whether a query asks, under the identifier of one of this lookup's, the same question as that one.
    pub fn repeated(&self, query: &Query) -> Option<Belongs> {
        let place = self
            .steps
            .iter()
            .rposition(|asking| asking.is_for(&self.current) && asking.has_id(query))?;
        Some(Belongs::Again(place))
    }

    /// Whether a query can be one of this lookup, as far as its name, type and time tell.
    pub fn continued(&self, at: Timestamp, query: &Query) -> Option<Belongs> {
        let Question { name, qtype } = &query.question;
        if *name == self.current {
            let Some(place) = self
                .steps
                .iter()
                .rposition(|asking| asking.is_for(name) && asking.qtype() == *qtype)
            else {
                return Some(Belongs::Next);
            };
            let again = self.steps[place].tried_again(at, query);
            return again.then_some(Belongs::Again(place));
        }
        if self.canonical.as_ref() == Some(name) {
            // bind's nslookup asks for AAAA of the name that A was found for.
            let new_type = self.current_steps().all(|asking| asking.qtype() != *qtype);
            return (*qtype == RecordType::AAAA && new_type).then_some(Belongs::Alias);
        }
        // A resolver moves on only when the candidate failed for every type that it asked for.
        let moves_on = self.current_steps().all(|asking| asking.lets_go(at))
            && self
                .readings
                .iter()
                .any(|reading| reading.position_after(&self.current, name).is_some());
        moves_on.then_some(Belongs::Next)
    }

    /// What was asked, where a domain of the node's that is not known may come next behind it. Only where it cannot have
    /// been anything else, and where the candidate before it does not exist: after anything less a resolver may have
    /// stopped, and the application asked for something else that begins alike.
    pub fn gap(&self) -> Option<&str> {
        let [reading] = self.readings.as_slice() else {
            return None;
        };
        let missing = self
            .current_steps()
            .all(|asking| asking.outcome() == Some(Outcome::Nxdomain));
        let in_gap =
            self.resolver_known && missing && reading.node_domain_may_follow(&self.current);
        in_gap.then_some(&reading.asked)
    }

    /// Whether a query for `name` fills the gap, coming when it does.
    pub fn in_gap(&self, at: Timestamp, name: &DnsName) -> Option<Belongs> {
        let [reading] = self.readings.as_slice() else {
            return None;
        };
        let fits = self.gap().is_some()
            && at.since(self.touched) <= AT_ONCE
            && reading.position(name).is_none()
            && reading.domain_of(name).is_some();
        fits.then_some(Belongs::InGap)
    }

    /// Adds a query. Returns its step's number, or `None` where the lookup keeps no more.
    pub fn ask(
        &mut self,
        at: Timestamp,
        ends: &Ends,
        query: Query,
        belongs: Belongs,
        limit: usize,
    ) -> Option<usize> {
        self.ends = ends.clone();
        self.touched = at;
        self.queries = self.queries.saturating_add(1);
        let place = match belongs {
            Belongs::Again(place) => self
                .steps
                .get_mut(place)?
                .again(at, &query)
                .then_some(place)?,
            Belongs::Next | Belongs::InGap | Belongs::Alias => {
                let name = &query.question.name;
                if belongs == Belongs::InGap
                    && let [reading] = self.readings.as_mut_slice()
                {
                    reading.insert_after(&self.current, name);
                }
                if *name != self.current && belongs != Belongs::Alias {
                    self.canonical = None;
                    let previous = std::mem::replace(&mut self.current, name.clone());
                    self.readings
                        .retain(|reading| reading.position_after(&previous, name).is_some());
                }
                if self.steps.len() >= limit {
                    return None;
                }
                self.steps.push(Asking::new(at, &query, &self.current));
                self.steps.len() - 1
            }
        };
        self.awaited.push(query);
        Some(place)
    }

    /// The query of a step is sent again.
    pub fn retransmitted(&mut self, at: Timestamp, step: usize) {
        self.touched = at;
        self.queries = self.queries.saturating_add(1);
        if let Some(asking) = self.steps.get_mut(step) {
            asking.retransmitted(at);
        }
    }

    /// An exchange of this lookup ended.
    pub fn answer(&mut self, at: Timestamp, query: &Query, step: usize, exchange: &Exchange) {
        self.awaited.retain(|awaited| awaited != query);
        self.touched = self.touched.max(at);
        let Some(asking) = self.steps.get_mut(step) else {
            return;
        };
        asking.end(at, exchange);
        if asking.is_for(&self.current) && asking.outcome() == Some(Outcome::Answered) {
            let aliases = aliases(&query.question.name, &exchange.answers);
            let canonical = aliases.into_iter().skip(1).last();
            self.canonical = canonical.map(|(name, _)| name).or(self.canonical.take());
        }
    }

    /// Where the queries of the current candidate stand.
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

    /// The candidates asked for, each once.
    fn names(&self) -> Vec<&DnsName> {
        let mut names: Vec<&DnsName> = self.steps.iter().map(Asking::candidate).collect();
        names.dedup();
        names
    }

    fn asked(&self) -> Option<String> {
        match self.readings.as_slice() {
            [reading] if self.resolver_known => Some(reading.asked.clone()),
            _ => None,
        }
    }

    /// The queries whose exchange has not ended.
    pub fn awaited(&self) -> &[Query] {
        &self.awaited
    }

    /// The names under which the next query of this lookup may come: the current candidate, and those that follow it.
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

    /// What it showed of the node's domains: those between the last of the cluster's and what stands behind them.
    pub fn node_domains(&self) -> Option<Seen> {
        let [reading] = self.readings.as_slice() else {
            return None;
        };
        self.resolver_known
            .then(|| reading.seen(&self.names()))
            .flatten()
    }

    /// The steps of the current candidate.
    pub(super) fn current_steps(&self) -> impl Iterator<Item = &Asking> {
        self.steps
            .iter()
            .rev()
            .take_while(|asking| asking.is_for(&self.current))
    }

    /// The lookup as it stands.
    pub fn finish(self) -> Lookup {
        let asked = self.asked();
        let steps: Vec<Step> = self.steps.into_iter().map(|asking| asking.step).collect();
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
            steps,
        }
    }
}
