//! The index in virtual time: `t(seconds)` is the pipeline's clock.

use std::net::IpAddr;

use super::*;
use crate::model::cluster::{
    DnsPolicy, EndpointPort, EndpointSlice, Inventory, Node, Pod, PodDns, Service, ServiceKind,
    ServicePort, SliceEndpoint,
};
use crate::model::flow::{Flow, Protocol, Role};
use crate::model::identity::UnknownReason;

mod changes;
mod lookups;
mod peers;

fn t(seconds: f64) -> Timestamp {
    Timestamp((seconds * 1e9) as u64)
}

fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

/// A running pod `namespace/name` whose UID is `uid-name`.
fn pod(name: &str, address: &str) -> Pod {
    let (namespace, name) = name.split_once('/').unwrap();
    Pod {
        namespace: namespace.into(),
        name: name.into(),
        uid: format!("uid-{name}").into(),
        node: Some("here".into()),
        ips: if address.is_empty() {
            Vec::new()
        } else {
            vec![ip(address)]
        },
        ..Pod::default()
    }
}

fn service(name: &str, cluster_ip: &str, port: u16) -> Service {
    let (namespace, name) = name.split_once('/').unwrap();
    Service {
        namespace: namespace.into(),
        name: name.into(),
        cluster_ips: if cluster_ip.is_empty() {
            Vec::new()
        } else {
            vec![ip(cluster_ip)]
        },
        ports: vec![ServicePort {
            name: None,
            protocol: "TCP".into(),
            port,
            ..ServicePort::default()
        }],
        ..Service::default()
    }
}

fn pods(pods: Vec<Pod>) -> Inventory {
    Inventory {
        pods,
        ..Inventory::default()
    }
}

fn index(inventory: Inventory) -> Index {
    let mut index = Index::new(IndexSettings::default());
    index.replace_at(t(0.0), inventory);
    index
}

impl Index {
    fn replace_at(&mut self, at: Timestamp, inventory: Inventory) {
        self.apply(at, ClusterChange::Replace(Box::new(inventory)));
    }

    /// Whether an event of this instant would wait for its pod's name.
    fn waits(&mut self, now: Timestamp, ifindex: u32) -> bool {
        self.name_deadline(now, now, Ifindex(ifindex)).is_some()
    }

    fn interface(&mut self, at: Timestamp, ifindex: u32, uid: Option<&str>) {
        self.apply(
            at,
            ClusterChange::Interface {
                ifindex: Ifindex(ifindex),
                uid: uid.map(Arc::from),
            },
        );
    }

    /// A TCP flow over interface 7, as the client.
    fn between(&self, at: Timestamp, from: &str, to: &str) -> Ends {
        let flow = Flow {
            ifindex: Ifindex(7),
            protocol: Protocol::Tcp,
            pod: format!("{from}:40000").parse().unwrap(),
            peer: to.parse().unwrap(),
        };
        self.ends(at, &flow, Role::Client)
    }

    fn own(&self, at: Timestamp, address: &str) -> Result<String, UnknownReason> {
        self.between(at, address, "192.0.2.9:80")
            .pod
            .identity
            .map(|pod| pod.name.to_string())
    }

    /// The remote end in one line: pod, Service and node, with `-` for each that it is not.
    fn peer_at(&self, at: Timestamp, to: &str) -> String {
        let peer = self.between(at, "10.1.0.99", to).peer;
        let pod = peer.pod.map_or("-".to_owned(), |pod| {
            format!("{}/{}", pod.namespace, pod.name)
        });
        let service = peer.service.map_or("-".to_owned(), |svc| {
            format!("{}/{}", svc.namespace, svc.name)
        });
        format!("{pod} {service} {}", peer.node.as_deref().unwrap_or("-"))
    }
}

#[test]
fn a_pod_is_identified_by_its_interface_whatever_its_address() {
    let mut index = index(pods(vec![
        pod("default/a", "10.1.0.1"),
        pod("default/b", "10.1.0.2"),
    ]));
    index.interface(t(1.0), 7, Some("uid-a"));
    assert_eq!(index.own(t(2.0), "10.1.0.1"), Ok("a".into()));
    assert_eq!(
        index.own(t(2.0), "10.1.0.77"),
        Ok("a".into()),
        "an address that the API does not list yet"
    );
    assert_eq!(
        index.own(t(2.0), "10.1.0.2"),
        Ok("a".into()),
        "an address that the API lists for another pod"
    );
}

#[test]
fn without_reported_interfaces_the_address_identifies_the_pod() {
    let mut index = index(pods(vec![pod("default/a", "10.1.0.1")]));
    assert_eq!(index.own(t(2.0), "10.1.0.1"), Ok("a".into()));
    assert_eq!(
        index.own(t(2.0), "10.1.0.2"),
        Err(UnknownReason::NotInInventory)
    );
    assert!(!index.waits(t(2.0), 7), "no report will follow");
}

