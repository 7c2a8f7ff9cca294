//! The same question asked again: at the same server or another, after a failure, after silence, over TCP.

use super::*;

const NAME: &str = "web.default.svc.cluster.local";

/// Outcome and attempts of each step of the only lookup.
fn steps(pod: &Pod) -> Vec<(Option<Outcome>, u32)> {
    assert_eq!(pod.decided.len(), 1, "{:?}", pod.decided_lookups());
    let steps = &pod.decided[0].lookup.steps;
    steps
        .iter()
        .map(|step| (step.outcome, step.attempts))
        .collect()
}

#[test]
fn musl_asks_all_servers_in_parallel_and_takes_the_first_answer() {
    let mut pod = Pod::new();
    for (id, qtype) in [(1, A), (2, AAAA)] {
        for server in [10, 11] {
            pod.ask_server(4000, id, server, NAME, qtype);
        }
    }
    pod.end_server(4000, 1, 10, NAME, A, Answered);
    pod.end_server(4000, 2, 11, NAME, AAAA, Nodata);
    assert_eq!(steps(&pod), [(Some(Answered), 2), (Some(Nodata), 2)]);
    assert_eq!(pod.decided[0].lookup.queries, 4);
    // Later answers from the other servers belong to no lookup and open none.
    pod.end_server(4000, 1, 11, NAME, A, Answered);
    pod.wait(10_000);
    assert_eq!(pod.decided.len(), 1);
}

#[test]
fn a_musl_lookup_is_open_until_all_servers_were_asked_for_both_types() {
    for outcome in [Answered, Nxdomain] {
        let mut pod = Pod::new();
        // A server on the same node answers before the next query is sent.
        for (id, qtype) in [(1, A), (2, AAAA)] {
            pod.ask_server(4000, id, 10, "www.example.com", qtype);
            pod.end_server(4000, id, 10, "www.example.com", qtype, outcome);
            pod.ask_server(4000, id, 11, "www.example.com", qtype);
        }
        assert!(pod.decided_lookups().is_empty());
        pod.wait(100);
        assert_eq!(steps(&pod), [(Some(outcome), 2), (Some(outcome), 2)]);
    }
}

#[test]
fn an_answer_in_the_second_musl_round_decides_the_lookup() {
    let mut pod = Pod::new();
    for _ in 0..3 {
        pod.ask_server(4000, 1, 10, "www.example.com", A);
        pod.end_server(4000, 1, 10, "www.example.com", A, Servfail);
    }
    pod.wait(2_500);
    assert!(pod.decided_lookups().is_empty());
    pod.ask_server(4000, 1, 10, "www.example.com", A);
    pod.end_server(4000, 1, 10, "www.example.com", A, Answered);
    pod.wait(100);
    assert_eq!(steps(&pod), [(Some(Answered), 4)]);
}

#[test]
fn retransmissions_are_counted_as_queries_of_the_lookup() {
    let mut pod = Pod::new();
    // dig sends three queries to a silent server, each from a new port, then one to the next server.
    for attempt in 1..=3 {
        pod.send(
            Pod::flow(attempt),
            77,
            "www.example.com",
            A,
            u32::from(attempt),
        );
        pod.wait(1_000);
    }
    pod.ask_server(4, 77, 11, "www.example.com", A);
    pod.end_server(4, 77, 11, "www.example.com", A, Answered);
    pod.wait(100);
    assert_eq!(steps(&pod), [(Some(Answered), 4)]);
    assert_eq!(pod.decided[0].lookup.queries, 4);
}

#[test]
fn musl_moves_on_after_the_first_nxdomain_and_ignores_the_second_server() {
    let mut pod = Pod::new();
    for (id, name) in [(1, NAME), (2, "web.svc.cluster.local")] {
        for server in [10, 11] {
            pod.ask_server(4000, id, server, name, A);
        }
        pod.end_server(4000, id, 10, name, A, Nxdomain);
    }
    pod.end_server(4000, 1, 11, NAME, A, Timeout);
    for (id, name) in [(3, "web.cluster.local"), (4, "web")] {
        pod.ask_server(4000, id, 10, name, A);
        pod.end_server(4000, id, 10, name, A, Nxdomain);
    }
    assert_eq!(
        pod.decided_lookups(),
        [(Some("web"), "A".to_owned(), Nxdomain, 6)]
    );
    let attempts: Vec<u32> = steps(&pod)
        .into_iter()
        .map(|(_, attempts)| attempts)
        .collect();
    assert_eq!(attempts, [2, 2, 1, 1]);
}

#[test]
fn glibc_retries_immediately_after_servfail_and_moves_on_after_the_second() {
    let mut pod = Pod::new();
    // The identifiers stay the same, the socket is new.
    for port in [1, 2] {
        pod.ask_server(port, 77, 10, NAME, A);
        pod.ask_server(port, 78, 10, NAME, AAAA);
        pod.end_server(port, 77, 10, NAME, A, Servfail);
        pod.end_server(port, 78, 10, NAME, AAAA, Servfail);
    }
    pod.ask(3, "web.svc.cluster.local", A);
    pod.ask(4, "web.svc.cluster.local", AAAA);
    pod.end(3, "web.svc.cluster.local", A, Answered);
    pod.end(4, "web.svc.cluster.local", AAAA, Nodata);
    assert_eq!(
        pod.decided_lookups(),
        [(Some("web"), "A+AAAA".to_owned(), Answered, 6)]
    );
    assert_eq!(steps(&pod)[..2], [(Some(Servfail), 2), (Some(Servfail), 2)]);
}

