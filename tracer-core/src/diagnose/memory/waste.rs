//! How many queries of a workload the search path costs, minute by minute.

use std::time::Duration;

use crate::diagnose::settings::RuleThresholds;
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;
use crate::table::Table;

/// What is counted together.
const WINDOW: Duration = Duration::from_secs(60);
/// So many queries show that a workload does without, if less than a fifth of them are in vain.
const THRIFTY: u64 = 10;
/// So many names are counted apart.
const NAMES: usize = 64;

/// A window of one workload.
#[derive(Clone, Debug)]
pub(in crate::diagnose) struct Spent {
    /// Its first lookup.
    pub started: Timestamp,
    told: bool,
    /// Lookups that found something.
    pub lookups: u64,
    /// Their queries.
    pub queries: u64,
    /// Those of them that went to names of the search path that do not exist.
    pub wasted: u64,
    /// What was asked for, with the queries in vain.
    pub names: Vec<(String, u64)>,
}

/// What one more lookup shows.
#[derive(Debug)]
pub(in crate::diagnose) enum Balance {
    /// Nothing new.
    Nothing,
    /// Half of the queries or more are in vain.
    Wasteful(Spent),
    /// The window that ended shows hardly any waste.
    Thrifty,
}

/// Windows by workload.
#[derive(Debug)]
pub(in crate::diagnose) struct Wastes {
    /// So many queries in vain in a window are worth a word,
    wasted: u64,
    /// if they are that part of all, in percent, or more.
    percent: u64,
    of: Table<String, Spent>,
    losses: Losses,
}

impl Wastes {
    pub fn new(thresholds: &RuleThresholds, limit: usize) -> Wastes {
        Wastes {
            wasted: thresholds.wasted_queries,
            percent: thresholds.wasted_percent,
            of: Table::new(limit),
            losses: Losses::default(),
        }
    }

    /// From now on it is a waste by these.
    pub fn set(&mut self, thresholds: &RuleThresholds) {
        self.wasted = thresholds.wasted_queries;
        self.percent = thresholds.wasted_percent;
    }

    /// A lookup of a workload for a name found something, with so many queries, some of them in vain.
    pub fn add(
        &mut self,
        now: Timestamp,
        workload: String,
        name: &str,
        queries: u64,
        wasted: u64,
    ) -> Balance {
        let new = || Spent {
            started: now,
            told: false,
            lookups: 0,
            queries: 0,
            wasted: 0,
            names: Vec::new(),
        };
        let mut balance = Balance::Nothing;
        let before = self.of.remove(&workload).filter(|spent| {
            let over = now.since(spent.started) > WINDOW;
            if over && spent.queries >= THRIFTY && spent.wasted * 5 < spent.queries {
                balance = Balance::Thrifty;
            }
            !over
        });
        let mut spent = before.unwrap_or_else(new);
        spent.lookups += 1;
        spent.queries += queries;
        spent.wasted += wasted;
        if wasted > 0 {
            let room = spent.names.len() < NAMES;
            match spent.names.iter_mut().find(|(known, _)| known == name) {
                Some((_, count)) => *count += wasted,
                None if room => spent.names.push((name.to_owned(), wasted)),
                None => {}
            }
        }
        if !spent.told
            && spent.wasted >= self.wasted
            && spent.wasted * 100 >= spent.queries * self.percent
        {
            spent.told = true;
            balance = Balance::Wasteful(spent.clone());
        }
        let due = now.after(WINDOW * 2);
        if self.of.insert(workload, spent, due).is_some() {
            self.losses
                .add(Stage::Table, "workloads counted for findings", 1);
        }
        balance
    }

    pub fn advance(&mut self, now: Timestamp) {
        while self.of.pop_due(now).is_some() {}
    }

    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}