#[test]
fn without_an_inventory_pods_are_unknown_and_events_do_not_wait() {
    let mut index = Index::new(IndexSettings::default());
    index.interface(t(1.0), 7, Some("uid-a"));
    assert_eq!(
        index.own(t(1.0), "10.1.0.1"),
        Err(UnknownReason::NoInventory)
    );
    assert!(!index.waits(t(1.0), 7));
    index.interface(t(1.0), 8, None);
    assert!(!index.waits(t(1.0), 8), "no process would name it");
}

#[test]
fn events_wait_for_a_late_pod_and_then_carry_its_identity_from_the_start() {
    let mut index = index(pods(vec![]));
    index.interface(t(10.0), 7, None);
    assert!(index.waits(t(10.1), 7), "its process may still start");
    assert_eq!(
        index.own(t(10.1), "10.1.0.1"),
        Err(UnknownReason::NoPodProcess)
    );
    index.interface(t(10.3), 7, Some("uid-a"));
    assert!(index.waits(t(10.1), 7), "the API may still report it");
    assert_eq!(
        index.own(t(10.1), "10.1.0.1"),
        Err(UnknownReason::NotInInventory)
    );
    index.replace_at(t(10.8), pods(vec![pod("default/a", "")]));
    assert!(!index.waits(t(10.1), 7));
    assert_eq!(index.own(t(10.1), "10.1.0.1"), Ok("a".into()));
    assert_eq!(
        index.own(t(9.9), "10.1.0.1"),
        Ok("a".into()),
        "its first packet, before the report of the interface"
    );
}

#[test]
fn events_wait_for_an_identity_only_for_a_limited_time() {
    let mut index = index(pods(vec![]));
    index.interface(t(10.0), 7, None);
    assert!(!index.waits(t(12.1), 7));
    index.interface(t(12.2), 7, Some("uid-x"));
    assert!(
        !index.waits(t(12.3), 7),
        "a late process begins no new wait"
    );
    assert!(index.waits(t(20.0), 8), "its first event");
    assert!(index.waits(t(21.9), 8));
    assert!(!index.waits(t(22.0), 8), "its report will not follow");
    index.interface(t(30.0), 7, Some("uid-y"));
    assert!(index.waits(t(31.9), 7), "another pod");
    assert!(!index.waits(t(32.1), 7));
    let began = index.name_deadline(t(32.1), t(31.9), Ifindex(7));
    assert_eq!(began, None, "however early the event began");
}

#[test]
fn packets_that_overtake_their_interface_report_wait_where_interfaces_are_reported() {
    let mut index = index(pods(vec![pod("default/a", "10.1.0.1")]));
    index.interface(t(1.0), 6, Some("uid-a"));
    assert!(index.waits(t(1.0), 7));
}

#[test]
fn an_address_reused_within_a_second_identifies_each_pod_at_its_time() {
    let mut index = index(pods(vec![pod("default/old", "10.1.0.1")]));
    index.replace_at(t(10.0), pods(vec![]));
    index.replace_at(t(10.8), pods(vec![pod("default/new", "10.1.0.1")]));
    assert_eq!(index.peer_at(t(9.9), "10.1.0.1:80"), "default/old - here");
    assert_eq!(
        index.peer_at(t(10.5), "10.1.0.1:80"),
        "default/new - here",
        "the API lags"
    );
    assert_eq!(index.peer_at(t(11.0), "10.1.0.1:80"), "default/new - here");
}

#[test]
fn a_reused_interface_index_identifies_each_pod_at_its_time() {
    let mut index = index(pods(vec![
        pod("default/old", "10.1.0.1"),
        pod("default/new", "10.1.0.2"),
    ]));
    index.interface(t(1.0), 7, Some("uid-old"));
    index.apply(t(10.0), ClusterChange::InterfaceGone(Ifindex(7)));
    assert_eq!(
        index.own(t(10.1), "10.1.0.1"),
        Ok("old".into()),
        "a last packet"
    );
    index.interface(t(10.2), 7, None);
    index.interface(t(10.4), 7, Some("uid-new"));
    assert_eq!(index.own(t(9.0), "10.1.0.1"), Ok("old".into()));
    assert_eq!(index.own(t(10.3), "10.1.0.1"), Ok("new".into()));
}

#[test]
fn an_interface_that_lost_its_pod_falls_back_to_the_address() {
    let mut index = index(pods(vec![pod("default/a", "10.1.0.1")]));
    index.interface(t(1.0), 7, Some("uid-a"));
    index.interface(t(5.0), 7, None);
    assert_eq!(index.own(t(4.0), "10.1.0.3"), Ok("a".into()));
    assert_eq!(
        index.own(t(6.0), "10.1.0.3"),
        Err(UnknownReason::NoPodProcess)
    );
}

