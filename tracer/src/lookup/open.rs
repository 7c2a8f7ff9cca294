//! A lookup that is not decided yet.

use std::net::IpAddr;
use std::time::Duration;

use super::candidates::Reading;
use crate::model::dns::{DnsName, Question, RecordType};
use crate::model::event::Ends;
use crate::model::exchange::{Exchange, Outcome};
use crate::model::flow::{Flow, Ifindex};
use crate::model::lookup::{Lookup, Place, Step};
use crate::model::settings::Thresholds;
use crate::model::time::Timestamp;

/// Whose resolver: one pod's interface and address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    ifindex: Ifindex,
    ip: IpAddr,
}

impl Client {
    /// The client of a flow.
    pub fn of(flow: &Flow) -> Client {
        Client {
            ifindex: flow.ifindex,
            ip: flow.pod.ip(),
        }
    }
}

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

/// What became clear about a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Something is still open: an answer, or another candidate.
    Undecided,
    /// The last candidate ended, but a query of another type may follow at once.
    Ending,
    /// Over.
    Decided,
}

/// A lookup that is not decided yet.
#[derive(Debug)]
pub struct Open {
    /// Whose it is.
    pub client: Client,
    /// The pod and the server of its latest query.
    pub ends: Ends,
    /// Its first query.
    pub started: Timestamp,
    /// Its latest query or answer.
    pub touched: Timestamp,
    /// The candidate that is asked for now.
    pub current: DnsName,
    /// When it is decided by silence.
    pub deadline: Timestamp,
    readings: Vec<Reading>,
    resolver_known: bool,
    steps: Vec<Step>,
    awaited: Vec<Query>,
    queries: u32,
}

impl Open {
    /// Begins with a query for `name`; the step itself is added by [`Open::ask`].
    pub fn new(
        client: Client,
        at: Timestamp,
        ends: &Ends,
        name: &DnsName,
        readings: Vec<Reading>,
        resolver_known: bool,
    ) -> Open {
        Open {
            client,
            ends: ends.clone(),
            started: at,
            touched: at,
            current: name.clone(),
            deadline: at,
            readings,
            resolver_known,
            steps: Vec::new(),
            awaited: Vec::new(),
            queries: 0,
        }
    }

    /// Whether a query for `name` and `qtype` can be the next one of this lookup.
    pub fn accepts(&self, name: &DnsName, qtype: RecordType) -> bool {
        if *name == self.current {
            return !self.current_steps().any(|step| step.qtype == qtype);
        }
        // A resolver moves on only when the candidate failed for every type that it asked for.
        self.current_steps()
            .all(|step| step.outcome.is_some_and(tries_next))
            && self.follows(name)
    }

    fn follows(&self, name: &DnsName) -> bool {
        self.readings
            .iter()
            .any(|reading| position_after(reading, &self.current, name).is_some())
    }

    /// Adds a query. Returns its step's number, or `None` where the lookup keeps no more steps.
    pub fn ask(&mut self, at: Timestamp, ends: &Ends, query: Query, limit: usize) -> Option<usize> {
        let Question { name, qtype } = query.question.clone();
        if name != self.current {
            let previous = std::mem::replace(&mut self.current, name.clone());
            self.readings
                .retain(|reading| position_after(reading, &previous, &name).is_some());
        }
        self.ends = ends.clone();
        self.touched = at;
        self.queries += 1;
        if self.steps.len() >= limit {
            return None;
        }
        self.steps.push(Step {
            name,
            qtype,
            outcome: None,
            latency: None,
            data: Vec::new(),
            errors: Vec::new(),
            asked: at,
        });
        self.awaited.push(query);
        Some(self.steps.len() - 1)
    }

    /// An exchange of this lookup ended.
    pub fn answer(&mut self, at: Timestamp, query: &Query, step: usize, exchange: &Exchange) {
        self.awaited.retain(|awaited| awaited != query);
        self.touched = self.touched.max(at);
        // The first attempt was counted when it was asked.
        self.queries += exchange.attempts.saturating_sub(1);
        let Some(step) = self.steps.get_mut(step) else {
            return;
        };
        step.outcome = Some(exchange.outcome);
        step.latency = exchange.latency;
        let wanted = exchange
            .answers
            .iter()
            .filter(|record| record.rtype == step.qtype);
        step.errors = exchange.extended_errors().to_vec();
        step.data = wanted.map(|record| record.data.clone()).collect();
    }

    /// Where the queries of the current candidate stand.
    pub fn place(&self) -> Place {
        let asked = self.asked();
        let reading = if self.readings.len() == 1 {
            self.readings.first()
        } else {
            None
        };
        let position = reading.and_then(|reading| {
            reading
                .candidates
                .iter()
                .position(|name| *name == self.current)
        });
        Place {
            candidate: u32::try_from(
                position.unwrap_or_else(|| self.names().len().saturating_sub(1)) + 1,
            )
            .unwrap_or(u32::MAX),
            of: asked
                .as_ref()
                .and(reading)
                .map(|reading| u32::try_from(reading.candidates.len()).unwrap_or(u32::MAX)),
            asked,
        }
    }

