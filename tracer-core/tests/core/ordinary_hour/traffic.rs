//! Healthy traffic of pods, made with a fixed seed; the events that must be reported, counted while it is
//! made; and faults.
//!
//! Ordinary traffic has faults: search domains fail before a name is found, a packet is lost and sent again,
//! a ping is lost among others, a server pauses, an old connection ends with a reset.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::cluster::{DNS, Guest, NODE, OTHER_NODE, OUTSIDE, PLACES, SERVING, inventory};
use super::story::{Happening, MINUTE, MS, SECOND, Story};

mod connections;
mod lookups;
mod mishaps;
mod steps;

/// A time in microseconds.
const US: u64 = 1000;
/// Average interval between a pod's actions.
const PAUSE: u64 = 100 * SECOND;
/// The API's changes arrive in batches of this interval.
const NEWS: u64 = 2 * SECOND;
/// Length and interval of the DNS server's pauses.
const STALL: u64 = 1800 * MS;
const STALL_EVERY: u64 = 11 * MINUTE;

/// The events that must be reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Lookups that found something.
    pub lookups: u64,
    /// Queries with an answer that has what was asked for, and with NXDOMAIN.
    pub answers: u64,
    pub nxdomains: u64,
    /// Connections of clients, and to servers of this node.
    pub connections: u64,
    pub accepted: u64,
    /// Echo requests and replies.
    pub pings: u64,
    pub pongs: u64,
}

/// The traffic of a while.
pub struct Hour {
    pub story: Story,
    pub done: Done,
    /// How many pods there were.
    pub pods: u32,
    guests: Vec<Guest>,
}

