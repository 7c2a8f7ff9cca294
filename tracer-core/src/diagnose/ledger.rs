//! The open findings: one per cause and pod (or workload).
//!
//! Owns their counts and times, and when they are emitted: once the evidence is complete, again with a new
//! count, and once when resolved. If the rule sets a delay and the finding is resolved within it, nothing is
//! emitted. A cause that shows again after its resolution continues the same finding, which is rate-limited:
//! a flap within the interval is not reported. A finding without evidence for long is dropped without an
//! event, because its cause may still exist.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::case::{Case, Symptom};
use super::claim::{Cause, Claim, Evidence, Summary};
use super::cure::{Cure, Resolution, Sign};
use super::examination::Moment;
use super::fact::Who;
use super::headline::{Fix, Reason};
use super::memory::{Attempts, Target};
use super::rule::{self, Rule};
use super::settings::{DiagnosisSettings, Silence};
use super::tally::{Record, Tally};
use super::wording;
use crate::identity::{Index, Owner};
use crate::model::event::{Body, Ends, Event};
use crate::model::finding::{Finding, Severity, State};
use crate::model::loss::{Losses, Stage};
use crate::model::sentence::Sentence;
use crate::model::time::Timestamp;
use crate::table::Table;

/// An attempt's start, and the pod's port.
type AttemptId = (Timestamp, u16);

/// The most attempts that an open finding remembers: a pod's connections at one time.
const MAX_COUNTED: usize = 32;

/// A pod tries several servers, domains, names and destinations, each of which is counted.
const TARGETS_PER_POD: usize = 8;

#[derive(Debug)]
struct Open {
    finding: Finding,
    owner: Owner,
    ends: Ends,
    cures: Vec<Cure>,
    /// What counts as an attempt; `None`: each claim is one.
    target: Option<Target>,
    tally: Tally,
    /// What the headline is made of, as its numbers change with every attempt.
    words: Words,
    /// The earliest time of the next event.
    next: Timestamp,
    emitted_count: u64,
    emitted_state: State,
    /// What is known of an attempt that was counted has changed since the last event.
    reworded: bool,
    /// When it is dropped unless there is new evidence.
    until: Timestamp,
    /// The time of the latest attempt that changed a number or the state.
    changed: Timestamp,
    /// The latest attempts that were counted: an attempt has several events and counts once.
    counted: VecDeque<AttemptId>,
    /// The severity from the second failure on.
    severity: Severity,
    /// One occurrence is ordinary.
    recurring: bool,
    /// It matches a silence.
    silenced: bool,
}

/// The parts of a headline.
#[derive(Debug)]
struct Words {
    summary: Summary,
    because: Option<Reason>,
    fix: Option<Fix>,
}

impl Open {
    /// Whether the count or the state has changed since the last event.
    fn has_news(&self) -> bool {
        if self.is_ordinary() {
            return false;
        }
        self.finding.count > self.emitted_count
            || self.reworded
            || self.was_emitted() && self.finding.state != self.emitted_state
    }

    /// Whether what happened so far is too little for an event.
    fn is_ordinary(&self) -> bool {
        self.recurring && !self.was_emitted() && !self.tally.recurs()
    }

    /// Brings numbers and state up to date. A resolved finding stays so.
    fn update(&mut self) {
        let finding = &mut self.finding;
        (finding.count, finding.of) = (self.tally.failures, self.tally.attempts);
        if !finding.is_resolved() {
            finding.state = self.tally.state();
        }
    }

    /// Writes the headline with the numbers of now. Only an event needs it, not every attempt.
    fn write_headline(&mut self) {
        self.finding.headline = wording::headline(
            &Who::from(&self.ends.pod),
            &self.words.summary,
            &self.tally,
            self.words.because.as_ref(),
            self.words.fix.as_ref(),
        );
    }

    /// When it is emitted again, or dropped.
    fn due(&self) -> Timestamp {
        if self.has_news() {
            self.next
        } else {
            self.until
        }
    }

    /// Whether there was an event.
    fn was_emitted(&self) -> bool {
        self.emitted_count > 0
    }
}

