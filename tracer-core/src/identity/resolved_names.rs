//! The names that each pod resolved an address from.
//!
//! Owns the results of answered exchanges. Never resolves a name, and never infers one from another pod's
//! answers. Input: the ends of client exchanges, in the order of their events.
//!
//! A name holds from its answer for the least TTL on the way to the address, but at least for [`MIN_HOLD`]:
//! connections follow the answer, and clients keep addresses for longer than the TTL (Java for 30 s, browsers
//! for 60 s). Even beyond the TTL it stays true that the pod got this address for this name; it only becomes
//! less likely that it meant this name. Queries name the time of the flow's first packet, so a connection
//! that ends hours later keeps the name it began with, unless the entry had to make room.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use super::owner::Owner;
use crate::model::alias::aliases;
use crate::model::dns::{DnsName, RecordType, ResourceRecord};
use crate::model::time::Timestamp;

/// The shortest time for which a name holds.
const MIN_HOLD: Duration = Duration::from_secs(60);
/// The longest time for which a name holds: a TTL can be 68 years (RFC 2181 section 8).
const MAX_HOLD: Duration = Duration::from_secs(24 * 3600);
/// Names kept per pod and address: an address with more of them (a CDN's) says nothing about the
/// name.
const MAX_NAMES_PER_ADDRESS: usize = 8;

/// How many addresses are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capacity {
    /// For all pods together.
    pub total: usize,
    /// For one pod, so that a crawler takes no room from other pods.
    pub per_pod: usize,
}

impl Default for Capacity {
    fn default() -> Capacity {
        Capacity {
            total: 32_768,
            per_pod: 2_048,
        }
    }
}

/// The order of eviction: the time at which an entry ceases to hold, then a sequence number that makes it
/// unique.
type Rank = (Timestamp, u64);
type Key = (Owner, IpAddr);

/// The addresses that all pods resolved.
#[derive(Debug, Default)]
pub(super) struct ResolvedNames {
    capacity: Capacity,
    entries: HashMap<Key, Entry>,
    /// All entries in the order of eviction: those that cease to hold first go first.
    ranks: BTreeSet<(Rank, Key)>,
    of_pod: HashMap<Owner, BTreeSet<(Rank, IpAddr)>>,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    rank: Rank,
    /// Most recently resolved first.
    names: Vec<ResolvedName>,
}

#[derive(Debug)]
struct ResolvedName {
    name: DnsName,
    from: Timestamp,
    until: Timestamp,
}

impl ResolvedNames {
    #[cfg(test)]
    pub fn new(capacity: Capacity) -> ResolvedNames {
        ResolvedNames {
            capacity,
            ..ResolvedNames::default()
        }
    }

    /// This pod asked for a name and got these records at `at`. Returns how many addresses were evicted whose
    /// names still held.
    pub fn learn(
        &mut self,
        owner: &Owner,
        at: Timestamp,
        asked: &DnsName,
        answers: &[ResourceRecord],
    ) -> u64 {
        let mut evicted = 0;
        for (ip, ttl) in addresses(asked, answers) {
            let until = at.after(ttl.clamp(MIN_HOLD, MAX_HOLD));
            evicted += self.keep(owner, ip, asked, at, until);
        }
        evicted
    }

