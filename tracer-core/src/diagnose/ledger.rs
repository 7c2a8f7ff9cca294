//! The open findings: one per cause and pod, told once its evidence is complete, again with a new count, resolved once.
//!
//! Owns their counts and times and when they are told. One that its rule has patience with is not told at all if it is
//! resolved by then. A cause that shows again after it was resolved is the same finding, told no sooner than its turn; if it
//! is gone again by then, nobody heard that it was back, and it is not resolved once more. One that is quiet for long is
//! forgotten without a word: nobody knows whether it is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Moment;
use super::case::{Case, Symptom};
use super::claim::{Claim, Cure, Sign};
use super::rule::Rule;
use super::settings::{DiagnosisSettings, Silence};
use super::words;
use crate::identity::{Index, Owner};
use crate::model::event::{Body, Ends, Event};
use crate::model::finding::Finding;
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;
use crate::table::Table;

#[derive(Debug)]
struct Open {
    finding: Finding,
    owner: Owner,
    ends: Ends,
    cures: Vec<Cure>,
    /// It is told no sooner.
    turn: Timestamp,
    told_count: u64,
    /// What was told last is that its cause is gone.
    told_resolved: bool,
    /// When it is forgotten if nothing more comes.
    until: Timestamp,
    /// The run of echo requests that it was counted for last: a run is told several times and is one occurrence.
    run: Option<Timestamp>,
    /// Nobody wants to hear of it.
    silenced: bool,
}

impl Open {
    fn untold(&self) -> bool {
        self.finding.count > self.told_count
    }

    /// Whether somebody was told that there is such a finding.
    fn known(&self) -> bool {
        self.told_count > 0
    }
}

/// All open findings.
#[derive(Debug)]
pub(super) struct Ledger {
    repeat: Duration,
    forget: Duration,
    evidence: usize,
    silences: Vec<Silence>,
    silenced: u64,
    open: Table<Arc<str>, Open>,
    /// Active findings of each pod, so that a sign is held against few.
    of_pod: BTreeMap<Owner, Vec<Arc<str>>>,
    losses: Losses,
}

impl Ledger {
    pub fn new(settings: &DiagnosisSettings) -> Ledger {
        Ledger {
            repeat: settings.repeat,
            forget: settings.forget,
            evidence: settings.evidence.max(1),
            silences: settings.silences.clone(),
            silenced: 0,
            open: Table::new(settings.findings),
            of_pod: BTreeMap::new(),
            losses: Losses::default(),
        }
    }

