//! Faults of healthy networks: a lost packet, a late answer.

use super::*;

impl Pod<'_> {
    /// The first SYN is lost and sent again after a second.
    pub(super) fn syn_lost(&mut self) {
        let (from, to) = self.sockets(&format!("{OUTSIDE}:443"));
        self.story.out(
            self.now,
            self.guest.ifindex,
            format!("tcp {from} {to} syn 100"),
        );
        self.now += SECOND;
        self.open(&from, &to);
    }

    /// Lost with its answer; asked again after glibc's five seconds.
    pub(super) fn query_lost(&mut self) {
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
    pub(super) fn query_rejected_once(&mut self) {
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
    pub(super) fn answer_too_late(&mut self) {
        let own = self.guest.ip;
        self.look_up("web.shop.svc.cluster.local", 3, "10.152.183.40");
        let from = format!("{own}:{}", self.port);
        let quoted =
            format!("udp {DNS}:53 {from} answer 9 NOERROR AAAA web.shop.svc.cluster.local.");
        let packet = format!("icmp {own} {DNS} port-unreachable {quoted}");
        self.story.out(self.now, self.guest.ifindex, packet);
    }

    /// Probes to closed ports, reported by routers on the way and by the target.
    pub(super) fn trace_route(&mut self) {
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
}
