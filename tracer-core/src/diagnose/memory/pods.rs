//! The memories of all pods. Together they have a budget in bytes; beyond it the interface that holds most gives
//! way, so that what one pod does changes nothing about another.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use foldhash::fast::RandomState;

use super::contacts::{Contact, Contacts, Peer};
use super::pod::PodMemory;
use crate::identity::Owner;
use crate::model::dns::DnsName;
use crate::model::event::Ends;
use crate::model::flow::Ifindex;
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;

/// What is too old is dropped this often.
const SWEEP: Duration = Duration::from_secs(1);
/// A pod's size is taken anew after this many of its events.
const EVENTS_PER_MEASUREMENT: u32 = 16;

/// The place of a pod's memory. It holds for one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::diagnose) struct PodPlace(usize);

#[derive(Debug)]
struct Slot {
    owner: Owner,
    memory: PodMemory,
    /// Its size when it was measured last.
    bytes: usize,
    /// Events since then.
    events: u32,
}

/// The memories by pod.
#[derive(Debug)]
pub(in crate::diagnose) struct Pods {
    places: HashMap<Owner, usize, RandomState>,
    slots: Vec<Slot>,
    bytes: usize,
    budget: usize,
    swept: Timestamp,
    losses: Losses,
}

impl Pods {
    /// No pods, and at most this many bytes.
    pub fn new(budget: usize) -> Pods {
        Pods {
            places: HashMap::default(),
            slots: Vec::new(),
            bytes: 0,
            budget,
            swept: Timestamp::default(),
            losses: Losses::default(),
        }
    }

    /// The place of a pod's memory, which is made if there is none. May make room: other places change.
    pub fn place(&mut self, now: Timestamp, owner: &Owner, ends: &Ends) -> PodPlace {
        if let Some(&place) = self.places.get(owner) {
            let slot = &mut self.slots[place];
            slot.memory.used = slot.memory.used.max(now);
            slot.memory.ifindex = ends.ifindex;
            slot.events += 1;
            if slot.events < EVENTS_PER_MEASUREMENT {
                return PodPlace(place);
            }
            let PodPlace(place) = self.measure(PodPlace(place));
            if self.bytes <= self.budget {
                return PodPlace(place);
            }
        } else {
            let memory = PodMemory::new(ends.pod.clone(), ends.ifindex, now);
            let bytes = memory.bytes() + size_of::<Slot>();
            self.bytes += bytes;
            self.places.insert(owner.clone(), self.slots.len());
            self.slots.push(Slot {
                owner: owner.clone(),
                memory,
                bytes,
                events: 0,
            });
        }
        if self.bytes > self.budget {
            self.make_room(owner);
        }
        PodPlace(self.places.get(owner).copied().unwrap_or_default())
    }

    pub fn get(&self, place: PodPlace) -> &PodMemory {
        &self.slots[place.0].memory
    }

    pub fn get_mut(&mut self, place: PodPlace) -> &mut PodMemory {
        &mut self.slots[place.0].memory
    }

    /// The memory of a pod, if there is one.
    pub fn of(&self, owner: &Owner) -> Option<&PodMemory> {
        let place = self.places.get(owner)?;
        self.slots.get(*place).map(|slot| &slot.memory)
    }

    /// The same, to change it.
    pub fn of_mut(&mut self, owner: &Owner) -> Option<&mut PodMemory> {
        let place = self.places.get(owner)?;
        self.slots.get_mut(*place).map(|slot| &mut slot.memory)
    }

    /// Whether some pod has found a name.
    pub fn found(&self, name: &DnsName) -> bool {
        let mut slots = self.slots.iter();
        slots.any(|slot| slot.memory.found_names.contains(name))
    }

