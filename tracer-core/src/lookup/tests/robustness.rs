//! Random input in random order: nothing panics, tables stay within their limits and end empty.

use super::*;

/// xorshift64: the same sequence on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        let index = self.below(list.len() as u64);
        list[usize::try_from(index).unwrap()]
    }
}

const NAMES: [&str; 12] = [
    "web.default.svc.cluster.local",
    "web.svc.cluster.local",
    "web.cluster.local",
    "web.one.test",
    "web.two.test",
    "web",
    "a.b.c.d.e.f",
    "a.b.c.d.e.f.default.svc.cluster.local",
    "a.b.c.d.e.f.cluster.local",
    "a.b.c.d.e.f.one.test",
    ".",
    "svc.cluster.local",
];

const OUTCOMES: [Outcome; 10] = [
    Answered,
    Nodata,
    Nxdomain,
    Servfail,
    Outcome::Refused,
    Outcome::Formerr,
    Outcome::Truncated,
    Timeout,
    Outcome::IcmpError,
    Outcome::Other,
];

#[test]
fn random_queries_and_answers_leave_the_tables_empty() {
    for seed in 1..=40 {
        let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ seed);
        let mut pod = Pod::new();
        let limits = Limits {
            lookups: 20,
            lookup_steps: 6,
            ..Limits::default()
        };
        pod.folder = Folder::new(&Thresholds::default(), &limits);
        let mut asked = 0;
        for _ in 0..2_000 {
            let port = u16::try_from(random.below(3)).unwrap();
            let id = u16::try_from(random.below(4)).unwrap();
            let server = random.pick(&[10, 11]);
            let name = random.pick(&NAMES);
            let qtype = random.pick(&[A, AAAA, RecordType::HTTPS]);
            let mut flow = Pod::flow_to(port, server);
            if random.below(10) == 0 {
                flow.protocol = Protocol::Tcp;
            }
            match random.below(8) {
                0..=2 => {
                    pod.ask_on(flow, id, name, qtype);
                    asked += 1;
                }
                3 => pod.send(flow, id, name, qtype, 2),
                4 | 5 => {
                    let outcome = random.pick(&OUTCOMES);
                    pod.end_on(flow, id, name, qtype, outcome);
                }
                6 => pod.wait(random.below(30)),
                _ => pod.wait(random.pick(&[0, 100, 2_500, 5_000, 6_000])),
            }
            let folder = &pod.folder;
            assert!(folder.open.len() <= 20, "seed {seed}");
            assert!(folder.queries.len() <= 20 * 6 * 32, "seed {seed}");
        }
        pod.folder.end(&mut pod.decided);
        let folder = &pod.folder;
        let left = [
            folder.open.len(),
            folder.expected.len(),
            folder.gaps.len(),
            folder.queries.len(),
        ];
        assert_eq!(left, [0; 4], "seed {seed}");
        let queries: u64 = pod
            .decided
            .iter()
            .map(|decided| u64::from(decided.lookup.queries))
            .sum();
        assert!(
            queries >= asked,
            "every query is part of a lookup, seed {seed}"
        );
        for decided in &pod.decided {
            assert!(decided.lookup.steps.len() <= 6, "seed {seed}");
        }
    }
}
