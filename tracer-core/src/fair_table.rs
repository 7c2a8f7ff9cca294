//! A bounded table that several pods fill, whose entries expire.
//!
//! Bounded by entries and by bytes. An entry belongs to an owner, most often an interface, and room is made from
//! the owner that holds most: its least recently used entry goes. So a flood evicts its own entries, and never
//! one of an owner that holds less.
//!
//! Knows nothing about its values; the caller decides what an eviction means. Nothing visible depends on the
//! hash seed, which differs between processes so that no sender can choose colliding keys: entries come out in
//! the order of use or of deadlines, so the same input gives the same output.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use slab::Slab;

use crate::model::time::Timestamp;

mod deadlines;
mod list;

use deadlines::Deadlines;
use list::{Link, List};

/// What identifies an entry.
pub(crate) trait Key: Eq + Hash {
    /// Most often an interface.
    type Owner: Eq + Hash;

    /// The one whose traffic made the entry.
    fn owner(&self) -> Self::Owner;

    /// Hashes what the members of a group have in common (see [`FairTable::group`]). Entries of different
    /// groups may collide, so the search still compares.
    fn hash_group<H: Hasher>(&self, group: usize, state: &mut H) {
        let _ = (group, state);
    }
}

/// The room that a table may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Entries; 0 counts as 1.
    pub(crate) entries: usize,
    /// Bytes, including what the table itself needs for an entry.
    pub(crate) bytes: usize,
}

/// What an entry takes besides its slot: the allocator's header, its places in the index and the slab, which
/// grow by doubling, and up to three deadlines.
const ENTRY_OVERHEAD: usize = 16 + 2 * (12 + 16) + 3 * 24;
/// The place in the index of one group.
const GROUP_OVERHEAD: usize = 2 * 24;

struct Slot<K, V, const N: usize> {
    key: K,
    value: V,
    hash: u64,
    bytes: usize,
    /// Rises with every use, so the least is the oldest.
    used: u64,
    deadline: Timestamp,
    /// The deadline and use for which it is queued: not later than its own.
    queued: (Timestamp, u64),
    by_use: Link,
    groups: [(u64, Link); N],
}

/// What one owner holds.
#[derive(Debug, Default)]
struct Share {
    entries: usize,
    bytes: usize,
    by_use: List,
}

type Slots<K, V, const N: usize> = Slab<Box<Slot<K, V, N>>>;

/// What a change of an entry does.
pub(crate) struct Update<T> {
    /// For the caller.
    pub(crate) result: T,
    /// The memory that key and value own now.
    pub(crate) heap: usize,
    /// Its new deadline.
    pub(crate) deadline: Timestamp,
}

/// Entries removed to make room.
pub(crate) type Evicted<K, V> = Vec<(K, V)>;

/// The table. Its entries are also found by `N` groups each.
pub(crate) struct FairTable<K: Key, V, const N: usize = 0> {
    slots: Slots<K, V, N>,
    index: HashTable<usize>,
    groups: [HashTable<(u64, List)>; N],
    shares: HashMap<K::Owner, Share, RandomState>,
    deadlines: Deadlines,
    hasher: RandomState,
    room: Room,
    bytes: usize,
    uses: u64,
}

impl<K: Key, V, const N: usize> FairTable<K, V, N> {
    /// What an entry takes whose key and value own no further memory.
    pub(crate) const ENTRY_BYTES: usize =
        size_of::<Slot<K, V, N>>() + ENTRY_OVERHEAD + N * GROUP_OVERHEAD;

    pub(crate) fn new(room: Room) -> FairTable<K, V, N> {
        FairTable {
            slots: Slab::new(),
            index: HashTable::new(),
            groups: std::array::from_fn(|_| HashTable::new()),
            shares: HashMap::default(),
            deadlines: Deadlines::default(),
            hasher: RandomState::default(),
            room: Room {
                entries: room.entries.max(1),
                ..room
            },
            bytes: 0,
            uses: 0,
        }
    }

