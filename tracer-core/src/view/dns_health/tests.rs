//! What counts as what, and what happens at the limits.

use std::time::Duration;

use super::{DnsHealth, MAX_NAMES, MAX_WORKLOADS};
use crate::model::dns::RecordType;
use crate::model::event::{Body, Event};
use crate::model::exchange::{Exchange, Outcome};
use crate::model::loss::{Loss, Stage, UNDECIDED_AT_END};
use crate::view::gallery::{self, dns, exchange, kube_dns, server, step};

const A: RecordType = RecordType::A;
const NX: Option<Outcome> = Some(Outcome::Nxdomain);

fn health(events: impl IntoIterator<Item = Event>) -> DnsHealth {
    let mut health = DnsHealth::default();
    for event in events {
        health.take(None, &event);
    }
    health
}

/// A lookup that asks for these names, the last one with `outcome`, the others with NXDOMAIN.
fn lookup(asked: Option<&str>, names: &[&str], outcome: Outcome) -> Event {
    let last = names.len() - 1;
    let steps = names.iter().enumerate().map(|(place, name)| {
        let outcome = if place == last { Some(outcome) } else { NX };
        step(name, A, outcome, &[])
    });
    gallery::lookup(asked, outcome, steps.collect())
}

/// A lookup that finds this name as it is, after `searched` search domains.
fn found_as_it_is(name: &str, searched: usize) -> Event {
    let domains = [
        "default.svc.cluster.local",
        "svc.cluster.local",
        "cluster.local",
    ];
    let tried = domains.iter().take(searched);
    let tried: Vec<String> = tried.map(|domain| format!("{name}.{domain}.")).collect();
    let mut names: Vec<&str> = tried.iter().map(String::as_str).collect();
    names.push(name);
    lookup(Some(name), &names, Outcome::Answered)
}

/// The same event of a pod of Deployment shop/NAME.
fn of_workload(name: &str, mut event: Event) -> Event {
    if let Some(ends) = &mut event.ends {
        let pod = format!("{name}-1");
        let workload = Some(("Deployment", name));
        ends.pod.identity = Ok(gallery::identity("shop", &pod, workload, "node-1"));
    }
    event
}

fn coredns() -> std::sync::Arc<crate::model::identity::PodIdentity> {
    let workload = Some(("Deployment", "coredns"));
    gallery::identity("kube-system", "coredns-1", workload, "node-1")
}

fn asked(change: impl FnOnce(&mut Exchange)) -> Exchange {
    let mut exchange = exchange("web.", A, Outcome::Answered);
    change(&mut exchange);
    exchange
}

#[test]
fn nxdomain_of_a_search_domain_is_no_failure_of_a_lookup_that_finds_the_name() {
    let found = found_as_it_is("www.example.com", 3);
    let nowhere = lookup(
        Some("db"),
        &["db.default.svc.cluster.local.", "db."],
        Outcome::Nxdomain,
    );
    let health = health([found, nowhere]);
    let totals = health.totals();
    assert_eq!(
        (totals.lookups, totals.failed, totals.lookup_queries),
        (2, 1, 6)
    );
    let (names, others) = health.failing_names();
    let names: Vec<_> = names
        .iter()
        .map(|name| (name.key.name.as_deref(), name.key.outcome))
        .collect();
    assert_eq!((names, others), (vec![(Some("db"), "nxdomain")], 0));
}

#[test]
fn what_may_be_incomplete_is_undecided_and_in_no_share() {
    let mut lost = lookup(Some("db"), &["db."], Outcome::Timeout);
    lost.incomplete = true;
    let open = lookup(Some("db"), &["db."], Outcome::Undecided);
    let mut lost_query = dns(
        kube_dns(),
        asked(|one| one.outcome = Outcome::Timeout),
        None,
    );
    lost_query.incomplete = true;
    let health = health([lost, open, lost_query, found_as_it_is("a.", 0)]);
    let totals = health.totals();
    assert_eq!((totals.lookups, totals.undecided, totals.failed), (3, 2, 0));
    assert_eq!((totals.decided(), totals.latencies.count()), (1, 1));
    assert_eq!(health.incomplete(), 2);
    assert!(health.failing_names().0.is_empty());
    let servers = health.servers();
    let (_, stats) = servers.rows[0];
    assert_eq!(
        (
            stats.queries,
            stats.outcomes.decided(),
            stats.outcomes.failed()
        ),
        (1, 0, 0)
    );
    assert_eq!(stats.latencies.count(), 0);
}

