//! The life of findings: one per cause and pod (or workload).
//!
//! Owns when they are emitted: once the evidence is complete, again with a new
//! count, and once when resolved. If the rule sets a delay and the finding is resolved within it, nothing is
//! emitted. A cause that shows again after its resolution continues the same finding, which is rate-limited:
//! a flap within the interval is not reported. A finding without evidence for long is dropped without an
//! event, because its cause may still exist.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::case::{Case, Symptom};
use super::claim::{Cause, Claim, Evidence};
use super::cure::{Resolution, Sign};
use super::examination::Moment;
use super::fact::Who;
use super::memory::{Target, TargetKey};
use super::open::{AttemptId, Open, Words};
use super::open_findings::{OpenFindings, Place};
use super::rule::{self, Rule};
use super::settings::{DiagnosisSettings, Silence};
use super::tally::Tally;
use super::{endpoint, stretches, wording};
use crate::fair_table::Room;
use crate::identity::{Index, Owner};
use crate::model::event::{Body, Ends, Event};
use crate::model::finding::{Finding, State};
use crate::model::loss::{Losses, Stage};
use crate::model::sentence::Sentence;
use crate::model::time::Timestamp;

mod rest;

/// All open findings.
#[derive(Debug)]
pub(super) struct Ledger {
    repeat: Duration,
    forget: Duration,
    max_evidence: usize,
    silences: Vec<Silence>,
    silenced: u64,
    room: Room,
    limit_per_pod: usize,
    open: OpenFindings,
    losses: Losses,
}

impl Ledger {
    pub fn new(settings: &DiagnosisSettings) -> Ledger {
        Ledger {
            repeat: settings.repeat,
            forget: settings.forget,
            max_evidence: settings.evidence.max(1),
            silences: settings.silences.clone(),
            silenced: 0,
            room: Room {
                entries: settings.findings.max(1),
                bytes: settings.finding_bytes,
            },
            limit_per_pod: settings.findings_per_pod.max(1),
            open: OpenFindings::default(),
            losses: Losses::default(),
        }
    }

    /// Replaces the silences. A finding that is no longer silenced is dropped: new evidence opens it again.
    pub fn set_silences(&mut self, silences: &[Silence]) {
        self.silences = silences.to_vec();
        for place in self.open.by_pod() {
            let Some(open) = self.open.get(place) else {
                continue;
            };
            let finding = &open.finding;
            let silenced = self.is_silenced(finding.rule, &open.ends, &finding.names);
            if silenced == open.silenced {
                continue;
            }
            if silenced {
                if let Some(open) = self.open.get_mut(place) {
                    open.silenced = true;
                }
            } else {
                self.open.take(place);
            }
        }
    }

    fn is_silenced(&self, rule: &str, ends: &Ends, names: &[Arc<str>]) -> bool {
        let mut silences = self.silences.iter();
        silences.any(|silence| silence.matches(rule, ends, names))
    }

    /// Takes in an attempt of a pod at some targets, whatever its outcome. The claim or the sign that it leads to
    /// follows.
    pub fn attempt(&mut self, owner: &Owner, targets: &[TargetKey]) {
        if !self.open.is_empty() {
            self.open
                .each_of_pod(owner, targets, |open| open.tally.attempt());
        }
    }

    /// How often a pod has failed at this target so far.
    pub fn failures(&self, owner: &Owner, target: TargetKey) -> u64 {
        let places = self.open.of_pod(owner);
        let places = places.into_iter().flat_map(|pod| pod.about(target));
        let open = places.filter_map(|place| self.open.get(place));
        open.map(|open| open.tally.failures).sum()
    }

