//! Queries that would not have been sent had the application written the whole name, or with another `ndots`.
//!
//! Only what was seen counts: in a lookup that found a name, the queries before it for other candidates. With
//! the name that was found and a final dot, a resolver asks for nothing else. With a lower `ndots` it asks for
//! a name with that many dots as it is first. That costs a query more for each name that the search path
//! finds, so an `ndots` is named only if every name of the workload with that many dots was found as it is.

use std::cmp::Reverse;
use std::sync::Arc;

use super::bounded::Bounded;
use super::object::Object;
use super::workloads::WorkloadStats;
use crate::model::dns::DnsName;
use crate::model::exchange::Outcome;
use crate::model::lookup::Lookup;

/// Names with more dots than this count as having this many. The resolver's own limit of `ndots` is 15.
const MAX_DOTS: usize = 15;

/// One lookup's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Saving {
    /// The name that was found, with its final dot.
    pub absolute: Arc<str>,
    /// The queries for other candidates before it.
    pub queries: u64,
    /// The dots of the name that the application wrote.
    dots: usize,
    /// The name was found as it is, not in a search domain.
    as_it_is: bool,
}

/// What a lookup that found a name shows; `None` if it is not known what the application asked for.
pub(super) fn of(lookup: &Lookup) -> Option<Saving> {
    let asked = lookup.asked.as_deref()?;
    let found = |outcome: Option<Outcome>| outcome == Some(Outcome::Answered);
    let found = lookup.steps.iter().find(|step| found(step.outcome))?;
    let before = lookup
        .steps
        .iter()
        .take_while(|step| step.name != found.name);
    let as_it_is = found.name == DnsName::new(asked);
    Some(Saving {
        absolute: found.name.as_str().into(),
        queries: before.map(|step| u64::from(step.attempts)).sum(),
        dots: asked
            .trim_end_matches('.')
            .matches('.')
            .count()
            .min(MAX_DOTS),
        as_it_is,
    })
}

/// A workload's lookups by the dots of their names.
#[derive(Clone, Debug, Default)]
pub(super) struct Dots {
    /// Queries before a name that was found as it is.
    before: [u64; MAX_DOTS + 1],
    /// Lookups that a search domain answered.
    searched: [u64; MAX_DOTS + 1],
}

impl Dots {
    pub(super) fn add(&mut self, saving: &Saving) {
        match saving.as_it_is {
            true => self.before[saving.dots] += saving.queries,
            false => self.searched[saving.dots] += 1,
        }
    }

    /// The least `ndots` with which no name of a search domain is asked for as it is first, and the queries
    /// that it would have saved; `None` if it would have saved none.
    fn ndots(&self) -> Option<(usize, u64)> {
        let searched = self.searched.iter().rposition(|lookups| *lookups > 0);
        let ndots = searched.map_or(1, |dots| dots + 1).max(1);
        let saved = self.before.iter().skip(ndots).sum();
        (saved > 0).then_some((ndots, saved))
    }
}

/// What another `ndots` would have saved one workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NdotsSaving<'a> {
    /// The workload.
    pub workload: &'a Object,
    /// The setting.
    pub ndots: usize,
    /// Queries that it would have saved.
    pub saved: u64,
    /// Of this many that the workload's lookups sent.
    pub of: u64,
}

/// What would have been saved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Savings<'a> {
    /// Queries for other candidates before the name that was found.
    pub saved: u64,
    /// Of this many queries of all lookups.
    pub of: u64,
    /// Lookups that found a name although it is not known what the application asked for: not judged.
    pub unknown: u64,
    /// Names to write instead, with their final dot, and the queries that each would have saved; most first.
    pub names: Vec<(&'a str, u64)>,
    /// Queries that further names would have saved.
    pub other_names: u64,
    /// By workload, the largest saving first.
    pub ndots: Vec<NdotsSaving<'a>>,
}

impl<'a> Savings<'a> {
    pub(super) fn new(
        clients: impl Iterator<Item = (Option<&'a Object>, &'a WorkloadStats)>,
        absolute: &'a Bounded<Arc<str>, u64>,
    ) -> Savings<'a> {
        let mut savings = Savings::default();
        for (workload, stats) in clients {
            savings.saved += stats.wasted;
            savings.of += stats.lookup_queries;
            savings.unknown += stats.unknown;
            if let (Some(workload), Some((ndots, saved))) = (workload, stats.dots.ndots()) {
                savings.ndots.push(NdotsSaving {
                    workload,
                    ndots,
                    saved,
                    of: stats.lookup_queries,
                });
            }
        }
        savings.ndots.sort_by_key(|saving| Reverse(saving.saved));
        let names = absolute.rows().map(|(name, saved)| (&**name, *saved));
        savings.names = names.collect();
        savings.names.sort_by_key(|(_, saved)| Reverse(*saved));
        savings.other_names = absolute.others().copied().unwrap_or_default();
        savings
    }
}
