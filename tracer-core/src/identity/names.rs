//! The names that a pod resolved an address from.
//!
//! Owns what answered exchanges told and nothing else: no name is looked up, none is guessed from another pod's answers.
//! Input: the ends of client exchanges, in the order in which they are told.
//!
//! A name holds from its answer on for the least TTL on the way to the address, but no shorter than [`FLOOR`]: connections
//! are made after the answer, and clients keep addresses for longer than they should (Java for 30 s, browsers for 60 s,
//! whatever the TTL). That the pod got this address for this name stays true beyond the TTL; only that it meant this name
//! becomes less likely. What is asked is always "at the time of the flow's first packet", so a connection that ends hours
//! later has the name it began with, as long as there was no need for its room.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use super::owner::Owner;
use crate::model::alias::aliases;
use crate::model::dns::{DnsName, RecordType, ResourceRecord};
use crate::model::time::Timestamp;

/// No name holds for less.
const FLOOR: Duration = Duration::from_secs(60);
/// No name holds for longer: a TTL can be 68 years (RFC 2181 section 8).
const CEILING: Duration = Duration::from_secs(24 * 3600);
/// So many names of one address are kept for a pod: names beyond are of an address that says nothing (a CDN's).
const NAMES_PER_ADDRESS: usize = 8;

/// How many addresses are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Of all pods.
    pub total: usize,
    /// Of one pod, so that a crawler costs the others nothing.
    pub per_pod: usize,
}

impl Default for Room {
    fn default() -> Room {
        Room {
            total: 32_768,
            per_pod: 2_048,
        }
    }
}

/// When an entry may be forgotten first; the number makes it unique and is the older the less.
type Rank = (Timestamp, u64);
type Key = (Owner, IpAddr);

/// What all pods resolved.
#[derive(Debug, Default)]
pub(super) struct Names {
    room: Room,
    entries: HashMap<Key, Entry>,
    /// By the time at which they cease to hold: what holds no longer is forgotten first.
    ranks: BTreeSet<(Rank, Key)>,
    of_pod: HashMap<Owner, BTreeSet<(Rank, IpAddr)>>,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    rank: Rank,
    /// The one resolved last comes first.
    names: Vec<Named>,
}

#[derive(Debug)]
struct Named {
    name: DnsName,
    from: Timestamp,
    until: Timestamp,
}

impl Names {
    #[cfg(test)]
    pub fn new(room: Room) -> Names {
        Names {
            room,
            ..Names::default()
        }
    }

    /// This pod asked for a name and got these records at `at`. Says how many addresses had to be forgotten whose names
    /// still held.
    pub fn learn(
        &mut self,
        owner: &Owner,
        at: Timestamp,
        asked: &DnsName,
        answers: &[ResourceRecord],
    ) -> u64 {
        let mut cost = 0;
        for (ip, ttl) in addresses(asked, answers) {
            let until = at.after(ttl.clamp(FLOOR, CEILING));
            cost += self.keep(owner, ip, asked, at, until);
        }
        cost
    }

    /// The names that this pod had resolved the address from at that time, the one resolved last first.
    pub fn of(&self, owner: &Owner, ip: IpAddr, at: Timestamp) -> Vec<DnsName> {
        let Some(entry) = self.entries.get(&(owner.clone(), ip)) else {
            return Vec::new();
        };
        let held = entry
            .names
            .iter()
            .filter(|named| named.from <= at && at < named.until);
        held.map(|named| named.name.clone()).collect()
    }

    fn keep(
        &mut self,
        owner: &Owner,
        ip: IpAddr,
        name: &DnsName,
        from: Timestamp,
        until: Timestamp,
    ) -> u64 {
        let key = (owner.clone(), ip);
        let mut cost = 0;
        let mut names = match self.remove(&key) {
            Some(entry) => entry.names,
            None => {
                cost += self.make_room(owner, from);
                Vec::new()
            }
        };
        let mut named = Named {
            name: name.clone(),
            from,
            until,
        };
        if let Some(known) = names.iter().position(|known| known.name == *name) {
            let known = names.remove(known);
            // A connection made after the first answer can end after this one.
            named.from = known.from.min(from);
            named.until = known.until.max(until);
        }
        names.insert(0, named);
        names.truncate(NAMES_PER_ADDRESS);
        let latest = names.iter().map(|named| named.until).max().unwrap_or(until);
        self.uses += 1;
        let rank = (latest, self.uses);
        self.ranks.insert((rank, key.clone()));
        self.of_pod
            .entry(owner.clone())
            .or_default()
            .insert((rank, ip));
        self.entries.insert(key, Entry { rank, names });
        cost
    }

