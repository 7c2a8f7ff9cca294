//! Since when Services exist, of those that came while it watched.

use std::collections::HashMap;
use std::sync::Arc;

use crate::identity::Index;
use crate::model::cluster::{Kind, Service};
use crate::model::time::Timestamp;

/// Every Service, with the time at which the inventory had it first; `None` for those that were in the first inventory.
/// Bounded by the inventory.
#[derive(Debug, Default)]
pub(in crate::diagnose) struct Births {
    informed: bool,
    of: HashMap<(Arc<str>, Arc<str>), Option<Timestamp>>,
}

impl Births {
    /// The inventory changed.
    pub fn update(&mut self, now: Timestamp, index: &Index) {
        let new = self.informed.then_some(now);
        self.informed |= index.knows(Kind::Service);
        let before = std::mem::take(&mut self.of);
        self.of = index
            .services()
            .map(|service| {
                let key = (service.namespace.clone(), service.name.clone());
                let born = before.get(&key).copied().unwrap_or(new);
                (key, born)
            })
            .collect();
    }

    /// When a Service came; `None` where it was there before.
    pub fn of(&self, service: &Service) -> Option<Timestamp> {
        let key = (service.namespace.clone(), service.name.clone());
        self.of.get(&key).copied().flatten()
    }
}
