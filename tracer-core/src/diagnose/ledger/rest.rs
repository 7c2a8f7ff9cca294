//! The limit of findings per pod, and the finding that counts the rest of a rule.
//!
//! A pod that tries a thousand names has a finding for some of them. Of the rule that has most findings, the failures
//! beyond the limit count together in one finding, so that they stay visible and leave room for other rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Ledger;
use crate::diagnose::case::Case;
use crate::diagnose::claim::{Claim, Summary};
use crate::diagnose::open::Open;
use crate::diagnose::open_findings::Place;
use crate::diagnose::rule::{self, Rule};
use crate::diagnose::wording;
use crate::model::event::Event;
use crate::model::loss::Stage;

/// The cause of a finding that counts the rest of a rule.
const REST: &str = "more";

impl Ledger {
    /// Makes room for a new finding of the case's pod. Returns the id of the finding that counts the rest of the rule,
    /// if that is where the claim belongs.
    pub(super) fn make_room(
        &mut self,
        case: &Case<'_>,
        rule: &'static Rule,
        claim: &Claim,
    ) -> Option<Arc<str>> {
        loop {
            let own = self.open.of_pod(case.owner)?;
            if own.places.len() < self.limit_per_pod {
                return None;
            }
            let all = || {
                let places = own.places.iter();
                places.filter_map(|place| Some((*place, self.open.get(*place)?)))
            };
            let resolved = all().filter(|(_, open)| open.finding.is_resolved());
            if let Some((place, _)) = resolved.min_by_key(|(_, open)| open.used) {
                self.open.take(place);
                continue;
            }
            let mut shares: BTreeMap<&str, usize> = BTreeMap::new();
            for (_, open) in all() {
                *shares.entry(rule::group(open.finding.rule)).or_default() += 1;
            }
            let group = rule::group(rule.id);
            // The new finding counts, too.
            *shares.entry(group).or_default() += 1;
            let most = shares.into_iter().max_by_key(|(_, count)| *count);
            let (largest, _) = most?;
            let rest = self.rest_of(case, rule, claim);
            if largest == group {
                if self.open.place(&rest).is_some() {
                    return Some(rest);
                }
                // Room for the finding that counts the rest.
                let least = self.least(case, group)?;
                self.give_way(least);
                return Some(rest);
            }
            let least = self.least(case, largest)?;
            self.give_way(least);
        }
    }

    /// The finding of the case's pod and this group of rules that matters least.
    fn least(&self, case: &Case<'_>, group: &str) -> Option<Place> {
        let own = self.open.of_pod(case.owner)?.places.iter();
        let open = own.filter_map(|place| Some((*place, self.open.get(*place)?)));
        let of_group =
            open.filter(|(_, open)| rule::group(open.finding.rule) == group && !open.is_rest);
        let least = of_group.min_by_key(|(_, open)| open.rank());
        least.map(|(place, _)| place)
    }

    fn give_way(&mut self, place: Place) {
        if let Some(open) = self.open.take(place) {
            let ifindex = open.ends.ifindex;
            self.losses
                .add_on(ifindex, Stage::Table, "findings of one pod", 1);
        }
    }

    fn rest_of(&self, case: &Case<'_>, rule: &'static Rule, claim: &Claim) -> Arc<str> {
        let subject = match &claim.workload {
            Some(workload) => workload.clone(),
            None => wording::who(&case.who()),
        };
        format!("{}:{subject}:{REST}", rule::group(rule.id)).into()
    }

    /// Counts a failure that has no finding of its own. Returns the id of the finding that counts it.
    pub(super) fn count_rest(
        &mut self,
        case: &Case<'_>,
        rule: &'static Rule,
        claim: Claim,
        id: Arc<str>,
        out: &mut Vec<Event>,
    ) -> Arc<str> {
        let now = case.now;
        if self.is_silenced(rule.id, case.ends, &case.names()) {
            return id;
        }
        if let Some(place) = self.open.place(&id)
            && let Some(open) = self.open.get_mut(place)
            && now < open.next
        {
            // It is worded when it is emitted again.
            open.finding.last = open.finding.last.max(case.last);
            open.failed(None);
            open.renew(now.after(self.forget));
            self.open.touch(place);
            return id;
        }
        let known = self.open.place(&id).and_then(|place| self.open.take(place));
        let mut latest = claim;
        latest.summary = Summary::Rest(Box::new(latest.summary));
        (latest.because, latest.fix) = (None, None);
        latest.cures.clear();
        latest.recurring = false;
        let mut open: Box<Open> =
            Box::new(self.open(case, rule, latest, &id, REST.to_owned(), known));
        open.is_rest = true;
        open.target = None;
        open.silenced = false;
        open.failed(None);
        open.renew(now.after(self.forget));
        self.emit_if_due(&mut open, now, out);
        self.keep(open);
        id
    }
}
