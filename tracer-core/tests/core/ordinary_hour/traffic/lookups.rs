//! The lookups of pods, each with a resolver's own sequence of queries.

use super::*;

impl Pod<'_> {
    pub(super) fn own_namespace(&mut self) {
        let (name, address, port) = match self.guest.namespace {
            "shop" => ("web", "10.152.183.40", 80),
            _ => ("api", "10.152.183.41", 443),
        };
        self.look_up(name, 0, address);
        self.connect(&format!("{address}:{port}"), "fin");
    }

    pub(super) fn other_namespace(&mut self) {
        let (name, address, port) = match self.guest.namespace {
            "shop" => ("api.backend", "10.152.183.41", 443),
            _ => ("web.shop", "10.152.183.40", 80),
        };
        self.look_up(name, 1, address);
        self.connect(&format!("{address}:{port}"), "fin");
    }

    pub(super) fn outside(&mut self) {
        self.look_up("www.example.com", 3, OUTSIDE);
        self.connect(&format!("{OUTSIDE}:443"), "fin");
    }

    /// A behind each search domain, and AAAA of what was found.
    pub(super) fn nslookup(&mut self) {
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

    pub(super) fn absolute(&mut self) {
        self.both("api.backend.svc.cluster.local.", Some("10.152.183.41"));
        self.done.lookups += 1;
        self.connect("10.152.183.41:443", "fin");
    }

    /// gethostbyname: AAAA behind all search domains, then A.
    pub(super) fn one_type_after_the_other(&mut self) {
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
    pub(super) fn truncated(&mut self) {
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

    pub(super) fn service_record(&mut self) {
        self.ask(
            "SRV",
            "_http._tcp.web.shop.svc.cluster.local.",
            "NOERROR",
            "5 SRV 0:100:80:web.shop.svc.cluster.local.",
        );
        self.done.lookups += 1;
    }

    pub(super) fn reverse(&mut self) {
        self.ask(
            "PTR",
            "40.183.152.10.in-addr.arpa.",
            "NOERROR",
            "5 PTR web.shop.svc.cluster.local.",
        );
        self.done.lookups += 1;
    }

    /// Loggers ask for the names of addresses; most have none.
    pub(super) fn reverse_unknown(&mut self) {
        self.ask("PTR", "9.113.0.203.in-addr.arpa.", "NXDOMAIN", "+soa=60:60");
    }

    pub(super) fn alias(&mut self) {
        let name = "partner.shop.svc.cluster.local.";
        let answer = format!("5 CNAME www.example.com. 60 A {OUTSIDE}");
        self.ask("A", name, "NOERROR", &answer);
        self.done.lookups += 1;
        self.connect(&format!("{OUTSIDE}:443"), "fin");
    }

    /// A pod behind a headless Service, by its own address: both pods' interfaces see it.
    pub(super) fn headless(&mut self) {
        let Some(server) = self.server() else { return };
        self.look_up("db.backend", 1, &server.ip.to_string());
        let began = self.now;
        self.connect(&format!("{}:5432", server.ip), "fin");
        let from = format!("{}:{}", self.guest.ip, self.port);
        self.accepts(&server, &from, 5432, began);
    }
}
