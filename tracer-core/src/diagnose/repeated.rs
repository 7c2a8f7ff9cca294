//! Events that repeat an earlier one of the same pod. What the rules made of that one holds for a second, so a flood
//! of equal failures is counted, and neither examined nor worded again and again.

use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::case::Symptom;
use super::examination::{Examination, Span};
use super::lookup_evidence::LookupEvidence;
use super::memory::{EventKey, Verdict, last_alias, was_truncated};
use super::open::AttemptId;
use crate::model::connection::{TcpConnection, TcpState};
use crate::model::exchange::Outcome;
use crate::model::lookup::Lookup;

impl Examination<'_> {
    /// What the rules make of a lookup: the finding that it belongs to.
    pub(super) fn lookup_verdict(
        &mut self,
        span: Span,
        evidence: &mut LookupEvidence<'_>,
    ) -> Option<Arc<str>> {
        // The rule about the cluster's domain wants the very lookup that showed it.
        let domain = self.index.replaced_domain();
        let shows_domain = domain.is_some_and(|(_, seen)| seen >= span.first);
        let forwards = !self.memory().loops.is_empty();
        let ordinary = !shows_domain && !forwards && is_ordinary(evidence);
        if ordinary && is_found_at_once(evidence.event) {
            // No rule is about these, which are most of all lookups.
            debug_assert_eq!(self.judge_lookup(span, evidence), None, "{evidence:?}");
            return None;
        }
        let key = ordinary.then(|| of_lookup(evidence));
        if let Some(verdict) = key.and_then(|key| self.known(key, span, None)) {
            return verdict;
        }
        if evidence.event.outcome != Outcome::Answered && !self.may_examine() {
            return None;
        }
        let failed = self.judge_lookup(span, evidence);
        self.learn(key, failed.as_ref());
        failed
    }

    fn judge_lookup(&mut self, span: Span, evidence: &mut LookupEvidence<'_>) -> Option<Arc<str>> {
        let pod = self.ends.pod.identity.as_ref().ok();
        evidence.resolver = pod.and_then(|pod| self.index.resolver(pod));
        self.judge(span, Symptom::Lookup(evidence))
    }

    /// What the rules make of a connection that failed.
    pub(super) fn connection_verdict(&mut self, span: Span, connection: &TcpConnection) {
        let key = of_connection(connection);
        let attempt = Some((span.first, connection.flow.pod.port()));
        let known = key.and_then(|key| self.known(key, span, attempt));
        if known.is_none() && self.may_examine() {
            let failed = self.judge(span, Symptom::Tcp(connection));
            self.learn(key, failed.as_ref());
        }
    }

    /// The verdict on an equal event. One more failure is counted.
    fn known(
        &mut self,
        key: EventKey,
        span: Span,
        attempt: Option<AttemptId>,
    ) -> Option<Option<Arc<str>>> {
        let (now, generation) = (self.now, self.diagnosis.generation);
        match self.memory().verdicts.get(now, key, generation)? {
            Verdict::Nothing => Some(None),
            Verdict::Finding(id) => {
                let ledger = &mut self.diagnosis.ledger;
                let counted = ledger.repeat(now, &id, span.last, attempt, self.out);
                counted.then_some(Some(id))
            }
        }
    }

    fn learn(&mut self, key: Option<EventKey>, failed: Option<&Arc<str>>) {
        let (now, generation) = (self.now, self.diagnosis.generation);
        let verdict = match failed {
            Some(id) => Verdict::Finding(Arc::clone(id)),
            None => Verdict::Nothing,
        };
        if let Some(key) = key {
            self.memory().verdicts.learn(now, key, generation, verdict);
        }
    }

    /// Whether the pod may cause one more examination of a failure. If not, the failure is counted as lost.
    fn may_examine(&mut self) -> bool {
        let now = self.now;
        let may = self.memory().verdicts.may_examine(now);
        if !may {
            self.not_examined();
        }
        may
    }
}

/// Whether nothing distinguishes a lookup from others but its times: none of its packets was repeated or lost, and no
/// other one came instead of the answer.
fn is_ordinary(lookup: &LookupEvidence<'_>) -> bool {
    let event = lookup.event;
    !lookup.cut_short
        && !lookup.begun_unnamed
        && lookup.misdirected.is_empty()
        && event.waited.is_zero()
        && event
            .steps
            .iter()
            .all(|step| step.outcome.is_some() && step.sent.len() == 1 && step.errors.is_empty())
        && lookup.taken.iter().all(|exchange| {
            exchange.attempts == 1
                && exchange.icmp.is_none()
                && exchange.connection.is_none()
                && exchange.fragments_lost == 0
                && !was_truncated(exchange)
        })
}

/// Whether the one query of a lookup found what the application asked for.
fn is_found_at_once(lookup: &Lookup) -> bool {
    let [step] = lookup.steps.as_slice() else {
        return false;
    };
    let as_asked = |asked: &String| asked.strip_suffix('.') == Some(step.name.relative());
    lookup.outcome == Outcome::Answered && lookup.asked.as_ref().is_none_or(as_asked)
}

/// The key of an ordinary lookup.
fn of_lookup(lookup: &LookupEvidence<'_>) -> EventKey {
    let event = lookup.event;
    let mut hasher = FixedState::with_seed(1).build_hasher();
    event.asked.hash(&mut hasher);
    event.outcome.hash(&mut hasher);
    for step in &event.steps {
        step.name.hash(&mut hasher);
        hasher.write_u16(step.qtype.into());
        step.outcome.hash(&mut hasher);
        step.sent.first().map(|sent| sent.server).hash(&mut hasher);
    }
    for exchange in &lookup.taken {
        last_alias(exchange)
            .map(|alias| &alias.data)
            .hash(&mut hasher);
        let rcode = exchange.rcode.map(u16::from);
        (rcode, exchange.details.query_edns.is_some()).hash(&mut hasher);
    }
    EventKey(hasher.finish())
}

/// The key of a connection that was refused, or that got no answer. `None` if something else came back.
fn of_connection(connection: &TcpConnection) -> Option<EventKey> {
    let evidence = &connection.evidence;
    let ordinary = matches!(connection.state, TcpState::Refused(_) | TcpState::Timeout)
        && connection.handshake.is_none()
        && connection.icmp.is_none()
        && evidence.reply_from.is_none()
        && evidence.late_answer.is_none();
    ordinary.then(|| {
        let state = std::mem::discriminant(&connection.state);
        let key = (connection.flow.peer, state);
        EventKey(FixedState::with_seed(2).hash_one(key))
    })
}
