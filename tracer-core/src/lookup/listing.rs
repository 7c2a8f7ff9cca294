//! The open lookups that wait for a query, by pod and name.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use smallvec::SmallVec;

use super::open_lookup::LookupId;
use crate::identity::Owner;

/// Lookups of one pod and name that are searched for a match, the youngest first. A pod that keeps asking a
/// silent server has thousands of them, and its next query belongs to one of the latest.
const MAX_SEARCH: usize = 256;

/// A pod and a name. Two of them may collide, so what is found is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u64);

/// A pod's part of a [`Place`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerPart(u64);

/// The ids of lookups, oldest first.
#[derive(Debug, Default)]
pub struct Listing {
    ids: HashTable<(Place, SmallVec<[LookupId; 1]>)>,
    hasher: RandomState,
}

impl Listing {
    /// The part of a pod's places that all its names share.
    pub fn owner(&self, owner: &Owner) -> OwnerPart {
        OwnerPart(self.hasher.hash_one(owner))
    }

    /// The place of a pod's name, which is given without its trailing dot.
    pub fn place(&self, owner: OwnerPart, name: &str) -> Place {
        Place(self.hasher.hash_one((owner.0, name)))
    }

    /// The youngest lookups at a place, the youngest first.
    pub fn youngest(&self, place: Place) -> impl Iterator<Item = LookupId> + use<'_> {
        let found = self.ids.find(place.0, |(other, _)| *other == place);
        let ids = found.into_iter().flat_map(|(_, ids)| ids.iter().rev());
        ids.take(MAX_SEARCH).copied()
    }

    /// Lists a lookup at `after` instead of `before`.
    pub fn move_to(&mut self, id: LookupId, before: &[Place], after: &[Place]) {
        for place in before.iter().filter(|place| !after.contains(place)) {
            self.remove(*place, id);
        }
        for place in after.iter().filter(|place| !before.contains(place)) {
            let same = |(other, _): &(Place, _)| other == place;
            let entry = self.ids.entry(place.0, same, |(other, _)| other.0);
            let mut ids = entry.or_insert_with(|| (*place, SmallVec::new()));
            ids.get_mut().1.push(id);
        }
    }

    fn remove(&mut self, place: Place, id: LookupId) {
        let Ok(mut entry) = self.ids.find_entry(place.0, |(other, _)| *other == place) else {
            return;
        };
        let ids = &mut entry.get_mut().1;
        // Mostly the oldest.
        if let Some(index) = ids.iter().position(|other| *other == id) {
            ids.remove(index);
        }
        if ids.is_empty() {
            entry.remove();
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
