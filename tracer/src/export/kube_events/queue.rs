//! Findings that wait for their request. Bounded, and shared by pods: a pod in trouble delays and drops its own
//! findings, not those of others.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::Occurrence;

/// The queue: the pods take turns.
#[derive(Debug)]
pub(super) struct Queue {
    limit: usize,
    /// The findings of each pod, by its UID, in order. None is empty.
    pods: HashMap<Arc<str>, VecDeque<Occurrence>>,
    /// Whose turn it is: each pod of `pods` once.
    turns: VecDeque<Arc<str>>,
    length: usize,
}

impl Queue {
    /// A queue of at most this many findings.
    pub fn new(limit: usize) -> Queue {
        Queue {
            limit,
            pods: HashMap::new(),
            turns: VecDeque::new(),
            length: 0,
        }
    }

    /// Adds a finding. Returns how many were dropped for it: the oldest of the pod that has most.
    pub fn push(&mut self, occurrence: Occurrence) -> u64 {
        let uid = Arc::clone(&occurrence.pod.uid);
        let own = self.pods.entry(Arc::clone(&uid)).or_insert_with(|| {
            self.turns.push_back(uid);
            VecDeque::new()
        });
        own.push_back(occurrence);
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

    /// Takes the oldest finding of the pod whose turn it is.
    pub fn pop(&mut self) -> Option<Occurrence> {
        let uid = self.turns.front().map(Arc::clone)?;
        self.turns.rotate_left(1);
        self.pop_of(&uid)
    }

    fn pop_of(&mut self, uid: &Arc<str>) -> Option<Occurrence> {
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
