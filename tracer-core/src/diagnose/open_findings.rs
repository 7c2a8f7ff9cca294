//! The set of open findings: by id, by pod, by what they wait for, and by when they are due.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::cures::CureKey;
use super::memory::TargetKey;
use super::open::Open;
use crate::fair_table::Room;
use crate::identity::Owner;
use crate::model::flow::Ifindex;
use crate::model::time::Timestamp;

/// The place of an open finding, until it is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(usize);

/// The findings of a pod.
#[derive(Debug, Default)]
pub(super) struct PodFindings {
    pub places: Vec<Place>,
    /// What counts as an attempt of them; sorted.
    targets: Vec<(TargetKey, Place)>,
    /// What they wait for; sorted.
    cures: Vec<(CureKey, Place)>,
}

impl PodFindings {
    /// Those about a target.
    pub fn about(&self, target: TargetKey) -> impl Iterator<Item = Place> {
        from_key(&self.targets, target)
    }

    /// Those that wait for something with this key.
    pub fn waiting(&self, key: CureKey) -> impl Iterator<Item = Place> {
        from_key(&self.cures, key)
    }

    fn add(&mut self, place: Place, open: &Open) {
        self.places.push(place);
        self.targets
            .extend(open.target.map(|target| (target, place)));
        self.targets.sort_unstable();
        let keys = open.cures.iter().filter_map(super::cure::Cure::key);
        self.cures.extend(keys.map(|key| (key, place)));
        self.cures.sort_unstable();
        self.cures.dedup();
    }

    fn remove(&mut self, place: Place) {
        self.places.retain(|other| *other != place);
        self.targets.retain(|(_, other)| *other != place);
        self.cures.retain(|(_, other)| *other != place);
    }
}

/// The places with this key in a sorted list.
fn from_key<K: Copy + Ord>(sorted: &[(K, Place)], key: K) -> impl Iterator<Item = Place> {
    let first = sorted.partition_point(|(other, _)| *other < key);
    let equal = sorted.get(first..).unwrap_or_default().iter();
    equal
        .take_while(move |(other, _)| *other == key)
        .map(|(_, place)| *place)
}

/// What an interface's findings take.
#[derive(Debug, Default)]
struct Share {
    findings: usize,
    bytes: usize,
}

/// All open findings.
#[derive(Debug, Default)]
pub(super) struct OpenFindings {
    slots: Vec<Option<Box<Open>>>,
    free: Vec<usize>,
    by_id: HashMap<Arc<str>, Place, RandomState>,
    by_pod: HashMap<Owner, PodFindings, RandomState>,
    by_interface: BTreeMap<Ifindex, Share>,
    bytes: usize,
    /// When each is due. A finding that is due later than that is put back.
    due: BTreeSet<(Timestamp, u64, Place)>,
    /// Rises with every use.
    uses: u64,
}

impl OpenFindings {
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub fn of_pod(&self, owner: &Owner) -> Option<&PodFindings> {
        self.by_pod.get(owner)
    }

    pub fn place(&self, id: &str) -> Option<Place> {
        self.by_id.get(id).copied()
    }

    pub fn get(&self, place: Place) -> Option<&Open> {
        self.slots.get(place.0)?.as_deref()
    }

    pub fn get_mut(&mut self, place: Place) -> Option<&mut Open> {
        self.slots.get_mut(place.0)?.as_deref_mut()
    }

    /// The findings of a pod, to change them.
    pub fn each_of_pod(&mut self, owner: &Owner, targets: &[TargetKey], act: fn(&mut Open)) {
        let Some(pod) = self.by_pod.get(owner) else {
            return;
        };
        for target in targets {
            for place in pod.about(*target) {
                if let Some(open) = self.slots.get_mut(place.0).and_then(Option::as_deref_mut) {
                    act(open);
                }
            }
        }
    }