#[test]
fn an_exchange_counts_once_with_all_its_attempts() {
    let silent = asked(|one| {
        one.attempts = 3;
        one.outcome = Outcome::Timeout;
        one.rcode = None;
        one.latency = None;
    });
    let late = asked(|one| {
        one.attempts = 3;
        one.late = true;
    });
    let unsolicited = asked(|one| one.attempts = 0);
    let from_elsewhere = asked(|one| one.asked_peer = Some("10.0.0.1:53".parse().expect("one")));
    let events = [silent, late, unsolicited, from_elsewhere, asked(|_| ())];
    let health = health(events.map(|one| dns(kube_dns(), one, None)));
    let servers = health.servers();
    let (server, stats) = servers.rows[0];
    assert_eq!(server.object.to_string(), "kube-system/kube-dns");
    assert_eq!((stats.queries, stats.repeated, stats.late), (4, 2, 1));
    assert_eq!(
        (stats.outcomes.count(Outcome::Timeout), stats.responses),
        (1, 1)
    );
    assert_eq!(stats.outcomes.count(Outcome::Answered), 1);
    assert_eq!(health.totals().queries, 4);
}

#[test]
fn a_server_has_a_row_for_each_side_and_only_the_clients_side_is_summed() {
    let at_client = dns(kube_dns(), asked(|_| ()), None);
    let ends = server(coredns(), "10.1.0.2", 53);
    let at_server = dns(ends, asked(|one| one.outcome = Outcome::Servfail), None);
    let health = health([at_client, at_server]);
    let servers = health.servers();
    let rows: Vec<_> = servers
        .rows
        .iter()
        .map(|(server, stats)| (server.object.to_string(), server.seen_at, stats.queries))
        .collect();
    use crate::model::flow::Role;
    // Failures come first.
    let expected = [
        ("kube-system/coredns-1".to_owned(), Role::Server, 1),
        ("kube-system/kube-dns".to_owned(), Role::Client, 1),
    ];
    assert_eq!(rows, expected);
    assert_eq!(health.totals().queries, 1);
}

#[test]
fn lookups_of_a_dns_server_are_in_no_total_and_a_query_alone_makes_no_server() {
    let upstream = || {
        let mut event = lookup(Some("nowhere.test."), &["nowhere.test."], Outcome::Nxdomain);
        if let Some(ends) = &mut event.ends {
            ends.pod.identity = Ok(coredns());
        }
        event
    };
    let client = || lookup(Some("nowhere.test"), &["nowhere.test."], Outcome::Nxdomain);
    let ends = || server(coredns(), "10.1.0.2", 53);
    let only_asked = asked(|one| {
        one.outcome = Outcome::Timeout;
        one.rcode = None;
    });
    let before = health([upstream(), client(), dns(ends(), only_asked, None)]);
    assert_eq!(before.totals().failed, 2);
    let after = health([upstream(), client(), dns(ends(), asked(|_| ()), None)]);
    assert_eq!((after.totals().failed, after.totals().workloads), (1, 1));
    assert_eq!(after.failing_names().0.len(), 1);
    assert_eq!(after.workloads().rows.len(), 2, "it still has a row");
}

#[test]
fn full_names_save_what_was_asked_before_the_name_that_was_found() {
    let web = [
        "web.shop.default.svc.cluster.local.",
        "web.shop.svc.cluster.local.",
    ];
    let mut repeated = found_as_it_is("www.example.com", 1);
    if let Body::Lookup(lookup) = &mut repeated.body {
        lookup.steps[0].attempts = 2;
        lookup.queries = 3;
    }
    let health = health([
        found_as_it_is("www.example.com", 3),
        repeated,
        lookup(Some("web.shop"), &web, Outcome::Answered),
        found_as_it_is("www.example.com.", 0),
        // Not known what was asked: not judged.
        lookup(None, &web, Outcome::Answered),
    ]);
    let savings = health.savings();
    assert_eq!((savings.saved, savings.of, savings.unknown), (6, 12, 1));
    let expected = [("www.example.com.", 5), ("web.shop.svc.cluster.local.", 1)];
    assert_eq!(savings.names, expected);
}

#[test]
fn an_ndots_is_named_only_if_the_search_path_found_no_name_with_that_many_dots() {
    let in_search = |asked: &str, found: &str| lookup(Some(asked), &[found], Outcome::Answered);
    let ndots = |events: Vec<Event>| {
        let health = health(events);
        let savings = health.savings();
        let found = savings
            .ndots
            .iter()
            .map(|saving| (saving.ndots, saving.saved));
        found.collect::<Vec<_>>()
    };
    let external = || {
        vec![
            found_as_it_is("www.example.com", 3),
            found_as_it_is("a.test", 3),
        ]
    };
    assert_eq!(ndots(external()), [(1, 6)]);
    // web.shop has a dot and is found in a search domain: names with one dot must be searched for.
    let mut events = external();
    events.push(in_search("web.shop", "web.shop.svc.cluster.local."));
    assert_eq!(ndots(events), [(2, 3)]);
    let mut events = external();
    events.push(in_search("a.b.c.d", "a.b.c.d.svc.cluster.local."));
    assert_eq!(ndots(events), []);
    // Each workload has its own setting.
    let mut events = external();
    let of_web = found_as_it_is("b.test", 2);
    events.push(of_workload("web", of_web));
    events.push(in_search("web.shop", "web.shop.svc.cluster.local."));
    assert_eq!(ndots(events), [(2, 3), (1, 2)]);
}

