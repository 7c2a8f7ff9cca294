//! The queries that the search path wastes, by workload and minute.

use std::hash::BuildHasher as _;
use std::time::Duration;

use foldhash::fast::RandomState;

use super::recent::Recent;
use crate::diagnose::settings::RuleThresholds;
use crate::model::identity::Workload;
use crate::model::time::Timestamp;

/// Lookups within this time are counted together.
const WINDOW: Duration = Duration::from_secs(60);
/// A window with at least this many queries shows recovery if less than a fifth of them are wasted.
const RECOVERY_QUERIES: u64 = 10;
/// Names per window that are counted separately.
const MAX_NAMES: usize = 64;
/// Workloads of a node.
const MAX_WORKLOADS: usize = 4096;
/// The usual size of a name and its count.
const NAME_BYTES: usize = 80;

/// The counts of one workload within a window.
#[derive(Clone, Debug)]
pub(in crate::diagnose) struct WasteWindow {
    /// When its first lookup ended.
    pub started: Timestamp,
    reported: bool,
    /// Lookups that found a record.
    pub lookups: u64,
    /// Their queries.
    pub queries: u64,
    /// Those of them for names of the search path that do not exist.
    pub wasted: u64,
    /// The names asked for, with their wasted queries.
    pub names: Vec<(String, u64)>,
}

/// What one more lookup shows.
#[derive(Debug)]
pub(in crate::diagnose) enum WasteChange {
    /// Nothing new.
    None,
    /// The wasted queries reach the thresholds.
    Wasted(WasteWindow),
    /// The window that ended has hardly any wasted queries.
    Recovered,
}

impl WasteWindow {
    fn new(started: Timestamp) -> WasteWindow {
        WasteWindow {
            started,
            reported: false,
            lookups: 0,
            queries: 0,
            wasted: 0,
            names: Vec::new(),
        }
    }
}

/// The window of one workload, if there is one.
#[derive(Debug, Default)]
pub(in crate::diagnose) struct Waste(Option<Box<WasteWindow>>);

impl Waste {
    /// Takes in a lookup that found a record: the name asked for, its queries, and how many of them were
    /// wasted.
    pub fn add(
        &mut self,
        now: Timestamp,
        name: &str,
        queries: u64,
        wasted: u64,
        thresholds: &RuleThresholds,
    ) -> WasteChange {
        let mut change = WasteChange::None;
        if let Some(before) = &self.0
            && now.since(before.started) > WINDOW
        {
            if before.queries >= RECOVERY_QUERIES && before.wasted * 5 < before.queries {
                change = WasteChange::Recovered;
            }
            self.0 = None;
        }
        let window = self
            .0
            .get_or_insert_with(|| Box::new(WasteWindow::new(now)));
        window.lookups += 1;
        window.queries += queries;
        window.wasted += wasted;
        if wasted > 0 {
            let room = window.names.len() < MAX_NAMES;
            match window.names.iter_mut().find(|(known, _)| known == name) {
                Some((_, count)) => *count += wasted,
                None if room => window.names.push((name.to_owned(), wasted)),
                None => {}
            }
        }
        if !window.reported
            && window.wasted >= thresholds.wasted_queries
            && window.wasted * 100 >= window.queries * thresholds.wasted_percent
        {
            window.reported = true;
            change = WasteChange::Wasted((**window).clone());
        }
        change
    }

    pub fn expire(&mut self, now: Timestamp) {
        if self.is_old(now) {
            self.0 = None;
        }
    }

    fn is_old(&self, now: Timestamp) -> bool {
        let window = self.0.as_ref();
        window.is_some_and(|window| window.started.after(WINDOW * 3) <= now)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub fn bytes(&self) -> usize {
        let window = self.0.as_ref();
        window.map_or(0, |window| {
            size_of::<WasteWindow>() + window.names.len() * NAME_BYTES
        })
    }
}

/// The windows of workloads. Pods without one have a window of their own. Bounded by the workloads of the node,
/// which no pod can invent.
#[derive(Debug)]
pub(in crate::diagnose) struct Wastes {
    by_workload: Recent<u64, Waste>,
    hasher: RandomState,
}

impl Wastes {
    pub fn new() -> Wastes {
        Wastes {
            by_workload: Recent::new(MAX_WORKLOADS),
            hasher: RandomState::default(),
        }
    }

    /// The window of a pod's workload.
    pub fn window(
        &mut self,
        now: Timestamp,
        namespace: &str,
        workload: &Workload,
    ) -> Option<&mut Waste> {
        let key = self.hasher.hash_one((namespace, workload));
        if self.by_workload.touch(now, &key).is_none() {
            self.by_workload.insert(now, key, Waste::default());
        }
        self.by_workload.get_mut(&key)
    }

    pub fn expire(&mut self, now: Timestamp) {
        self.by_workload.expire(now, WINDOW * 2);
    }
}