    /// Adds a finding, the last of its pod.
    pub fn put(&mut self, mut open: Box<Open>) {
        self.uses += 1;
        (open.listed, open.used) = (self.uses, self.uses);
        let place = Place(self.free.pop().unwrap_or(self.slots.len()));
        open.scheduled = (open.due(), open.used);
        self.due.insert((open.scheduled.0, open.scheduled.1, place));
        self.by_id.insert(open.id(), place);
        let pod = self.by_pod.entry(open.owner.clone()).or_default();
        pod.add(place, &open);
        open.bytes = open.measure();
        let share = self.by_interface.entry(open.ends.ifindex).or_default();
        share.findings += 1;
        share.bytes += open.bytes;
        self.bytes += open.bytes;
        match self.slots.get_mut(place.0) {
            Some(slot) => *slot = Some(open),
            None => self.slots.push(Some(open)),
        }
    }

    /// Takes a finding out.
    pub fn take(&mut self, place: Place) -> Option<Box<Open>> {
        let open = self.slots.get_mut(place.0)?.take()?;
        self.free.push(place.0);
        self.due
            .remove(&(open.scheduled.0, open.scheduled.1, place));
        self.by_id.remove(&*open.id());
        if let Some(pod) = self.by_pod.get_mut(&open.owner) {
            pod.remove(place);
            if pod.places.is_empty() {
                self.by_pod.remove(&open.owner);
            }
        }
        self.bytes -= open.bytes;
        if let Some(share) = self.by_interface.get_mut(&open.ends.ifindex) {
            share.findings -= 1;
            share.bytes -= open.bytes;
            if share.findings == 0 {
                self.by_interface.remove(&open.ends.ifindex);
            }
        }
        Some(open)
    }

    /// A finding has changed: it is due at another time.
    pub fn touch(&mut self, place: Place) {
        self.uses += 1;
        let uses = self.uses;
        let Some(open) = self.get_mut(place) else {
            return;
        };
        open.used = uses;
        let (before, due) = (open.scheduled, open.due());
        if due < before.0 {
            open.scheduled = (due, uses);
            self.due.remove(&(before.0, before.1, place));
            self.due.insert((due, uses, place));
        }
    }

    /// Takes out a finding that is due.
    pub fn pop_due(&mut self, now: Timestamp) -> Option<Box<Open>> {
        loop {
            let &(at, number, place) = self.due.first()?;
            if at > now {
                return None;
            }
            let Some(open) = self.get_mut(place) else {
                self.due.remove(&(at, number, place));
                continue;
            };
            let (due, used) = (open.due(), open.used);
            if due <= now {
                return self.take(place);
            }
            open.scheduled = (due, used);
            self.due.remove(&(at, number, place));
            self.due.insert((due, used, place));
        }
    }

    /// All findings, by pod, those that changed last at the end.
    pub fn by_pod(&self) -> Vec<Place> {
        let mut all: Vec<(&Owner, u64, Place)> = self
            .all()
            .map(|(place, open)| (&open.owner, open.listed, place))
            .collect();
        all.sort_unstable();
        all.into_iter().map(|(_, _, place)| place).collect()
    }

    /// Takes all findings out, those that changed last at the end.
    pub fn take_all(&mut self) -> Vec<Open> {
        let slots = std::mem::take(self).slots;
        let mut all: Vec<Open> = slots.into_iter().flatten().map(|open| *open).collect();
        all.sort_unstable_by_key(|open| open.used);
        all
    }

    /// If there is not enough room for all: the finding that matters least of the interface that has most.
    pub fn overfull(&self, room: Room) -> Option<Place> {
        let held: fn(&Share) -> usize = if self.by_id.len() > room.entries {
            |share| share.findings
        } else if self.bytes > room.bytes {
            |share| share.bytes
        } else {
            return None;
        };
        let most = self
            .by_interface
            .iter()
            .max_by_key(|(ifindex, share)| (held(share), **ifindex));
        let (ifindex, _) = most?;
        let own = self.all().filter(|(_, open)| open.ends.ifindex == *ifindex);
        let least = own.min_by_key(|(_, open)| open.rank());
        least.map(|(place, _)| place)
    }

    fn all(&self) -> impl Iterator<Item = (Place, &Open)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(place, open)| Some((Place(place), open.as_deref()?)))
    }
}
