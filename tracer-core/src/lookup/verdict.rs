//! When a lookup is over, how long to wait where that is not clear, and how it ended.
//!
//! Owns what resolvers do after each outcome; the steps themselves are [`Open`]'s.

use super::asking::{Asking, fails};
use super::open::Open;
use crate::model::dns::RecordType;
use crate::model::exchange::Outcome;
use crate::model::lookup::Step;
use crate::model::settings::Thresholds;
use crate::model::time::Timestamp;

/// What became clear about a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Something is still open: an answer, or another candidate.
    Undecided,
    /// The last candidate ended, but a query may follow at once: of another type, or the same again after a failure.
    Ending,
    /// Over.
    Decided,
}

impl Open {
    /// What is clear by now.
    pub fn verdict(&self) -> Verdict {
        let Some(outcomes) = self
            .current_steps()
            .map(Asking::outcome)
            .collect::<Option<Vec<Outcome>>>()
        else {
            return Verdict::Undecided;
        };
        let asks = |qtype| self.current_steps().any(|asking| asking.qtype() == qtype);
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
        // glibc gives up after these, bind's tools go on; both do at once.
        if outcomes.iter().any(|outcome| !tries_next(*outcome)) {
            return Verdict::Ending;
        }
        let last = self
            .readings
            .iter()
            .all(|reading| reading.candidates.last() == Some(&self.current));
        // Without a search list nothing that comes later can be told to belong here.
        if !last && self.resolver_known {
            return Verdict::Undecided;
        }
        if self.more_may_follow(&outcomes) {
            Verdict::Ending
        } else {
            Verdict::Decided
        }
    }

    /// Whether something may follow at once although the last candidate of all failed.
    fn more_may_follow(&self, outcomes: &[Outcome]) -> bool {
        // The same again, of another server or of the same.
        let again = outcomes.iter().any(|outcome| fails(*outcome));
        // With `options single-request` the types of a candidate follow one another. Which types are asked for the first
        // candidate tells.
        let asks = |qtype| self.current_steps().any(|asking| asking.qtype() == qtype);
        let another_type = if self.steps.iter().all(|asking| asking.is_for(&self.current)) {
            asks(RecordType::A) != asks(RecordType::AAAA)
        } else {
            !self.steps.iter().all(|asking| asks(asking.qtype()))
        };
        let domain_of_the_node = self
            .readings
            .iter()
            .any(|reading| reading.node_domain_may_follow(&self.current) && !reading.complete);
        again || another_type || domain_of_the_node || self.more_servers_may_follow()
    }

    /// musl sends each type to all servers before it waits, and an answer can be quicker than the next query: what it asked
    /// of several servers for one type it asks of them for the other.
    fn more_servers_may_follow(&self) -> bool {
        let most = self.current_steps().map(Asking::servers).max();
        self.current_steps()
            .any(|asking| Some(asking.servers()) < most)
    }

    /// Until when to wait for more, given what is clear now.
    pub fn wait(&self, thresholds: &Thresholds) -> Timestamp {
        if self
            .current_steps()
            .any(|asking| asking.outcome().is_none())
        {
            // The exchange decides about its own timeout, `dns_timeout` after its last attempt, and says so. This is the
            // net below it, for an exchange that was evicted.
            return self
                .touched
                .after(thresholds.dns_timeout.saturating_mul(10));
        }
        let again = self
            .current_steps()
            .filter(|asking| asking.outcome().is_some_and(fails))
            .map(Asking::may_be_asked_again_for)
            .max();
        match self.verdict() {
            Verdict::Ending | Verdict::Decided => self
                .touched
                .after(thresholds.lookup_grace.max(again.unwrap_or_default())),
            Verdict::Undecided => self.touched.after(thresholds.lookup_idle),
        }
    }
}

/// Whether every resolver goes on to its next candidate after this outcome. glibc (`__res_context_search`) goes on after
/// NXDOMAIN, NODATA and SERVFAIL and gives up after silence and refusal; musl goes on after NXDOMAIN alone; bind's tools
/// after every answer but NODATA.
fn tries_next(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Nxdomain | Outcome::Nodata | Outcome::Servfail
    )
}

/// The outcome as the application sees it: an answer counts, else that the name exists (NODATA), else what kept the
/// resolver from knowing, else NXDOMAIN. An unanswered query that was not waited for is a timeout in the making.
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
        None if steps
            .iter()
            .any(|step| step.outcome == Some(Outcome::Nxdomain)) =>
        {
            Outcome::Nxdomain
        }
        None => Outcome::Timeout,
    }
}
