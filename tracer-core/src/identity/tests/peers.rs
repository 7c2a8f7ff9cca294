//! The remote end: Services, pods, endpoints, nodes.

use super::*;

#[test]
fn a_peer_is_traced_here_while_its_interface_is_traced() {
    let mut index = index(pods(vec![
        pod("default/a", "10.1.0.1"),
        pod("default/b", "10.1.0.2"),
    ]));
    assert!(
        !index
            .between(t(1.0), "10.1.0.1", "10.1.0.2:80")
            .peer_traced_here
    );
    index.interface(t(2.0), 8, Some("uid-b"));
    assert!(
        index
            .between(t(3.0), "10.1.0.1", "10.1.0.2:80")
            .peer_traced_here
    );
    index.apply(t(4.0), ClusterChange::InterfaceGone(Ifindex(8)));
    assert!(
        index
            .between(t(3.0), "10.1.0.1", "10.1.0.2:80")
            .peer_traced_here,
        "it was traced then"
    );
    assert!(
        !index
            .between(t(5.0), "10.1.0.1", "10.1.0.2:80")
            .peer_traced_here
    );
}

#[test]
fn a_service_address_wins_over_a_pod_address() {
    let lb = Service {
        external_ips: vec![ip("203.0.113.5")],
        ..service("default/web", "10.152.183.7", 80)
    };
    let inventory = Inventory {
        pods: vec![pod("default/a", "10.152.183.7")],
        services: vec![lb],
        ..Inventory::default()
    };
    let index = index(inventory);
    assert_eq!(index.peer_at(t(1.0), "10.152.183.7:80"), "- default/web -");
    assert_eq!(
        index.peer_at(t(1.0), "10.152.183.7:81"),
        "- default/web -",
        "a port that it does not list"
    );
    assert_eq!(index.peer_at(t(1.0), "203.0.113.5:81"), "- default/web -");
}

#[test]
fn an_external_address_shared_with_a_node_is_the_services_only_at_its_ports() {
    let shared = |name, port| Service {
        external_ips: vec![ip("192.168.2.30")],
        ..service(name, "", port)
    };
    let inventory = Inventory {
        services: vec![shared("default/web", 80), shared("default/db", 5432)],
        nodes: vec![Node {
            name: "here".into(),
            ips: vec![ip("192.168.2.30")],
            ..Node::default()
        }],
        ..Inventory::default()
    };
    let index = index(inventory);
    assert_eq!(index.peer_at(t(1.0), "192.168.2.30:80"), "- default/web -");
    assert_eq!(index.peer_at(t(1.0), "192.168.2.30:5432"), "- default/db -");
    assert_eq!(index.peer_at(t(1.0), "192.168.2.30:10250"), "- - here");
}

#[test]
fn a_service_recreated_with_another_address_is_identified_by_each_address_at_its_time() {
    let with = |service| Inventory {
        services: vec![service],
        ..Inventory::default()
    };
    let mut index = index(with(service("default/web", "10.152.183.7", 80)));
    index.replace_at(t(10.0), with(service("default/web", "10.152.183.8", 80)));
    assert_eq!(index.peer_at(t(9.0), "10.152.183.7:80"), "- default/web -");
    assert_eq!(index.peer_at(t(11.0), "10.152.183.7:80"), "- - -");
    assert_eq!(index.peer_at(t(11.0), "10.152.183.8:80"), "- default/web -");
}

fn tcp(port: u16) -> EndpointPort {
    EndpointPort {
        name: None,
        protocol: "TCP".into(),
        port: Some(port),
    }
}

fn slice(address: &str, pod: &str) -> EndpointSlice {
    EndpointSlice {
        namespace: "default".into(),
        name: format!("web-{pod}").into(),
        service: Some("web".into()),
        endpoints: vec![SliceEndpoint {
            ips: vec![ip(address)],
            ready: true,
            serving: true,
            pod: Some(pod.into()),
            pod_uid: Some("uid-remote".into()),
            node: Some("there".into()),
            ..SliceEndpoint::default()
        }],
        ports: vec![tcp(8080)],
        ..EndpointSlice::default()
    }
}

#[test]
fn a_node_port_is_its_services_for_a_client_at_any_node() {
    let mut web = service("default/web", "10.152.183.7", 80);
    web.ports[0].node_port = Some(30_080);
    let inventory = Inventory {
        services: vec![web],
        nodes: vec![Node {
            name: "here".into(),
            ips: vec![ip("192.168.2.30")],
            ..Node::default()
        }],
        ..Inventory::default()
    };
    let index = index(inventory);
    assert_eq!(
        index.peer_at(t(1.0), "192.168.2.30:30080"),
        "- default/web here"
    );
    assert_eq!(index.peer_at(t(1.0), "192.168.2.30:30081"), "- - here");
    assert_eq!(index.peer_at(t(1.0), "192.168.2.31:30080"), "- - -");
}

#[test]
fn a_pod_known_only_from_a_slice_is_identified_by_it() {
    let inventory = Inventory {
        services: vec![service("default/web", "10.152.183.7", 80)],
        slices: vec![slice("10.1.9.1", "remote")],
        ..Inventory::default()
    };
    let index = index(inventory);
    assert_eq!(
        index.peer_at(t(1.0), "10.1.9.1:8080"),
        "default/remote - there"
    );
    let endpoints = index.endpoints("default", "web");
    assert_eq!(endpoints.len(), 1);
    assert_eq!(endpoints[0].ip, ip("10.1.9.1"));
    assert_eq!(endpoints[0].node.as_deref(), Some("there"));
    assert_eq!(endpoints[0].pod.as_ref().unwrap().uid, "uid-remote".into());
    assert_eq!(endpoints[0].ports, [tcp(8080)]);
}

#[test]
fn a_host_network_endpoint_is_identified_as_its_node() {
    let host = Pod {
        host_network: true,
        node: Some("there".into()),
        ..pod("default/remote", "192.168.2.31")
    };
    let inventory = Inventory {
        pods: vec![host],
        slices: vec![slice("192.168.2.31", "remote")],
        ..Inventory::default()
    };
    assert_eq!(
        index(inventory).peer_at(t(1.0), "192.168.2.31:8080"),
        "- - there"
    );
}

#[test]
fn ends_carry_ports_only_if_the_protocol_has_ports() {
    let index = index(pods(vec![]));
    let echo = Flow {
        ifindex: Ifindex(7),
        protocol: Protocol::Icmp,
        pod: "10.1.0.1:4711".parse().unwrap(),
        peer: "10.1.0.2:0".parse().unwrap(),
    };
    let ends = index.ends(t(1.0), &echo, Role::Client);
    assert_eq!((ends.pod.port, ends.peer.port), (None, None));
    let ends = index.between(t(1.0), "10.1.0.1", "10.1.0.2:80");
    assert_eq!((ends.pod.port, ends.peer.port), (Some(40000), Some(80)));
}

#[test]
fn a_headless_service_has_no_address_that_identifies_it() {
    let headless = Service {
        kind: ServiceKind::Headless,
        ..service("default/web", "", 80)
    };
    let inventory = Inventory {
        services: vec![headless],
        slices: vec![slice("10.1.9.1", "remote")],
        ..Inventory::default()
    };
    assert_eq!(
        index(inventory).peer_at(t(1.0), "10.1.9.1:8080"),
        "default/remote - there"
    );
}
