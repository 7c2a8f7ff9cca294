//! What pods do when all is well, made with a fixed seed; what of it must be told, counted while it is made; and faults.
//!
//! Ordinary is not spotless: names are searched for in vain before they are found, a packet is lost and sent again, a ping is
//! lost among others, a server stands still for a moment, an old connection ends with a reset.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::cluster::{DNS, Guest, NODE, OTHER_NODE, OUTSIDE, PLACES, SERVING, inventory};
use super::story::{Happening, MINUTE, MS, SECOND, Story};

/// Microseconds.
const US: u64 = 1000;
/// A pod does something about so often.
const PAUSE: u64 = 100 * SECOND;
/// The API's news come in such portions.
const NEWS: u64 = 2 * SECOND;
/// The DNS server stands still for so long, every so often.
const STALL: u64 = 1800 * MS;
const STALL_EVERY: u64 = 11 * MINUTE;

/// What has to be told.
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

/// Something that a pod does.
type Deed = fn(&mut Pod<'_>);

/// What a pod can do, and how often in comparison with the rest.
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
    /// The traffic of so long.
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

    /// Interfaces come and go; the API tells of it, to some pods' disadvantage late.
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

    /// A pod does one thing after the other.
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
            // Nothing of one deed reaches into the next.
            now += 10 * SECOND + rng.random_range(0..2 * (PAUSE - 10 * SECOND));
            // The longest deed takes some seconds, and what it leads to is told before the pod goes.
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

    /// A pod that is there for a while has a fault then. Its name.
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
    /// It is there for long enough that everybody knows it.
    settled: bool,
    rng: &'a mut StdRng,
    story: &'a mut Story,
    done: &'a mut Done,
    others: &'a [Guest],
}

