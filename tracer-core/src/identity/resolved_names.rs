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

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use super::owner::Owner;
use crate::fair_table::{self, Evicted, FairTable, Room, Update};
use crate::model::alias::aliases;
use crate::model::dns::{DnsName, RecordType, ResourceRecord};
use crate::model::event::Ends;
use crate::model::flow::Ifindex;
use crate::model::heap_bytes::{HeapBytes, slice_bytes};
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;

/// The shortest time for which a name holds.
const MIN_HOLD: Duration = Duration::from_secs(60);
/// The longest time for which a name holds: a TTL can be 68 years (RFC 2181 section 8).
const MAX_HOLD: Duration = Duration::from_secs(24 * 3600);
/// Names kept per pod and address: an address with more of them (a CDN's) says nothing about the
/// name.
const MAX_NAMES_PER_ADDRESS: usize = 8;

/// A pod and an address that it resolved.
#[derive(Debug)]
struct Key {
    owner: Owner,
    ip: IpAddr,
    /// The interface of the exchange. A pod has the same names on all its interfaces.
    ifindex: Ifindex,
}

impl Key {
    fn new(ends: &Ends, ip: IpAddr) -> Key {
        Key {
            owner: Owner::from_ends(ends),
            ip,
            ifindex: ends.ifindex,
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.ip == other.ip && self.owner == other.owner
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.owner.hash(state);
        self.ip.hash(state);
    }
}

impl fair_table::Key for Key {
    type Owner = Ifindex;

    fn owner(&self) -> Ifindex {
        self.ifindex
    }
}

/// Most recently resolved first.
type Names = Vec<ResolvedName>;

/// The addresses that all pods resolved. Room is made from the interface whose names take most memory: the
/// address goes that it resolved the longest time ago.
#[derive(Debug)]
pub(super) struct ResolvedNames {
    entries: FairTable<Key, Names>,
}

#[derive(Debug)]
struct ResolvedName {
    name: DnsName,
    from: Timestamp,
    until: Timestamp,
}

impl ResolvedNames {
    pub fn new(bytes: usize) -> ResolvedNames {
        ResolvedNames {
            entries: FairTable::new(Room {
                entries: usize::MAX,
                bytes,
            }),
        }
    }

    /// This pod asked for a name and got these records at `at`. Counts the addresses that made room although
    /// their names still held.
    pub fn learn(
        &mut self,
        ends: &Ends,
        at: Timestamp,
        asked: &DnsName,
        answers: &[ResourceRecord],
        losses: &mut Losses,
    ) {
        if answers.is_empty() {
            return;
        }
        for (ip, ttl) in addresses(asked, answers) {
            let until = at.after(ttl.clamp(MIN_HOLD, MAX_HOLD));
            for (key, names) in self.keep(Key::new(ends, ip), asked, at, until) {
                if names.iter().any(|named| named.until > at) {
                    let reason = "address name table full";
                    losses.add_on(key.ifindex, Stage::Table, reason, 1);
                }
            }
        }
    }

    /// The names from which this pod had resolved its peer's address at that time, most recently resolved
    /// first.
    pub fn names_for(&self, ends: &Ends, at: Timestamp) -> Vec<DnsName> {
        if self.entries.is_empty() {
            return Vec::new();
        }
        let names = self.entries.get(&Key::new(ends, ends.peer.ip));
        let holding = names
            .into_iter()
            .flatten()
            .filter(|named| named.from <= at && at < named.until);
        holding.map(|named| named.name.clone()).collect()
    }