    /// Takes in a rule's claim: opens a finding, or counts a failure of an open one. Returns its id.
    pub fn claim(
        &mut self,
        case: &Case<'_>,
        rule: &'static Rule,
        claim: Claim,
        out: &mut Vec<Event>,
    ) -> Arc<str> {
        let now = case.now;
        let cause = claim.cause.to_string();
        let id: Arc<str> = {
            let subject = match &claim.workload {
                Some(workload) => workload.clone(),
                None => wording::who(&case.who()),
            };
            format!("{}:{subject}:{cause}", rule::group(rule.id)).into()
        };
        let place = self.open.place(&id);
        if place.is_none()
            && let Some(rest) = self.make_room(case, rule, &claim)
        {
            return self.count_rest(case, rule, claim, rest, out);
        }
        let known = place.and_then(|place| self.open.take(place));
        let attempt = case.attempt_id();
        let counted = known.as_ref().is_some_and(|known| {
            case.was_counted() || attempt.is_some_and(|attempt| known.counted.contains(&attempt))
        });
        let known = match known {
            // The resolution is later than the start of this attempt, which is no new evidence.
            Some(known) if counted && known.finding.is_resolved() => {
                self.keep(known);
                return id;
            }
            known => known,
        };
        let before = known.as_ref().map(|known| known.finding.summary.clone());
        let mut open = match known {
            Some(mut known)
                if !known.finding.is_resolved() && rule::is_milder(rule.id, known.finding.rule) =>
            {
                // The same cause, once more: what the worse rule found still explains it.
                known.finding.last = known.finding.last.max(case.last);
                known
            }
            known => Box::new(self.open(case, rule, claim, &id, cause, known)),
        };
        if counted {
            // A ping has an event every few seconds.
            let is_ping = matches!(case.symptom, Symptom::Echo(..));
            open.reworded |= !is_ping && before.is_some_and(|one| one != open.finding.summary);
        } else {
            open.failed(attempt);
        }
        open.renew(now.after(self.forget));
        self.emit_if_due(&mut open, now, out);
        self.keep(open);
        id
    }

    /// Counts one more failure of an open finding, which equals those before. Returns whether there is one.
    pub fn repeat(
        &mut self,
        now: Timestamp,
        id: &str,
        last: Timestamp,
        attempt: Option<AttemptId>,
        out: &mut Vec<Event>,
    ) -> bool {
        let Some(place) = self.open.place(id) else {
            return false;
        };
        let Some(open) = self.open.get_mut(place) else {
            return false;
        };
        if open.finding.is_resolved() || attempt.is_some_and(|one| open.counted.contains(&one)) {
            return false;
        }
        open.finding.last = open.finding.last.max(last);
        open.failed(attempt);
        open.renew(now.after(self.forget));
        if open.has_news() && now >= open.next {
            if let Some(mut open) = self.open.take(place) {
                self.emit_if_due(&mut open, now, out);
                self.keep(open);
            }
        } else {
            self.open.touch(place);
        }
        true
    }

    /// A finding with this claim's words, and the numbers of the one known before.
    fn open(
        &self,
        case: &Case<'_>,
        rule: &'static Rule,
        claim: Claim,
        id: &Arc<str>,
        cause: String,
        known: Option<Box<Open>>,
    ) -> Open {
        let target = target(case, &claim.cause);
        let before = known.as_ref().map(|known| &known.finding);
        let pod = case.pod_name();
        let severity = claim.severity.unwrap_or(rule.severity);
        let finding = Finding {
            id: id.to_string(),
            rule: rule.id,
            severity: claim.once.unwrap_or(severity),
            state: State::Active,
            cause,
            pods: None,
            first: before.map_or(case.first, |before| before.first.min(case.first)),
            last: before.map_or(case.last, |before| before.last.max(case.last)),
            count: before.map_or(0, |before| before.count),
            of: 0,
            headline: Sentence::default(),
            symptom: None,
            summary: wording::summary(&case.who(), &claim.summary),
            was: None,
            names: case.names(),
            why: (claim.why.iter())
                .map(|fact| wording::fact(fact).about(stretches::fact(fact)))
                .collect(),
            fix: (claim.fix.as_ref()).map(|fix| wording::fix(fix).about(stretches::fix(fix))),
            remedies: claim
                .commands
                .iter()
                .map(|command| {
                    let words = wording::command(case.index, pod.as_ref(), command);
                    words.about(stretches::command(command))
                })
                .collect(),
            evidence: self.evidence(claim.evidence),
            path: None,
        };
        let tally = match (&known, &target) {
            (Some(known), _) => known.tally,
            (None, Some(target)) => Tally::new(case.own.attempts.count(*target)).before(case.share),
            (None, None) => Tally::new(0),
        };
        Open {
            silenced: match &known {
                Some(known) => known.silenced,
                None => self.is_silenced(rule.id, case.ends, &finding.names),
            },
            finding,
            key: Arc::clone(id),
            owner: case.owner.clone(),
            ends: endpoint::ends(case),
            cures: claim.cures,
            target,
            tally,
            words: Words {
                summary: claim.summary,
                because: claim.because,
                fix: claim.fix,
            },
            recurring: claim.recurring,
            severity,
            next: known
                .as_ref()
                .map_or(case.now.after(claim.delay), |known| known.next),
            emitted_count: known.as_ref().map_or(0, |known| known.emitted_count),
            emitted_state: known
                .as_ref()
                .map_or(State::Active, |known| known.emitted_state),
            reworded: known.as_ref().is_some_and(|known| known.reworded),
            until: case.now,
            changed: case.last,
            counted: known.map_or_else(VecDeque::new, |known| known.counted),
            is_rest: false,
            listed: 0,
            used: 0,
            scheduled: (case.now, 0),
            bytes: 0,
        }
    }

