//! The names whose lookups fail, and which workloads ask for them.

use std::cmp::Reverse;
use std::sync::Arc;

use smallvec::SmallVec;

use super::bounded::Bounded;
use super::object::Object;
use crate::model::lookup::Lookup;

/// Workloads that are remembered for each name.
const MAX_ASKERS: usize = 4;

/// A name, and how its lookups fail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FailureKey {
    /// As the application wrote it; where that is not known, the last name that was asked for, if a query was
    /// seen.
    pub name: Option<Arc<str>>,
    /// The outcome's word.
    pub outcome: &'static str,
}

/// A name that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailingName<'a> {
    /// The name and the outcome.
    pub key: &'a FailureKey,
    /// Lookups that failed so.
    pub lookups: u64,
    /// The workloads that asked, with their lookups, the most frequent first; at most four.
    pub asked_by: Vec<(&'a Object, u64)>,
    /// Lookups of further workloads.
    pub by_others: u64,
}

#[derive(Debug, Default)]
struct Askers {
    known: SmallVec<[(Object, u64); 1]>,
    others: u64,
}

impl Askers {
    /// The known ones that are no DNS servers, the most frequent first.
    fn clients(&self, serves: impl Fn(&Object) -> bool) -> Vec<(&Object, u64)> {
        let clients = self.known.iter().filter(|(whose, _)| !serves(whose));
        let mut clients: Vec<_> = clients.map(|(whose, lookups)| (whose, *lookups)).collect();
        clients.sort_by_key(|(_, lookups)| Reverse(*lookups));
        clients
    }
}

fn sum(askers: &[(&Object, u64)]) -> u64 {
    askers.iter().map(|(_, lookups)| lookups).sum()
}

/// All names that fail.
#[derive(Debug)]
pub(super) struct Failing(Bounded<FailureKey, Askers>);

impl Failing {
    pub(super) fn new(limit: usize) -> Failing {
        Failing(Bounded::new(limit))
    }

    pub(super) fn add(&mut self, lookup: &Lookup, whose: &Object) {
        let last = || lookup.steps.last().map(|step| step.name.as_str());
        let name = lookup.asked.as_deref().or_else(last);
        let askers = self.0.row(FailureKey {
            name: name.map(Arc::from),
            outcome: lookup.outcome.as_str(),
        });
        let room = askers.known.len() < MAX_ASKERS;
        match askers.known.iter_mut().find(|(known, _)| known == whose) {
            Some((_, lookups)) => *lookups += 1,
            None if room => askers.known.push((whose.clone(), 1)),
            None => askers.others += 1,
        }
    }

    /// The names, without the lookups of DNS servers, and how many lookups are of names without a row.
    pub(super) fn names(&self, serves: impl Fn(&Object) -> bool) -> (Vec<FailingName<'_>>, u64) {
        let rows = self.0.rows().map(|(key, askers)| {
            let asked_by = askers.clients(&serves);
            FailingName {
                key,
                lookups: sum(&asked_by) + askers.others,
                asked_by,
                by_others: askers.others,
            }
        });
        let mut names: Vec<_> = rows.filter(|name| name.lookups > 0).collect();
        names.sort_by_key(|name| Reverse(name.lookups));
        let others = self.0.others();
        let others = others.map_or(0, |all| sum(&all.clients(&serves)) + all.others);
        (names, others)
    }
}
