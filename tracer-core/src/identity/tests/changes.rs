//! An index fed with single changes and lists equals one that received the final state at once.

use super::*;
use crate::model::cluster::{Kind, Listed, Object, ObjectKey, PodScope};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

/// A small cluster, so that names, UIDs and addresses collide all the time.
#[derive(Clone, Debug, Default)]
struct Cluster {
    pods: Vec<Pod>,
    services: Vec<Service>,
    slices: Vec<EndpointSlice>,
    nodes: Vec<Node>,
}

const ADDRESSES: [&str; 4] = ["10.1.0.1", "10.1.0.2", "10.152.0.1", "192.168.2.30"];

fn some_ips(random: &mut SmallRng) -> Vec<IpAddr> {
    let ips = ADDRESSES.iter().filter(|_| random.random_ratio(1, 3));
    ips.map(|address| ip(address)).collect()
}

fn some_name(random: &mut SmallRng) -> Arc<str> {
    ["a", "b", "c"][random.random_range(0..3)].into()
}

impl Cluster {
    fn put(&mut self, random: &mut SmallRng) -> Object {
        let (namespace, name) = (Arc::from("default"), some_name(random));
        match random.random_range(0..4) {
            0 => {
                let pod = Pod {
                    uid: format!("uid-{name}-{}", random.random_range(0..2)).into(),
                    namespace,
                    name,
                    node: Some("here".into()),
                    ips: some_ips(random),
                    host_network: random.random_ratio(1, 6),
                    terminated: random.random_ratio(1, 6),
                    terminating: random.random_ratio(1, 4),
                    ..Pod::default()
                };
                self.pods.retain(|one| one.name != pod.name);
                self.pods.push(pod.clone());
                Object::Pod(pod)
            }
            1 => {
                let service = Service {
                    namespace,
                    name,
                    cluster_ips: some_ips(random),
                    external_ips: some_ips(random),
                    ..Service::default()
                };
                self.services.retain(|one| one.name != service.name);
                self.services.push(service.clone());
                Object::Service(service)
            }
            2 => {
                let endpoint = |random: &mut SmallRng| SliceEndpoint {
                    ips: some_ips(random),
                    ready: true,
                    pod: Some(some_name(random)),
                    pod_uid: random.random_bool(0.5).then(|| "uid-elsewhere".into()),
                    ..SliceEndpoint::default()
                };
                let slice = EndpointSlice {
                    namespace,
                    name,
                    service: random.random_ratio(5, 6).then(|| some_name(random)),
                    endpoints: vec![endpoint(random), endpoint(random)],
                    ..EndpointSlice::default()
                };
                self.slices.retain(|one| one.name != slice.name);
                self.slices.push(slice.clone());
                Object::Slice(slice)
            }
            _ => {
                let node = Node {
                    name,
                    ips: some_ips(random),
                    pod_cidrs: Vec::new(),
                };
                self.nodes.retain(|one| one.name != node.name);
                self.nodes.push(node.clone());
                Object::Node(node)
            }
        }
    }

    /// Deletes an object, which may not even exist.
    fn delete(&mut self, random: &mut SmallRng) -> ObjectKey {
        let name = some_name(random);
        let kinds = [Kind::Pod, Kind::Service, Kind::EndpointSlice, Kind::Node];
        let kind = kinds[random.random_range(0..4)];
        let uid = self.pods.iter().find(|pod| pod.name == name);
        let uid = uid.map(|pod| pod.uid.clone()).unwrap_or_default();
        match kind {
            Kind::Pod => self.pods.retain(|one| one.name != name),
            Kind::Service => self.services.retain(|one| one.name != name),
            Kind::EndpointSlice => self.slices.retain(|one| one.name != name),
            _ => self.nodes.retain(|one| one.name != name),
        }
        ObjectKey {
            kind,
            namespace: match kind {
                Kind::Node => "".into(),
                _ => "default".into(),
            },
            name,
            uid: match kind {
                Kind::Pod => uid,
                _ => "".into(),
            },
        }
    }

    fn lists(&self) -> Vec<Listed> {
        vec![
            Listed::Pods(self.pods.clone()),
            Listed::Services(self.services.clone()),
            Listed::Slices(self.slices.clone()),
            Listed::Nodes(self.nodes.clone()),
        ]
    }
}

fn asked_index() -> Index {
    let mut index = Index::new(IndexSettings::default());
    let (kinds, pods) = (Kind::ALL.to_vec(), PodScope::Cluster);
    index.apply(t(0.0), ClusterChange::Asked { kinds, pods });
    index
}

/// Every answer of the index about the small cluster at this time.
fn answers(index: &Index, at: Timestamp) -> Vec<String> {
    let mut answers = Vec::new();
    for address in ADDRESSES {
        answers.push(index.peer_at(at, &format!("{address}:80")));
        answers.push(format!("{:?}", index.own(at, address)));
        let ended = index.ended_owner(ip(address), at);
        answers.push(format!("{:?}", ended.map(|pod| &pod.uid)));
    }
    for name in ["a", "b", "c"] {
        answers.push(format!("{:?}", index.has_pod("default", name)));
        answers.push(format!("{:?}", index.has_service("default", name)));
        let endpoints = index.endpoints("default", name);
        let mut endpoints: Vec<String> = endpoints
            .iter()
            .map(|endpoint| format!("{} {:?}", endpoint.ip, endpoint.pod))
            .collect();
        endpoints.sort();
        answers.push(endpoints.join(", "));
    }
    answers
}

