//! When a lookup is over, how long to wait while that is unclear, and its outcome.
//!
//! Owns the knowledge of how resolvers behave after each outcome; the steps themselves belong to
//! [`OpenLookup`].

use smallvec::SmallVec;

use super::open_lookup::OpenLookup;
use super::open_step::{OpenStep, fails};
use crate::model::dns::RecordType;
use crate::model::exchange::Outcome;
use crate::model::lookup::Step;
use crate::model::settings::Thresholds;
use crate::model::time::Timestamp;

/// The state of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// An answer is missing, or another candidate may follow.
    Undecided,
    /// The last candidate ended, but a query may follow immediately: for another type, or a retry after a
    /// failure.
    Ending,
    /// The lookup is over.
    Decided,
}

impl OpenLookup {
    /// The state after what was seen so far.
    pub fn verdict(&self) -> Verdict {
        let Some(outcomes) = self
            .current_steps()
            .map(OpenStep::outcome)
            .collect::<Option<SmallVec<[Outcome; 4]>>>()
        else {
            return Verdict::Undecided;
        };
        if self.at_once {
            // No candidate follows another; further queries of the burst may.
            return Verdict::Ending;
        }
        let asks = |qtype| self.current_steps().any(|step| step.qtype() == qtype);
        if outcomes.contains(&Outcome::Answered) {
            let both = asks(RecordType::A) && asks(RecordType::AAAA);
            return if both && !self.more_servers_may_follow() {
                Verdict::Decided
            } else {
                Verdict::Ending
            };
        }
        if outcomes.contains(&Outcome::Timeout) {
            return Verdict::Decided;
        }
        // glibc gives up after these, bind's tools move on; both do so immediately.
        if outcomes.iter().any(|outcome| !tries_next(*outcome)) {
            return Verdict::Ending;
        }
        let last = self
            .readings
            .iter()
            .all(|reading| reading.candidates.last() == Some(&self.current));
        // Without a search list nothing shows that a later query belongs to this lookup.
        if !last && self.search_known() {
            return Verdict::Undecided;
        }
        let inferred = self.readings.iter().any(|reading| reading.inferred);
        if self.more_may_follow(&outcomes) || !last && inferred {
            Verdict::Ending
        } else {
            Verdict::Decided
        }
    }

    /// Whether a query may follow immediately although the very last candidate failed.
    fn more_may_follow(&self, outcomes: &[Outcome]) -> bool {
        // A retry, at another server or the same.
        let again = outcomes.iter().any(|outcome| fails(*outcome));
        // With `options single-request` a candidate's types are asked one after the other. The first
        // candidate shows which types are asked.
        let asks = |qtype| self.current_steps().any(|step| step.qtype() == qtype);
        let another_type = if self.steps.iter().all(|step| step.is_for(&self.current)) {
            asks(RecordType::A) != asks(RecordType::AAAA)
        } else {
            !self.steps.iter().all(|step| asks(step.qtype()))
        };
        let domain_of_the_node = self
            .readings
            .iter()
            .any(|reading| reading.node_domain_may_follow(&self.current) && !reading.complete);
        again
            || another_type
            || domain_of_the_node
            || self.more_servers_may_follow()
            || self.repetitions_may_follow()
    }

    /// systemd-resolved asks again after NXDOMAIN, each type for itself.
    fn repetitions_may_follow(&self) -> bool {
        let most = self.current_steps().map(OpenStep::queries).max();
        self.current_steps().any(|step| Some(step.queries()) < most)
    }

    /// musl sends each type to all servers before it waits, and an answer can arrive before its next query.
    /// If it asked several servers for one type, it will ask them for the other.
    fn more_servers_may_follow(&self) -> bool {
        let most = self.current_steps().map(OpenStep::servers).max();
        self.current_steps().any(|step| Some(step.servers()) < most)
    }

    /// The deadline for further queries and answers, in the current state.
    pub fn wait(&self, thresholds: &Thresholds) -> Timestamp {
        if self.current_steps().any(OpenStep::is_awaited) {
            // The exchange reports its own timeout, `dns_timeout` after its last attempt. This is the safety
            // net for an exchange that was evicted.
            return self
                .touched
                .after(thresholds.dns_timeout.saturating_mul(10));
        }
        let again = self
            .current_steps()
            .filter(|step| step.outcome().is_some_and(fails))
            .map(OpenStep::may_be_asked_again_for)
            .max();
        match self.verdict() {
            Verdict::Ending | Verdict::Decided => self
                .touched
                .after(thresholds.lookup_grace.max(again.unwrap_or_default())),
            Verdict::Undecided => self.touched.after(thresholds.lookup_idle),
        }
    }
}

/// Whether a resolver may move on to its next candidate after this outcome, and not at once. glibc
/// (`__res_context_search`) moves on after NXDOMAIN, NODATA and SERVFAIL, to the name as it is after silence,
/// and gives up after REFUSED; musl moves on after NXDOMAIN only; Go after silence too; bind's tools after
/// every answer but NODATA.
fn tries_next(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Nxdomain | Outcome::Nodata | Outcome::Servfail
    )
}

/// The outcome that the application sees: an answer, else NODATA (the name exists), else the failure that
/// kept the resolver from knowing, else NXDOMAIN. Undecided if the last candidate's queries had neither an
/// answer nor the time for one: the input ended, or a table was full.
pub fn outcome(steps: &[Step]) -> Outcome {
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
        None => {
            let last = steps.last().map(|step| &step.name);
            let ended = |step: &Step| step.outcome.is_some() && Some(&step.name) == last;
            if steps.iter().any(ended) {
                Outcome::Nxdomain
            } else {
                Outcome::Undecided
            }
        }
    }
}