#[test]
fn waiting_and_asking_again_are_summed() {
    let mut slow = found_as_it_is("web", 0);
    if let Body::Lookup(lookup) = &mut slow.body {
        lookup.waited = Duration::from_secs(5);
        lookup.steps[0].attempts = 2;
    }
    let totals = health([slow.clone(), slow, found_as_it_is("web", 0)]).totals();
    assert_eq!(
        (totals.asked_again, totals.waited),
        (2, Duration::from_secs(10))
    );
}

#[test]
fn past_its_limit_a_table_still_has_every_sum() {
    let more = 77;
    let names = MAX_NAMES + more;
    let events = (0..names).map(|number| {
        let name = format!("no-{number}.test.");
        of_workload(
            &format!("web-{}", number % 2_000),
            lookup(Some(&name), &[&name], Outcome::Nxdomain),
        )
    });
    let health = health(events);
    let (rows, others) = health.failing_names();
    assert_eq!((rows.len(), others), (MAX_NAMES, more as u64));
    let workloads = health.workloads();
    assert_eq!(workloads.rows.len(), MAX_WORKLOADS);
    assert!(workloads.others.is_some());
    assert_eq!(health.totals().failed, names as u64);
}

#[test]
fn a_name_that_many_workloads_ask_for_has_an_exact_count() {
    let events = (0..30).map(|number| {
        let event = lookup(Some("db"), &["db."], Outcome::Nxdomain);
        of_workload(&format!("web-{}", number % 10), event)
    });
    let health = health(events);
    let (rows, _) = health.failing_names();
    assert_eq!(
        (rows[0].lookups, rows[0].by_others, rows[0].asked_by.len()),
        (30, 18, 4)
    );
}

#[test]
fn losses_are_summed_and_open_queries_are_none() {
    let lost = |reason| {
        let loss = Loss {
            stage: Stage::Table,
            reason,
            count: 3,
        };
        gallery::event(0, None, Body::Lost(loss))
    };
    let health = health([
        lost("dns table full"),
        lost("dns table full"),
        lost(UNDECIDED_AT_END),
    ]);
    assert_eq!(health.losses().total(), 6);
    assert_eq!(health.period(), None, "a loss is no traffic");
}

#[test]
fn clusters_have_rows_of_their_own() {
    let mut health = DnsHealth::default();
    for cluster in [Some("blue"), Some("green"), None] {
        health.take(cluster, &found_as_it_is("web", 0));
    }
    assert_eq!(health.totals().workloads, 3);
}

/// An exchange with the NodeLocal DNSCache of a node; with its pod, if that is known.
fn at_node_cache(pod: Option<(&str, &str)>, outcome: Outcome) -> Event {
    let mut ends = gallery::client("169.254.20.10", 53);
    ends.peer.host_pod = pod.map(|(name, workload)| {
        let workload = Some(("DaemonSet", workload));
        gallery::identity("kube-system", name, workload, "node-1")
    });
    dns(ends, exchange("web.", A, outcome), None)
}

#[test]
fn an_address_has_one_row_with_the_name_of_what_answers_there() {
    let of = |pods: &[&str]| {
        let answers = pods.iter().map(|name| {
            let workload = name.rsplit_once('-').expect("a suffix").0;
            at_node_cache(Some((name, workload)), Outcome::Answered)
        });
        // It names no pod, and a pod that is known may not be the one that is silent.
        let silent = at_node_cache(None, Outcome::Timeout);
        let health = health(std::iter::once(silent).chain(answers));
        let servers = health.servers();
        let [(server, stats)] = servers.rows[..] else {
            panic!("{:?}", servers.rows);
        };
        assert_eq!(server.object.to_string(), "169.254.20.10");
        assert_eq!(stats.queries, 1 + pods.len() as u64);
        stats.answered_by().map(|object| object.to_string())
    };
    assert_eq!(of(&[]), None);
    assert_eq!(
        of(&["dns-a", "dns-a"]).as_deref(),
        Some("kube-system/dns-a")
    );
    assert_eq!(
        of(&["dns-a", "dns-b", "dns-a"]).as_deref(),
        Some("kube-system/dns")
    );
    assert_eq!(of(&["dns-a", "dns-b", "other-a", "dns-a"]), None);
}
