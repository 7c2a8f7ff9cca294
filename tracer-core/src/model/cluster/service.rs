//! Services and their EndpointSlices.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::model::dns::DnsName;

/// A Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// ClusterIPs; empty for headless and ExternalName Services. Two in dual stack, the primary one first.
    pub cluster_ips: Vec<IpAddr>,
    /// External and LoadBalancer addresses.
    pub external_ips: Vec<IpAddr>,
    /// The addresses of its load balancer, which are also among `external_ips`.
    pub balancer: Vec<BalancerAddress>,
    /// The clients that its load balancer's addresses admit (`loadBalancerSourceRanges`); empty admits all.
    pub source_ranges: Vec<IpNet>,
    /// How its name resolves: to a virtual address, to its endpoints, or to another name.
    pub kind: ServiceKind,
    /// `spec.type`.
    pub service_type: ServiceType,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// Labels of its pods; empty if endpoints are managed by hand.
    pub selector: Vec<(Arc<str>, Arc<str>)>,
    /// `internalTrafficPolicy`: the endpoints that serve its ClusterIPs.
    pub internal_traffic: TrafficPolicy,
    /// `externalTrafficPolicy`: the endpoints that serve its node ports, external and LoadBalancer addresses.
    /// Pods of the cluster are served by all endpoints at the latter two (kube-proxy since 1.26).
    pub external_traffic: TrafficPolicy,
    /// `publishNotReadyAddresses`: its DNS names include endpoints that are not ready.
    pub publish_not_ready: bool,
    /// `sessionAffinity: ClientIP`: a client keeps its endpoint for this many seconds.
    pub affinity_secs: Option<u32>,
}

/// How a Service's name resolves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ServiceKind {
    /// Has a virtual address (ClusterIP, NodePort and LoadBalancer).
    #[default]
    ClusterIp,
    /// `clusterIP: None`: DNS gives the endpoints' addresses.
    Headless,
    /// DNS gives a CNAME to this name; the root if the manifest has none.
    ExternalName(DnsName),
}

/// `spec.type` of a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceType {
    /// Reachable in the cluster.
    #[default]
    ClusterIp,
    /// Also at a port of every node.
    NodePort,
    /// Also at a load balancer's address.
    LoadBalancer,
    /// A name for another name.
    ExternalName,
}

/// Which endpoints serve a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrafficPolicy {
    /// All of them.
    #[default]
    Cluster,
    /// Those on the node where the packet is translated. Without one it is dropped.
    Local,
}

/// An address of a Service's load balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BalancerAddress {
    /// The address.
    pub ip: IpAddr,
    /// `ipMode: Proxy`: the nodes do not translate it, so that packets to it go to the load balancer.
    pub proxied: bool,
}

/// A port of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServicePort {
    /// Name; optional for a single port.
    pub name: Option<Arc<str>>,
    /// TCP, UDP or SCTP.
    pub protocol: Arc<str>,
    /// The Service's port.
    pub port: u16,
    /// The pods' port: a number or a name, as in the manifest.
    pub target: Option<Arc<str>>,
    /// The port at every node's address (NodePort and LoadBalancer).
    pub node_port: Option<u16>,
}

/// An EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name of the slice.
    pub name: Arc<str>,
    /// The Service it belongs to (label kubernetes.io/service-name).
    pub service: Option<Arc<str>>,
    /// The family of its endpoints' addresses.
    pub address_type: AddressType,
    /// Endpoints.
    pub endpoints: Vec<SliceEndpoint>,
    /// Ports. None where the Service's target port names no port of its pods' containers: then nothing
    /// forwards to the endpoints.
    pub ports: Vec<EndpointPort>,
}

/// `addressType` of an EndpointSlice. A Service in dual stack has slices of both families.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressType {
    /// IPv4 addresses.
    #[default]
    Ipv4,
    /// IPv6 addresses.
    Ipv6,
    /// Names, which are not kept.
    Fqdn,
}

/// A port served by a slice's endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointPort {
    /// Name of the Service's port.
    pub name: Option<Arc<str>>,
    /// TCP, UDP or SCTP.
    pub protocol: Arc<str>,
    /// Number; `None` means all ports.
    pub port: Option<u16>,
}

/// An endpoint of a slice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// Its addresses.
    pub ips: Vec<IpAddr>,
    /// Ready to serve. Never while it terminates, except where the Service publishes addresses that are not
    /// ready.
    pub ready: bool,
    /// It passes its readiness probe, whether or not it terminates. kube-proxy falls back to endpoints that
    /// serve and terminate where none is ready.
    pub serving: bool,
    /// Its pod is being deleted.
    pub terminating: bool,
    /// `targetRef` to a Pod: its name (in the slice's namespace).
    pub pod: Option<Arc<str>>,
    /// UID of that Pod in `targetRef`.
    pub pod_uid: Option<Arc<str>>,
    /// The node it is on.
    pub node: Option<Arc<str>>,
    /// The zone it is in.
    pub zone: Option<Arc<str>>,
    /// Its own DNS name under a headless Service.
    pub hostname: Option<Arc<str>>,
}
