//! The cluster of the hour: pods that come and go in places whose addresses they take over, Services with
//! their endpoints.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;
use tracer_core::model::cluster::{
    AddressType, DnsPolicy, EndpointPort, EndpointSlice, Inventory, Namespace, Node, Pod, PodDns,
    Service, ServiceCidr, ServiceKind, ServicePort, SliceEndpoint,
};
use tracer_core::model::dns::DnsName;

/// The pods that live at the same time, all on one node.
pub const PLACES: u32 = 400;
/// How many of them, the first ones, are behind the Services.
pub const SERVING: u32 = 12;
/// The node, another node, and a host outside the cluster.
pub const NODE: &str = "192.168.2.33";
pub const OTHER_NODE: &str = "192.168.2.31";
pub const OUTSIDE: &str = "198.51.100.10";
pub const DNS: &str = "10.152.183.10";

/// A pod of the hour.
#[derive(Clone, Debug)]
pub struct Guest {
    pub place: u32,
    pub name: String,
    pub uid: Arc<str>,
    pub namespace: &'static str,
    pub ip: Ipv4Addr,
    pub ifindex: u32,
    /// When its interface is attached and removed.
    pub from: u64,
    pub until: u64,
}

impl Guest {
    /// The `number`th pod in all, in a place.
    pub fn new(number: u32, place: u32, from: u64, until: u64) -> Guest {
        let [high, low] =
            [place / 200, place % 200].map(|part| u8::try_from(part).unwrap_or(u8::MAX));
        Guest {
            place,
            name: format!("pod-{number}"),
            uid: format!("00000000-0000-4000-8000-{number:012}").into(),
            namespace: if place.is_multiple_of(3) {
                "backend"
            } else {
                "shop"
            },
            ip: Ipv4Addr::new(10, 1, 40 + high, 10 + low),
            ifindex: 100 + number,
            from,
            until,
        }
    }
}

/// The Services: name, namespace, address (none: headless), port, the endpoints' port.
pub const SERVICES: [(&str, &str, Option<&str>, u16, u16); 4] = [
    ("web", "shop", Some("10.152.183.40"), 80, 8080),
    ("api", "backend", Some("10.152.183.41"), 443, 8443),
    ("db", "backend", None, 5432, 5432),
    ("kube-dns", "kube-system", Some(DNS), 53, 53),
];

/// As the API shows it while these pods are there.
pub fn inventory<'a>(guests: impl Iterator<Item = &'a Guest> + Clone) -> Inventory {
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    let pods = guests.clone().map(|guest| Pod {
        namespace: guest.namespace.into(),
        name: guest.name.as_str().into(),
        uid: Arc::clone(&guest.uid),
        node: Some("worker".into()),
        ips: vec![IpAddr::V4(guest.ip)],
        dns: PodDns {
            policy: DnsPolicy::ClusterFirst,
            ..PodDns::default()
        },
        labels: match guest.place {
            0..SERVING => vec![("app".into(), "server".into())],
            _ => Vec::new(),
        },
        ..Pod::default()
    });
    let port = |protocol: &str, port, target: u16| ServicePort {
        name: None,
        protocol: protocol.into(),
        port,
        target: Some(target.to_string().into()),
        node_port: None,
    };
    let mut services: Vec<Service> = SERVICES
        .iter()
        .map(|(name, namespace, address, number, target)| Service {
            namespace: (*namespace).into(),
            name: (*name).into(),
            cluster_ips: address.iter().map(|address| ip(address)).collect(),
            kind: match address {
                Some(_) => ServiceKind::ClusterIp,
                None => ServiceKind::Headless,
            },
            ports: match *number {
                53 => vec![port("UDP", 53, 53), port("TCP", 53, 53)],
                number => vec![port("TCP", number, *target)],
            },
            selector: vec![("app".into(), "server".into())],
            ..Service::default()
        })
        .collect();
    services.push(Service {
        namespace: "shop".into(),
        name: "partner".into(),
        kind: ServiceKind::ExternalName(DnsName::new("www.example.com.")),
        ..Service::default()
    });
    let slices = SERVICES.iter().map(|(name, namespace, _, number, target)| {
        let endpoints = guests.clone().filter(|guest| guest.place < SERVING);
        let endpoint = |guest: &Guest| SliceEndpoint {
            ips: vec![IpAddr::V4(guest.ip)],
            ready: true,
            serving: true,
            pod: Some(guest.name.as_str().into()),
            pod_uid: Some(Arc::clone(&guest.uid)),
            node: Some("worker".into()),
            ..SliceEndpoint::default()
        };
        EndpointSlice {
            namespace: (*namespace).into(),
            name: format!("{name}-1").into(),
            service: Some((*name).into()),
            address_type: AddressType::Ipv4,
            endpoints: endpoints.map(endpoint).collect(),
            ports: vec![EndpointPort {
                name: None,
                protocol: if *number == 53 { "UDP" } else { "TCP" }.into(),
                port: Some(*target),
            }],
        }
    });
    let node = |name: &str, address| Node {
        name: name.into(),
        ips: vec![ip(address)],
        pod_cidrs: Vec::new(),
    };
    Inventory {
        pods: pods.collect(),
        slices: slices.collect(),
        services,
        nodes: vec![node("worker", NODE), node("other", OTHER_NODE)],
        namespaces: ["shop", "backend", "kube-system"]
            .map(Namespace::from)
            .to_vec(),
        policies: Vec::new(),
        service_cidrs: vec![ServiceCidr {
            name: "kubernetes".into(),
            cidrs: vec!["10.152.183.0/24".parse::<IpNet>().expect("a range")],
        }],
    }
}
