use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;
use crate::model::flow::Ifindex;

/// An interface, a group and a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Item(u32, u8, u64);

impl Key for Item {
    type Owner = Ifindex;

    fn owner(&self) -> Ifindex {
        Ifindex(self.0)
    }

    fn hash_group<H: Hasher>(&self, _: usize, state: &mut H) {
        self.1.hash(state);
    }
}

type Items = FairTable<Item, u64, 1>;

fn holding(entries: usize) -> Items {
    FairTable::new(Room {
        entries,
        bytes: usize::MAX,
    })
}

fn numbers(evicted: &[(Item, u64)]) -> Vec<u64> {
    evicted.iter().map(|(key, _)| key.2).collect()
}

const LATER: Timestamp = Timestamp(1_000);

#[test]
fn the_least_recently_used_entry_is_evicted() {
    let mut table = holding(2);
    assert_eq!(table.insert(Item(1, 0, 1), 1, 0, LATER), []);
    assert_eq!(table.insert(Item(1, 0, 2), 2, 0, LATER), []);
    table.touch(&Item(1, 0, 1), LATER);
    let evicted = table.insert(Item(1, 0, 3), 3, 0, LATER);
    assert_eq!(evicted, [(Item(1, 0, 2), 2)]);
    assert!(table.contains(&Item(1, 0, 1)) && table.contains(&Item(1, 0, 3)));
}

#[test]
fn a_flood_evicts_its_own_entries_only() {
    let mut table = holding(100);
    for number in 0..10 {
        assert_eq!(table.insert(Item(7, 0, number), 0, 0, LATER), []);
    }
    for number in 1_000..5_000 {
        for (key, _) in table.insert(Item(1, 0, number), 0, 0, LATER) {
            assert_eq!(key.0, 1, "of the interface that floods");
        }
    }
    assert_eq!(table.len(), 100);
    assert!((0..10).all(|number| table.contains(&Item(7, 0, number))));
    // The rest grows to its fair half at the cost of the flood.
    for number in 10..50 {
        let evicted = table.insert(Item(7, 0, number), 0, 0, LATER);
        assert!(evicted.iter().all(|(key, _)| key.0 == 1));
    }
}

#[test]
fn a_newcomer_never_evicts_from_an_interface_that_holds_less() {
    let mut table = holding(4);
    for number in 0..3 {
        let _ = table.insert(Item(1, 0, number), 0, 0, LATER);
    }
    assert_eq!(table.insert(Item(2, 0, 10), 0, 0, LATER), []);
    assert_eq!(numbers(&table.insert(Item(1, 0, 3), 0, 0, LATER)), [0]);
    assert_eq!(numbers(&table.insert(Item(2, 0, 11), 0, 0, LATER)), [1]);
    let evicted = table.insert(Item(3, 0, 20), 0, 0, LATER);
    assert_eq!(numbers(&evicted), [2], "equally many: the oldest");
}

#[test]
fn bytes_are_bounded_and_the_interface_with_most_bytes_makes_room() {
    let entry = Items::ENTRY_BYTES;
    let mut table: Items = FairTable::new(Room {
        entries: usize::MAX,
        bytes: 10 * entry,
    });
    // Many small entries of one interface, one large entry of another.
    for number in 0..4 {
        assert_eq!(table.insert(Item(1, 0, number), 0, 0, LATER), []);
    }
    assert_eq!(table.insert(Item(2, 0, 10), 0, 5 * entry, LATER), []);
    assert_eq!(table.bytes(), 10 * entry);
    assert_eq!(numbers(&table.insert(Item(1, 0, 4), 0, 0, LATER)), [10]);
    assert_eq!(table.bytes(), 5 * entry);
    // An entry that grows counts as what it is now.
    assert_eq!(table.insert(Item(2, 0, 11), 0, 0, LATER), []);
    assert_eq!(table.weigh(&Item(2, 0, 11), 4 * entry), []);
    assert_eq!(numbers(&table.weigh(&Item(2, 0, 11), 9 * entry)), [11]);
    assert_eq!(table.len(), 5);
    assert_eq!(
        numbers(&table.insert(Item(3, 0, 20), 0, 100 * entry, LATER)),
        [20]
    );
    assert_eq!(
        table.len(),
        5,
        "an entry larger than the table evicts only itself"
    );
}

#[test]
fn replacing_an_entry_needs_no_room() {
    let mut table = holding(1);
    assert_eq!(table.insert(Item(1, 0, 1), 1, 0, Timestamp(100)), []);
    assert_eq!(table.insert(Item(1, 0, 1), 2, 0, Timestamp(200)), []);
    assert_eq!(table.pop_due(Timestamp(199)), None);
    assert_eq!(table.pop_due(Timestamp(200)), Some((Item(1, 0, 1), 2)));
    assert_eq!(table.bytes(), 0);
}