    fn keep(
        &mut self,
        key: Key,
        name: &DnsName,
        from: Timestamp,
        until: Timestamp,
    ) -> Evicted<Key, Names> {
        // Names are kept beyond their time, for connections that began in it.
        let never = Timestamp(u64::MAX);
        let known = self.entries.update(&key, |names| {
            put(names, name, from, until);
            Update {
                result: (),
                heap: bytes(names),
                deadline: never,
            }
        });
        if let Some(((), evicted)) = known {
            return evicted;
        }
        let mut names = Vec::with_capacity(1);
        put(&mut names, name, from, until);
        let bytes = bytes(&names);
        self.entries.insert(key, names, bytes, never)
    }
}

/// Puts a name first.
fn put(names: &mut Names, name: &DnsName, from: Timestamp, until: Timestamp) {
    match names.iter().position(|known| known.name == *name) {
        Some(place) => {
            let [before @ .., known] = &mut names[..=place] else {
                return;
            };
            // A connection made after the first answer can end after this one.
            known.from = known.from.min(from);
            known.until = known.until.max(until);
            if !before.is_empty() {
                names[..=place].rotate_right(1);
            }
        }
        None => {
            names.truncate(MAX_NAMES_PER_ADDRESS - 1);
            let name = name.clone();
            names.insert(0, ResolvedName { name, from, until });
        }
    }
}

/// The memory that the names of an address own.
fn bytes(names: &Names) -> usize {
    let texts = names.iter().map(|named| named.name.heap_bytes());
    slice_bytes(names) + texts.sum::<usize>()
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
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use super::*;
    use crate::model::flow::Role;
    use crate::model::identity::{PeerEnd, PodEnd, PodIdentity};

    fn t(seconds: u64) -> Timestamp {
        Timestamp(seconds * 1_000_000_000)
    }

    /// The ends of a flow of this pod, whose interface is its UID's first byte.
    fn ends(uid: &str, peer: &str) -> Ends {
        let pod = PodIdentity {
            namespace: "default".into(),
            name: uid.into(),
            uid: uid.into(),
            workload: None,
            node: None,
        };
        Ends {
            ifindex: Ifindex(u32::from(uid.as_bytes()[0])),
            role: Role::Client,
            pod: PodEnd {
                ip: ip("10.0.0.1"),
                port: None,
                identity: Ok(Arc::new(pod)),
                container: None,
                at_uplink: false,
                process: None,
            },
            peer: PeerEnd {
                ip: ip(peer),
                port: None,
                pod: None,
                host_pod: None,
                service: None,
                node: None,
                names: Vec::new(),
                backend: None,
            },
            peer_traced_here: false,
        }
    }

    fn names() -> ResolvedNames {
        ResolvedNames::new(1 << 20)
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
        let mut losses = Losses::default();
        let ends = ends(uid, "192.0.2.99");
        names.learn(&ends, t(at), &DnsName::new(asked), &records, &mut losses);
        losses.total()
    }

    fn names_at(names: &ResolvedNames, uid: &str, address: &str, at: u64) -> Vec<String> {
        let names = names.names_for(&ends(uid, address), t(at));
        names
            .iter()
            .map(|name| name.relative().to_owned())
            .collect()
    }

    use RecordType::{A, AAAA, CNAME};

    #[test]
    fn a_name_holds_for_its_ttl_but_at_least_for_a_minute() {
        let mut names = names();
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
        let mut names = names();
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
        let mut names = names();
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
        let mut names = names();
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
        let mut names = names();
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
        let mut names = names();
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
        let mut names = names();
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
    fn a_pod_that_resolves_many_addresses_takes_room_from_no_other_pod() {
        let mut names = ResolvedNames::new(64 << 10);
        let mut evicted = 0;
        learn(
            &mut names,
            "b",
            0,
            "b.test",
            &[("b.test", 60, A, "192.0.2.1")],
        );
        for number in 0..10_000_u32 {
            let address = Ipv4Addr::from_bits(number).to_string();
            evicted += learn(&mut names, "a", 1, "a.test", &[("a.test", 60, A, &address)]);
        }
        assert_eq!(names_at(&names, "b", "192.0.2.1", 2), ["b.test"]);
        assert_eq!(
            names_at(&names, "a", "0.0.39.15", 2),
            ["a.test"],
            "the latest"
        );
        assert_eq!(names_at(&names, "a", "0.0.0.0", 2), [""; 0]);
        assert_eq!(evicted + names.entries.len() as u64, 10_001);
        assert!(names.entries.bytes() <= 64 << 10);
    }

    #[test]
    fn names_that_no_longer_held_are_not_counted_when_they_make_room() {
        let mut names = ResolvedNames::new(FairTable::<Key, Names>::ENTRY_BYTES + 200);
        assert_eq!(
            learn(
                &mut names,
                "a",
                0,
                "a.test",
                &[("a.test", 5, A, "192.0.2.1")]
            ),
            0
        );
        assert_eq!(
            learn(
                &mut names,
                "a",
                100,
                "a.test",
                &[("a.test", 5, A, "192.0.2.2")]
            ),
            0
        );
        assert_eq!(
            names_at(&names, "a", "192.0.2.1", 1),
            [""; 0],
            "it made room"
        );
        assert_eq!(
            learn(
                &mut names,
                "a",
                101,
                "a.test",
                &[("a.test", 5, A, "192.0.2.3")]
            ),
            1
        );
    }
}
