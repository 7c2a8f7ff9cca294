//! The open lookups that wait for a query, by pod and name.

use std::collections::HashMap;

use crate::identity::Owner;
use crate::model::dns::DnsName;

/// Lookups of one pod and name that are searched for a match, the youngest first. A pod that keeps asking a
/// silent server has thousands of them, and its next query belongs to one of the latest.
const MAX_SEARCH: usize = 256;

/// The ids of lookups, oldest first.
#[derive(Debug, Default)]
pub struct Listing {
    ids: HashMap<(Owner, DnsName), Vec<u64>>,
}

impl Listing {
    /// The youngest lookups of a pod that wait for this name, the youngest first.
    pub fn youngest<'a>(
        &'a self,
        owner: &Owner,
        name: &DnsName,
    ) -> impl Iterator<Item = u64> + use<'a> {
        let ids = self.ids.get(&(owner.clone(), name.clone()));
        ids.into_iter().flatten().rev().take(MAX_SEARCH).copied()
    }

    /// Lists a lookup under `after` instead of `before`.
    pub fn move_to(&mut self, owner: &Owner, id: u64, before: &[DnsName], after: &[DnsName]) {
        for name in before.iter().filter(|name| !after.contains(name)) {
            self.remove(&(owner.clone(), name.clone()), id);
        }
        for name in after.iter().filter(|name| !before.contains(name)) {
            let key = (owner.clone(), name.clone());
            self.ids.entry(key).or_default().push(id);
        }
    }

    fn remove(&mut self, key: &(Owner, DnsName), id: u64) {
        if let Some(ids) = self.ids.get_mut(key) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.ids.remove(key);
            }
        }
    }

    /// Whether no lookup waits.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The number of pods with names.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.ids.len()
    }
}