    /// The names asked for, each once.
    fn names(&self) -> Vec<&DnsName> {
        let mut names: Vec<&DnsName> = self.steps.iter().map(|step| &step.name).collect();
        names.dedup();
        names
    }

    fn asked(&self) -> Option<String> {
        match self.readings.as_slice() {
            [reading] if self.resolver_known => Some(reading.asked.clone()),
            _ => None,
        }
    }

    /// What is clear by now.
    pub fn verdict(&self) -> Verdict {
        let Some(outcomes) = self
            .current_steps()
            .map(|step| step.outcome)
            .collect::<Option<Vec<Outcome>>>()
        else {
            return Verdict::Undecided;
        };
        let asks = |qtype| self.current_steps().any(|step| step.qtype == qtype);
        if outcomes.iter().any(|outcome| !tries_next(*outcome)) {
            let found = outcomes
                .iter()
                .any(|outcome| matches!(outcome, Outcome::Answered | Outcome::Truncated));
            let both = asks(RecordType::A) && asks(RecordType::AAAA);
            return if both || !found {
                Verdict::Decided
            } else {
                Verdict::Ending
            };
        }
        let last = self
            .readings
            .iter()
            .all(|reading| reading.candidates.last() == Some(&self.current));
        if !last || !self.resolver_known {
            return Verdict::Undecided;
        }
        // With `options single-request` the types of a candidate follow one another.
        if self.steps.iter().all(|step| asks(step.qtype)) {
            Verdict::Decided
        } else {
            Verdict::Ending
        }
    }

    /// Until when to wait for more, given what is clear now.
    pub fn wait(&self, thresholds: &Thresholds) -> Timestamp {
        if self.current_steps().any(|step| step.outcome.is_none()) {
            // The exchange decides about its own timeout, `dns_timeout` after its last attempt, and says so. This is the
            // net below it, for an exchange that was evicted.
            return self.touched.after(thresholds.dns_timeout * 10);
        }
        match self.verdict() {
            Verdict::Ending | Verdict::Decided => self.touched.after(thresholds.lookup_grace),
            // With an unknown search list a negative answer may or may not be the last.
            Verdict::Undecided => self.touched.after(thresholds.lookup_idle),
        }
    }

    /// The queries whose exchange has not ended.
    pub fn awaited(&self) -> &[Query] {
        &self.awaited
    }

    /// The names under which the next query of this lookup may come: the current candidate for another type, and those
    /// that follow it.
    pub fn expected(&self) -> Vec<DnsName> {
        let mut names = vec![self.current.clone()];
        for reading in &self.readings {
            let here = reading
                .candidates
                .iter()
                .position(|candidate| *candidate == self.current);
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

    fn current_steps(&self) -> impl Iterator<Item = &Step> {
        self.steps
            .iter()
            .rev()
            .take_while(|step| step.name == self.current)
    }

    /// The lookup as it stands.
    pub fn finish(self) -> Lookup {
        let mut qtypes = Vec::new();
        for step in &self.steps {
            if !qtypes.contains(&step.qtype) {
                qtypes.push(step.qtype);
            }
        }
        let ended = |step: &Step| step.asked.after(step.latency.unwrap_or(Duration::ZERO));
        let end = self.steps.iter().map(ended).max().unwrap_or(self.started);
        Lookup {
            asked: self.asked(),
            qtypes,
            outcome: outcome(&self.steps),
            queries: self.queries,
            duration: end.since(self.started),
            steps: self.steps,
        }
    }
}

/// Whether a resolver goes on to its next candidate after this outcome. glibc (`__res_context_search`) goes on after
/// NXDOMAIN, NODATA and SERVFAIL; after silence and refusal it gives up.
fn tries_next(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Nxdomain | Outcome::Nodata | Outcome::Servfail
    )
}

/// The outcome as the application sees it: an answer counts, else that the name exists (NODATA), else what kept the
/// resolver from knowing, else NXDOMAIN. An unanswered query that was not waited for is a timeout in the making.
fn outcome(steps: &[Step]) -> Outcome {
    const ORDER: [Outcome; 9] = [
        Outcome::Answered,
        Outcome::Truncated,
        Outcome::Nodata,
        Outcome::Servfail,
        Outcome::Refused,
        Outcome::Formerr,
        Outcome::IcmpError,
        Outcome::Timeout,
        Outcome::Other,
    ];
    let has = |outcome: &&Outcome| steps.iter().any(|step| step.outcome == Some(**outcome));
    match ORDER.iter().find(has) {
        Some(outcome) => *outcome,
        None if steps
            .iter()
            .any(|step| step.outcome == Some(Outcome::Nxdomain)) =>
        {
            Outcome::Nxdomain
        }
        None => Outcome::Timeout,
    }
}

/// Where `name` stands among the candidates after `current`.
fn position_after(reading: &Reading, current: &DnsName, name: &DnsName) -> Option<usize> {
    let here = reading
        .candidates
        .iter()
        .position(|candidate| candidate == current)?;
    let ahead = reading
        .candidates
        .iter()
        .skip(here + 1)
        .position(|candidate| candidate == name)?;
    Some(here + 1 + ahead)
}
