//! Names that a pod got a record for: they exist, whatever a search domain answers.

use std::time::Duration;

use super::recent::Recent;
use crate::model::dns::DnsName;
use crate::model::time::Timestamp;

/// A name that the pod has not found for this long may be gone.
const KEEP: Duration = Duration::from_secs(3600);
/// Names of a pod.
const MAX_NAMES: usize = 512;
/// The usual size of a name.
const NAME_BYTES: usize = 64;

/// The names that a pod found lately.
#[derive(Debug)]
pub(in crate::diagnose) struct FoundNames {
    names: Recent<DnsName, ()>,
}

impl FoundNames {
    pub fn new() -> FoundNames {
        FoundNames {
            names: Recent::new(MAX_NAMES),
        }
    }

    /// Takes in a name that was found.
    pub fn add(&mut self, at: Timestamp, name: &DnsName) {
        if self.names.touch(at, name).is_none() {
            self.names.insert(at, name.clone(), ());
        }
    }

    /// Whether the pod has found the name.
    pub fn contains(&self, name: &DnsName) -> bool {
        self.names.get(name).is_some()
    }

    pub fn expire(&mut self, now: Timestamp) {
        self.names.expire(now, KEEP);
    }

    pub fn shrink(&mut self) {
        self.names.shrink();
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.names.bytes() + self.names.len() * NAME_BYTES
    }
}
