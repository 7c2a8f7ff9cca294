//! Connections, datagrams and pings.

use super::*;

impl Pod<'_> {
    /// A server that lives on for a while, and is not this pod.
    pub(super) fn server(&mut self) -> Option<Guest> {
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
    pub(super) fn accepts(&mut self, server: &Guest, from: &str, port: u16, at: u64) {
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

    pub(super) fn reset_at_the_end(&mut self) {
        let peer = ["10.152.183.40:80", "10.152.183.41:443"][self.rng.random_range(0..2)];
        self.connect(peer, "rst");
    }

    /// Used at times, or idle for longer than any table remembers it; then it ends.
    pub(super) fn kept_open(&mut self) {
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

    /// Echo requests, of which a number are answered.
    pub(super) fn ping(&mut self, peer: &str, sent: u64, answered: u64) {
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

    pub(super) fn ping_pod(&mut self) {
        match self.server() {
            Some(server) => self.ping(&server.ip.to_string(), 3, 3),
            None => self.ping(OTHER_NODE, 3, 3),
        }
    }

    /// One in many is lost.
    pub(super) fn ping_outside(&mut self) {
        self.ping(OUTSIDE, 5, 4);
    }

    /// A peer that answers, and one that receives and never answers (statsd, syslog).
    pub(super) fn datagrams(&mut self) {
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

    /// The kubelet connects; the first time the program does not listen yet.
    pub(super) fn asked_for_its_health(&mut self) {
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