    /// Forgets what ceases to hold first, where there is no room for one more.
    fn make_room(&mut self, owner: &Owner, now: Timestamp) -> u64 {
        let of_pod = self.of_pod.get(owner);
        let over = of_pod.filter(|of_pod| of_pod.len() >= self.room.per_pod.max(1));
        let victim = match over.and_then(BTreeSet::first) {
            Some((_, ip)) => Some((owner.clone(), *ip)),
            None if self.entries.len() >= self.room.total.max(1) => {
                self.ranks.first().map(|(_, key)| key.clone())
            }
            None => None,
        };
        let forgotten = victim.and_then(|key| self.remove(&key));
        u64::from(forgotten.is_some_and(|entry| entry.rank.0 > now))
    }

    fn remove(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.ranks.remove(&(entry.rank, key.clone()));
        if let Some(of_pod) = self.of_pod.get_mut(&key.0) {
            of_pod.remove(&(entry.rank, key.1));
            if of_pod.is_empty() {
                self.of_pod.remove(&key.0);
            }
        }
        Some(entry)
    }
}

/// The addresses that an answer gives for the name asked for, through a chain of CNAMEs where there is one, and how long
/// each may be used. Records of other owners are not its answer.
fn addresses(asked: &DnsName, answers: &[ResourceRecord]) -> Vec<(IpAddr, Duration)> {
    let aliases = aliases(asked, answers);
    let address = |record: &ResourceRecord| {
        let (_, ttl) = aliases.iter().find(|(alias, _)| *alias == record.name)?;
        let seconds = u64::from(record.ttl.min(*ttl));
        Some((record.data.parse().ok()?, Duration::from_secs(seconds)))
    };
    answers
        .iter()
        .filter(|record| matches!(record.rtype, RecordType::A | RecordType::AAAA))
        .filter_map(address)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(seconds: u64) -> Timestamp {
        Timestamp(seconds * 1_000_000_000)
    }

    fn pod(uid: &str) -> Owner {
        Owner::Pod(uid.into())
    }

    fn ip(address: &str) -> IpAddr {
        address.parse().unwrap()
    }

    /// `records` are owner, TTL, type, data.
    fn learn(
        names: &mut Names,
        uid: &str,
        at: u64,
        asked: &str,
        records: &[(&str, u32, RecordType, &str)],
    ) -> u64 {
        let records = records
            .iter()
            .map(|(owner, ttl, rtype, data)| ResourceRecord {
                name: DnsName::new(owner),
                rtype: *rtype,
                ttl: *ttl,
                data: (*data).to_owned(),
            });
        let records: Vec<ResourceRecord> = records.collect();
        names.learn(&pod(uid), t(at), &DnsName::new(asked), &records)
    }

    fn told(names: &Names, uid: &str, address: &str, at: u64) -> Vec<String> {
        let names = names.of(&pod(uid), ip(address), t(at));
        names
            .iter()
            .map(|name| name.relative().to_owned())
            .collect()
    }

    use RecordType::{A, AAAA, CNAME};

    #[test]
    fn a_name_holds_for_its_ttl_and_for_a_minute_at_least() {
        let mut names = Names::default();
        let short = [("short.test", 5, A, "192.0.2.1")];
        let long = [("long.test", 300, AAAA, "2001:db8::1")];
        learn(&mut names, "a", 100, "short.test", &short);
        learn(&mut names, "a", 100, "long.test", &long);
        assert_eq!(told(&names, "a", "192.0.2.1", 99), [""; 0]);
        assert_eq!(told(&names, "a", "192.0.2.1", 159), ["short.test"]);
        assert_eq!(told(&names, "a", "192.0.2.1", 160), [""; 0]);
        assert_eq!(told(&names, "a", "2001:db8::1", 399), ["long.test"]);
        assert_eq!(told(&names, "a", "2001:db8::1", 400), [""; 0]);
    }

    #[test]
    fn an_answer_with_a_short_ttl_takes_nothing_from_one_with_a_long_one() {
        let mut names = Names::default();
        for (at, ttl) in [(0, 300), (10, 5)] {
            learn(
                &mut names,
                "a",
                at,
                "a.test",
                &[("a.test", ttl, A, "192.0.2.1")],
            );
        }
        assert_eq!(told(&names, "a", "192.0.2.1", 299), ["a.test"]);
    }

    #[test]
    fn the_end_of_a_cname_chain_was_resolved_from_the_name_asked_for() {
        let mut names = Names::default();
        // In no order: a server may send them so.
        let chain = [
            ("end.test", 3600, A, "192.0.2.1"),
            ("cdn.test", 90, CNAME, "end.test."),
            ("www.test", 3600, CNAME, "CDN.test."),
            ("other.test", 3600, A, "192.0.2.2"),
        ];
        learn(&mut names, "a", 0, "www.test", &chain);
        assert_eq!(told(&names, "a", "192.0.2.1", 89), ["www.test"]);
        assert_eq!(
            told(&names, "a", "192.0.2.1", 90),
            [""; 0],
            "the TTL of an alias"
        );
        assert_eq!(told(&names, "a", "192.0.2.2", 1), [""; 0], "nobody asked");
    }

    #[test]
    fn a_cname_loop_ends() {
        let mut names = Names::default();
        let chain = [
            ("a.test", 60, CNAME, "b.test."),
            ("b.test", 60, CNAME, "a.test."),
            ("b.test", 60, A, "192.0.2.1"),
        ];
        learn(&mut names, "a", 0, "a.test", &chain);
        assert_eq!(told(&names, "a", "192.0.2.1", 1), ["a.test"]);
    }

    #[test]
    fn what_one_pod_resolved_says_nothing_of_another() {
        let mut names = Names::default();
        learn(
            &mut names,
            "a",
            0,
            "a.test",
            &[("a.test", 60, A, "192.0.2.1")],
        );
        assert_eq!(told(&names, "b", "192.0.2.1", 1), [""; 0]);
    }

    #[test]
    fn the_name_resolved_last_comes_first_and_there_are_few() {
        let mut names = Names::default();
        for number in (0..10).chain([5]) {
            let name = format!("{number}.test");
            learn(&mut names, "a", 0, &name, &[(&name, 60, A, "192.0.2.1")]);
        }
        let told = told(&names, "a", "192.0.2.1", 30);
        assert_eq!(told.len(), NAMES_PER_ADDRESS);
        assert_eq!(told[..3], ["5.test", "9.test", "8.test"]);
    }

    #[test]
    fn a_flow_that_began_long_ago_has_the_name_it_began_with() {
        let mut names = Names::default();
        for at in [0, 50, 1000] {
            learn(
                &mut names,
                "a",
                at,
                "a.test",
                &[("a.test", 5, A, "192.0.2.1")],
            );
        }
        assert_eq!(told(&names, "a", "192.0.2.1", 1), ["a.test"]);
    }

    #[test]
    fn a_full_table_forgets_what_no_longer_holds_and_counts_what_did() {
        let mut names = Names::new(Room {
            total: 3,
            per_pod: 2,
        });
        let learn = |names: &mut Names, uid: &str, at: u64, address: &str| {
            learn(names, uid, at, "a.test", &[("a.test", 5, A, address)])
        };
        assert_eq!(learn(&mut names, "a", 0, "192.0.2.1"), 0);
        assert_eq!(learn(&mut names, "a", 1, "192.0.2.2"), 0);
        assert_eq!(learn(&mut names, "a", 2, "192.0.2.3"), 1, "two of a pod");
        assert_eq!(told(&names, "a", "192.0.2.1", 2), [""; 0]);
        assert_eq!(learn(&mut names, "b", 3, "192.0.2.4"), 0);
        assert_eq!(learn(&mut names, "c", 100, "192.0.2.5"), 0, "over anyway");
        assert_eq!(told(&names, "a", "192.0.2.2", 2), [""; 0]);
        assert_eq!(told(&names, "a", "192.0.2.3", 2), ["a.test"]);
        assert_eq!((names.entries.len(), names.ranks.len()), (3, 3));
        let per_pod: usize = names.of_pod.values().map(BTreeSet::len).sum();
        assert_eq!(per_pod, 3);
    }
}