    /// The names from which this pod had resolved the address at that time, most recently resolved first.
    pub fn names_for(&self, owner: &Owner, ip: IpAddr, at: Timestamp) -> Vec<DnsName> {
        let Some(entry) = self.entries.get(&(owner.clone(), ip)) else {
            return Vec::new();
        };
        let holding = entry
            .names
            .iter()
            .filter(|named| named.from <= at && at < named.until);
        holding.map(|named| named.name.clone()).collect()
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
        let mut evicted = 0;
        let mut names = match self.remove(&key) {
            Some(entry) => entry.names,
            None => {
                evicted += self.make_room(owner, from);
                Vec::new()
            }
        };
        let mut named = ResolvedName {
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
        names.truncate(MAX_NAMES_PER_ADDRESS);
        let latest = names.iter().map(|named| named.until).max().unwrap_or(until);
        self.uses += 1;
        let rank = (latest, self.uses);
        self.ranks.insert((rank, key.clone()));
        self.of_pod
            .entry(owner.clone())
            .or_default()
            .insert((rank, ip));
        self.entries.insert(key, Entry { rank, names });
        evicted
    }

    /// Evicts the entry that ceases to hold first if there is no room for one more. Returns 1 if its names
    /// still held.
    fn make_room(&mut self, owner: &Owner, now: Timestamp) -> u64 {
        let of_pod = self.of_pod.get(owner);
        let over = of_pod.filter(|of_pod| of_pod.len() >= self.capacity.per_pod.max(1));
        let victim = match over.and_then(BTreeSet::first) {
            Some((_, ip)) => Some((owner.clone(), *ip)),
            None if self.entries.len() >= self.capacity.total.max(1) => {
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

/// The addresses in an answer to the name asked for, through a chain of CNAMEs if there is one, each with its
/// TTL. Records of other owner names do not answer it.
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
        names: &mut ResolvedNames,
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

    fn names_at(names: &ResolvedNames, uid: &str, address: &str, at: u64) -> Vec<String> {
        let names = names.names_for(&pod(uid), ip(address), t(at));
        names
            .iter()
            .map(|name| name.relative().to_owned())
            .collect()
    }

    use RecordType::{A, AAAA, CNAME};

    #[test]
    fn a_name_holds_for_its_ttl_but_at_least_for_a_minute() {
        let mut names = ResolvedNames::default();
        let short = [("short.test", 5, A, "192.0.2.1")];
        let long = [("long.test", 300, AAAA, "2001:db8::1")];
        learn(&mut names, "a", 100, "short.test", &short);
        learn(&mut names, "a", 100, "long.test", &long);
        assert_eq!(names_at(&names, "a", "192.0.2.1", 99), [""; 0]);
        assert_eq!(names_at(&names, "a", "192.0.2.1", 159), ["short.test"]);
        assert_eq!(names_at(&names, "a", "192.0.2.1", 160), [""; 0]);
        assert_eq!(names_at(&names, "a", "2001:db8::1", 399), ["long.test"]);
        assert_eq!(names_at(&names, "a", "2001:db8::1", 400), [""; 0]);
    }

    #[test]
    fn a_later_answer_with_a_shorter_ttl_does_not_shorten_the_hold() {
        let mut names = ResolvedNames::default();
        for (at, ttl) in [(0, 300), (10, 5)] {
            learn(
                &mut names,
                "a",
                at,
                "a.test",
                &[("a.test", ttl, A, "192.0.2.1")],
            );
        }
        assert_eq!(names_at(&names, "a", "192.0.2.1", 299), ["a.test"]);
    }

    #[test]
    fn the_end_of_a_cname_chain_is_attributed_to_the_name_asked_for() {
        let mut names = ResolvedNames::default();
        // Out of order: a server may send them like this.
        let chain = [
            ("end.test", 3600, A, "192.0.2.1"),
            ("cdn.test", 90, CNAME, "end.test."),
            ("www.test", 3600, CNAME, "CDN.test."),
            ("other.test", 3600, A, "192.0.2.2"),
        ];
        learn(&mut names, "a", 0, "www.test", &chain);
        assert_eq!(names_at(&names, "a", "192.0.2.1", 89), ["www.test"]);
        assert_eq!(
            names_at(&names, "a", "192.0.2.1", 90),
            [""; 0],
            "the TTL of an alias"
        );
        assert_eq!(
            names_at(&names, "a", "192.0.2.2", 1),
            [""; 0],
            "not part of the answer"
        );
    }

    #[test]
    fn a_cname_loop_terminates() {
        let mut names = ResolvedNames::default();
        let chain = [
            ("a.test", 60, CNAME, "b.test."),
            ("b.test", 60, CNAME, "a.test."),
            ("b.test", 60, A, "192.0.2.1"),
        ];
        learn(&mut names, "a", 0, "a.test", &chain);
        assert_eq!(names_at(&names, "a", "192.0.2.1", 1), ["a.test"]);
    }

    #[test]
    fn names_of_one_pod_do_not_apply_to_another() {
        let mut names = ResolvedNames::default();
        learn(
            &mut names,
            "a",
            0,
            "a.test",
            &[("a.test", 60, A, "192.0.2.1")],
        );
        assert_eq!(names_at(&names, "b", "192.0.2.1", 1), [""; 0]);
    }

    #[test]
    fn names_are_bounded_and_the_most_recent_comes_first() {
        let mut names = ResolvedNames::default();
        for number in (0..10).chain([5]) {
            let name = format!("{number}.test");
            learn(&mut names, "a", 0, &name, &[(&name, 60, A, "192.0.2.1")]);
        }
        let resolved = names_at(&names, "a", "192.0.2.1", 30);
        assert_eq!(resolved.len(), MAX_NAMES_PER_ADDRESS);
        assert_eq!(resolved[..3], ["5.test", "9.test", "8.test"]);
    }

    #[test]
    fn an_old_flow_keeps_the_name_it_began_with() {
        let mut names = ResolvedNames::default();
        for at in [0, 50, 1000] {
            learn(
                &mut names,
                "a",
                at,
                "a.test",
                &[("a.test", 5, A, "192.0.2.1")],
            );
        }
        assert_eq!(names_at(&names, "a", "192.0.2.1", 1), ["a.test"]);
    }

    #[test]
    fn a_full_table_evicts_expired_names_first_and_counts_names_that_held() {
        let mut names = ResolvedNames::new(Capacity {
            total: 3,
            per_pod: 2,
        });
        let learn = |names: &mut ResolvedNames, uid: &str, at: u64, address: &str| {
            learn(names, uid, at, "a.test", &[("a.test", 5, A, address)])
        };
        assert_eq!(learn(&mut names, "a", 0, "192.0.2.1"), 0);
        assert_eq!(learn(&mut names, "a", 1, "192.0.2.2"), 0);
        assert_eq!(
            learn(&mut names, "a", 2, "192.0.2.3"),
            1,
            "the limit per pod is two"
        );
        assert_eq!(names_at(&names, "a", "192.0.2.1", 2), [""; 0]);
        assert_eq!(learn(&mut names, "b", 3, "192.0.2.4"), 0);
        assert_eq!(
            learn(&mut names, "c", 100, "192.0.2.5"),
            0,
            "it no longer held"
        );
        assert_eq!(names_at(&names, "a", "192.0.2.2", 2), [""; 0]);
        assert_eq!(names_at(&names, "a", "192.0.2.3", 2), ["a.test"]);
        assert_eq!((names.entries.len(), names.ranks.len()), (3, 3));
        let per_pod: usize = names.of_pod.values().map(BTreeSet::len).sum();
        assert_eq!(per_pod, 3);
    }
}
