//! The lab's inventory file, as the identity index reads it.

use std::net::IpAddr;

use tracer_core::files::inventory;
use tracer_core::identity::{Index, IndexSettings};
use tracer_core::model::cluster::ClusterChange;
use tracer_core::model::flow::{Flow, Ifindex, Protocol, Role};
use tracer_core::model::time::Timestamp;

const LAB: &str = include_str!("../../../testbed/lab/inventory.yaml");

fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

#[test]
fn the_inventory_of_the_lab_identifies_both_ends() {
    let loaded = inventory::parse(LAB).unwrap();
    assert_eq!((loaded.skipped.len(), loaded.duplicates), (0, 0));
    let objects = &loaded.inventory;
    assert_eq!(
        (
            objects.nodes.len(),
            objects.pods.len(),
            objects.services.len()
        ),
        (4, 10, 4)
    );
    let mut index = Index::new(IndexSettings::default());
    let interface = ClusterChange::Interface {
        ifindex: Ifindex(4),
        uid: Some("6757d342-97d3-489b-951d-1f66d36173ae".into()),
    };
    index.apply(Timestamp(0), interface);
    index.apply(
        Timestamp(0),
        ClusterChange::Replace(Box::new(loaded.inventory)),
    );
    let to = |peer: &str| {
        let pod = "10.1.39.193:40000".parse().unwrap();
        let flow = Flow {
            ifindex: Ifindex(4),
            protocol: Protocol::Udp,
            pod,
            peer: peer.parse().unwrap(),
        };
        index.ends(Timestamp(1), &flow, Role::Client)
    };
    let ends = to("10.152.183.10:53");
    let pod = ends.pod.identity.unwrap();
    assert_eq!(
        (&*pod.namespace, &*pod.name, pod.node.as_deref()),
        ("default", "deb-ubuntu", Some("k8s-worker03"))
    );
    let service = ends.peer.service.unwrap();
    assert_eq!(
        (&*service.namespace, &*service.name),
        ("kube-system", "kube-dns")
    );
    let apache = to("10.1.79.66:0").peer;
    assert_eq!(
        apache.pod.as_ref().unwrap().name,
        "apache-ds-myns-5tjrr".into()
    );
    assert_eq!(
        apache.pod.unwrap().workload.clone().unwrap().name,
        "apache-ds-myns".into()
    );
    assert_eq!(apache.node.as_deref(), Some("k8s-worker01"));
    assert_eq!(
        to("192.168.2.32:22").peer.node.as_deref(),
        Some("k8s-worker02")
    );
    let resolver = index.resolver(&pod).unwrap();
    let search: Vec<_> = resolver
        .search
        .iter()
        .map(|domain| domain.relative())
        .collect();
    assert_eq!(
        search,
        [
            "default.svc.cluster.local",
            "svc.cluster.local",
            "cluster.local"
        ]
    );
    assert_eq!(resolver.ndots, 5);
    let endpoints = index.endpoints("myns", "clusterip-apache2-ds-myns");
    let ips: Vec<_> = endpoints
        .iter()
        .filter(|endpoint| endpoint.ready)
        .map(|endpoint| endpoint.ip)
        .collect();
    assert_eq!(
        ips,
        ["10.1.39.195", "10.1.69.197", "10.1.79.66", "10.1.235.214"].map(ip)
    );
}
