//! A pod's entries of one kind. There is a most; beyond it the half that was unused for longest gives way.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::model::time::Timestamp;

#[derive(Debug)]
struct Entry<V> {
    value: V,
    used: Timestamp,
}

/// Entries with the time of their last use. Nothing depends on the order of the hash table.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    entries: HashMap<K, Entry<V>, RandomState>,
    max: usize,
}

impl<K: Eq + Hash, V> Recent<K, V> {
    /// No entries, and at most this many.
    pub fn new(max: usize) -> Recent<K, V> {
        Recent {
            entries: HashMap::default(),
            max: max.max(1),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, entry)| (key, &entry.value))
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// The entry, without using it.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|entry| &mut entry.value)
    }

    /// Uses an entry.
    pub fn touch(&mut self, now: Timestamp, key: &K) -> Option<&mut V> {
        let entry = self.entries.get_mut(key)?;
        entry.used = entry.used.max(now);
        Some(&mut entry.value)
    }

    /// Inserts an entry, and returns the number of those that gave way.
    pub fn insert(&mut self, now: Timestamp, key: K, value: V) -> u64 {
        let mut gave_way = 0;
        if self.entries.len() >= self.max && !self.entries.contains_key(&key) {
            gave_way = self.halve();
        }
        self.entries.insert(key, Entry { value, used: now });
        gave_way
    }

    /// Drops the entries unused for longest, at least half of them. Returns their number.
    fn halve(&mut self) -> u64 {
        let before = self.entries.len();
        let mut used: Vec<Timestamp> = self.entries.values().map(|entry| entry.used).collect();
        if !used.is_empty() {
            let (_, &mut last, _) = used.select_nth_unstable((before - 1) / 2);
            self.entries.retain(|_, entry| entry.used > last);
        }
        u64::try_from(before - self.entries.len()).unwrap_or(u64::MAX)
    }

    /// The same, and gives the memory back.
    pub fn shrink(&mut self) -> u64 {
        let gave_way = self.halve();
        self.entries.shrink_to_fit();
        gave_way
    }

    /// Drops the entries unused for this long.
    pub fn expire(&mut self, now: Timestamp, keep: Duration) {
        if self.entries.is_empty() {
            return;
        }
        self.entries.retain(|_, entry| entry.used.after(keep) > now);
        if self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to_fit();
        }
    }

    /// The memory that it uses, without what keys and values point to.
    pub fn bytes(&self) -> usize {
        self.entries.capacity() * (size_of::<(K, Entry<V>)>() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_half_unused_for_longest_gives_way() {
        let mut recent = Recent::new(4);
        for key in 0..4 {
            assert_eq!(recent.insert(Timestamp(key), key, ()), 0);
        }
        recent.touch(Timestamp(9), &0);
        assert_eq!(recent.insert(Timestamp(10), 4, ()), 2);
        let kept: Vec<u64> = (0..5).filter(|key| recent.get(key).is_some()).collect();
        assert_eq!(kept, [0, 3, 4]);
        // A known key needs no room.
        recent.insert(Timestamp(11), 5, ());
        assert_eq!(recent.insert(Timestamp(12), 5, ()), 0);
    }

    #[test]
    fn entries_unused_for_the_time_to_keep_them_expire() {
        let mut recent = Recent::new(4);
        recent.insert(Timestamp(0), "old", ());
        recent.insert(Timestamp(5), "new", ());
        recent.expire(Timestamp(10), Duration::from_nanos(10));
        assert_eq!((recent.get(&"old"), recent.get(&"new")), (None, Some(&())));
    }
}
