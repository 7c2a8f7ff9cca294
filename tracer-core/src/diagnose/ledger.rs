//! The open findings: one per cause and pod (or workload).
//!
//! Owns their counts and times, and when they are emitted: once the evidence is complete, again with a new
//! count, and once when resolved. If the rule sets a delay and the finding is resolved within it, nothing is
//! emitted. A cause that shows again after its resolution continues the same finding, which is rate-limited:
//! a flap within the interval is not reported. A finding without evidence for long is dropped without an
//! event, because its cause may still exist.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Moment;
use super::case::{Case, Symptom};
use super::claim::{Claim, Evidence};
use super::cure::{Cure, Resolution, Sign};
use super::fact::Who;
use super::rule::Rule;
use super::settings::{DiagnosisSettings, Silence};
use super::wording;
use crate::identity::{Index, Owner};
use crate::model::event::{Body, Ends, Event};
use crate::model::finding::Finding;
use crate::model::loss::{Losses, Stage};
use crate::model::sentence::Sentence;
use crate::model::time::Timestamp;
use crate::table::Table;

#[derive(Debug)]
struct Open {
    finding: Finding,
    owner: Owner,
    ends: Ends,
    cures: Vec<Cure>,
    /// The earliest time of the next event.
    next: Timestamp,
    emitted_count: u64,
    /// The last event was the resolution.
    emitted_resolved: bool,
    /// When it is dropped unless there is new evidence.
    until: Timestamp,
    /// The start of the last run of echo requests that was counted: a run has several events and counts once.
    run: Option<Timestamp>,
    /// It matches a silence.
    silenced: bool,
}

