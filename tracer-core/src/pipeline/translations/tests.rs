use super::*;
use crate::identity::IndexSettings;
use crate::model::cluster::{ClusterChange, Inventory, Phase, Pod};
use crate::model::flow::{Direction, Ifindex};

const SECOND: u64 = 1_000_000_000;
const A: &str = "10.0.1.1:80";
const B: &str = "10.0.1.2:80";
const NODE: &str = "192.168.2.33:40000";

fn tuple(protocol: Protocol, src: &str) -> Tuple {
    Tuple {
        protocol,
        src: src.parse().expect("a socket"),
        dst: "10.96.0.1:80".parse().expect("a socket"),
    }
}

struct Table {
    translations: Translations,
    index: Index,
    protocol: Protocol,
}

impl Table {
    fn new(protocol: Protocol) -> Table {
        Table {
            translations: Translations::default(),
            index: Index::new(IndexSettings::default()),
            protocol,
        }
    }

    fn insert_from(&mut self, at: u64, src: &str, endpoint: &str) {
        let original = tuple(self.protocol, src);
        let reply = Tuple {
            protocol: self.protocol,
            src: endpoint.parse().expect("a socket"),
            dst: original.src,
        };
        let translation = Translation { original, reply };
        self.translations
            .insert(Timestamp(at), &translation, &self.index);
    }

    /// A connection of the node to `dst`, which leaves it from `shown`.
    fn insert_own(&mut self, at: u64, shown: &str, dst: &str) {
        let socket = |text: &str| text.parse().expect("a socket");
        let protocol = self.protocol;
        let tuple = |src: &str, dst: &str| Tuple {
            protocol,
            src: socket(src),
            dst: socket(dst),
        };
        let translation = Translation {
            original: tuple(NODE, dst),
            reply: tuple(A, shown),
        };
        self.translations
            .insert(Timestamp(at), &translation, &self.index);
    }

    /// The ends of the node's flow from `shown` to the endpoint.
    fn restored(&mut self, at: u64, shown: &str) -> (String, String) {
        let mut flow = Flow {
            ifindex: Ifindex(2),
            protocol: self.protocol,
            pod: shown.parse().expect("a socket"),
            peer: A.parse().expect("a socket"),
        };
        self.translations.restore_flow(&mut flow, Timestamp(at));
        (flow.pod.to_string(), flow.peer.to_string())
    }

    fn insert(&mut self, at: u64, endpoint: &str) {
        self.insert_from(at, "10.0.0.1:40000", endpoint);
    }

    fn found_from(&mut self, began: u64, src: &str) -> Option<String> {
        let Tuple { protocol, src, dst } = tuple(self.protocol, src);
        let flow = Flow {
            ifindex: Ifindex(7),
            protocol,
            pod: src,
            peer: dst,
        };
        let endpoint = self
            .translations
            .endpoint(Timestamp(began), &flow, Timestamp(u64::MAX));
        endpoint.map(|endpoint| endpoint.to_string())
    }

    fn found(&mut self, began: u64) -> Option<String> {
        self.found_from(began, "10.0.0.1:40000")
    }
}

#[test]
fn a_flow_has_the_endpoint_that_held_when_it_began() {
    let mut table = Table::new(Protocol::Tcp);
    assert_eq!(table.found(SECOND), None);
    table.insert(SECOND, A);
    // The record of the first packet may precede the entry a little.
    assert_eq!(table.found(SECOND - 900_000).as_deref(), Some(A));
    assert_eq!(table.found(SECOND / 2), None);
    table.insert(5 * SECOND, B);
    assert_eq!(table.found(2 * SECOND).as_deref(), Some(A));
    assert_eq!(table.found(6 * SECOND).as_deref(), Some(B));
    assert_eq!(table.found_from(6 * SECOND, "10.0.0.1:40001"), None);
}

#[test]
fn two_endpoints_of_one_batch_are_no_certain_one() {
    let mut table = Table::new(Protocol::Tcp);
    table.insert(SECOND, A);
    table.insert(SECOND, B);
    assert_eq!(table.found(SECOND), None);
    // The same one twice is certain.
    table.insert(2 * SECOND, A);
    table.insert(2 * SECOND, A);
    assert_eq!(table.found(2 * SECOND).as_deref(), Some(A));
}

#[test]
fn a_udp_flow_from_before_a_change_may_have_used_both() {
    let mut table = Table::new(Protocol::Udp);
    table.insert(SECOND, A);
    table.insert(60 * SECOND, B);
    assert_eq!(table.found(2 * SECOND), None);
    assert_eq!(table.found(61 * SECOND).as_deref(), Some(B));
}

#[test]
fn what_was_missed_may_have_changed_it() {
    let mut table = Table::new(Protocol::Tcp);
    table.insert(SECOND, A);
    table.translations.interrupted(Timestamp(5 * SECOND));
    assert_eq!(table.found(2 * SECOND).as_deref(), Some(A));
    assert_eq!(table.found(6 * SECOND), None);
    table.insert(10 * SECOND, B);
    assert_eq!(table.found(11 * SECOND).as_deref(), Some(B));
    // So many interruptions that the first one is forgotten.
    for second in 20..20 + MAX_GAPS as u64 {
        table.translations.interrupted(Timestamp(second * SECOND));
    }
    assert_eq!(table.found(11 * SECOND).as_deref(), Some(B));
    table.translations.interrupted(Timestamp(90 * SECOND));
    assert_eq!(table.found(11 * SECOND), None);
}

