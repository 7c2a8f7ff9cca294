//! The queries that the search path wastes, by workload and minute.

use std::time::Duration;

use crate::diagnose::settings::RuleThresholds;
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;
use crate::table::Table;

/// Lookups within this time are counted together.
const WINDOW: Duration = Duration::from_secs(60);
/// A window with at least this many queries shows recovery if less than a fifth of them are wasted.
const RECOVERY_QUERIES: u64 = 10;
/// Names per window that are counted separately.
const MAX_NAMES: usize = 64;

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

/// Windows by workload.
#[derive(Debug)]
pub(in crate::diagnose) struct Wastes {
    /// The threshold of wasted queries in a window.
    wasted: u64,
    /// The threshold of their share, in percent.
    percent: u64,
    by_workload: Table<String, WasteWindow>,
    losses: Losses,
}

impl Wastes {
    pub fn new(thresholds: &RuleThresholds, limit: usize) -> Wastes {
        Wastes {
            wasted: thresholds.wasted_queries,
            percent: thresholds.wasted_percent,
            by_workload: Table::new(limit),
            losses: Losses::default(),
        }
    }

    /// Applies new thresholds.
    pub fn set(&mut self, thresholds: &RuleThresholds) {
        self.wasted = thresholds.wasted_queries;
        self.percent = thresholds.wasted_percent;
    }

    /// Takes in a lookup that found a record: the name asked for, its queries, and how many of them were
    /// wasted.
    pub fn add(
        &mut self,
        now: Timestamp,
        workload: String,
        name: &str,
        queries: u64,
        wasted: u64,
    ) -> WasteChange {
        let new = || WasteWindow {
            started: now,
            reported: false,
            lookups: 0,
            queries: 0,
            wasted: 0,
            names: Vec::new(),
        };
        let mut change = WasteChange::None;
        let before = self.by_workload.remove(&workload).filter(|window| {
            let over = now.since(window.started) > WINDOW;
            if over && window.queries >= RECOVERY_QUERIES && window.wasted * 5 < window.queries {
                change = WasteChange::Recovered;
            }
            !over
        });
        let mut window = before.unwrap_or_else(new);
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
            && window.wasted >= self.wasted
            && window.wasted * 100 >= window.queries * self.percent
        {
            window.reported = true;
            change = WasteChange::Wasted(window.clone());
        }
        let due = now.after(WINDOW * 2);
        if self.by_workload.insert(workload, window, due).is_some() {
            self.losses
                .add(Stage::Table, "workloads counted for findings", 1);
        }
        change
    }

    pub fn advance(&mut self, now: Timestamp) {
        while self.by_workload.pop_due(now).is_some() {}
    }

    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}