#[test]
fn entries_come_due_in_the_order_of_their_deadlines_then_of_use() {
    let mut table = holding(10);
    for (number, deadline) in [(1, 30), (2, 10), (3, 5), (4, 20), (5, 20)] {
        assert_eq!(
            table.insert(Item(1, 0, number), 0, 0, Timestamp(deadline)),
            []
        );
    }
    table.touch(&Item(1, 0, 3), Timestamp(20));
    table.touch(&Item(1, 0, 1), Timestamp(7));
    table.touch(&Item(1, 0, 4), Timestamp(20));
    let mut due = |now| {
        let mut due = Vec::new();
        while let Some((key, _)) = table.pop_due(Timestamp(now)) {
            due.push(key.2);
        }
        due
    };
    assert!(due(6).is_empty());
    assert_eq!(due(7), [1]);
    assert_eq!(due(19), [2]);
    assert_eq!(due(20), [5, 3, 4]);
}

#[test]
fn a_group_has_its_entries_and_no_others_the_latest_first() {
    let mut table = holding(3);
    for (owner, group, number) in [(1, 5, 1), (2, 6, 2), (2, 5, 3), (1, 5, 4)] {
        let _ = table.insert(Item(owner, group, number), 0, 0, LATER);
    }
    let of_group = |table: &Items, group| {
        let found = table.group(0, &Item(0, group, 0));
        found.map(|(key, _)| key.2).collect::<Vec<u64>>()
    };
    assert_eq!(of_group(&table, 5), [4, 3], "1 made room");
    assert_eq!(of_group(&table, 6), [2]);
    table.remove(&Item(2, 5, 3));
    assert_eq!(of_group(&table, 5), [4]);
    table.remove(&Item(1, 5, 4));
    assert!(of_group(&table, 5).is_empty());
}

/// The same operations on a list that is searched from end to end.
#[derive(Default)]
struct Plain(Vec<(Item, u64, Timestamp, u64)>);

impl Plain {
    fn remove(&mut self, key: &Item) {
        self.0.retain(|(other, ..)| other != key);
    }

    fn held(&self, owner: u32) -> usize {
        self.0.iter().filter(|(key, ..)| key.0 == owner).count()
    }

    fn evict(&mut self) -> (Item, u64) {
        let most = self
            .0
            .iter()
            .map(|(key, ..)| self.held(key.0))
            .max()
            .unwrap();
        let of_most = self.0.iter().filter(|(key, ..)| self.held(key.0) == most);
        let victim = *of_most.min_by_key(|(.., used)| *used).unwrap();
        self.remove(&victim.0);
        (victim.0, victim.1)
    }

    fn due(&mut self, now: Timestamp) -> Option<(Item, u64)> {
        let first = self
            .0
            .iter()
            .min_by_key(|(_, _, deadline, used)| (*deadline, *used));
        let first = *first.filter(|(_, _, deadline, _)| *deadline <= now)?;
        self.remove(&first.0);
        Some((first.0, first.1))
    }
}

#[test]
fn any_operations_have_the_same_effect_as_on_a_plain_list() {
    let mut seeded = StdRng::seed_from_u64(1);
    let mut random = |below: u64| seeded.random_range(0..below);
    let mut table = holding(20);
    let mut plain = Plain::default();
    for step in 0..20_000 {
        let key = Item(
            random(4) as u32 * random(2) as u32,
            random(3) as u8,
            random(12),
        );
        let now = Timestamp(step / 4);
        let deadline = now.after(std::time::Duration::from_nanos(random(30)));
        match random(9) {
            0..4 => {
                plain.remove(&key);
                plain.0.push((key, step, deadline, step));
                let expected: Vec<_> = (plain.0.len() > 20)
                    .then(|| plain.evict())
                    .into_iter()
                    .collect();
                assert_eq!(table.insert(key, step, 0, deadline), expected);
            }
            4 => {
                assert_eq!(
                    table.remove(&key).is_some(),
                    plain.0.iter().any(|(other, ..)| *other == key)
                );
                plain.remove(&key);
            }
            5 | 6 => {
                table.touch(&key, deadline);
                if let Some(entry) = plain.0.iter_mut().find(|(other, ..)| *other == key) {
                    (entry.2, entry.3) = (deadline, step);
                }
            }
            // Rarely, so that the table is mostly full.
            7 if random(16) == 0 => {
                table.remove_owner(&key.owner());
                plain.0.retain(|(other, ..)| other.owner() != key.owner());
            }
            _ => loop {
                let due = table.pop_due(now);
                assert_eq!(due, plain.due(now));
                if due.is_none() {
                    break;
                }
            },
        }
        assert_eq!(table.len(), plain.0.len());
        assert_eq!(table.bytes(), plain.0.len() * Items::ENTRY_BYTES);
    }
    plain.0.sort_by_key(|(.., used)| *used);
    for (key, value, ..) in plain.0 {
        assert_eq!(table.pop_oldest(), Some((key, value)));
    }
    assert!(table.is_empty() && table.shares.is_empty());
    assert!(table.groups.iter().all(HashTable::is_empty));
}

#[test]
fn deadlines_of_removed_entries_do_not_pile_up() {
    let mut table = holding(10);
    for number in 0..100_000 {
        assert_eq!(table.insert(Item(1, 0, number), 0, 0, LATER), []);
        table.remove(&Item(1, 0, number));
    }
    assert!(table.deadlines.len() < 100);
}
