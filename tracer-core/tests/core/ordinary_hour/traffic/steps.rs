//! The actions of a pod's resolver and sockets: the steps of all other traffic.

use super::*;

impl Pod<'_> {
    pub(super) fn sockets(&mut self, peer: &str) -> (String, String) {
        // Around, past the ports of faults.
        self.port = if self.port >= 59_000 {
            32_768
        } else {
            self.port + 1
        };
        (format!("{}:{}", self.guest.ip, self.port), peer.to_owned())
    }

    pub(super) fn suffixes(&self) -> [String; 4] {
        [
            format!("{}.svc.cluster.local.", self.guest.namespace),
            "svc.cluster.local.".to_owned(),
            "cluster.local.".to_owned(),
            String::new(),
        ]
    }

    /// The time that an answer takes. While the DNS server is paused, the time until it resumes.
    pub(super) fn answered(&mut self) -> u64 {
        let usual = self.rng.random_range(150 * US..3 * MS);
        let stalled = self.now % STALL_EVERY;
        if self.now > STALL_EVERY && stalled < STALL {
            STALL - stalled + usual
        } else {
            usual
        }
    }

    /// A query of one type from its own socket, with its answer.
    pub(super) fn ask(&mut self, qtype: &str, name: &str, rcode: &str, answer: &str) {
        let (from, to) = self.sockets(&format!("{DNS}:53"));
        let latency = self.answered();
        self.query(&from, &to, qtype, name, rcode, answer, latency);
        self.now += latency + 100 * US;
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "they are the words of a query and of its answer"
    )]
    pub(super) fn query(
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
    pub(super) fn both(&mut self, name: &str, found: Option<&str>) {
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
    pub(super) fn look_up(&mut self, name: &str, found_behind: usize, address: &str) {
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
    pub(super) fn connect(&mut self, peer: &str, last: &str) {
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

    pub(super) fn open(&mut self, from: &str, to: &str) {
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
}
