//! A cluster of 10,000 pods and 5,000 Services around the pod that asks.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use tracer_core::model::cluster::{
    ClusterChange, EndpointPort, EndpointSlice, Inventory, Namespace, Node, Pod, Service,
    ServicePort, SliceEndpoint,
};
use tracer_core::model::time::Timestamp;
use tracer_core::pipeline::Input;

use super::{CLIENT, IFINDEX, SERVER};

const PODS: u32 = 10_000;
const SERVICES: u32 = 5_000;
const NAMESPACES: u32 = 100;
const NODES: u32 = 100;

/// The inputs that make the cluster and the pod's interface known.
pub fn inputs() -> Vec<Input> {
    let uid = Some(Arc::from("uid-client"));
    vec![
        Input::Change(Timestamp(0), ClusterChange::Replace(Box::new(inventory()))),
        Input::Attached(Timestamp(1), IFINDEX),
        Input::Change(
            Timestamp(1),
            ClusterChange::Interface {
                ifindex: IFINDEX,
                uid,
            },
        ),
    ]
}

fn inventory() -> Inventory {
    let mut pods = vec![pod("default", "client".to_owned(), CLIENT, 0)];
    let (mut services, mut slices) = (Vec::new(), Vec::new());
    for number in 1..PODS {
        let ip = address([10, 244, 0, 10], number);
        pods.push(pod(&namespace(number), format!("app-{number}"), ip, number));
    }
    for number in 0..SERVICES {
        let (namespace, name, ip, backend) = match number {
            0 => ("kube-system".to_owned(), "kube-dns".to_owned(), SERVER, 1),
            _ => (
                namespace(number),
                format!("service-{number}"),
                address([10, 97, 0, 0], number),
                number,
            ),
        };
        services.push(Service {
            namespace: namespace.as_str().into(),
            name: name.as_str().into(),
            cluster_ips: vec![ip.into()],
            ports: [("UDP", 53), ("TCP", 53), ("TCP", 80)]
                .into_iter()
                .map(|(protocol, port)| ServicePort {
                    name: Some(format!("{protocol}-{port}").into()),
                    protocol: protocol.into(),
                    port,
                    ..ServicePort::default()
                })
                .collect(),
            ..Service::default()
        });
        slices.push(EndpointSlice {
            namespace: namespace.as_str().into(),
            name: format!("{name}-abcde").into(),
            service: Some(name.into()),
            endpoints: vec![SliceEndpoint {
                ips: vec![address([10, 244, 0, 10], backend).into()],
                ready: true,
                serving: true,
                ..SliceEndpoint::default()
            }],
            ports: vec![EndpointPort {
                name: Some("UDP-53".into()),
                protocol: "UDP".into(),
                port: Some(53),
            }],
            ..EndpointSlice::default()
        });
    }
    Inventory {
        pods,
        services,
        slices,
        nodes: (0..NODES)
            .map(|number| Node {
                name: format!("node-{number}").into(),
                ips: vec![address([192, 168, 0, 1], number).into()],
                ..Node::default()
            })
            .collect(),
        namespaces: (0..NAMESPACES)
            .map(|number| Namespace::from(namespace(number).as_str()))
            .chain(["default", "kube-system"].map(Namespace::from))
            .collect(),
        ..Inventory::default()
    }
}

fn pod(namespace: &str, name: String, ip: Ipv4Addr, number: u32) -> Pod {
    Pod {
        namespace: namespace.into(),
        uid: format!("uid-{name}").into(),
        name: name.into(),
        node: Some(format!("node-{}", number % NODES).into()),
        ips: vec![IpAddr::V4(ip)],
        ready: Some(true),
        ..Pod::default()
    }
}

fn namespace(number: u32) -> String {
    format!("team-{}", number % NAMESPACES)
}

fn address(base: [u8; 4], number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::from(base)) + number)
}