#[test]
fn a_deleted_pod_stays_known_for_the_retention_time() {
    let mut index = index(pods(vec![pod("default/a", "10.1.0.1")]));
    index.interface(t(1.0), 7, Some("uid-a"));
    index.replace_at(t(10.0), pods(vec![]));
    assert_eq!(
        index.own(t(12.0), "10.1.0.1"),
        Ok("a".into()),
        "its interface outlives its object"
    );
    assert_eq!(index.peer_at(t(9.0), "10.1.0.1:80"), "default/a - here");
    assert_eq!(
        index.peer_at(t(12.0), "10.1.0.1:80"),
        "- - -",
        "the address is free now"
    );
    let (past, until) = index.past_owner(ip("10.1.0.1"), t(12.0)).unwrap();
    assert_eq!((&*past.name, until), ("a", t(10.0)));
    assert_eq!(
        index.past_owner(ip("10.1.0.1"), t(9.0)),
        None,
        "it had it then"
    );
    index.replace_at(t(400.0), pods(vec![]));
    assert_eq!(
        index.own(t(400.0), "10.1.0.1"),
        Err(UnknownReason::NotInInventory)
    );
    assert_eq!(index.peer_at(t(9.0), "10.1.0.1:80"), "- - -");
    assert_eq!(index.past_owner(ip("10.1.0.1"), t(400.0)), None);
}

#[test]
fn two_running_pods_with_one_address_are_ambiguous() {
    let index = index(pods(vec![
        pod("default/a", "10.1.0.1"),
        pod("default/b", "10.1.0.1"),
    ]));
    assert_eq!(index.own(t(1.0), "10.1.0.1"), Err(UnknownReason::Ambiguous));
    assert_eq!(index.peer_at(t(1.0), "10.1.0.1:80"), "- - -");
}

#[test]
fn the_address_of_a_pod_behind_another_interface_is_ambiguous() {
    let mut index = index(pods(vec![pod("default/a", "10.1.0.1")]));
    index.interface(t(1.0), 6, Some("uid-a"));
    index.interface(t(1.0), 7, None);
    assert_eq!(index.own(t(2.0), "10.1.0.1"), Err(UnknownReason::Ambiguous));
}

#[test]
fn a_running_pod_owns_the_address_over_an_ended_one() {
    let ended = Pod {
        terminated: true,
        ..pod("default/job", "10.1.0.1")
    };
    let both = index(pods(vec![ended.clone(), pod("default/a", "10.1.0.1")]));
    assert_eq!(both.own(t(1.0), "10.1.0.1"), Ok("a".into()));
    let alone = index(pods(vec![ended.clone()]));
    assert_eq!(alone.own(t(1.0), "10.1.0.1"), Ok("job".into()));
    let another = Pod {
        terminated: true,
        ..pod("default/job2", "10.1.0.1")
    };
    assert_eq!(
        index(pods(vec![ended, another])).own(t(1.0), "10.1.0.1"),
        Err(UnknownReason::Ambiguous)
    );
}

#[test]
fn an_ended_pod_keeps_the_address_for_its_earlier_traffic() {
    let mut index = index(pods(vec![pod("default/job", "10.1.0.1")]));
    let ended = Pod {
        terminated: true,
        ..pod("default/job", "10.1.0.1")
    };
    index.replace_at(t(10.0), pods(vec![ended, pod("default/next", "10.1.0.1")]));
    assert_eq!(index.own(t(9.0), "10.1.0.1"), Ok("job".into()));
    assert_eq!(index.own(t(11.0), "10.1.0.1"), Ok("next".into()));
}

#[test]
fn a_node_address_never_identifies_a_host_network_pod() {
    let host = Pod {
        host_network: true,
        ..pod("kube-system/proxy", "192.168.2.30")
    };
    let index = index(pods(vec![host]));
    assert_eq!(
        index.own(t(1.0), "192.168.2.30"),
        Err(UnknownReason::NotInInventory)
    );
    assert_eq!(
        index.peer_at(t(1.0), "192.168.2.30:10250"),
        "- - here",
        "but the node is"
    );
}

#[test]
fn a_static_pod_is_identified_by_the_uid_in_its_cgroup_path() {
    let mirror = Pod {
        static_uid: Some("5f3c".into()),
        ..pod("kube-system/static", "10.1.0.1")
    };
    let mut index = index(pods(vec![mirror]));
    index.interface(t(1.0), 7, Some("5f3c"));
    assert_eq!(index.own(t(2.0), "10.1.0.9"), Ok("static".into()));
    assert!(
        index
            .between(t(2.0), "10.1.0.2", "10.1.0.1:80")
            .peer_traced_here
    );
}

#[test]
fn the_memory_of_deleted_objects_is_bounded_and_evictions_are_counted() {
    let many = || {
        (0..MAX_PAST + 5)
            .map(|n| pod(&format!("default/p{n}"), ""))
            .collect()
    };
    let mut index = index(pods(many()));
    index.replace_at(t(1.0), pods(vec![]));
    assert_eq!(index.losses().total(), 5);
}