    /// The latest connection of any pod to this address and port.
    pub fn latest_contact(&self, peer: Peer) -> Option<Contact<'_>> {
        self.latest(peer, |memory| &memory.connected, None)
    }

    /// The latest connection of a pod other than this one.
    pub fn connected_by_another(&self, peer: Peer, owner: &Owner) -> Option<Contact<'_>> {
        self.latest(peer, |memory| &memory.connected, Some(owner))
    }

    /// The latest answer of a DNS server to a pod other than this one.
    pub fn answered_another(&self, peer: Peer, owner: &Owner) -> Option<Contact<'_>> {
        self.latest(peer, |memory| &memory.answered, Some(owner))
    }

    fn latest(
        &self,
        peer: Peer,
        contacts: fn(&PodMemory) -> &Contacts,
        except: Option<&Owner>,
    ) -> Option<Contact<'_>> {
        let others = self.slots.iter().filter(|slot| Some(&slot.owner) != except);
        let reached = others.filter_map(|slot| {
            let at = contacts(&slot.memory).at(peer)?;
            Some((at, slot))
        });
        let (at, slot) = reached.max_by_key(|(at, slot)| (*at, &slot.owner))?;
        let pod = &slot.memory.end;
        Some(Contact { pod, at })
    }

    /// Drops what is too old. Returns whether it was time to.
    pub fn advance(&mut self, now: Timestamp) -> bool {
        if now < self.swept.after(SWEEP) {
            return false;
        }
        self.swept = now;
        for place in (0..self.slots.len()).rev() {
            self.slots[place].memory.expire(now);
            self.measure(PodPlace(place));
            if self.slots[place].memory.is_empty() {
                let owner = self.slots[place].owner.clone();
                self.remove(&owner);
            }
        }
        true
    }

    /// What gave way so far.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Counts entries of a pod that gave way and that could have made a finding.
    pub fn count_lost(&mut self, place: PodPlace, count: u64) {
        let ifindex = self.get(place).ifindex;
        self.losses
            .add_on(ifindex, Stage::Table, "failures kept for findings", count);
    }

    /// Counts a failure of a pod that was not examined.
    pub fn count_unexamined(&mut self, place: PodPlace) {
        let ifindex = self.get(place).ifindex;
        self.losses
            .add_on(ifindex, Stage::Table, "failures not examined", 1);
    }

    fn measure(&mut self, place: PodPlace) -> PodPlace {
        let slot = &mut self.slots[place.0];
        slot.events = 0;
        let bytes = slot.memory.bytes() + size_of::<Slot>();
        self.bytes = (self.bytes + bytes).saturating_sub(slot.bytes);
        slot.bytes = bytes;
        place
    }

    /// Makes room for a sixteenth of the budget, so that it happens rarely. An interface with many pods (addresses
    /// that one pod invents) loses those unused for longest; a single pod loses the older half of what it has.
    fn make_room(&mut self, present: &Owner) {
        let target = self.budget - self.budget / 16;
        while self.bytes > target {
            let mut shares: BTreeMap<Ifindex, usize> = BTreeMap::new();
            for slot in &self.slots {
                *shares.entry(slot.memory.ifindex).or_default() += slot.bytes;
            }
            let most = shares
                .iter()
                .max_by_key(|(ifindex, bytes)| (**bytes, **ifindex));
            let Some((&ifindex, _)) = most else { return };
            let mut own: Vec<(Timestamp, Owner)> = self
                .slots
                .iter()
                .filter(|slot| slot.memory.ifindex == ifindex)
                .map(|slot| (slot.memory.used, slot.owner.clone()))
                .collect();
            own.sort_unstable();
            self.losses
                .add_on(ifindex, Stage::Table, "memory of the diagnosis full", 1);
            let several = own.len() > 1;
            own.truncate(own.len().div_ceil(2));
            own.retain(|(_, owner)| owner != present || !several);
            let mut helped = false;
            for (_, owner) in own {
                helped |= several && self.remove(&owner);
                helped |=
                    !several && (self.shrink(&owner) || owner != *present && self.remove(&owner));
            }
            if !helped {
                return;
            }
        }
    }

    /// Shrinks a pod's memory. Returns whether that helped.
    fn shrink(&mut self, owner: &Owner) -> bool {
        let Some(&place) = self.places.get(owner) else {
            return false;
        };
        let before = self.bytes;
        self.slots[place].memory.shrink();
        self.measure(PodPlace(place));
        self.bytes < before
    }

    /// Removes a pod's memory. Returns whether there was one.
    fn remove(&mut self, owner: &Owner) -> bool {
        let Some(place) = self.places.remove(owner) else {
            return false;
        };
        let slot = self.slots.swap_remove(place);
        self.bytes = self.bytes.saturating_sub(slot.bytes);
        if let Some(moved) = self.slots.get(place) {
            self.places.insert(moved.owner.clone(), place);
        }
        true
    }
}
