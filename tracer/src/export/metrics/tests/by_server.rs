//! Series by DNS server and by workload, and their limits.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::export::metrics::servers::{MAX_ADDRESSES, MAX_NAMED};
use crate::export::metrics::workloads::MAX_WORKLOADS;
use tracer_core::model::exchange::Outcome;
use tracer_core::model::identity::{PodIdentity, Workload};

const SERVER: [&str; 4] = ["server_kind", "server", "direction", "outcome"];

fn answered() -> Event {
    let exchange = gallery::exchange(
        "db.shop.svc.cluster.local.",
        RecordType::A,
        Outcome::Answered,
    );
    gallery::dns(gallery::kube_dns(), exchange, None)
}

fn pod(namespace: &str, name: &str, workload: Option<(&str, &str)>) -> Arc<PodIdentity> {
    Arc::new(PodIdentity {
        namespace: namespace.into(),
        name: name.into(),
        uid: name.into(),
        workload: workload.map(|(kind, name)| Workload {
            kind: kind.into(),
            name: name.into(),
        }),
        node: None,
    })
}

/// The event with another server, outside the cluster.
fn at_address(mut event: Event, ip: IpAddr) -> Event {
    let peer = &mut event.ends.as_mut().expect("ends").peer;
    (peer.service, peer.pod, peer.node) = (None, None, None);
    peer.ip = ip;
    event
}

#[test]
fn a_client_counts_the_service_and_the_server_counts_its_pod() {
    let metrics = metrics(false);
    metrics.observe(&answered());
    let mut at_server = answered();
    at_server.ends = Some(gallery::server(
        pod("kube-system", "coredns-1", None),
        "10.1.0.7",
        53,
    ));
    metrics.observe(&at_server);
    metrics.observe(&at_address(answered(), Ipv4Addr::new(8, 8, 8, 8).into()));
    assert_eq!(
        samples(&metrics, "tracer_dns_server_exchanges_total", &SERVER),
        [
            ("address 8.8.8.8 client answered".to_owned(), 1.0),
            ("pod kube-system/coredns-1 server answered".to_owned(), 1.0),
            (
                "service kube-system/kube-dns client answered".to_owned(),
                1.0
            ),
        ]
    );
    let observed = samples(
        &metrics,
        "tracer_dns_server_latency_seconds_count",
        &SERVER[..2],
    );
    assert_eq!(observed.len(), 3, "{observed:?}");
    // The existing metric still counts each exchange once, at its client.
    let total: f64 = samples(&metrics, "tracer_dns_exchanges_total", &[])
        .iter()
        .map(|(_, value)| value)
        .sum();
    assert_eq!(total, 2.0);
}

#[test]
fn addresses_that_a_pod_queries_are_bounded_and_take_no_room_from_named_servers() {
    let metrics = metrics(false);
    let many = u32::try_from(MAX_ADDRESSES + MAX_NAMED + 10).expect("few");
    for number in 0..many {
        metrics.observe(&at_address(
            answered(),
            Ipv4Addr::from(0x0808_0000 + number).into(),
        ));
    }
    metrics.observe(&answered());
    let kinds = |kind: &str| {
        let all = samples(
            &metrics,
            "tracer_dns_server_exchanges_total",
            &["server_kind"],
        );
        let of_kind = all.into_iter().filter(|(found, _)| found == kind);
        of_kind.map(|(_, value)| value).collect::<Vec<_>>()
    };
    assert_eq!(kinds("address").len(), MAX_ADDRESSES);
    assert_eq!(kinds("other"), [f64::from(many) - MAX_ADDRESSES as f64]);
    assert_eq!(kinds("service"), [1.0]);
}

#[test]
fn pods_of_one_workload_share_its_series() {
    let metrics = metrics(false);
    let owned = Some(("Deployment", "web"));
    let pods = [("web-1", owned), ("web-2", owned), ("debug", None)];
    for (name, workload) in pods {
        for kind in ["lookup found at", "tcp established", "finding active"] {
            let mut all = gallery::all().into_iter();
            let found = all.find(|(known, _)| known.starts_with(kind));
            let (_, mut event) = found.unwrap_or_else(|| panic!("no event {kind}"));
            event.ends.as_mut().expect("ends").pod.identity = Ok(pod("shop", name, workload));
            metrics.observe(&event);
        }
    }
    let labels = ["namespace", "workload_type", "workload"];
    for sample in [
        "tracer_workload_lookups_total",
        "tracer_workload_lookup_duration_seconds_count",
        "tracer_workload_tcp_connections_total",
    ] {
        assert_eq!(
            samples(&metrics, sample, &labels),
            [
                ("shop deployment web".to_owned(), 2.0),
                ("shop pod ".to_owned(), 1.0),
            ],
            "{sample}"
        );
    }
    let occurrences = samples(
        &metrics,
        "tracer_workload_finding_occurrences_total",
        &["workload", "rule", "severity"],
    );
    // The three events have one id, so they are one finding whose count does not grow.
    assert_eq!(
        occurrences,
        [
            (" nxdomain-other-namespace error".to_owned(), 0.0),
            ("web nxdomain-other-namespace error".to_owned(), 2.0),
        ]
    );
}

#[test]
fn workloads_beyond_the_limit_share_other() {
    let metrics = metrics(false);
    for number in 0..MAX_WORKLOADS + 3 {
        let (_, mut event) = gallery::all()
            .into_iter()
            .find(|(known, _)| *known == "tcp established")
            .expect("an event");
        let name = format!("job-{number}");
        event.ends.as_mut().expect("ends").pod.identity =
            Ok(pod("shop", "a-pod", Some(("Job", &name))));
        metrics.observe(&event);
    }
    let all = samples(
        &metrics,
        "tracer_workload_tcp_connections_total",
        &["workload"],
    );
    assert_eq!(all.len(), MAX_WORKLOADS + 1);
    assert!(all.contains(&("other".to_owned(), 3.0)), "{all:?}");
}