    /// Other findings are silenced from now on. One that was and is not any more is forgotten: it is told when its cause
    /// shows again, as what it is then.
    pub fn silence(&mut self, silences: &[Silence]) {
        self.silences = silences.to_vec();
        let first: Arc<str> = "".into();
        let changed: Vec<(Arc<str>, bool)> = self
            .open
            .from(&first)
            .filter_map(|(id, open)| {
                let finding = &open.finding;
                let fits =
                    |silence: &Silence| silence.fits(finding.rule, &open.ends, &finding.names);
                let silenced = self.silences.iter().any(fits);
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

    /// Takes a rule's claim in: a new finding, or one more occurrence of an open one.
    pub fn claim(
        &mut self,
        now: Timestamp,
        case: &Case<'_>,
        rule: &'static Rule,
        claim: Claim,
        out: &mut Vec<Event>,
    ) {
        let id: Arc<str> = {
            let by = claim.by.unwrap_or_else(|| case.who());
            format!("{}:{by}:{}", rule.id, claim.cause).into()
        };
        let known = self.open.remove(&id);
        if let Some(known) = &known {
            self.unlist(&known.owner, &id);
        }
        let run = match case.symptom {
            Symptom::Echo(_, started) => Some(started),
            _ => None,
        };
        let again = known
            .as_ref()
            .is_some_and(|known| run.is_some() && known.run == run);
        let known = match known {
            // What resolved it came after the beginning of this run: the run says nothing new.
            Some(known) if again && known.finding.resolved => return self.keep(id, known),
            known => known,
        };
        let before = known.as_ref().map(|known| &known.finding);
        let count = before.map_or(0, |before| before.count) + u64::from(!again);
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
            summary: claim.summary,
            was: None,
            names: case.names(),
            why: claim.why.join("\n"),
            remedies: claim.remedies,
            evidence: self.bounded(claim.evidence),
        };
        let silenced = match &known {
            Some(known) => known.silenced,
            None => {
                let fits = |silence: &Silence| silence.fits(rule.id, case.ends, &finding.names);
                self.silences.iter().any(fits)
            }
        };
        let mut open = Open {
            silenced,
            finding,
            owner: Owner::from_ends(case.ends),
            ends: case.ends.clone(),
            cures: claim.cures,
            turn: known
                .as_ref()
                .map_or(now.after(claim.patience), |known| known.turn),
            told_count: known.as_ref().map_or(0, |known| known.told_count),
            told_resolved: known.as_ref().is_some_and(|known| known.told_resolved),
            until: now.after(self.forget),
            run,
        };
        if open.untold() && now >= open.turn {
            let at = open.finding.last;
            self.tell(&mut open, at, now, out);
        }
        self.keep(id, open);
    }

    /// Something worked: resolves what waited for it.
    pub fn cure(&mut self, moment: Moment, ends: &Ends, sign: &Sign<'_>, out: &mut Vec<Event>) {
        if self.of_pod.is_empty() {
            return;
        }
        let Some(ids) = self.of_pod.get(&Owner::from_ends(ends)).cloned() else {
            return;
        };
        for id in ids {
            let how = self.open.get(&id).and_then(|open| {
                let who = words::who(&open.ends);
                let mut cures = open.cures.iter();
                cures.find_map(|cure| cure.shown_by(sign, ends, &who))
            });
            if let Some(how) = how {
                self.resolve(moment, &id, how, out);
            }
        }
    }

    /// The inventory changed: resolves what waited for that.
    pub fn inventory(&mut self, now: Timestamp, index: &Index, out: &mut Vec<Event>) {
        let ids: Vec<Arc<str>> = self.of_pod.values().flatten().cloned().collect();
        for id in ids {
            let how = self.open.get(&id).and_then(|open| {
                let mut cures = open.cures.iter();
                cures.find_map(|cure| cure.shown_by_inventory(index))
            });
            if let Some(how) = how {
                self.resolve(Moment { at: now, now }, &id, how, out);
            }
        }
    }

    /// Tells new counts whose turn has come, and forgets what was quiet for long.
    pub fn advance(&mut self, now: Timestamp, out: &mut Vec<Event>) {
        while let Some((id, mut open)) = self.open.pop_due(now) {
            self.unlist(&open.owner, &id);
            if open.untold() {
                let at = open.finding.last;
                self.tell(&mut open, at, now, out);
                self.keep(id, open);
            }
        }
    }

    /// Tells new counts at once.
    pub fn end(&mut self, out: &mut Vec<Event>) {
        while let Some((_, mut open)) = self.open.pop_oldest() {
            if open.untold() {
                let at = open.finding.last;
                self.tell(&mut open, at, at, out);
            }
        }
        self.of_pod.clear();
    }

    /// Findings that nobody was told of.
    pub fn silenced(&self) -> u64 {
        self.silenced
    }

    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Tells what happened at `at`, which is known now.
    fn tell(&mut self, open: &mut Open, at: Timestamp, now: Timestamp, out: &mut Vec<Event>) {
        if open.silenced {
            self.silenced += u64::from(!open.known());
        } else {
            out.push(Event {
                time: at,
                ends: Some(open.ends.clone()),
                body: Body::Finding(Box::new(open.finding.clone())),
            });
        }
        open.turn = now.after(self.repeat);
        open.told_count = open.finding.count;
        open.told_resolved = open.finding.resolved;
    }

    fn resolve(&mut self, moment: Moment, id: &Arc<str>, how: String, out: &mut Vec<Event>) {
        let Some(mut open) = self.open.remove(id) else {
            return;
        };
        self.unlist(&open.owner, id);
        if !open.known() {
            // What worked came before anybody heard of it: there is nothing to say.
            return;
        }
        open.finding.resolved = true;
        open.finding.was = Some(std::mem::replace(&mut open.finding.summary, how));
        if open.told_resolved {
            // It came and went before anybody heard that it was back: what was said last is still so.
            open.told_count = open.finding.count;
        } else {
            self.tell(&mut open, moment.at, moment.now, out);
        }
        // Kept until its turn, so that a cause that comes and goes is not told each time.
        open.until = moment.now.after(self.repeat);
        self.keep(Arc::clone(id), open);
    }

    fn keep(&mut self, id: Arc<str>, open: Open) {
        let due = if open.untold() { open.turn } else { open.until };
        if !open.finding.resolved {
            let ids = self.of_pod.entry(open.owner.clone()).or_default();
            ids.push(Arc::clone(&id));
        }
        if let Some((id, evicted)) = self.open.insert(id, open, due) {
            self.unlist(&evicted.owner, &id);
            self.losses.add(Stage::Table, "finding table full", 1);
        }
    }

    fn unlist(&mut self, owner: &Owner, id: &Arc<str>) {
        if let Some(ids) = self.of_pod.get_mut(owner) {
            ids.retain(|other| other != id);
            if ids.is_empty() {
                self.of_pod.remove(owner);
            }
        }
    }

    fn bounded(&self, mut lines: Vec<String>) -> Vec<Arc<str>> {
        if lines.len() > self.evidence {
            let more = lines.len() - (self.evidence - 1);
            lines.truncate(self.evidence - 1);
            lines.push(format!("and {more} more"));
        }
        lines.into_iter().map(Into::into).collect()
    }
}