#[test]
fn any_history_of_changes_gives_the_same_index_as_the_final_state() {
    for seed in 0..200 {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut cluster = Cluster::default();
        let mut index = asked_index();
        for listed in cluster.lists() {
            index.apply(t(1.0), ClusterChange::List(listed));
        }
        for step in 0..60 {
            let at = t(2.0 + f64::from(step) * 20.0);
            match random.random_range(0..10) {
                0 => {
                    // The watch breaks: these changes are not reported one by one, a list follows.
                    for _ in 0..3 {
                        cluster.put(&mut random);
                        cluster.delete(&mut random);
                    }
                    for listed in cluster.lists() {
                        index.apply(at, ClusterChange::List(listed));
                    }
                }
                1..4 => index.apply(at, ClusterChange::Delete(cluster.delete(&mut random))),
                _ => index.apply(at, ClusterChange::Put(Box::new(cluster.put(&mut random)))),
            }
            let mut fresh = asked_index();
            for listed in cluster.lists() {
                fresh.apply(t(1.0), ClusterChange::List(listed));
            }
            assert_eq!(
                answers(&index, at),
                answers(&fresh, at),
                "seed {seed}, step {step}: {cluster:?}"
            );
        }
    }
}

#[test]
fn events_wait_only_for_lists_that_identify_pods() {
    let mut index = asked_index();
    assert!(index.waits(t(1.0), 7));
    assert!(!index.waits(t(5.1), 7), "only for a limited time");
    for kind in [Kind::Service, Kind::EndpointSlice, Kind::Node] {
        index.apply(t(1.0), ClusterChange::List(Listed::empty(kind)));
        assert!(index.waits(t(1.0), 7));
    }
    assert_eq!(
        index.own(t(1.0), "10.1.0.1"),
        Err(UnknownReason::NotAnswered)
    );
    index.apply(t(1.0), ClusterChange::Refused(Kind::Pod));
    assert!(!index.waits(t(1.0), 7), "the list will not arrive");
    assert_eq!(index.own(t(1.0), "10.1.0.1"), Err(UnknownReason::Refused));
}

#[test]
fn a_pod_recreated_under_the_same_name_is_another_pod() {
    let mut index = asked_index();
    index.apply(
        t(1.0),
        ClusterChange::List(Listed::Pods(vec![pod("default/db-0", "10.1.0.1")])),
    );
    let mut recreated = pod("default/db-0", "10.1.0.2");
    recreated.uid = "uid-recreated".into();
    let gone = ObjectKey {
        kind: Kind::Pod,
        namespace: "default".into(),
        name: "db-0".into(),
        uid: "uid-db-0".into(),
    };
    // The deletion of the old pod can be reported after the creation of the new one, because the list comes
    // between them.
    index.apply(
        t(10.0),
        ClusterChange::Put(Box::new(Object::Pod(recreated))),
    );
    index.apply(t(11.0), ClusterChange::Delete(gone));
    assert_eq!(index.peer_at(t(12.0), "10.1.0.1:80"), "- - -");
    assert_eq!(index.peer_at(t(12.0), "10.1.0.2:80"), "default/db-0 - here");
    assert_eq!(index.has_pod("default", "db-0"), Presence::Yes);
    let past = index
        .past_owner(ip("10.1.0.1"), t(12.0))
        .map(|(pod, _)| &*pod.uid);
    assert_eq!(past, Some("uid-db-0"));
}

#[test]
fn an_address_never_names_a_pod_of_another_node_on_a_local_interface() {
    let node = |name: &str| Node {
        name: name.into(),
        ..Node::default()
    };
    let elsewhere = Pod {
        node: Some("there".into()),
        ..pod("shop/remote", "10.0.1.5")
    };
    let inventory = Inventory {
        pods: vec![pod("shop/local", "10.0.0.5"), elsewhere],
        nodes: vec![node("here"), node("there")],
        ..Inventory::default()
    };
    let named = |here: Option<&str>, uid: Option<&str>, address: &str| {
        let mut index = Index::new(IndexSettings {
            node: here.map(Arc::from),
            ..IndexSettings::default()
        });
        index.apply(t(0.0), ClusterChange::Replace(Box::new(inventory.clone())));
        let (ifindex, uid) = (Ifindex(7), uid.map(Arc::from));
        index.apply(t(0.0), ClusterChange::Interface { ifindex, uid });
        index
            .pod(t(9.0), ifindex, ip(address))
            .map(|pod| pod.name.to_string())
    };
    // No pod process was found for the interface.
    assert_eq!(
        named(Some("here"), None, "10.0.0.5").as_deref(),
        Ok("local")
    );
    assert_eq!(
        named(Some("here"), None, "10.0.1.5"),
        Err(UnknownReason::NoPodProcess)
    );
    // The interface's process is said to be the remote pod's.
    assert_eq!(
        named(Some("here"), Some("uid-remote"), "10.0.1.5"),
        Err(UnknownReason::Ambiguous)
    );
    // Which node this is is not known.
    assert_eq!(named(None, None, "10.0.1.5").as_deref(), Ok("remote"));
    assert_eq!(
        named(Some("laptop"), None, "10.0.1.5").as_deref(),
        Ok("remote")
    );
}
