//! Doubly linked lists through the slots of a table: no memory of their own, and removal at any place.

use slab::Slab;

/// A slot's neighbours in one list.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Link {
    older: Option<Id>,
    newer: Option<Id>,
}

impl Link {
    pub(super) fn older(self) -> Option<usize> {
        self.older.map(Id::get)
    }
}

/// A slot's number plus one, so that `Option` takes no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Id(std::num::NonZeroUsize);

impl Id {
    fn new(id: usize) -> Id {
        Id(std::num::NonZeroUsize::MIN.saturating_add(id))
    }

    fn get(self) -> usize {
        self.0.get() - 1
    }
}

/// The ends of a list.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct List {
    oldest: Option<Id>,
    newest: Option<Id>,
}

impl List {
    pub(super) fn is_empty(&self) -> bool {
        self.oldest.is_none()
    }

    pub(super) fn oldest(&self) -> Option<usize> {
        self.oldest.map(Id::get)
    }

    pub(super) fn newest(&self) -> Option<usize> {
        self.newest.map(Id::get)
    }

    /// Adds a slot that is in no such list as the newest.
    pub(super) fn append<S>(
        &mut self,
        slots: &mut Slab<Box<S>>,
        id: usize,
        link: impl Fn(&mut S) -> &mut Link,
    ) {
        let new = Some(Id::new(id));
        match self.newest.and_then(|newest| slots.get_mut(newest.get())) {
            Some(newest) => link(newest).newer = new,
            None => self.oldest = new,
        }
        if let Some(slot) = slots.get_mut(id) {
            *link(slot) = Link {
                older: self.newest,
                newer: None,
            };
        }
        self.newest = new;
    }

    /// Removes a slot of this list.
    pub(super) fn detach<S>(
        &mut self,
        slots: &mut Slab<Box<S>>,
        id: usize,
        link: impl Fn(&mut S) -> &mut Link,
    ) {
        let Some(slot) = slots.get_mut(id) else {
            return;
        };
        let Link { older, newer } = *link(slot);
        match older.and_then(|older| slots.get_mut(older.get())) {
            Some(slot) => link(slot).newer = newer,
            None => self.oldest = newer,
        }
        match newer.and_then(|newer| slots.get_mut(newer.get())) {
            Some(slot) => link(slot).older = older,
            None => self.newest = older,
        }
    }
}
