//! Items that wait for their export. Bounded, and shared by pods: a pod in trouble delays and drops its own
//! items, not those of others.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// The queue: the pods take turns.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    limit: usize,
    /// The items of each pod, by its UID, in order. None is empty.
    pods: HashMap<Arc<str>, VecDeque<T>>,
    /// Whose turn it is: each pod of `pods` once.
    turns: VecDeque<Arc<str>>,
    length: usize,
}

impl<T> FairQueue<T> {
    /// A queue of at most this many items.
    pub fn new(limit: usize) -> FairQueue<T> {
        FairQueue {
            limit,
            pods: HashMap::new(),
            turns: VecDeque::new(),
            length: 0,
        }
    }

    /// The number of items.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Adds an item of the pod with this UID. Returns how many were dropped for it: the oldest of the pod that
    /// has most.
    pub fn push(&mut self, uid: &Arc<str>, item: T) -> u64 {
        let own = self.pods.entry(Arc::clone(uid)).or_insert_with(|| {
            self.turns.push_back(Arc::clone(uid));
            VecDeque::new()
        });
        own.push_back(item);
        self.length += 1;
        let mut dropped = 0;
        while self.length > self.limit {
            let most = self.pods.iter().max_by_key(|(uid, own)| (own.len(), *uid));
            let Some(most) = most.map(|(uid, _)| Arc::clone(uid)) else {
                break;
            };
            self.pop_of(&most);
            dropped += 1;
        }
        dropped
    }

    /// Takes the oldest item of the pod whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        let uid = self.turns.front().map(Arc::clone)?;
        self.turns.rotate_left(1);
        self.pop_of(&uid)
    }

    fn pop_of(&mut self, uid: &Arc<str>) -> Option<T> {
        let own = self.pods.get_mut(uid)?;
        let oldest = own.pop_front();
        self.length -= usize::from(oldest.is_some());
        if own.is_empty() {
            self.pods.remove(uid);
            self.turns.retain(|other| other != uid);
        }
        oldest
    }
}