#[test]
fn clients_that_are_no_pods_share_the_room_of_one_pod() {
    let mut table = Table::new(Protocol::Tcp);
    let pod = Pod {
        namespace: "default".into(),
        name: "web".into(),
        uid: "1".into(),
        ips: vec!["10.0.0.1".parse().expect("an address")],
        phase: Phase::Running,
        ..Pod::default()
    };
    let pods = vec![pod];
    let inventory = Box::new(Inventory {
        pods,
        ..Inventory::default()
    });
    table
        .index
        .apply(Timestamp(0), ClusterChange::Replace(inventory));
    let own: Vec<String> = (0..1000).map(|port| format!("10.0.0.1:{port}")).collect();
    for src in &own {
        table.insert_from(SECOND, src, A);
    }
    for outside in 0..2 * ROOM.entries {
        let src = format!("203.0.{}.{}:5000", outside / 256 % 256, outside % 256);
        table.insert_from(SECOND, &src, B);
    }
    assert!(table.translations.entries.len() <= ROOM.entries);
    assert!(
        table
            .translations
            .losses()
            .iter()
            .any(|loss| loss.count > 0)
    );
    for src in &own {
        assert_eq!(table.found_from(SECOND, src).as_deref(), Some(A), "{src}");
    }
}

#[test]
fn an_entry_leaves_when_nothing_asks_for_it() {
    let mut table = Table::new(Protocol::Tcp);
    table.insert(SECOND, A);
    table.insert_from(SECOND, "10.0.0.2:1", A);
    assert_eq!(table.found(SECOND).as_deref(), Some(A));
    let later = SECOND + u64::try_from(SHORT.as_nanos()).expect("nanoseconds");
    table.insert_from(later + 1, "10.0.0.3:1", B);
    assert_eq!(table.found_from(SECOND, "10.0.0.2:1"), None);
    // It was asked for, and stays.
    assert_eq!(table.found(SECOND).as_deref(), Some(A));
}

#[test]
fn a_connection_of_the_node_gets_back_what_its_client_used() {
    let mut table = Table::new(Protocol::Tcp);
    let of = |pod: &str, peer: &str| (pod.to_owned(), peer.to_owned());
    // Masquerading may change the port.
    let shown = "192.168.2.33:61000";
    assert_eq!(table.restored(SECOND, shown), of(shown, A));
    table.insert_own(SECOND, shown, "10.96.0.1:80");
    assert_eq!(table.restored(SECOND, shown), of(NODE, "10.96.0.1:80"));
    assert_eq!(table.restored(SECOND, NODE), of(NODE, A));
    // The same port later leads to another Service at the same endpoint.
    table.insert_own(2 * SECOND, shown, "10.96.0.2:80");
    assert_eq!(table.restored(3 * SECOND, shown), of(NODE, "10.96.0.2:80"));
    // What follows may be another connection, whose entry was missed.
    table.translations.interrupted(Timestamp(4 * SECOND));
    assert_eq!(table.restored(5 * SECOND, shown), of(shown, A));
}

#[test]
fn connections_of_other_hosts_are_not_kept_as_the_nodes() {
    let mut table = Table::new(Protocol::Tcp);
    let pod = Pod {
        namespace: "kube-system".into(),
        name: "host".into(),
        uid: "1".into(),
        node: Some("here".into()),
        host_network: true,
        ips: vec!["192.168.2.33".parse().expect("an address")],
        phase: Phase::Running,
        ..Pod::default()
    };
    let inventory = Box::new(Inventory {
        pods: vec![pod],
        ..Inventory::default()
    });
    table
        .index
        .apply(Timestamp(0), ClusterChange::Replace(inventory));
    table.insert_own(SECOND, NODE, "10.96.0.1:80");
    for port in 1..1_000 {
        table.insert_from(SECOND, &format!("203.0.113.1:{port}"), A);
    }
    assert_eq!(table.translations.own.len(), 1);
    assert_eq!(table.restored(SECOND, NODE).1, "10.96.0.1:80");
}

/// A pod's answer from the endpoint instead of the Service is a finding, and must stay one.
#[test]
fn the_packets_of_a_pod_keep_their_addresses() {
    let mut table = Table::new(Protocol::Tcp);
    table.insert_own(SECOND, NODE, "10.96.0.1:80");
    let flow = |ifindex| Flow {
        ifindex: Ifindex(ifindex),
        protocol: Protocol::Tcp,
        pod: NODE.parse().expect("an address"),
        peer: A.parse().expect("an address"),
    };
    let uplink = ClusterChange::NodeInterface(Ifindex(8));
    table.index.apply(Timestamp(0), uplink);
    let mut packet = |ifindex| {
        let mut observation = Observation {
            time: Timestamp(SECOND),
            flow: flow(ifindex),
            direction: Direction::ToPod,
            wire_len: 60,
            totals: None,
            what: What::Other,
        };
        table.translations.restore(&mut observation, &table.index);
        observation.flow
    };
    assert_eq!(packet(7), flow(7));
    assert_ne!(packet(8), flow(8));
}
