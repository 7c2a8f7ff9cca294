//! Kubernetes objects, trimmed to what identity and diagnosis use, and the changes that feed the index.
//!
//! An inventory file and the watches of a cluster produce the same changes (`cluster::inventory`, `cluster::watch`).

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::dns::DnsName;
use super::flow::Ifindex;
use super::identity::Workload;

/// A Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// UID.
    pub uid: Arc<str>,
    /// Of a static pod, the UID that the kubelet uses for its cgroup: the object in the API is only its mirror and has
    /// another one (annotation kubernetes.io/config.mirror).
    pub static_uid: Option<Arc<str>>,
    /// The node it is scheduled to.
    pub node: Option<Arc<str>>,
    /// Addresses (`status.podIPs`); of a hostNetwork pod the node's.
    pub ips: Vec<IpAddr>,
    /// It shares the node's network, so its address says nothing.
    pub host_network: bool,
    /// Its controller.
    pub workload: Option<Workload>,
    /// `Succeeded` or `Failed`: its address may be another pod's by now.
    pub terminated: bool,
    /// The resolver's configuration, from dnsPolicy and dnsConfig.
    pub dns: PodDns,
    /// Labels, for selectors.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
    /// The ports that its containers declare. Declaring is optional: one that is not here may be open all the same.
    pub ports: Vec<ContainerPort>,
}

/// A port that a container declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerPort {
    /// Its name, which a Service's target port may be.
    pub name: Option<Arc<str>>,
    /// TCP, UDP or SCTP.
    pub protocol: Arc<str>,
    /// Number.
    pub port: u16,
}

/// What the pod's resolv.conf holds, as far as its spec tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodDns {
    /// dnsPolicy.
    pub policy: DnsPolicy,
    /// Name servers of dnsConfig.
    pub nameservers: Vec<IpAddr>,
    /// Search domains of dnsConfig, which follow the policy's own.
    pub searches: Vec<DnsName>,
    /// `ndots` of dnsConfig.
    pub ndots: Option<u8>,
}

/// dnsPolicy of a Pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DnsPolicy {
    /// The cluster's DNS (the default's name is not `Default`).
    #[default]
    ClusterFirst,
    /// The cluster's DNS also for a hostNetwork pod.
    ClusterFirstWithHostNet,
    /// The node's resolv.conf.
    Default,
    /// dnsConfig alone.
    None,
}

/// A Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// ClusterIPs; empty for headless and ExternalName Services.
    pub cluster_ips: Vec<IpAddr>,
    /// External and LoadBalancer addresses.
    pub external_ips: Vec<IpAddr>,
    /// ClusterIP, NodePort, LoadBalancer or ExternalName.
    pub kind: ServiceKind,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// Labels that its pods have; empty: endpoints are managed by hand.
    pub selector: Vec<(Arc<str>, Arc<str>)>,
}

/// `spec.type`, with headless told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ServiceKind {
    /// Has a virtual address (ClusterIP, NodePort and LoadBalancer).
    #[default]
    ClusterIp,
    /// `clusterIP: None`: DNS gives the endpoints' addresses.
    Headless,
    /// DNS gives a CNAME to this name.
    ExternalName(DnsName),
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Name; may be missing where there is only one.
    pub name: Option<Arc<str>>,
    /// TCP, UDP or SCTP.
    pub protocol: Arc<str>,
    /// The Service's port.
    pub port: u16,
    /// The pods' port: a number or a name, as written.
    pub target: Option<Arc<str>>,
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
    /// Endpoints.
    pub endpoints: Vec<SliceEndpoint>,
    /// Ports.
    pub ports: Vec<EndpointPort>,
}

/// A port that the endpoints of a slice serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointPort {
    /// Name of the Service's port that it serves.
    pub name: Option<Arc<str>>,
    /// TCP, UDP or SCTP.
    pub protocol: Arc<str>,
    /// Number; missing: all ports.
    pub port: Option<u16>,
}

/// An endpoint of a slice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// Its addresses.
    pub ips: Vec<IpAddr>,
    /// Ready to serve.
    pub ready: bool,
    /// `targetRef` to a Pod: its name (in the slice's namespace).
    pub pod: Option<Arc<str>>,
    /// That Pod's UID, as `targetRef` names it.
    pub pod_uid: Option<Arc<str>>,
    /// The node it is on.
    pub node: Option<Arc<str>>,
    /// Its own DNS name below a headless Service.
    pub hostname: Option<Arc<str>>,
}

/// A Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Name.
    pub name: Arc<str>,
    /// InternalIP and ExternalIP addresses.
    pub ips: Vec<IpAddr>,
}

/// A NetworkPolicy: that it exists, and which pods and directions it governs. What it allows is not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkPolicy {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// Labels that its pods have; empty: all pods of the namespace.
    pub selector: Vec<(Arc<str>, Arc<str>)>,
    /// It selects by expressions too, which are not kept: it may govern fewer pods than `selector` says.
    pub expressions: bool,
    /// It governs what its pods are sent.
    pub ingress: bool,
    /// It governs what its pods send.
    pub egress: bool,
}

/// A ServiceCIDR: where ClusterIPs come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceCidr {
    /// Name.
    pub name: Arc<str>,
    /// Address ranges.
    pub cidrs: Vec<IpNet>,
}

/// What happened to the cluster, or to this node's interfaces, at a time that comes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Everything of an inventory at once: what is not in it is gone.
    Replace(Box<Inventory>),
    /// An interface is traced, and the pod behind it where that is known, found through its network namespace. Told with
    /// `None` as soon as the interface is attached, and when the pod is not known any more.
    Interface {
        /// The host end of the pod's veth.
        ifindex: Ifindex,
        /// The pod's UID as its cgroup path names it.
        uid: Option<Arc<str>>,
    },
    /// An interface is gone.
    InterfaceGone(Ifindex),
}

/// All objects of an inventory file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Pods.
    pub pods: Vec<Pod>,
    /// Services.
    pub services: Vec<Service>,
    /// EndpointSlices.
    pub slices: Vec<EndpointSlice>,
    /// Nodes.
    pub nodes: Vec<Node>,
    /// Names of namespaces.
    pub namespaces: Vec<Arc<str>>,
    /// NetworkPolicies.
    pub policies: Vec<NetworkPolicy>,
    /// ServiceCIDRs.
    pub service_cidrs: Vec<ServiceCidr>,
}