    /// Inserts an entry whose key and value own `heap` bytes of memory, replacing one with the same key.
    /// Returns the entries that made room for it: itself, if it is larger than the table.
    #[must_use]
    pub(crate) fn insert(
        &mut self,
        key: K,
        value: V,
        heap: usize,
        deadline: Timestamp,
    ) -> Evicted<K, V> {
        let hash = self.hasher.hash_one(&key);
        if let Some(id) = self.find(hash, &key) {
            self.take(id);
        }
        let used = self.next_use();
        let bytes = heap + Self::ENTRY_BYTES;
        let owner = key.owner();
        let groups = std::array::from_fn(|group| (self.group_hash(group, &key), Link::default()));
        let id = self.slots.insert(Box::new(Slot {
            key,
            value,
            hash,
            bytes,
            used,
            deadline,
            queued: (deadline, used),
            by_use: Link::default(),
            groups,
        }));
        let slots = &self.slots;
        let hash_of = |id: &usize| slots.get(*id).map_or(0, |slot| slot.hash);
        self.index.insert_unique(hash, id, hash_of);
        self.deadlines.push((deadline, used), id);
        self.join_groups(id);
        let share = self.shares.entry(owner).or_default();
        share.entries += 1;
        share.bytes += bytes;
        share.by_use.append(&mut self.slots, id, by_use);
        self.bytes += bytes;
        self.make_room()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes that the entries take.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// All values, in no order.
    #[cfg(test)]
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.slots.iter().map(|(_, slot)| &slot.value)
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        let id = self.find(self.hasher.hash_one(key), key)?;
        Some(&self.slots.get(id)?.value)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let id = self.find(self.hasher.hash_one(key), key)?;
        Some(&mut self.slots.get_mut(id)?.value)
    }

    #[cfg(test)]
    pub(crate) fn contains(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        if self.is_empty() {
            return None;
        }
        let id = self.find(self.hasher.hash_one(key), key)?;
        Some(self.take(id).1)
    }

    /// Changes an entry, which becomes the most recently used one. Returns what the change does, and the entries
    /// that made room. `None` if there is no such entry.
    pub(crate) fn update<T>(
        &mut self,
        key: &K,
        change: impl FnOnce(&mut V) -> Update<T>,
    ) -> Option<(T, Evicted<K, V>)> {
        let id = self.find(self.hasher.hash_one(key), key)?;
        let Update {
            result,
            heap,
            deadline,
        } = change(&mut self.slots.get_mut(id)?.value);
        self.use_slot(id, deadline);
        self.weigh_slot(id, heap);
        Some((result, self.make_room()))
    }

    /// Marks an entry as the most recently used and moves its deadline.
    pub(crate) fn touch(&mut self, key: &K, deadline: Timestamp) {
        if let Some(id) = self.find(self.hasher.hash_one(key), key) {
            self.use_slot(id, deadline);
        }
    }

    fn use_slot(&mut self, id: usize, deadline: Timestamp) {
        let used = self.next_use();
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        slot.used = used;
        slot.deadline = deadline;
        // A later deadline is queued when the earlier one comes.
        let sooner = (deadline, used) < slot.queued;
        if sooner {
            slot.queued = (deadline, used);
        }
        let owner = slot.key.owner();
        if sooner {
            self.deadlines.push((deadline, used), id);
        }
        if let Some(share) = self.shares.get_mut(&owner) {
            share.by_use.detach(&mut self.slots, id, by_use);
            share.by_use.append(&mut self.slots, id, by_use);
        }
        self.tidy_deadlines();
    }

    /// Notes how much memory an entry's key and value own now. Returns the entries that made room.
    #[must_use]
    pub(crate) fn weigh(&mut self, key: &K, heap: usize) -> Evicted<K, V> {
        if let Some(id) = self.find(self.hasher.hash_one(key), key) {
            self.weigh_slot(id, heap);
        }
        self.make_room()
    }

    fn weigh_slot(&mut self, id: usize, heap: usize) {
        let bytes = heap + Self::ENTRY_BYTES;
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        let before = std::mem::replace(&mut slot.bytes, bytes);
        if let Some(share) = self.shares.get_mut(&slot.key.owner()) {
            share.bytes = share.bytes - before + bytes;
        }
        self.bytes = self.bytes - before + bytes;
    }

