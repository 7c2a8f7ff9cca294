//! Queries of several calls at the same time: each goes to the lookup of its own call.

use super::*;

const NAME: &str = "web.default.svc.cluster.local";
const NEXT: &str = "web.svc.cluster.local";

/// Queries, attempts of each step, and milliseconds of every lookup.
fn shapes(pod: &Pod) -> Vec<(u32, Vec<u32>, u128)> {
    pod.decided
        .iter()
        .map(|decided| {
            let lookup = &decided.lookup;
            let attempts = lookup.steps.iter().map(|step| step.attempts).collect();
            (lookup.queries, attempts, lookup.duration.as_millis())
        })
        .collect()
}

#[test]
fn each_thread_has_its_socket_and_its_lookup() {
    let mut pod = Pod::new();
    for port in 1..=4 {
        pod.ask(port, NAME, A);
    }
    for port in 1..=4 {
        pod.ask_server(port, 100 + port, 10, NAME, AAAA);
    }
    for port in 1..=4 {
        pod.end(port, NAME, A, Answered);
    }
    for port in [1, 3, 4] {
        pod.end_server(port, 100 + port, 10, NAME, AAAA, Nodata);
    }
    // The second thread lost its AAAA and repeats both.
    pod.wait(4_993);
    pod.ask(2, NAME, A);
    pod.end(2, NAME, A, Answered);
    pod.send(Pod::flow(2), 102, NAME, AAAA, 2);
    pod.end_server(2, 102, 10, NAME, AAAA, Nodata);
    pod.wait(200);
    assert_eq!(
        shapes(&pod),
        [
            (2, vec![1, 1], 5),
            (2, vec![1, 1], 6),
            (2, vec![1, 1], 7),
            (4, vec![2, 2], 5_002)
        ]
    );
    assert_eq!(
        pod.decided[3].lookup.waited,
        Duration::from_millis(5_001),
        "from the lost query to its repetition"
    );
}

#[test]
fn threads_move_on_to_the_next_candidate_each_in_its_lookup() {
    let mut pod = Pod::new();
    for port in [1, 2] {
        pod.ask(port, NAME, A);
        pod.ask_server(port, 100 + port, 10, NAME, AAAA);
    }
    for port in [1, 2] {
        pod.end(port, NAME, A, Nxdomain);
        pod.end_server(port, 100 + port, 10, NAME, AAAA, Nxdomain);
    }
    for port in [3, 4] {
        pod.ask(port, NEXT, A);
    }
    for port in [4, 3] {
        pod.ask_server(port, 100 + port, 10, NEXT, AAAA);
    }
    for port in [3, 4] {
        pod.end(port, NEXT, A, Answered);
        pod.end_server(port, 100 + port, 10, NEXT, AAAA, Nodata);
    }
    let attempts = vec![1, 1, 1, 1];
    let queries: Vec<_> = shapes(&pod)
        .into_iter()
        .map(|shape| (shape.0, shape.1))
        .collect();
    assert_eq!(queries, [(4, attempts.clone()), (4, attempts)]);
}

#[test]
fn a_socket_per_type_is_one_lookup_if_both_leave_at_the_same_moment() {
    let mut pod = Pod::new();
    pod.ask(1, NAME, A);
    pod.wait(3);
    pod.ask(2, NAME, AAAA);
    // Too late for the first call, although its A is still unanswered.
    pod.ask(3, "db.default.svc.cluster.local", A);
    pod.wait(200);
    pod.ask(4, "db.default.svc.cluster.local", AAAA);
    pod.folder.end(&mut pod.decided);
    let types: Vec<String> = pod
        .decided_lookups()
        .into_iter()
        .map(|decided| decided.1)
        .collect();
    assert_eq!(types, ["A+AAAA", "A", "AAAA"]);
}

#[test]
fn of_two_calls_that_wait_the_one_that_waits_longer_repeats_first() {
    let mut pod = Pod::new();
    // Go: a new socket and identifier for each attempt.
    pod.ask(1, "www.example.com", A);
    pod.wait(100);
    pod.ask(2, "www.example.com", A);
    pod.wait(4_910);
    pod.ask(3, "www.example.com", A);
    pod.end(3, "www.example.com", A, Answered);
    pod.wait(99);
    pod.ask(4, "www.example.com", A);
    pod.end(4, "www.example.com", A, Answered);
    pod.wait(100);
    assert_eq!(shapes(&pod), [(2, vec![2], 5_011), (2, vec![2], 5_011)]);
}

#[test]
fn all_candidates_at_once_from_one_socket_are_one_lookup() {
    let mut pod = Pod::new();
    let names = [NAME, NEXT, "web.cluster.local"];
    let mut id = 0;
    for qtype in [A, AAAA] {
        for name in names {
            id += 1;
            pod.ask_server(1, id, 10, name, qtype);
        }
    }
    // Another program's full name, from its own socket.
    pod.ask_server(2, 77, 10, NEXT, A);
    id = 0;
    for qtype in [A, AAAA] {
        for name in names {
            id += 1;
            let found = name == NEXT;
            let outcome = if found { Answered } else { Nxdomain };
            let place = pod.end_server(1, id, 10, name, qtype, outcome);
            let number = names.iter().position(|other| *other == name).unwrap();
            assert_eq!(
                place.map(|place| (place.asked, place.candidate)),
                Some((Some("web".to_owned()), u32::try_from(number).unwrap() + 1))
            );
        }
    }
    pod.end_server(2, 77, 10, NEXT, A, Answered);
    pod.wait(200);
    let mut decided = pod.decided_lookups();
    decided.sort_by_key(|lookup| lookup.3);
    assert_eq!(
        decided,
        [
            (Some("web.svc.cluster.local."), "A".to_owned(), Answered, 1),
            (Some("web"), "A+AAAA".to_owned(), Answered, 6)
        ]
    );
}

#[test]
fn an_identifier_that_is_used_again_after_the_answer_begins_a_new_lookup() {
    let mut pod = Pod::new();
    for _ in 0..3 {
        pod.ask(1, "www.example.com", A);
        pod.end(1, "www.example.com", A, Answered);
        pod.wait(60);
    }
    pod.wait(100);
    assert_eq!(pod.decided.len(), 3);
}

#[test]
fn a_lookup_that_gets_no_answer_lasts_until_the_resolver_gives_up() {
    let mut pod = Pod::new();
    pod.ask(1, "www.example.com", A);
    pod.wait(6_000);
    pod.end(1, "www.example.com", A, Timeout);
    assert_eq!(shapes(&pod), [(1, vec![1], 5_000)], "the usual patience");
    // Its own patience, if a repetition shows it.
    pod.send(Pod::flow(2), 2, "www.example.org", A, 1);
    pod.wait(2_500);
    pod.send(Pod::flow(2), 2, "www.example.org", A, 2);
    pod.wait(6_000);
    pod.end(2, "www.example.org", A, Timeout);
    assert_eq!(shapes(&pod)[1], (2, vec![2], 5_000));
    assert_eq!(pod.decided[1].lookup.waited, Duration::from_secs(5));
}