#[test]
fn a_retry_after_the_last_candidate_failed_belongs_to_the_lookup() {
    let mut pod = Pod::new();
    for port in [1, 2] {
        pod.ask_server(port, 77, 10, "www.example.com", A);
        pod.end_server(port, 77, 10, "www.example.com", A, Servfail);
    }
    assert!(
        pod.decided_lookups().is_empty(),
        "another retry could follow"
    );
    pod.wait(100);
    assert_eq!(steps(&pod), [(Some(Servfail), 2)]);
}

#[test]
fn the_next_server_is_asked_after_silence_and_its_answer_decides() {
    let mut pod = Pod::new();
    pod.ask_server(1, 77, 10, "www.example.com", A);
    pod.wait(5_000);
    pod.ask_server(2, 77, 11, "www.example.com", A);
    pod.end_server(2, 77, 11, "www.example.com", A, Answered);
    pod.wait(100);
    assert_eq!(steps(&pod), [(Some(Answered), 2)]);
    let lookup = &pod.decided[0].lookup;
    assert_eq!(lookup.steps[0].latency, Some(Duration::from_millis(5_001)));
    assert_eq!(
        (lookup.queries, lookup.duration),
        (2, Duration::from_millis(5_001))
    );
    // The exchange with the silent server ends later and belongs to no lookup.
    assert_eq!(
        pod.end_server(1, 77, 10, "www.example.com", A, Timeout),
        None
    );
    pod.wait(10_000);
    assert_eq!(pod.decided.len(), 1);
}

#[test]
fn go_uses_a_new_identifier_for_each_attempt_and_moves_on_after_silence() {
    let mut pod = Pod::new();
    pod.ask(1, NAME, A);
    pod.wait(5_000);
    pod.ask(2, NAME, A);
    pod.wait(1_000);
    pod.end(1, NAME, A, Timeout);
    assert!(
        pod.decided_lookups().is_empty(),
        "the second attempt may be answered"
    );
    pod.wait(3_999);
    pod.ask(3, "web.svc.cluster.local", A);
    pod.end(3, "web.svc.cluster.local", A, Answered);
    pod.wait(100);
    assert_eq!(
        pod.decided_lookups(),
        [(Some("web"), "A".to_owned(), Answered, 3)]
    );
    assert_eq!(steps(&pod), [(None, 2), (Some(Answered), 1)]);
}

#[test]
fn the_same_question_a_second_later_is_another_lookup() {
    let mut pod = Pod::new();
    pod.ask(1, "www.example.com", A);
    pod.wait(1_000);
    pod.ask(2, "www.example.com", A);
    pod.end(1, "www.example.com", A, Servfail);
    pod.wait(1_000);
    pod.ask(3, "www.example.com", A);
    pod.end(2, "www.example.com", A, Answered);
    pod.end(3, "www.example.com", A, Answered);
    pod.wait(1_000);
    let outcomes: Vec<Outcome> = pod
        .decided_lookups()
        .into_iter()
        .map(|decided| decided.2)
        .collect();
    assert_eq!(outcomes, [Servfail, Answered, Answered]);
}

#[test]
fn bind_tools_move_on_after_refused_and_glibc_does_not() {
    let mut pod = Pod::new();
    pod.ask(1, NAME, A);
    pod.end(1, NAME, A, Outcome::Refused);
    pod.ask(2, "web.svc.cluster.local", A);
    pod.end(2, "web.svc.cluster.local", A, Answered);
    pod.wait(100);
    pod.ask(3, NAME, A);
    pod.end(3, NAME, A, Outcome::Refused);
    pod.wait(99);
    assert_eq!(
        pod.decided_lookups(),
        [(Some("web"), "A".to_owned(), Answered, 2)]
    );
    pod.wait(1);
    assert_eq!(
        pod.decided_lookups()[1],
        (None, "A".to_owned(), Outcome::Refused, 1)
    );
}

#[test]
fn a_truncated_answer_and_its_retry_over_tcp_are_one_step() {
    let mut pod = Pod::new();
    pod.ask(1, "big.example.com", RecordType::TXT);
    pod.end(1, "big.example.com", RecordType::TXT, Outcome::Truncated);
    // dig takes a new identifier.
    let over_tcp = Flow {
        protocol: Protocol::Tcp,
        ..Pod::flow(2)
    };
    pod.ask_on(over_tcp, 2, "big.example.com", RecordType::TXT);
    pod.end_on(over_tcp, 2, "big.example.com", RecordType::TXT, Answered);
    pod.wait(100);
    assert_eq!(steps(&pod), [(Some(Answered), 2)]);
    assert_eq!(pod.decided[0].lookup.queries, 2);
}

#[test]
fn endless_retries_of_a_step_are_bounded_and_counted() {
    let mut pod = Pod::new();
    for port in 1..=40 {
        pod.ask_server(port, 77, 10, NAME, A);
    }
    assert_eq!(pod.folder.losses().total(), 8);
    assert_eq!(pod.folder.queries.len(), 32);
    pod.folder.end(&mut pod.decided);
    assert_eq!(steps(&pod), [(None, 40)]);
    assert!(pod.folder.queries.is_empty());
}
