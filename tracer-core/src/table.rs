//! A bounded table whose entries expire.
//!
//! Ordered by key, so that entries with a common prefix are adjacent and nothing depends on a hash seed: the
//! same input gives the same output in the same order. Knows nothing about its values; the caller decides
//! what an eviction means.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::model::time::Timestamp;

#[derive(Debug)]
struct Slot<V> {
    value: V,
    /// Rises with every insertion, so the least is the oldest. Also makes the entries of `due` unique.
    used: u64,
    deadline: Timestamp,
}

/// At most `limit` entries; a new one evicts the oldest one.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    slots: BTreeMap<K, Slot<V>>,
    by_use: BTreeMap<u64, K>,
    due: BTreeSet<(Timestamp, u64)>,
    limit: usize,
    uses: u64,
}

impl<K: Ord + Clone, V> Table<K, V> {
    /// An empty table; a limit of 0 counts as 1.
    pub(crate) fn new(limit: usize) -> Table<K, V> {
        Table {
            slots: BTreeMap::new(),
            by_use: BTreeMap::new(),
            due: BTreeSet::new(),
            limit: limit.max(1),
            uses: 0,
        }
    }

    /// Inserts an entry, replacing one with the same key. Returns the entry it evicted.
    pub(crate) fn insert(&mut self, key: K, value: V, deadline: Timestamp) -> Option<(K, V)> {
        self.remove(&key);
        let evicted = if self.slots.len() >= self.limit {
            self.pop_oldest()
        } else {
            None
        };
        let used = self.next_use();
        self.by_use.insert(used, key.clone());
        self.due.insert((deadline, used));
        self.slots.insert(
            key,
            Slot {
                value,
                used,
                deadline,
            },
        );
        evicted
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.slots.get(key).map(|slot| &slot.value)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let slot = self.slots.remove(key)?;
        self.by_use.remove(&slot.used);
        self.due.remove(&(slot.deadline, slot.used));
        Some(slot.value)
    }

    /// Removes the entry with the earliest deadline, if that has passed.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<(K, V)> {
        let &(deadline, used) = self.due.first()?;
        if deadline > now {
            return None;
        }
        self.pop_used(used)
    }

    /// Removes the oldest entry.
    pub(crate) fn pop_oldest(&mut self) -> Option<(K, V)> {
        let (&used, _) = self.by_use.first_key_value()?;
        self.pop_used(used)
    }

    /// Entries from `from` on, in key order.
    pub(crate) fn from<'a>(
        &'a self,
        from: &K,
    ) -> impl Iterator<Item = (&'a K, &'a V)> + use<'a, K, V> {
        self.slots
            .range((Bound::Included(from), Bound::Unbounded))
            .map(|(key, slot)| (key, &slot.value))
    }

    fn pop_used(&mut self, used: u64) -> Option<(K, V)> {
        let key = self.by_use.get(&used)?.clone();
        let value = self.remove(&key)?;
        Some((key, value))
    }

    fn next_use(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entry_is_evicted() {
        let mut table = Table::new(2);
        assert_eq!(table.insert("a", 1, Timestamp(100)), None);
        assert_eq!(table.insert("b", 2, Timestamp(100)), None);
        assert_eq!(table.insert("c", 3, Timestamp(100)), Some(("a", 1)));
        assert_eq!(
            (table.get(&"a"), table.get(&"b"), table.get(&"c")),
            (None, Some(&2), Some(&3))
        );
    }

    #[test]
    fn replacing_an_entry_needs_no_room() {
        let mut table = Table::new(1);
        table.insert("a", 1, Timestamp(100));
        assert_eq!(table.insert("a", 2, Timestamp(200)), None);
        assert_eq!(table.pop_due(Timestamp(199)), None);
        assert_eq!(table.pop_due(Timestamp(200)), Some(("a", 2)));
    }

    #[test]
    fn entries_come_due_in_the_order_of_their_deadlines() {
        let mut table = Table::new(10);
        table.insert("late", 1, Timestamp(30));
        table.insert("early", 2, Timestamp(10));
        table.insert("moved", 3, Timestamp(5));
        table.insert("moved", 3, Timestamp(20));
        assert_eq!(table.pop_due(Timestamp(9)), None);
        assert_eq!(table.pop_due(Timestamp(25)), Some(("early", 2)));
        assert_eq!(table.pop_due(Timestamp(25)), Some(("moved", 3)));
        assert_eq!(table.pop_due(Timestamp(25)), None);
    }

    #[test]
    fn a_removed_entry_leaves_nothing_behind() {
        let mut table = Table::new(10);
        table.insert("a", 1, Timestamp(10));
        assert_eq!(table.remove(&"a"), Some(1));
        assert_eq!(table.pop_due(Timestamp(99)), None);
        assert_eq!(table.pop_oldest(), None);
        assert_eq!(table.pop_oldest(), None);
    }
}
