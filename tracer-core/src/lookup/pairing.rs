//! Whether a query belongs to an open lookup, judged by its socket, identifier, question and time.
//!
//! Owns what separates the queries of one resolver call from those of another call for the same name
//! (docs/resolvers.md has each resolver's habit). A question that the lookup has had answered is a new
//! lookup's, and so is a query that comes when no resolver would send one.

use std::time::Duration;

use super::open_lookup::{OpenLookup, Query};
use super::open_step::{IMMEDIATE, OpenStep, fails};
use crate::model::dns::{DnsName, Question, RecordType};
use crate::model::exchange::Outcome;
use crate::model::settings::Thresholds;
use crate::model::time::Timestamp;

/// From one socket a resolver sends A and AAAA without waiting. A busy node may delay the second one by this
/// much.
const MAX_PAIR_GAP: Duration = Duration::from_secs(1);
/// The next candidate follows the answer to the previous one at once. A container at its CPU limit may pause
/// in between, several times.
const MAX_MOVE_GAP: Duration = Duration::from_secs(1);
/// A resolver that asks for all candidates at once sends all its queries within this time.
const MAX_BURST: Duration = Duration::from_millis(50);

/// How a query relates to an open lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It repeats the question of this step.
    Repeat(usize),
    /// It is the next question.
    Next,
    /// It asks for another candidate without an answer to the previous one.
    AtOnce,
    /// It asks for another type of the current candidate, under the canonical name of that alias.
    Alias,
    /// It asks for the next candidate, with an unknown search domain of the node.
    NodeDomain,
}

/// How well a query fits an open lookup, the better the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// It comes from a socket that the lookup has not used, after an answer.
    AfterAnswer,
    /// It comes from a socket that the lookup has not used, while the other type's query is unanswered: a
    /// resolver with a socket per query sends both at the same moment.
    SameMoment,
    /// It comes from a socket of the lookup.
    SameSocket,
    /// It has the identifier and the question of one of the lookup's queries.
    SameQuery,
}

impl OpenLookup {
    /// How a query can belong to this lookup, with a measure of how soon it follows: the less, the likelier.
    /// `None` if it cannot.
    pub fn fit(
        &self,
        at: Timestamp,
        query: &Query<'_>,
        thresholds: &Thresholds,
    ) -> Option<(Fit, Duration, Relation)> {
        let since = at.since(self.touched);
        if let Some(step) = self.step_of(query)
            && self.may_repeat(at, query, &self.steps[step])
        {
            return Some((Fit::SameQuery, since, Relation::Repeat(step)));
        }
        let same_socket = self.uses_socket(query);
        let relation = self.continued(at, query, same_socket, thresholds)?;
        let unanswered = self.current_steps().any(|step| step.outcome().is_none());
        let fit = match relation {
            _ if same_socket => Fit::SameSocket,
            Relation::Next if query.question.name == self.current && unanswered => Fit::SameMoment,
            _ => Fit::AfterAnswer,
        };
        let soon = match relation {
            // Of several timers the most overdue one has fired.
            Relation::Repeat(step) if self.steps[step].is_silent() => {
                self.steps[step].timer_may_still_wait(at)
            }
            _ => since,
        };
        Some((fit, soon, relation))
    }

    /// The step that has a query with this identifier and question. Resolvers choose identifiers at random, so
    /// both come from the same resolver call: musl asks all servers at once, glibc, c-ares and bind the next
    /// server, or the same one again after a failure.
    pub fn step_of(&self, query: &Query<'_>) -> Option<usize> {
        if !self.origins.may_have_id(query) {
            return None;
        }
        self.steps.iter().rposition(|step| step.has_id(query))
    }

    /// Whether a resolver may repeat this step's query. Once all is answered, the same identifier is chance,
    /// or a program that always uses the same one.
    fn may_repeat(&self, at: Timestamp, query: &Query<'_>, step: &OpenStep) -> bool {
        if step.outcome().is_none_or(fails) {
            return true;
        }
        // glibc repeats both queries although only one of them was lost.
        let other = self
            .steps
            .iter()
            .any(|other| other.is_for(step.candidate()) && other.outcome().is_none_or(fails));
        // A server on the same node answers before musl has asked the next one.
        let parallel = at.since(step.last()) <= MAX_BURST && !step.asked_server(query);
        // systemd-resolved does not trust NXDOMAIN and asks again without EDNS, from the same socket.
        let without_edns = step.outcome() == Some(Outcome::Nxdomain)
            && at.since(step.ended()) <= MAX_BURST
            && step.uses_socket(query);
        other || parallel || without_edns
    }

    fn uses_socket(&self, query: &Query<'_>) -> bool {
        self.origins.may_have_port(query) && self.steps.iter().any(|step| step.uses_socket(query))
    }