impl Open {
    /// Whether the count has changed since the last event.
    fn has_news(&self) -> bool {
        self.finding.count > self.emitted_count
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
    /// The active findings of each pod: a sign is compared with these only.
    active_by_pod: BTreeMap<Owner, Vec<Arc<str>>>,
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
            active_by_pod: BTreeMap::new(),
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
                self.deactivate(&open.owner, &id);
            }
        }
    }

    fn is_silenced(&self, rule: &str, ends: &Ends, names: &[Arc<str>]) -> bool {
        let mut silences = self.silences.iter();
        silences.any(|silence| silence.matches(rule, ends, names))
    }

    /// Takes in a rule's claim: opens a finding, or counts an occurrence of an open one.
    pub fn claim(
        &mut self,
        case: &Case<'_>,
        rule: &'static Rule,
        claim: Claim,
        out: &mut Vec<Event>,
    ) {
        let now = case.now;
        let id: Arc<str> = {
            let subject = match &claim.workload {
                Some(workload) => workload.clone(),
                None => wording::who(&case.who()),
            };
            format!("{}:{subject}:{}", rule.id, claim.cause).into()
        };
        let known = self.open.remove(&id);
        if let Some(known) = &known {
            self.deactivate(&known.owner, &id);
        }
        let run = match case.symptom {
            Symptom::Echo(_, started) => Some(started),
            _ => None,
        };
        let same_run = known
            .as_ref()
            .is_some_and(|known| run.is_some() && known.run == run);
        let known = match known {
            // The resolution is later than the start of this run, so the run is no new evidence.
            Some(known) if same_run && known.finding.resolved => return self.keep(id, known),
            known => known,
        };
        let before = known.as_ref().map(|known| &known.finding);
        let count = before.map_or(0, |before| before.count) + u64::from(!same_run);
        let pod = case.pod_name();
        let finding = Finding {
            id: id.to_string(),
            rule: rule.id,
            severity: match claim.once {
                Some(severity) if count <= 1 => severity,
                _ => claim.severity.unwrap_or(rule.severity),
            },
            resolved: false,
            first: before.map_or(case.first, |before| before.first.min(case.first)),
            last: before.map_or(case.last, |before| before.last.max(case.last)),
            count,
            summary: wording::summary(&case.who(), &claim.summary),
            was: None,
            names: case.names(),
            why: claim.why.iter().map(wording::fact).collect(),
            remedies: claim
                .commands
                .iter()
                .map(|command| wording::command(pod.as_ref(), command))
                .collect(),
            evidence: self.evidence(claim.evidence),
        };
        let silenced = match &known {
            Some(known) => known.silenced,
            None => self.is_silenced(rule.id, case.ends, &finding.names),
        };
        let mut open = Open {
            silenced,
            finding,
            owner: Owner::from_ends(case.ends),
            ends: case.ends.clone(),
            cures: claim.cures,
            next: known
                .as_ref()
                .map_or(now.after(claim.delay), |known| known.next),
            emitted_count: known.as_ref().map_or(0, |known| known.emitted_count),
            emitted_resolved: known.as_ref().is_some_and(|known| known.emitted_resolved),
            until: now.after(self.forget),
            run,
        };
        if open.has_news() && now >= open.next {
            let at = open.finding.last;
            self.emit(&mut open, at, now, out);
        }
        self.keep(id, open);
    }

    /// Resolves the findings that waited for this sign.
    pub fn cure(&mut self, moment: Moment, ends: &Ends, sign: &Sign<'_>, out: &mut Vec<Event>) {
        if self.active_by_pod.is_empty() {
            return;
        }
        let Some(ids) = self.active_by_pod.get(&Owner::from_ends(ends)).cloned() else {
            return;
        };
        for id in ids {
            let resolution = self.open.get(&id).and_then(|open| {
                let mut cures = open.cures.iter();
                cures.find_map(|cure| cure.shown_by(sign, ends))
            });
            if let Some(resolution) = resolution {
                self.resolve(moment, &id, &resolution, out);
            }
        }
    }

    /// Resolves the findings that waited for what the inventory shows now.
    pub fn inventory(&mut self, now: Timestamp, index: &Index, out: &mut Vec<Event>) {
        let ids: Vec<Arc<str>> = self.active_by_pod.values().flatten().cloned().collect();
        for id in ids {
            let resolution = self.open.get(&id).and_then(|open| {
                let mut cures = open.cures.iter();
                cures.find_map(|cure| cure.shown_by_inventory(index))
            });
            if let Some(resolution) = resolution {
                self.resolve(Moment { at: now, now }, &id, &resolution, out);
            }
        }
    }

    /// Emits new counts that are due, and drops findings without evidence for long.
    pub fn advance(&mut self, now: Timestamp, out: &mut Vec<Event>) {
        while let Some((id, mut open)) = self.open.pop_due(now) {
            self.deactivate(&open.owner, &id);
            if open.has_news() {
                let at = open.finding.last;
                self.emit(&mut open, at, now, out);
                self.keep(id, open);
            }
        }
    }

    /// Emits all new counts and drops all findings.
    pub fn end(&mut self, out: &mut Vec<Event>) {
        while let Some((_, mut open)) = self.open.pop_oldest() {
            if open.has_news() {
                let at = open.finding.last;
                self.emit(&mut open, at, at, out);
            }
        }
        self.active_by_pod.clear();
    }

    /// The number of silenced findings.
    pub fn silenced(&self) -> u64 {
        self.silenced
    }

    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Emits the finding; `at` is the time of the event, which is known now.
    fn emit(&mut self, open: &mut Open, at: Timestamp, now: Timestamp, out: &mut Vec<Event>) {
        if open.silenced {
            self.silenced += u64::from(!open.was_emitted());
        } else {
            out.push(Event {
                time: at,
                ends: Some(open.ends.clone()),
                body: Body::Finding(Box::new(open.finding.clone())),
            });
        }
        open.next = now.after(self.repeat);
        open.emitted_count = open.finding.count;
        open.emitted_resolved = open.finding.resolved;
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
        self.deactivate(&open.owner, id);
        if !open.was_emitted() {
            // Resolved within its delay.
            return;
        }
        let how = wording::resolution(&Who::from(&open.ends.pod), resolution);
        open.finding.resolved = true;
        open.finding.was = Some(std::mem::replace(&mut open.finding.summary, how));
        if open.emitted_resolved {
            // It came and went within the interval. The last event, a resolution, is still true.
            open.emitted_count = open.finding.count;
        } else {
            self.emit(&mut open, moment.at, moment.now, out);
        }
        // Kept for the interval, to limit the rate of a cause that comes and goes.
        open.until = moment.now.after(self.repeat);
        self.keep(Arc::clone(id), open);
    }

    fn keep(&mut self, id: Arc<str>, open: Open) {
        let due = if open.has_news() {
            open.next
        } else {
            open.until
        };
        if !open.finding.resolved {
            let ids = self.active_by_pod.entry(open.owner.clone()).or_default();
            ids.push(Arc::clone(&id));
        }
        if let Some((id, evicted)) = self.open.insert(id, open, due) {
            self.deactivate(&evicted.owner, &id);
            self.losses.add(Stage::Table, "finding table full", 1);
        }
    }

    /// Removes a finding from the active ones of its pod.
    fn deactivate(&mut self, owner: &Owner, id: &Arc<str>) {
        if let Some(ids) = self.active_by_pod.get_mut(owner) {
            ids.retain(|other| other != id);
            if ids.is_empty() {
                self.active_by_pod.remove(owner);
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
