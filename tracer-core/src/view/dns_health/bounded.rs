//! A table with a limit. What comes once it is full shares one row, so that sums stay exact.

use std::collections::BTreeMap;

/// Rows by key, at most `limit` of them, and one for all others.
#[derive(Debug)]
pub(super) struct Bounded<K, V> {
    rows: BTreeMap<K, V>,
    limit: usize,
    others: Option<V>,
}

impl<K: Ord, V: Default> Bounded<K, V> {
    pub(super) fn new(limit: usize) -> Bounded<K, V> {
        Bounded {
            rows: BTreeMap::new(),
            limit,
            others: None,
        }
    }

    /// The row of a key, new if there is room; otherwise the row of all others.
    pub(super) fn row(&mut self, key: K) -> &mut V {
        if self.rows.len() >= self.limit && !self.rows.contains_key(&key) {
            return self.others.get_or_insert_default();
        }
        self.rows.entry(key).or_default()
    }

    /// All rows with a key, in its order.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&K, &V)> {
        self.rows.iter()
    }

    /// The row of all others, if there are any.
    pub(super) fn others(&self) -> Option<&V> {
        self.others.as_ref()
    }
}