impl Pod<'_> {
    fn sockets(&mut self, peer: &str) -> (String, String) {
        // Around, past the ports of faults.
        self.port = if self.port >= 59_000 {
            32_768
        } else {
            self.port + 1
        };
        (format!("{}:{}", self.guest.ip, self.port), peer.to_owned())
    }

    fn suffixes(&self) -> [String; 4] {
        [
            format!("{}.svc.cluster.local.", self.guest.namespace),
            "svc.cluster.local.".to_owned(),
            "cluster.local.".to_owned(),
            String::new(),
        ]
    }

    /// As long as an answer takes; while the DNS server stands still until it goes on.
    fn answered(&mut self) -> u64 {
        let usual = self.rng.random_range(150 * US..3 * MS);
        let stalled = self.now % STALL_EVERY;
        if self.now > STALL_EVERY && stalled < STALL {
            STALL - stalled + usual
        } else {
            usual
        }
    }

    /// A query of one type from a socket of its own, with its answer.
    fn ask(&mut self, qtype: &str, name: &str, rcode: &str, answer: &str) {
        let (from, to) = self.sockets(&format!("{DNS}:53"));
        let latency = self.answered();
        self.query(&from, &to, qtype, name, rcode, answer, latency);
        self.now += latency + 100 * US;
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "they are the words of a query and of its answer"
    )]
    fn query(
        &mut self,
        from: &str,
        to: &str,
        qtype: &str,
        name: &str,
        rcode: &str,
        answer: &str,
        latency: u64,
    ) {
        let id: u16 = self.rng.random();
        self.story.out(
            self.now,
            self.guest.ifindex,
            format!("udp {from} {to} query {id} {qtype} {name}"),
        );
        let packet = format!("udp {to} {from} answer {id} {rcode} {qtype} {name} {answer}");
        self.story
            .back(self.now + latency, self.guest.ifindex, packet);
        match (rcode, answer) {
            ("NXDOMAIN", _) => self.done.nxdomains += 1,
            ("NOERROR", answer) if !answer.starts_with('+') => self.done.answers += 1,
            _ => {}
        }
    }

    /// A and AAAA from one socket, as glibc asks.
    fn both(&mut self, name: &str, found: Option<&str>) {
        let (from, to) = self.sockets(&format!("{DNS}:53"));
        let latency = self.answered();
        let soa = "+soa=5:5";
        let (rcode, a) = match found {
            Some(address) => ("NOERROR", format!("5 A {address}")),
            None => ("NXDOMAIN", soa.to_owned()),
        };
        self.query(&from, &to, "A", name, rcode, &a, latency);
        self.now += 20 * US;
        self.query(&from, &to, "AAAA", name, rcode, soa, latency + 50 * US);
        self.now += latency + 200 * US;
    }

    /// getaddrinfo: behind which of the search domains it is found, the last being none.
    fn look_up(&mut self, name: &str, found_behind: usize, address: &str) {
        for (number, suffix) in self
            .suffixes()
            .into_iter()
            .enumerate()
            .take(found_behind + 1)
        {
            let found = (number == found_behind).then_some(address);
            self.both(&format!("{name}.{suffix}"), found);
        }
        self.done.lookups += 1;
    }

    /// A connection with a request and an answer; how it ends is the flag.
    fn connect(&mut self, peer: &str, last: &str) {
        let (from, to) = self.sockets(peer);
        self.open(&from, &to);
        self.now += self.rng.random_range(MS..300 * MS);
        let ifindex = self.guest.ifindex;
        match last {
            "rst" => self
                .story
                .out(self.now, ifindex, format!("tcp {from} {to} rst 201")),
            _ => {
                self.story.out(
                    self.now,
                    ifindex,
                    format!("tcp {from} {to} fin+ack 201 901"),
                );
                self.story.back(
                    self.now + 300 * US,
                    ifindex,
                    format!("tcp {to} {from} fin+ack 901 202"),
                );
                self.story.out(
                    self.now + 400 * US,
                    ifindex,
                    format!("tcp {from} {to} ack 202 902"),
                );
            }
        }
        self.now += MS;
    }

    fn open(&mut self, from: &str, to: &str) {
        let ifindex = self.guest.ifindex;
        let handshake = self.rng.random_range(50 * US..20 * MS);
        self.story
            .out(self.now, ifindex, format!("tcp {from} {to} syn 100"));
        self.story.back(
            self.now + handshake,
            ifindex,
            format!("tcp {to} {from} syn+ack 900 101"),
        );
        self.now += handshake + 50 * US;
        self.story
            .out(self.now, ifindex, format!("tcp {from} {to} ack 101 901"));
        self.done.connections += 1;
    }

    fn own_namespace(&mut self) {
        let (name, address, port) = match self.guest.namespace {
            "shop" => ("web", "10.152.183.40", 80),
            _ => ("api", "10.152.183.41", 443),
        };
        self.look_up(name, 0, address);
        self.connect(&format!("{address}:{port}"), "fin");
    }

    fn other_namespace(&mut self) {
        let (name, address, port) = match self.guest.namespace {
            "shop" => ("api.backend", "10.152.183.41", 443),
            _ => ("web.shop", "10.152.183.40", 80),
        };
        self.look_up(name, 1, address);
        self.connect(&format!("{address}:{port}"), "fin");
    }

    fn outside(&mut self) {
        self.look_up("www.example.com", 3, OUTSIDE);
        self.connect(&format!("{OUTSIDE}:443"), "fin");
    }

    /// A behind each search domain, and AAAA of what was found.
    fn nslookup(&mut self) {
        let [own, services, ..] = self.suffixes();
        self.ask("A", &format!("web.shop.{own}"), "NXDOMAIN", "+soa=5:5");
        self.ask(
            "A",
            &format!("web.shop.{services}"),
            "NOERROR",
            "5 A 10.152.183.40",
        );
        self.ask(
            "AAAA",
            &format!("web.shop.{services}"),
            "NOERROR",
            "+soa=5:5",
        );
        self.done.lookups += 1;
    }

    fn absolute(&mut self) {
        self.both("api.backend.svc.cluster.local.", Some("10.152.183.41"));
        self.done.lookups += 1;
        self.connect("10.152.183.41:443", "fin");
    }

    /// gethostbyname: AAAA behind all search domains, then A.
    fn one_type_after_the_other(&mut self) {
        for suffix in self.suffixes() {
            let rcode = if suffix.starts_with("svc") {
                "NOERROR"
            } else {
                "NXDOMAIN"
            };
            self.ask("AAAA", &format!("web.shop.{suffix}"), rcode, "+soa=5:5");
        }
        self.ask(
            "A",
            &format!("web.shop.{}.svc.cluster.local.", self.guest.namespace),
            "NXDOMAIN",
            "+soa=5:5",
        );
        self.ask(
            "A",
            "web.shop.svc.cluster.local.",
            "NOERROR",
            "5 A 10.152.183.40",
        );
        self.done.lookups += 1;
    }

    /// Asked again over TCP.
    fn truncated(&mut self) {
        let name = "TXT big.example.com.";
        let (from, to) = self.sockets(&format!("{DNS}:53"));
        let (id, ifindex): (u16, _) = (self.rng.random(), self.guest.ifindex);
        self.story.out(
            self.now,
            ifindex,
            format!("udp {from} {to} query {id} {name}"),
        );
        self.now += self.answered();
        self.story.back(
            self.now,
            ifindex,
            format!("udp {to} {from} answer {id} NOERROR+TC {name}"),
        );
        self.now += 300 * US;
        let (from, to) = self.sockets(&format!("{DNS}:53"));
        self.open(&from, &to);
        self.story.out(
            self.now,
            ifindex,
            format!("tcp {from} {to} ack 101 901 query {id} {name}"),
        );
        self.now += self.answered();
        self.story.back(
            self.now,
            ifindex,
            format!("tcp {to} {from} ack 901 134 answer {id} NOERROR {name} 60 TXT text fill 1400"),
        );
        self.now += MS;
        self.story.out(
            self.now,
            ifindex,
            format!("tcp {from} {to} fin+ack 134 2303"),
        );
        self.story.back(
            self.now + 200 * US,
            ifindex,
            format!("tcp {to} {from} fin+ack 2303 135"),
        );
        self.now += MS;
        self.done.answers += 1;
        self.done.lookups += 1;
    }

    fn service_record(&mut self) {
        self.ask(
            "SRV",
            "_http._tcp.web.shop.svc.cluster.local.",
            "NOERROR",
            "5 SRV 0:100:80:web.shop.svc.cluster.local.",
        );
        self.done.lookups += 1;
    }

    fn reverse(&mut self) {
        self.ask(
            "PTR",
            "40.183.152.10.in-addr.arpa.",
            "NOERROR",
            "5 PTR web.shop.svc.cluster.local.",
        );
        self.done.lookups += 1;
    }

    /// Who writes logs asks for names of addresses; most have none.
    fn reverse_unknown(&mut self) {
        self.ask("PTR", "9.113.0.203.in-addr.arpa.", "NXDOMAIN", "+soa=60:60");
    }

    fn alias(&mut self) {
        let name = "partner.shop.svc.cluster.local.";
        let answer = format!("5 CNAME www.example.com. 60 A {OUTSIDE}");
        self.ask("A", name, "NOERROR", &answer);
        self.done.lookups += 1;
        self.connect(&format!("{OUTSIDE}:443"), "fin");
    }

    /// A pod behind a headless Service, by its own address: both pods' interfaces see it.
    fn headless(&mut self) {
        let Some(server) = self.server() else { return };
        self.look_up("db.backend", 1, &server.ip.to_string());
        let began = self.now;
        self.connect(&format!("{}:5432", server.ip), "fin");
        let from = format!("{}:{}", self.guest.ip, self.port);
        self.accepts(&server, &from, 5432, began);
    }

    /// A server that is there for a while yet, and not this pod.
    fn server(&mut self) -> Option<Guest> {
        let place = self.rng.random_range(0..SERVING);
        let server = self.others.iter().find(|server| {
            server.place == place
                && server.ifindex != self.guest.ifindex
                && server.from + 10 * SECOND < self.now
                && self.now + 20 * SECOND < server.until
        });
        server.filter(|_| self.settled).cloned()
    }

    /// What a server's own interface sees of a connection.
    fn accepts(&mut self, server: &Guest, from: &str, port: u16, at: u64) {
        let to = format!("{}:{port}", server.ip);
        let packets = [
            (0, true, format!("tcp {from} {to} syn 100")),
            (20 * US, false, format!("tcp {to} {from} syn+ack 900 101")),
            (90 * US, true, format!("tcp {from} {to} ack 101 901")),
            (90 * MS, true, format!("tcp {from} {to} fin+ack 201 901")),
            (91 * MS, false, format!("tcp {to} {from} fin+ack 901 202")),
        ];
        for (after, to_pod, packet) in packets {
            if to_pod {
                self.story.back(at + after, server.ifindex, packet);
            } else {
                self.story.out(at + after, server.ifindex, packet);
            }
        }
        self.done.accepted += 1;
    }

    fn reset_at_the_end(&mut self) {
        let peer = ["10.152.183.40:80", "10.152.183.41:443"][self.rng.random_range(0..2)];
        self.connect(peer, "rst");
    }

    /// The first SYN is lost and sent again after a second.
    fn syn_lost(&mut self) {
        let (from, to) = self.sockets(&format!("{OUTSIDE}:443"));
        self.story.out(
            self.now,
            self.guest.ifindex,
            format!("tcp {from} {to} syn 100"),
        );
        self.now += SECOND;
        self.open(&from, &to);
    }

    /// Used now and then, or not at all for longer than anybody remembers it; then it ends.
    fn kept_open(&mut self) {
        let (from, to) = self.sockets("10.152.183.40:80");
        self.open(&from, &to);
        let (begun, ifindex) = (self.now, self.guest.ifindex);
        let end = begun + self.rng.random_range(MINUTE..8 * MINUTE);
        if end + MINUTE > self.guest.until {
            return;
        }
        if self.rng.random_bool(0.7) {
            let uses = (end - begun) / (20 * SECOND);
            for number in 1..uses {
                let counted =
                    Happening::Counted(ifindex, from.clone(), to.clone(), 4 + 10 * number);
                self.story.at(begun + number * 20 * SECOND, counted);
            }
        }
        let last = if self.rng.random_bool(0.3) {
            "rst"
        } else {
            "fin+ack"
        };
        self.story
            .back(end, ifindex, format!("tcp {to} {from} {last} 901 201"));
    }

    /// So many echo requests, of which that many are answered.
    fn ping(&mut self, peer: &str, sent: u64, answered: u64) {
        let (id, ifindex): (u16, _) = (self.rng.random(), self.guest.ifindex);
        let own = self.guest.ip;
        for number in 0..sent {
            self.story.out(
                self.now,
                ifindex,
                format!("icmp {own} {peer} request {id} {number}"),
            );
            if number < answered {
                let reply = format!("icmp {peer} {own} reply {id} {number}");
                self.story.back(self.now + 300 * US, ifindex, reply);
            }
            self.now += SECOND;
        }
        self.done.pings += sent;
        self.done.pongs += answered;
    }

    fn ping_pod(&mut self) {
        match self.server() {
            Some(server) => self.ping(&server.ip.to_string(), 3, 3),
            None => self.ping(OTHER_NODE, 3, 3),
        }
    }

    /// One in many is lost.
    fn ping_outside(&mut self) {
        self.ping(OUTSIDE, 5, 4);
    }

    /// Somebody who answers, somebody who takes and says nothing (statsd, syslog).
    fn datagrams(&mut self) {
        let ifindex = self.guest.ifindex;
        let (from, to) = self.sockets(&format!("{OUTSIDE}:123"));
        self.story
            .out(self.now, ifindex, format!("udp {from} {to} data 48"));
        self.story.back(
            self.now + 9 * MS,
            ifindex,
            format!("udp {to} {from} data 48"),
        );
        let (from, to) = self.sockets(&format!("{OTHER_NODE}:8125"));
        for _ in 0..3 {
            self.story
                .out(self.now, ifindex, format!("udp {from} {to} data 90"));
            self.now += 100 * MS;
        }
    }

    /// Lost with its answer; asked again after glibc's five seconds.
    fn query_lost(&mut self) {
        let (from, to) = self.sockets(&format!("{DNS}:53"));
        let (id, ifindex): (u16, _) = (self.rng.random(), self.guest.ifindex);
        let name = "web.shop.svc.cluster.local.";
        let ids = [(id, "A"), (id.wrapping_add(1), "AAAA")];
        for (id, qtype) in ids {
            self.story.out(
                self.now,
                ifindex,
                format!("udp {from} {to} query {id} {qtype} {name}"),
            );
        }
        self.now += 5 * SECOND;
        for (id, qtype) in ids {
            let answer = if qtype == "A" {
                "5 A 10.152.183.40"
            } else {
                "+soa=5:5"
            };
            self.story.out(
                self.now,
                ifindex,
                format!("udp {from} {to} query {id} {qtype} {name}"),
            );
            self.now += 2 * MS;
            self.story.back(
                self.now,
                ifindex,
                format!("udp {to} {from} answer {id} NOERROR {qtype} {name} {answer}"),
            );
        }
        self.done.answers += 1;
        self.done.lookups += 1;
    }

    /// One of two DNS servers has just gone, and the node does not know yet; the resolver asks again at once.
    fn query_rejected_once(&mut self) {
        let (from, to) = self.sockets(&format!("{DNS}:53"));
        let (id, ifindex): (u16, _) = (self.rng.random(), self.guest.ifindex);
        let query = format!("udp {from} {to} query {id} A web.shop.svc.cluster.local.");
        let own = self.guest.ip;
        self.story.out(self.now, ifindex, query.clone());
        self.story.back(
            self.now + 200 * US,
            ifindex,
            format!("icmp {NODE} {own} port-unreachable {query}"),
        );
        self.now += 500 * US;
        self.ask(
            "A",
            "web.shop.svc.cluster.local.",
            "NOERROR",
            "5 A 10.152.183.40",
        );
        self.done.lookups += 1;
    }

    /// A program that needs A only closes its socket; the answer to AAAA is rejected by its own pod.
    fn answer_too_late(&mut self) {
        let own = self.guest.ip;
        self.look_up("web.shop.svc.cluster.local", 3, "10.152.183.40");
        let from = format!("{own}:{}", self.port);
        let quoted =
            format!("udp {DNS}:53 {from} answer 9 NOERROR AAAA web.shop.svc.cluster.local.");
        let packet = format!("icmp {own} {DNS} port-unreachable {quoted}");
        self.story.out(self.now, self.guest.ifindex, packet);
    }

    /// Probes to ports that nobody has; routers on the way and the target say so.
    fn trace_route(&mut self) {
        let own = self.guest.ip;
        let (from, _) = self.sockets("");
        for hop in 0..4_u16 {
            let probe = format!("udp {from} {OUTSIDE}:{} data 32", 33_434 + hop);
            let (router, error) = match hop {
                0 => (NODE, "time-exceeded"),
                1 | 2 => ("192.168.2.1", "time-exceeded"),
                _ => (OUTSIDE, "port-unreachable"),
            };
            self.story.out(self.now, self.guest.ifindex, probe.clone());
            self.story.back(
                self.now + MS,
                self.guest.ifindex,
                format!("icmp {router} {own} {error} {probe}"),
            );
            self.now += 5 * MS;
        }
    }

    /// The kubelet connects; the first time the program does not listen yet.
    fn asked_for_its_health(&mut self) {
        let ifindex = self.guest.ifindex;
        let (_, to) = self.sockets(&format!("{}:8080", self.guest.ip));
        let from = format!("{NODE}:{}", self.port);
        if self.now < self.guest.from + 30 * SECOND {
            self.story
                .back(self.now, ifindex, format!("tcp {from} {to} syn 100"));
            self.story.out(
                self.now + 30 * US,
                ifindex,
                format!("tcp {to} {from} rst+ack 0 101"),
            );
        } else {
            let server = self.guest.clone();
            self.accepts(&server, &from, 8080, self.now);
        }
    }
}
