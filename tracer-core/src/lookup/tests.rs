use std::hash::BuildHasher as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use foldhash::fast::FixedState;

use super::*;
use crate::model::dns::{DnsName, Question, RecordType};
use crate::model::exchange::{Details, Outcome, Transport};
use crate::model::flow::{Ifindex, Protocol, Role};
use crate::model::identity::{PeerEnd, PodEnd, UnknownReason};

mod node_domains;
mod pairing;
mod retries;
mod robustness;

/// A pod in namespace default and its resolver, played against a [`Folder`] in milliseconds of virtual time.
struct Pod {
    folder: Folder,
    resolver: Option<ResolverConfig>,
    now_ms: u64,
    decided: Vec<Decided>,
    /// The numbers of exchanges by server, identifier and question.
    first_attempts: HashMap<(SocketAddr, u16, Question), u64>,
}

const SEARCH: [&str; 3] = [
    "default.svc.cluster.local",
    "svc.cluster.local",
    "cluster.local",
];

impl Pod {
    fn new() -> Pod {
        let resolver = ResolverConfig {
            search: SEARCH.map(DnsName::new).to_vec(),
            ndots: 5,
            node_domains: Some(3),
        };
        let mut pod = Pod {
            folder: Folder::new(&Thresholds::default(), &Limits::default()),
            resolver: Some(resolver),
            now_ms: 0,
            decided: Vec::new(),
            first_attempts: HashMap::new(),
        };
        // Late enough that no lookup can have begun before the first input.
        pod.wait(0);
        pod.wait(2_000);
        pod
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.now_ms * 1_000_000)
    }

    fn flow(port: u16) -> Flow {
        Pod::flow_to(port, 10)
    }

    fn flow_to(port: u16, server: u8) -> Flow {
        Flow {
            ifindex: Ifindex(7),
            protocol: Protocol::Udp,
            pod: SocketAddr::new(IpAddr::from([10, 1, 39, 193]), port),
            peer: SocketAddr::new(IpAddr::from([10, 152, 183, server]), 53),
        }
    }

    fn ends() -> Ends {
        let flow = Pod::flow(1);
        Ends {
            ifindex: flow.ifindex,
            role: Role::Client,
            pod: PodEnd {
                ip: flow.pod.ip(),
                port: None,
                identity: Err(UnknownReason::NoInventory),
                container: None,
                at_uplink: false,
                process: None,
            },
            peer: PeerEnd {
                ip: flow.peer.ip(),
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

    fn ask(&mut self, port: u16, name: &str, qtype: RecordType) {
        self.ask_server(port, port, 10, name, qtype);
    }

    /// Asks server 10.152.183.`server`, under this identifier.
    fn ask_server(&mut self, port: u16, id: u16, server: u8, name: &str, qtype: RecordType) {
        self.ask_on(Pod::flow_to(port, server), id, name, qtype);
    }

    fn ask_on(&mut self, flow: Flow, id: u16, name: &str, qtype: RecordType) {
        self.send(flow, id, name, qtype, 1);
    }

    /// The `attempt`th query of an exchange.
    fn send(&mut self, flow: Flow, id: u16, name: &str, qtype: RecordType, attempt: u32) {
        let question = Question {
            name: DnsName::new(name),
            qtype,
        };
        let asked = Asked {
            exchange: self.exchange(&flow, id, &question, attempt),
            id,
            question,
            attempt,
        };
        let resolver = self.resolver.clone();
        let query = ClientQuery {
            at: self.now(),
            flow: &flow,
            ends: &Pod::ends(),
            asked: &asked,
        };
        self.folder
            .query(&query, || resolver.map(Arc::new), &mut self.decided);
    }

    /// The number of an exchange. Its further attempts may come from other ports.
    fn exchange(&mut self, flow: &Flow, id: u16, question: &Question, attempt: u32) -> u64 {
        let query = (flow.peer, id, question.clone());
        if attempt > 1 {
            let first = self.first_attempts.get(&query);
            return first.map_or_else(|| number(flow, id, question), |first| *first);
        }
        let number = number(flow, id, question);
        self.first_attempts.insert(query, number);
        number
    }

    fn end(&mut self, port: u16, name: &str, qtype: RecordType, outcome: Outcome) -> Option<Place> {
        self.end_server(port, port, 10, name, qtype, outcome)
    }

    /// Server 10.152.183.`server` answers one millisecond later.
    fn end_server(
        &mut self,
        port: u16,
        id: u16,
        server: u8,
        name: &str,
        qtype: RecordType,
        outcome: Outcome,
    ) -> Option<Place> {
        self.end_on(Pod::flow_to(port, server), id, name, qtype, outcome)
    }

    fn end_on(
        &mut self,
        flow: Flow,
        id: u16,
        name: &str,
        qtype: RecordType,
        outcome: Outcome,
    ) -> Option<Place> {
        let silent = outcome == Timeout;
        let question = Question {
            name: DnsName::new(name),
            qtype,
        };
        let exchange = Exchange {
            number: number(&flow, id, &question),
            flow,
            role: Role::Client,
            transport: Transport::Udp,
            id,
            question: Some(question),
            asked: self.now(),
            last_attempt: self.now(),
            attempts: 1,
            outcome,
            rcode: None,
            answers: Vec::new(),
            authorities: Vec::new(),
            latency: (!silent).then_some(Duration::from_millis(1)),
            late: false,
            icmp: None,
            connection: None,
            asked_peer: None,
            fragments_lost: 0,
            caused_by: None,
            upstream: None,
            steps: Vec::new(),
            fault: None,
            details: Details::default(),
        };
        self.now_ms += 1;
        let now = self.now();
        self.folder.exchange(now, &exchange, &mut self.decided)
    }

    fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        let now = self.now();
        self.folder.advance(now, &mut self.decided);
    }

    /// Asked name, types, outcome and queries of every lookup decided so far.
    fn decided_lookups(&self) -> Vec<(Option<&str>, String, Outcome, u32)> {
        self.decided
            .iter()
            .map(|decided| {
                let types: Vec<String> = decided
                    .lookup
                    .qtypes
                    .iter()
                    .map(ToString::to_string)
                    .collect();
                let lookup = &decided.lookup;
                (
                    lookup.asked.as_deref(),
                    types.join("+"),
                    lookup.outcome,
                    lookup.queries,
                )
            })
            .collect()
    }
}

use Outcome::{Answered, Nodata, Nxdomain, Servfail, Timeout};
use RecordType::{A, AAAA};

/// The number of the exchange that these identify.
fn number(flow: &Flow, id: u16, question: &Question) -> u64 {
    FixedState::default().hash_one((flow, id, question))
}

#[test]
fn nslookup_of_an_unknown_short_name_is_one_lookup_of_four_queries() {
    let mut pod = Pod::new();
    let names = [
        "web.default.svc.cluster.local",
        "web.svc.cluster.local",
        "web.cluster.local",
        "web",
    ];
    let mut places = Vec::new();
    for (port, name) in (1..).zip(names) {
        pod.ask(port, name, A);
        places.push(pod.end(port, name, A, Nxdomain).unwrap());
    }
    assert_eq!(
        pod.decided_lookups(),
        [(Some("web"), "A".to_owned(), Nxdomain, 4)]
    );
    let asked: Vec<_> = places
        .iter()
        .map(|place| (place.asked.as_deref(), place.candidate, place.of))
        .collect();
    assert_eq!(
        asked,
        [
            (None, 1, None),
            (Some("web"), 2, Some(4)),
            (Some("web"), 3, Some(4)),
            (Some("web"), 4, Some(4))
        ]
    );
    let steps: Vec<&str> = pod.decided[0]
        .lookup
        .steps
        .iter()
        .map(|step| step.name.relative())
        .collect();
    assert_eq!(steps, names);
}

#[test]
fn nslookup_asking_aaaa_after_a_is_one_lookup() {
    let mut pod = Pod::new();
    let (miss, hit) = (
        "web.myns.default.svc.cluster.local",
        "web.myns.svc.cluster.local",
    );
    pod.ask(1, miss, A);
    pod.end(1, miss, A, Nxdomain);
    pod.ask(2, hit, A);
    pod.end(2, hit, A, Answered);
    assert!(pod.decided_lookups().is_empty(), "AAAA may follow");
    pod.ask(3, hit, AAAA);
    pod.end(3, hit, AAAA, Nodata);
    assert_eq!(
        pod.decided_lookups(),
        [(Some("web.myns"), "A+AAAA".to_owned(), Answered, 3)]
    );
}

#[test]
fn glibc_asking_a_and_aaaa_in_parallel_is_one_lookup() {
    let mut pod = Pod::new();
    let names = [
        "web.default.svc.cluster.local",
        "web.svc.cluster.local",
        "web.cluster.local",
        "web",
    ];
    for (port, name) in (1..).step_by(2).zip(names) {
        pod.ask(port, name, A);
        pod.ask(port + 1, name, AAAA);
        pod.end(port + 1, name, AAAA, Nxdomain);
        pod.end(port, name, A, Nxdomain);
    }
    assert_eq!(
        pod.decided_lookups(),
        [(Some("web"), "A+AAAA".to_owned(), Nxdomain, 8)]
    );
}

#[test]
fn single_request_asking_each_type_in_turn_is_one_lookup() {
    let mut pod = Pod::new();
    let names = [
        "web.default.svc.cluster.local",
        "web.svc.cluster.local",
        "web.cluster.local",
        "web",
    ];
    for (port, name) in (1..).step_by(2).zip(names) {
        for (port, qtype) in [(port, A), (port + 1, AAAA)] {
            pod.ask(port, name, qtype);
            pod.end(port, name, qtype, Nxdomain);
        }
    }
    assert_eq!(
        pod.decided_lookups(),
        [(Some("web"), "A+AAAA".to_owned(), Nxdomain, 8)]
    );
}

#[test]
fn an_answered_first_candidate_leaves_the_asked_name_unknown() {
    let mut pod = Pod::new();
    let name = "web.default.svc.cluster.local";
    pod.ask(1, name, A);
    assert_eq!(
        pod.end(1, name, A, Answered),
        Some(Place {
            asked: None,
            candidate: 1,
            of: None
        })
    );
    pod.wait(105);
    assert_eq!(pod.decided_lookups(), [(None, "A".to_owned(), Answered, 1)]);
}

#[test]
fn an_answered_name_waits_for_its_second_type_for_the_grace_period() {
    let mut pod = Pod::new();
    pod.ask(1, "example.com", A);
    pod.end(1, "example.com", A, Answered);
    pod.wait(99);
    assert!(pod.decided_lookups().is_empty());
    pod.wait(1);
    assert_eq!(
        pod.decided_lookups(),
        [(Some("example.com."), "A".to_owned(), Answered, 1)]
    );
}

#[test]
fn a_missing_absolute_name_waits_for_its_second_type_for_the_grace_period() {
    let mut pod = Pod::new();
    pod.ask(1, "no.example.com", A);
    pod.end(1, "no.example.com", A, Nxdomain);
    assert!(pod.decided_lookups().is_empty());
    pod.wait(100);
    assert_eq!(
        pod.decided_lookups(),
        [(Some("no.example.com."), "A".to_owned(), Nxdomain, 1)]
    );
}

#[test]
fn a_missing_full_name_waits_for_the_next_candidate() {
    let mut pod = Pod::new();
    let name = "web.default.svc.cluster.local";
    pod.ask(1, name, A);
    pod.end(1, name, A, Nxdomain);
    pod.wait(5_999);
    assert!(pod.decided_lookups().is_empty());
    pod.wait(1);
    assert_eq!(pod.decided_lookups(), [(None, "A".to_owned(), Nxdomain, 1)]);
}

#[test]
fn two_processes_asking_the_same_name_are_two_lookups() {
    let mut pod = Pod::new();
    let name = "web.default.svc.cluster.local";
    pod.ask(1, name, A);
    pod.ask(2, name, A);
    pod.end(1, name, A, Answered);
    pod.end(2, name, A, Answered);
    pod.wait(105);
    assert_eq!(pod.decided_lookups().len(), 2);
}

#[test]
fn interleaved_lookups_of_different_names_stay_separate() {
    let mut pod = Pod::new();
    let pairs = [
        ("a.default.svc.cluster.local", "a.svc.cluster.local"),
        ("b.default.svc.cluster.local", "b.svc.cluster.local"),
    ];
    for (port, (first, _)) in (1..).zip(pairs) {
        pod.ask(port, first, A);
    }
    for (port, (first, second)) in (1..).zip(pairs) {
        pod.end(port, first, A, Nxdomain);
        pod.ask(port + 10, second, A);
    }
    for (port, (_, second)) in (11..).zip(pairs) {
        pod.end(port, second, A, Answered);
    }
    pod.wait(105);
    assert_eq!(
        pod.decided_lookups(),
        [
            (Some("a"), "A".to_owned(), Answered, 2),
            (Some("b"), "A".to_owned(), Answered, 2)
        ]
    );
}

#[test]
fn silence_ends_a_lookup_but_servfail_does_not() {
    let mut pod = Pod::new();
    pod.ask(1, "web.default.svc.cluster.local", A);
    pod.end(1, "web.default.svc.cluster.local", A, Servfail);
    pod.ask(2, "web.svc.cluster.local", A);
    pod.end(2, "web.svc.cluster.local", A, Timeout);
    assert_eq!(
        pod.decided_lookups(),
        [(Some("web"), "A".to_owned(), Servfail, 2)]
    );
}

#[test]
fn an_unknown_pods_search_is_inferred_from_its_candidates() {
    let mut pod = Pod::new();
    pod.resolver = None;
    pod.ask(1, "web.default.svc.cluster.local", A);
    pod.end(1, "web.default.svc.cluster.local", A, Nxdomain);
    pod.ask(2, "web.svc.cluster.local", A);
    pod.end(2, "web.svc.cluster.local", A, Nxdomain);
    pod.wait(6_000);
    assert_eq!(
        pod.decided_lookups(),
        [(Some("web"), "A".to_owned(), Nxdomain, 2)]
    );
}

#[test]
fn the_end_of_the_input_decides_every_lookup_and_empties_the_tables() {
    let mut pod = Pod::new();
    pod.ask(1, "web.default.svc.cluster.local", A);
    pod.end(1, "web.default.svc.cluster.local", A, Nxdomain);
    pod.ask(2, "web.svc.cluster.local", A);
    pod.folder.end(&mut pod.decided);
    assert_eq!(
        pod.decided_lookups(),
        [(Some("web"), "A".to_owned(), Outcome::Undecided, 2)]
    );
    let folder = &pod.folder;
    assert!(folder.open.is_empty() && folder.expected.is_empty() && folder.queries.is_empty());
}

#[test]
fn a_full_table_decides_its_oldest_lookup_and_counts_it() {
    let mut pod = Pod::new();
    pod.folder = Folder::new(
        &Thresholds::default(),
        &Limits {
            lookups: 1,
            ..Limits::default()
        },
    );
    pod.ask(1, "a.example.com", A);
    pod.ask(2, "b.example.com", A);
    assert_eq!(pod.decided_lookups().len(), 1);
    assert_eq!(pod.folder.losses().total(), 1);
    assert_eq!(pod.folder.queries.len(), 1);
}