/// All open findings.
#[derive(Debug)]
pub(super) struct Ledger {
    repeat: Duration,
    forget: Duration,
    max_evidence: usize,
    silences: Vec<Silence>,
    silenced: u64,
    open: Table<Arc<str>, Open>,
    /// The findings of each pod: attempts and signs are compared with these only.
    by_pod: BTreeMap<Owner, Vec<Arc<str>>>,
    attempts: Attempts,
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
            open: Table::new(settings.findings),
            by_pod: BTreeMap::new(),
            attempts: Attempts::new(settings.remembered.saturating_mul(TARGETS_PER_POD)),
            losses: Losses::default(),
        }
    }

    /// Replaces the silences. A finding that is no longer silenced is dropped: new evidence opens it again.
    pub fn set_silences(&mut self, silences: &[Silence]) {
        self.silences = silences.to_vec();
        let first: Arc<str> = "".into();
        let changed: Vec<(Arc<str>, bool)> = self
            .open
            .from(&first)
            .filter_map(|(id, open)| {
                let finding = &open.finding;
                let silenced = self.is_silenced(finding.rule, &open.ends, &finding.names);
                (silenced != open.silenced).then(|| (Arc::clone(id), silenced))
            })
            .collect();
        for (id, silenced) in changed {
            if silenced {
                if let Some(open) = self.open.get_mut(&id) {
                    open.silenced = true;
                }
            } else if let Some(open) = self.open.remove(&id) {
                self.unlist(&open.owner, &id);
            }
        }
    }

    fn is_silenced(&self, rule: &str, ends: &Ends, names: &[Arc<str>]) -> bool {
        let mut silences = self.silences.iter();
        silences.any(|silence| silence.matches(rule, ends, names))
    }

    /// Takes in an attempt of a pod, whatever its outcome. The claim or the sign that it leads to follows.
    pub fn attempt(&mut self, now: Timestamp, owner: &Owner, target: Target) {
        for id in self.by_pod.get(owner).into_iter().flatten() {
            if let Some(open) = self.open.get_mut(id)
                && open.target.as_ref() == Some(&target)
            {
                open.tally.attempt();
            }
        }
        self.attempts.add(now, owner, target);
    }

    /// How often a pod has failed and tried at this target so far, the present attempt included in the latter.
    pub fn record(&self, owner: &Owner, target: &Target) -> Record {
        let open = self.by_pod.get(owner).into_iter().flatten();
        let open = open.filter_map(|id| self.open.get(id));
        let failures = open
            .filter(|open| open.target.as_ref() == Some(target))
            .map(|open| open.tally.failures);
        Record {
            failures: failures.sum(),
            attempts: self.attempts.count(owner, target),
        }
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
        let known = self.open.remove(&id);
        if let Some(known) = &known {
            self.unlist(&known.owner, &id);
        }
        let attempt = case.attempt_id();
        let counted = known.as_ref().is_some_and(|known| {
            case.was_counted() || attempt.is_some_and(|attempt| known.counted.contains(&attempt))
        });
        let known = match known {
            // The resolution is later than the start of this attempt, which is no new evidence.
            Some(known) if counted && known.finding.is_resolved() => {
                self.keep(Arc::clone(&id), known);
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
            known => self.open(case, rule, claim, id.to_string(), cause, known),
        };
        if counted {
            // A ping has an event every few seconds.
            let is_ping = matches!(case.symptom, Symptom::Echo(..));
            open.reworded |= !is_ping && before.is_some_and(|one| one != open.finding.summary);
        } else {
            if open.target.is_none() {
                open.tally.attempt();
            }
            open.tally.failed();
            open.counted.extend(attempt);
            if open.counted.len() > MAX_COUNTED {
                open.counted.pop_front();
            }
        }
        open.until = now.after(self.forget);
        open.finding.state = State::Active;
        open.update();
        if open.finding.count > Tally::ordinary(open.recurring) {
            open.finding.severity = open.severity;
        }
        open.changed = open.changed.max(open.finding.last);
        if open.has_news() && now >= open.next {
            let at = open.changed;
            self.emit(&mut open, at, now, out);
        }
        self.keep(Arc::clone(&id), open);
        id
    }

    /// A finding with this claim's words, and the numbers of the one known before.
    fn open(
        &self,
        case: &Case<'_>,
        rule: &'static Rule,
        claim: Claim,
        id: String,
        cause: String,
        known: Option<Open>,
    ) -> Open {
        let owner = Owner::from_ends(case.ends);
        let target = target(case, &claim.cause);
        let before = known.as_ref().map(|known| &known.finding);
        let pod = case.pod_name();
        let severity = claim.severity.unwrap_or(rule.severity);
        let finding = Finding {
            id,
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
            summary: wording::summary(&case.who(), &claim.summary),
            was: None,
            names: case.names(),
            why: claim.why.iter().map(wording::fact).collect(),
            fix: claim.fix.as_ref().map(wording::fix),
            remedies: claim
                .commands
                .iter()
                .map(|command| wording::command(case.index, pod.as_ref(), command))
                .collect(),
            evidence: self.evidence(claim.evidence),
        };
        let tally = match (&known, &target) {
            (Some(known), _) => known.tally,
            (None, Some(target)) => {
                Tally::new(self.attempts.count(&owner, target)).before(case.share)
            }
            (None, None) => Tally::new(0),
        };
        Open {
            silenced: match &known {
                Some(known) => known.silenced,
                None => self.is_silenced(rule.id, case.ends, &finding.names),
            },
            finding,
            owner,
            ends: case.ends.clone(),
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
        }
    }

    /// Something worked: counts a success of the findings that waited for this sign, and resolves those for
    /// which it suffices. `failed`: a finding that the same attempt belongs to.
    pub fn cure(
        &mut self,
        moment: Moment,
        ends: &Ends,
        sign: &Sign<'_>,
        failed: Option<&Arc<str>>,
        out: &mut Vec<Event>,
    ) {
        if self.by_pod.is_empty() {
            return;
        }
        let Some(ids) = self.by_pod.get(&Owner::from_ends(ends)).cloned() else {
            return;
        };
        for id in ids.iter().filter(|id| Some(*id) != failed) {
            let Some(open) = self.open.get_mut(id) else {
                continue;
            };
            if open.finding.is_resolved() {
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
                self.resolve(moment, id, &resolution, out);
            } else {
                open.changed = open.changed.max(moment.at);
                let had_news = open.has_news();
                open.update();
                if !had_news && open.has_news() {
                    // More successes may follow and resolve it.
                    open.next = open.next.max(moment.now.after(self.repeat));
                }
                let due = open.due();
                self.open.touch(id, due);
            }
        }
    }

    /// Resolves the findings that waited for what the inventory shows now.
    pub fn inventory(&mut self, now: Timestamp, index: &Index, out: &mut Vec<Event>) {
        let ids: Vec<Arc<str>> = self.by_pod.values().flatten().cloned().collect();
        for id in ids {
            let resolution = self.open.get(&id).and_then(|open| {
                let mut cures = open.cures.iter();
                cures.find_map(|cure| cure.shown_by_inventory(index))
            });
            let is_open = |open: &Open| !open.finding.is_resolved();
            if let Some(resolution) = resolution
                && self.open.get(&id).is_some_and(is_open)
            {
                self.resolve(Moment { at: now, now }, &id, &resolution, out);
            }
        }
    }

    /// Emits new counts that are due, and drops findings without evidence for long.
    pub fn advance(&mut self, now: Timestamp, out: &mut Vec<Event>) {
        self.attempts.advance(now);
        while let Some((id, mut open)) = self.open.pop_due(now) {
            self.unlist(&open.owner, &id);
            if open.has_news() {
                let at = open.changed;
                self.emit(&mut open, at, now, out);
                self.keep(id, open);
            }
        }
    }

    /// Emits all new counts and drops all findings.
    pub fn end(&mut self, out: &mut Vec<Event>) {
        while let Some((_, mut open)) = self.open.pop_oldest() {
            if open.has_news() {
                let at = open.changed;
                self.emit(&mut open, at, at, out);
            }
        }
        self.by_pod.clear();
    }

    /// The number of silenced findings.
    pub fn silenced(&self) -> u64 {
        self.silenced
    }

    pub fn losses(&self) -> Losses {
        let mut losses = self.losses.clone();
        losses.merge(self.attempts.losses());
        losses
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
        id: &Arc<str>,
        resolution: &Resolution,
        out: &mut Vec<Event>,
    ) {
        let Some(mut open) = self.open.remove(id) else {
            return;
        };
        self.unlist(&open.owner, id);
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
        self.keep(Arc::clone(id), open);
    }

    fn keep(&mut self, id: Arc<str>, open: Open) {
        let due = open.due();
        let ids = self.by_pod.entry(open.owner.clone()).or_default();
        ids.push(Arc::clone(&id));
        if let Some((id, evicted)) = self.open.insert(id, open, due) {
            self.unlist(&evicted.owner, &id);
            self.losses.add(Stage::Table, "finding table full", 1);
        }
    }

    /// Removes a finding from those of its pod.
    fn unlist(&mut self, owner: &Owner, id: &Arc<str>) {
        if let Some(ids) = self.by_pod.get_mut(owner) {
            ids.retain(|other| other != id);
            if ids.is_empty() {
                self.by_pod.remove(owner);
            }
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
fn target(case: &Case<'_>, cause: &Cause) -> Option<Target> {
    match (&case.symptom, cause) {
        (Symptom::Lookup(_), Cause::Address(ip)) => Some(Target::Server(*ip)),
        (Symptom::Lookup(_), Cause::ServerAndDomain(ip, domain)) => {
            Some(Target::Domain(*ip, domain.clone()))
        }
        (Symptom::Lookup(_), Cause::SearchDomain(domain)) => {
            Some(Target::SearchDomain(domain.clone()))
        }
        (Symptom::Lookup(_), Cause::Name(name) | Cause::NameAndTypes(name, _)) => {
            Some(Target::Name(name.clone()))
        }
        (Symptom::Tcp(_) | Symptom::Udp(_), Cause::Socket(socket, protocol)) => {
            Some(Target::Socket(*socket, protocol))
        }
        (Symptom::Echo(..), Cause::Address(ip) | Cause::Ping(ip)) => Some(Target::Ping(*ip)),
        _ => None,
    }
}