    /// Something worked: counts a success of the findings that waited for this sign, and resolves those for
    /// which it suffices. `failed`: a finding that the same attempt belongs to.
    pub fn cure(
        &mut self,
        moment: Moment,
        owner: &Owner,
        ends: &Ends,
        sign: &Sign<'_>,
        failed: Option<&Arc<str>>,
        out: &mut Vec<Event>,
    ) {
        if self.open.is_empty() {
            return;
        }
        let Some(pod) = self.open.of_pod(owner) else {
            return;
        };
        let keys = sign.keys(ends);
        let waiting = keys.iter().flat_map(|key| pod.waiting(*key));
        let mut waiting: Vec<(u64, Place)> = waiting
            .filter_map(|place| Some((self.open.get(place)?.listed, place)))
            .collect();
        waiting.sort_unstable();
        waiting.dedup();
        for (_, place) in waiting {
            let Some(open) = self.open.get_mut(place) else {
                continue;
            };
            if open.finding.is_resolved() || failed.is_some_and(|id| **id == *open.key) {
                continue;
            }
            let mut cures = open.cures.iter();
            let shown =
                cures.find_map(|cure| Some((cure.shown_by(sign, ends)?, cure.is_decisive())));
            let Some((resolution, decisive)) = shown else {
                continue;
            };
            let resolved = open.tally.succeeded(sign.successes());
            if decisive {
                open.tally.ended();
            }
            if (resolved || decisive) && !open.is_ordinary() {
                self.resolve(moment, place, &resolution, out);
            } else {
                open.changed = open.changed.max(moment.at);
                let had_news = open.has_news();
                open.update();
                if !had_news && open.has_news() {
                    // More successes may follow and resolve it.
                    open.next = open.next.max(moment.now.after(self.repeat));
                }
                self.open.touch(place);
            }
        }
    }

    /// Resolves the findings that waited for what the inventory shows now.
    pub fn inventory(&mut self, now: Timestamp, index: &Index, out: &mut Vec<Event>) {
        for place in self.open.by_pod() {
            let resolution = self.open.get(place).and_then(|open| {
                let mut cures = open.cures.iter();
                let is_open = !open.finding.is_resolved();
                let shown = cures.find_map(|cure| cure.shown_by_inventory(index));
                shown.filter(|_| is_open)
            });
            if let Some(resolution) = resolution {
                self.resolve(Moment { at: now, now }, place, &resolution, out);
            }
        }
    }

    /// Emits new counts that are due, and drops findings without evidence for long.
    pub fn advance(&mut self, now: Timestamp, out: &mut Vec<Event>) {
        while let Some(mut open) = self.open.pop_due(now) {
            if open.has_news() {
                let at = open.changed;
                self.emit(&mut open, at, now, out);
                self.keep(open);
            }
        }
    }