    /// Removes the entry with the earliest deadline, if that has passed.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<(K, V)> {
        while let Some((queued, id)) = self.deadlines.pop_before(now) {
            let Some(slot) = self.slots.get_mut(id).filter(|slot| slot.queued == queued) else {
                continue;
            };
            let own = (slot.deadline, slot.used);
            if own == queued {
                return Some(self.take(id));
            }
            slot.queued = own;
            self.deadlines.push(own, id);
        }
        None
    }

    /// Removes the least recently used entry of all owners.
    pub(crate) fn pop_oldest(&mut self) -> Option<(K, V)> {
        let oldest = |share: &Share| {
            let id = share.by_use.oldest()?;
            Some((self.slots.get(id)?.used, id))
        };
        let (_, id) = self.shares.values().filter_map(oldest).min()?;
        Some(self.take(id))
    }

    /// Removes all entries of an owner.
    pub(crate) fn remove_owner(&mut self, owner: &K::Owner) {
        while let Some(id) = self
            .shares
            .get(owner)
            .and_then(|share| share.by_use.oldest())
        {
            self.take(id);
        }
    }

    /// The entries of a group, which `key` is in too, the latest first.
    pub(crate) fn group<'a>(
        &'a self,
        group: usize,
        key: &K,
    ) -> impl Iterator<Item = (&'a K, &'a V)> + use<'a, K, V, N> {
        let hash = self.group_hash(group, key);
        let chain = self
            .groups
            .get(group)
            .and_then(|chains| chains.find(hash, |(other, _)| *other == hash));
        let newest = chain.and_then(|(_, list)| list.newest());
        let slot = |id: usize| self.slots.get(id);
        std::iter::successors(newest, move |id| slot(*id)?.groups.get(group)?.1.older())
            .filter_map(slot)
            .map(|slot| (&slot.key, &slot.value))
    }

    fn find(&self, hash: u64, key: &K) -> Option<usize> {
        let same = |id: &usize| self.slots.get(*id).is_some_and(|slot| slot.key == *key);
        self.index.find(hash, same).copied()
    }

    fn group_hash(&self, group: usize, key: &K) -> u64 {
        let mut state = self.hasher.build_hasher();
        key.hash_group(group, &mut state);
        state.finish()
    }

    fn join_groups(&mut self, id: usize) {
        for group in 0..N {
            let Some(hash) = self.slots.get(id).map(|slot| slot.groups[group].0) else {
                continue;
            };
            let entry =
                self.groups[group].entry(hash, |(other, _)| *other == hash, |(other, _)| *other);
            let mut chain = entry.or_insert((hash, List::default()));
            chain
                .get_mut()
                .1
                .append(&mut self.slots, id, |slot| &mut slot.groups[group].1);
        }
    }

    fn leave_groups(&mut self, id: usize) {
        for group in 0..N {
            let Some(hash) = self.slots.get(id).map(|slot| slot.groups[group].0) else {
                continue;
            };
            let Ok(mut chain) = self.groups[group].find_entry(hash, |(other, _)| *other == hash)
            else {
                continue;
            };
            chain
                .get_mut()
                .1
                .detach(&mut self.slots, id, |slot| &mut slot.groups[group].1);
            if chain.get().1.is_empty() {
                chain.remove();
            }
        }
    }

    /// Removes the entry in a slot that is occupied.
    fn take(&mut self, id: usize) -> (K, V) {
        self.leave_groups(id);
        if let Some(slot) = self.slots.get(id) {
            let (hash, bytes, owner) = (slot.hash, slot.bytes, slot.key.owner());
            if let Ok(entry) = self.index.find_entry(hash, |other| *other == id) {
                entry.remove();
            }
            if let Some(share) = self.shares.get_mut(&owner) {
                share.by_use.detach(&mut self.slots, id, by_use);
                share.entries -= 1;
                share.bytes -= bytes;
                if share.entries == 0 {
                    self.shares.remove(&owner);
                }
            }
            self.bytes -= bytes;
        }
        let slot = *self.slots.remove(id);
        self.tidy_deadlines();
        (slot.key, slot.value)
    }

    /// Makes room from the owners that hold most.
    fn make_room(&mut self) -> Evicted<K, V> {
        let mut evicted = Vec::new();
        loop {
            let id = if self.len() > self.room.entries {
                self.oldest_of_most(|share| share.entries)
            } else if self.bytes > self.room.bytes {
                self.oldest_of_most(|share| share.bytes)
            } else {
                break;
            };
            let Some(id) = id else { break };
            evicted.push(self.take(id));
        }
        evicted
    }

    /// The least recently used entry of the owner that holds most; of those that hold equally much, the
    /// one whose entry is older.
    fn oldest_of_most(&self, held: impl Fn(&Share) -> usize) -> Option<usize> {
        let most = self.shares.values().map(&held).max()?;
        let of_most = self.shares.values().filter(|share| held(share) == most);
        of_most
            .filter_map(|share| {
                let id = share.by_use.oldest()?;
                Some((self.slots.get(id)?.used, id))
            })
            .min()
            .map(|(_, id)| id)
    }

    fn next_use(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }

    /// Drops queued deadlines of removed entries once they are the majority.
    fn tidy_deadlines(&mut self) {
        if self.deadlines.is_mostly_stale(self.len()) {
            let slots = &self.slots;
            self.deadlines
                .retain(|queued, id| slots.get(id).is_some_and(|slot| slot.queued == queued));
        }
    }
}

fn by_use<K, V, const N: usize>(slot: &mut Slot<K, V, N>) -> &mut Link {
    &mut slot.by_use
}

impl<K: Key, V, const N: usize> std::fmt::Debug for FairTable<K, V, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FairTable")
            .field("entries", &self.slots.len())
            .field("bytes", &self.bytes)
            .field("room", &self.room)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