/// Something that fails.
pub struct Fault {
    /// The rule that has to find it.
    pub rule: &'static str,
    happens: fn(&mut Pod<'_>),
}

/// One of each sort.
pub const FAULTS: &[Fault] = &[
    Fault {
        rule: "nxdomain-other-namespace",
        happens: |pod| {
            let name = match pod.guest.namespace {
                "shop" => "api",
                _ => "web",
            };
            for suffix in pod.suffixes() {
                pod.ask("A", &format!("{name}.{suffix}"), "NXDOMAIN", "+soa=5:5");
            }
        },
    },
    Fault {
        rule: "ping-clusterip",
        happens: |pod| pod.ping("10.152.183.40", 5, 0),
    },
    Fault {
        rule: "connection-refused",
        happens: |pod| {
            let (from, to) = pod.sockets("10.152.183.40:80");
            pod.story.out(
                pod.now,
                pod.guest.ifindex,
                format!("tcp {from} {to} syn 100"),
            );
            pod.story.back(
                pod.now + MS,
                pod.guest.ifindex,
                format!("tcp {to} {from} rst+ack 0 101"),
            );
        },
    },
    Fault {
        rule: "connect-timeout",
        happens: |pod| {
            let (from, to) = pod.sockets("203.0.113.9:443");
            for after in [0, 1, 3, 7] {
                let packet = format!("tcp {from} {to} syn 100");
                pod.story
                    .out(pod.now + after * SECOND, pod.guest.ifindex, packet);
            }
        },
    },
    Fault {
        rule: "dns-timeout",
        happens: |pod| {
            let (from, to) = pod.sockets("10.152.183.10:53");
            for after in [0, 5] {
                let packet = format!("udp {from} {to} query 7 A web.shop.svc.cluster.local.");
                pod.story
                    .out(pod.now + after * SECOND, pod.guest.ifindex, packet);
            }
        },
    },
];

/// An action of a pod.
type Deed = fn(&mut Pod<'_>);

/// The actions of pods, and their relative frequency.
const DEEDS: [(u32, Deed); 22] = [
    (12, |pod| pod.own_namespace()),
    (8, |pod| pod.other_namespace()),
    (6, |pod| pod.outside()),
    (4, |pod| pod.nslookup()),
    (4, |pod| pod.absolute()),
    (3, |pod| pod.one_type_after_the_other()),
    (2, |pod| pod.truncated()),
    (2, |pod| pod.service_record()),
    (2, |pod| pod.reverse()),
    (2, |pod| pod.reverse_unknown()),
    (2, |pod| pod.alias()),
    (4, |pod| pod.headless()),
    (6, |pod| pod.reset_at_the_end()),
    (2, |pod| pod.syn_lost()),
    (3, |pod| pod.kept_open()),
    (4, |pod| pod.ping_pod()),
    (3, |pod| pod.ping_outside()),
    (4, |pod| pod.datagrams()),
    (1, |pod| pod.query_lost()),
    (1, |pod| pod.query_rejected_once()),
    (2, |pod| pod.answer_too_late()),
    (1, |pod| pod.trace_route()),
];

impl Hour {
    /// The traffic of this duration.
    pub fn generate(seed: u64, length: u64) -> Hour {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut hour = Hour {
            story: Story::default(),
            done: Done::default(),
            pods: 0,
            guests: Vec::new(),
        };
        for place in 0..PLACES {
            let mut from = SECOND;
            while from < length {
                // Servers live longer than jobs.
                let minutes = if place < SERVING { 10..30 } else { 3..16 };
                let life = rng.random_range(minutes) * MINUTE + rng.random_range(0..MINUTE);
                let until = (from + life).min(length + 20 * MINUTE);
                let guest = Guest::new(hour.pods, place, from, until);
                hour.pods += 1;
                hour.guests.push(guest);
                // The address is free for a moment.
                from = until + rng.random_range(3 * SECOND..20 * SECOND);
            }
        }
        hour.cluster(length, &mut rng);
        for index in 0..hour.guests.len() {
            hour.live(index, length, &mut rng);
        }
        hour
    }

    /// Interfaces are attached and removed; the API reports some of it late.
    fn cluster(&mut self, length: u64, rng: &mut StdRng) {
        let mut news: BTreeMap<u64, Vec<(bool, usize)>> = BTreeMap::new();
        let portion = |time: u64| time.div_ceil(NEWS) * NEWS;
        for (index, guest) in self.guests.iter().enumerate() {
            let late = guest.from > MINUTE && rng.random_bool(0.2);
            let known = if late {
                guest.from
            } else {
                guest.from.saturating_sub(NEWS + SECOND)
            };
            news.entry(portion(known)).or_default().push((true, index));
            news.entry(portion(guest.until))
                .or_default()
                .push((false, index));
            self.story
                .at(guest.from, Happening::Attached(guest.ifindex));
            let found = guest.from + rng.random_range(MS..800 * MS);
            self.story
                .at(found, Happening::Found(guest.ifindex, guest.uid.clone()));
            self.story.at(guest.until, Happening::Gone(guest.ifindex));
        }
        let mut there: BTreeMap<usize, &Guest> = BTreeMap::new();
        for (time, changes) in news {
            for (comes, index) in changes {
                if comes {
                    there.insert(index, &self.guests[index]);
                } else {
                    there.remove(&index);
                }
            }
            if time < length + 2 * MINUTE {
                let cluster = inventory(there.values().copied());
                self.story.at(time, Happening::Cluster(Box::new(cluster)));
            }
        }
    }

    /// A pod's actions, one after the other.
    fn live(&mut self, index: usize, length: u64, rng: &mut StdRng) {
        let guest = self.guests[index].clone();
        let weights = DEEDS.iter().map(|(weight, _)| weight).sum();
        // At once, as jobs do.
        let mut now = guest.from + rng.random_range(5 * MS..SECOND);
        let mut port = rng.random_range(32_768..50_000);
        let last = guest.until.min(length);
        loop {
            let mut chosen = rng.random_range(0..weights);
            let deed = DEEDS.iter().find(|(weight, _)| {
                let this = chosen < *weight;
                chosen = chosen.wrapping_sub(*weight);
                this
            });
            let mut pod = self.pod(&guest, now, port, rng);
            pod.settled = now > guest.from + 5 * SECOND;
            let (_, happens) = deed.expect("one is chosen");
            happens(&mut pod);
            (now, port) = (pod.now, pod.port);
            if guest.place < SERVING {
                let mut pod = self.pod(&guest, now, port, rng);
                pod.asked_for_its_health();
                port = pod.port;
            }
            // Actions do not overlap.
            now += 10 * SECOND + rng.random_range(0..2 * (PAUSE - 10 * SECOND));
            // The longest action takes some seconds, and its events come before the pod is removed.
            if now + 30 * SECOND > last {
                return;
            }
        }
    }

    fn pod<'a>(
        &'a mut self,
        guest: &'a Guest,
        now: u64,
        port: u16,
        rng: &'a mut StdRng,
    ) -> Pod<'a> {
        Pod {
            guest,
            now,
            port,
            settled: true,
            rng,
            story: &mut self.story,
            done: &mut self.done,
            others: &self.guests,
        }
    }

    /// Gives a pod that lives long enough a fault, and returns its name.
    pub fn inject(&mut self, time: u64, fault: &Fault) -> String {
        let guest = self.guests.iter().find(|guest| {
            guest.place >= SERVING && guest.from + MINUTE < time && time + 2 * MINUTE < guest.until
        });
        let guest = guest.expect("a pod that is there").clone();
        let mut rng = StdRng::seed_from_u64(3);
        (fault.happens)(&mut self.pod(&guest, time, 60_000, &mut rng));
        guest.name
    }
}

/// A pod at a moment.
pub struct Pod<'a> {
    guest: &'a Guest,
    now: u64,
    port: u16,
    /// It has existed long enough for everyone to know it.
    settled: bool,
    rng: &'a mut StdRng,
    story: &'a mut Story,
    done: &'a mut Done,
    others: &'a [Guest],
}
