//! Names that some pod got a record for: they exist, whatever a search domain answers.

use std::time::Duration;

use crate::model::dns::DnsName;
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;
use crate::table::Table;

/// A name that no pod has found for this long may be gone.
const KEEP: Duration = Duration::from_secs(3600);

/// The names found lately.
#[derive(Debug)]
pub(in crate::diagnose) struct FoundNames {
    names: Table<DnsName, ()>,
    losses: Losses,
}

impl FoundNames {
    pub fn new(limit: usize) -> FoundNames {
        FoundNames {
            names: Table::new(limit),
            losses: Losses::default(),
        }
    }

    /// Takes in a name that was found.
    pub fn add(&mut self, at: Timestamp, name: &DnsName) {
        let due = at.after(KEEP);
        if self.names.get(name).is_some() {
            self.names.touch(name, due);
        } else if self.names.insert(name.clone(), (), due).is_some() {
            self.losses
                .add(Stage::Table, "names found, kept for findings", 1);
        }
    }

    /// Whether some pod has found the name.
    pub fn contains(&self, name: &DnsName) -> bool {
        self.names.get(name).is_some()
    }

    pub fn advance(&mut self, now: Timestamp) {
        while self.names.pop_due(now).is_some() {}
    }

    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}