    /// Emits all new counts and drops all findings.
    pub fn end(&mut self, out: &mut Vec<Event>) {
        for mut open in self.open.take_all() {
            if open.has_news() {
                let at = open.changed;
                self.emit(&mut open, at, at, out);
            }
        }
    }

    /// The number of silenced findings.
    pub fn silenced(&self) -> u64 {
        self.silenced
    }

    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    fn emit_if_due(&mut self, open: &mut Open, now: Timestamp, out: &mut Vec<Event>) {
        if open.has_news() && now >= open.next {
            let at = open.changed;
            self.emit(open, at, now, out);
        }
    }

    /// Emits the finding; `at` is the time of the event, which is known now.
    fn emit(&mut self, open: &mut Open, at: Timestamp, now: Timestamp, out: &mut Vec<Event>) {
        if open.silenced {
            self.silenced += u64::from(!open.was_emitted());
        } else {
            if !open.finding.is_resolved() {
                open.write_headline();
            }
            out.push(Event {
                time: at,
                ends: Some(open.ends.clone()),
                incomplete: false,
                body: Body::Finding(Box::new(open.finding.clone())),
            });
        }
        open.next = now.after(self.repeat);
        open.emitted_count = open.finding.count;
        open.emitted_state = open.finding.state;
        open.reworded = false;
    }

    fn resolve(
        &mut self,
        moment: Moment,
        place: Place,
        resolution: &Resolution,
        out: &mut Vec<Event>,
    ) {
        let Some(mut open) = self.open.take(place) else {
            return;
        };
        if !open.was_emitted() {
            // Resolved within its delay.
            return;
        }
        let how = wording::resolution(&Who::from(&open.ends.pod), resolution);
        open.update();
        open.finding.state = State::Resolved;
        open.finding.headline = wording::resolved(&how);
        open.finding.was = Some(std::mem::replace(&mut open.finding.summary, how));
        if open.emitted_state == State::Resolved {
            // It came and went within the interval. The last event, a resolution, is still true.
            open.emitted_count = open.finding.count;
        } else {
            self.emit(&mut open, moment.at, moment.now, out);
        }
        // Kept: a cause that comes and goes continues the same finding.
        open.until = moment.now.after(self.forget);
        self.keep(open);
    }

    fn keep(&mut self, open: Box<Open>) {
        self.open.put(open);
        while let Some(place) = self.open.overfull(self.room) {
            let Some(dropped) = self.open.take(place) else {
                return;
            };
            self.losses
                .add_on(dropped.ends.ifindex, Stage::Table, "finding table full", 1);
        }
    }

    /// The lines of evidence, up to the limit.
    fn evidence(&self, mut evidence: Vec<Evidence>) -> Vec<Sentence> {
        if evidence.len() > self.max_evidence {
            let more = evidence.len() - (self.max_evidence - 1);
            evidence.truncate(self.max_evidence - 1);
            evidence.push(Evidence::More(more));
        }
        evidence.iter().map(wording::evidence).collect()
    }
}

/// What counts as an attempt for a cause; `None`: only its failures are visible.
fn target(case: &Case<'_>, cause: &Cause) -> Option<TargetKey> {
    let target = match (&case.symptom, cause) {
        (Symptom::Lookup(_), Cause::Address(ip)) => Target::Server(*ip),
        (Symptom::Lookup(_), Cause::ServerAndDomain(ip, domain)) => {
            Target::Domain(*ip, domain.relative())
        }
        (Symptom::Lookup(_), Cause::SearchDomain(domain)) => {
            Target::SearchDomain(domain.relative())
        }
        (Symptom::Lookup(_), Cause::Name(name) | Cause::NameAndTypes(name, _)) => {
            Target::Name(name)
        }
        (Symptom::Tcp(_) | Symptom::Udp(_), Cause::Socket(socket, protocol)) => {
            Target::Socket(*socket, protocol)
        }
        (Symptom::Echo(..), Cause::Address(ip) | Cause::Ping(ip)) => Target::Ping(*ip),
        _ => return None,
    };
    Some(target.key())
}