    /// Matches a query under a new identifier, judged by its name, type, socket and time.
    fn continued(
        &self,
        at: Timestamp,
        query: &Query<'_>,
        same_socket: bool,
        thresholds: &Thresholds,
    ) -> Option<Relation> {
        let Question { name, qtype } = &query.question;
        if self.is_of_burst(at, query, same_socket) {
            return Some(Relation::AtOnce);
        }
        if self.at_once {
            let place = self.step_for(name, *qtype)?;
            let again = self.steps[place].is_retry(at, query);
            return (same_socket && again).then_some(Relation::Repeat(place));
        }
        let in_grace = || {
            let ended = self.current_steps().map(OpenStep::ended).max();
            ended.is_some_and(|ended| at.since(ended) <= thresholds.lookup_grace)
        };
        if *name == self.current {
            let Some(place) = self.step_for(name, *qtype) else {
                return self
                    .takes_type(at, same_socket, in_grace())
                    .then_some(Relation::Next);
            };
            let step = &self.steps[place];
            // A new call that searches begins with its first candidate. So after a reported failure of a later
            // one, this is the same call: glibc opens another socket for its second attempt.
            let goes_on = step
                .outcome()
                .is_some_and(|outcome| outcome != Outcome::Timeout)
                && !self.is_first_candidate();
            let again = step.is_retry(at, query) && (same_socket || !self.pairs() || goes_on);
            return again.then_some(Relation::Repeat(place));
        }
        if self.canonical.as_ref() == Some(name) {
            // bind's nslookup asks for AAAA under the canonical name of the A answer.
            let new_type = self.current_steps().all(|step| step.qtype() != *qtype);
            let alias = *qtype == RecordType::AAAA && new_type && in_grace();
            return alias.then_some(Relation::Alias);
        }
        self.moves_on(at, name).then_some(Relation::Next)
    }

    /// Whether a query for a type that was not asked yet comes at the right moment: together with the first
    /// type, or right after its answer (`options single-request`, bind's tools).
    fn takes_type(&self, at: Timestamp, same_socket: bool, in_grace: bool) -> bool {
        let unanswered = self.current_steps().any(|step| step.outcome().is_none());
        if !unanswered {
            return in_grace;
        }
        let gap = if same_socket { MAX_PAIR_GAP } else { IMMEDIATE };
        let last = self.current_steps().map(OpenStep::last).max();
        last.is_some_and(|last| at.since(last) <= gap)
    }

    /// Whether the resolver may ask for this candidate next: the current one failed for every type asked,
    /// just now.
    fn moves_on(&self, at: Timestamp, name: &DnsName) -> bool {
        let ended = self
            .current_steps()
            .filter(|step| {
                step.outcome()
                    .is_some_and(|outcome| outcome != Outcome::Timeout)
            })
            .map(OpenStep::ended)
            .max();
        let silent = self.current_steps().any(OpenStep::is_silent);
        let just_now = silent || ended.is_some_and(|ended| at.since(ended) <= MAX_MOVE_GAP);
        just_now
            && self.current_steps().all(|step| step.may_move_on(at))
            && self
                .readings
                .iter()
                .any(|reading| reading.position_after(&self.current, name).is_some())
    }

    /// BusyBox's nslookup asks for all candidates of both types from one socket before it reads an answer,
    /// which may come all the same. No other resolver asks for the next candidate from the same socket while
    /// one is open, or returns to an earlier one.
    fn is_of_burst(&self, at: Timestamp, query: &Query<'_>, same_socket: bool) -> bool {
        let Question { name, qtype } = &query.question;
        same_socket
            && at.since(self.started) <= MAX_BURST
            && self.step_for(name, *qtype).is_none()
            && (self.at_once
                || *name != self.current
                    && (self
                        .current_steps()
                        // Any other resolver waits for an answer, and stops at one with records.
                        .any(|step| step.outcome().is_none() || !step.may_move_on(at))
                        || self.steps.iter().any(|step| step.is_for(name))))
            && self.readings.iter().any(|reading| {
                reading.position(name).is_some() && reading.position(&self.current).is_some()
            })
    }

    /// Whether no candidate was asked for before the current one.
    fn is_first_candidate(&self) -> bool {
        self.steps.iter().all(|step| step.is_for(&self.current))
    }

    fn step_for(&self, name: &DnsName, qtype: RecordType) -> Option<usize> {
        self.steps
            .iter()
            .rposition(|step| step.is_for(name) && step.qtype() == qtype)
    }

    /// Whether this resolver sends both types from one socket. Such a resolver repeats a query under the same
    /// identifier.
    fn pairs(&self) -> bool {
        self.steps.iter().any(|step| {
            self.steps.iter().any(|other| {
                other.is_for(step.candidate())
                    && other.qtype() != step.qtype()
                    && other.shares_socket(step)
            })
        })
    }

    /// The asked name, if an unknown search domain of the node may come next. Only where no other reading is
    /// left, and where the previous candidate does not exist: after any other outcome the resolver may have
    /// stopped, and the application may have asked for another name that begins alike.
    pub fn gap(&self) -> Option<&str> {
        let [reading] = self.readings.as_slice() else {
            return None;
        };
        let in_gap = self.resolver_known
            && !self.at_once
            && reading.node_domain_may_follow(&self.current)
            && self
                .current_steps()
                .all(|step| step.outcome() == Some(Outcome::Nxdomain));
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
}
