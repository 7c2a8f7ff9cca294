//! When Services were created, for those created while the tracer watches.

use std::collections::HashMap;
use std::sync::Arc;

use crate::identity::Index;
use crate::model::cluster::{Kind, Service};
use crate::model::time::Timestamp;

/// Every Service and the time of its creation; `None` for those in the first inventory. Bounded by the
/// inventory.
#[derive(Debug, Default)]
pub(in crate::diagnose) struct ServiceCreations {
    informed: bool,
    by_name: HashMap<(Arc<str>, Arc<str>), Option<Timestamp>>,
}

impl ServiceCreations {
    /// Takes in a change of the inventory.
    pub fn update(&mut self, now: Timestamp, index: &Index) {
        let new = self.informed.then_some(now);
        self.informed |= index.knows(Kind::Service);
        let before = std::mem::take(&mut self.by_name);
        self.by_name = index
            .services()
            .map(|service| {
                let key = (service.namespace.clone(), service.name.clone());
                let created = before.get(&key).copied().unwrap_or(new);
                (key, created)
            })
            .collect();
    }

    /// When a Service was created; `None` if it is older than the inventory.
    pub fn created(&self, service: &Service) -> Option<Timestamp> {
        let key = (service.namespace.clone(), service.name.clone());
        self.by_name.get(&key).copied().flatten()
    }
}
