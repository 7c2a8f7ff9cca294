//! Kubernetes objects, trimmed to what identity and diagnosis use, and the changes that feed the index.
//!
//! An inventory file and the watches of a cluster produce the same changes (`cluster::inventory`, `cluster::watch`).

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::dns::DnsName;
use super::flow::Ifindex;
use super::identity::Workload;
use super::time::Timestamp;

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
    /// It is being deleted (`deletionTimestamp`). It may serve for its grace period still, but another pod that has its
    /// address has it now.
    pub terminating: bool,
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

/// The kinds of objects that feed the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Pods.
    Pod,
    /// Services.
    Service,
    /// EndpointSlices.
    EndpointSlice,
    /// Nodes.
    Node,
    /// Namespaces.
    Namespace,
    /// NetworkPolicies.
    NetworkPolicy,
    /// ServiceCIDRs.
    ServiceCidr,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 7] = [
        Kind::Pod,
        Kind::Service,
        Kind::EndpointSlice,
        Kind::Node,
        Kind::Namespace,
        Kind::NetworkPolicy,
        Kind::ServiceCidr,
    ];

    /// As the API and RBAC call it.
    pub fn resource(self) -> &'static str {
        match self {
            Kind::Pod => "pods",
            Kind::Service => "services",
            Kind::EndpointSlice => "endpointslices",
            Kind::Node => "nodes",
            Kind::Namespace => "namespaces",
            Kind::NetworkPolicy => "networkpolicies",
            Kind::ServiceCidr => "servicecidrs",
        }
    }
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A Pod.
    Pod(Pod),
    /// A Service.
    Service(Service),
    /// An EndpointSlice.
    Slice(EndpointSlice),
    /// A Node.
    Node(Node),
    /// A Namespace's name.
    Namespace(Arc<str>),
    /// A NetworkPolicy.
    Policy(NetworkPolicy),
    /// A ServiceCIDR.
    ServiceCidr(ServiceCidr),
}

impl Object {
    /// Which kind.
    pub fn kind(&self) -> Kind {
        match self {
            Object::Pod(_) => Kind::Pod,
            Object::Service(_) => Kind::Service,
            Object::Slice(_) => Kind::EndpointSlice,
            Object::Node(_) => Kind::Node,
            Object::Namespace(_) => Kind::Namespace,
            Object::Policy(_) => Kind::NetworkPolicy,
            Object::ServiceCidr(_) => Kind::ServiceCidr,
        }
    }
}

/// All objects of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Pods.
    Pods(Vec<Pod>),
    /// Services.
    Services(Vec<Service>),
    /// EndpointSlices.
    Slices(Vec<EndpointSlice>),
    /// Nodes.
    Nodes(Vec<Node>),
    /// Names of namespaces.
    Namespaces(Vec<Arc<str>>),
    /// NetworkPolicies.
    Policies(Vec<NetworkPolicy>),
    /// ServiceCIDRs.
    ServiceCidrs(Vec<ServiceCidr>),
}

impl Listed {
    /// None yet of a kind.
    pub fn empty(kind: Kind) -> Listed {
        match kind {
            Kind::Pod => Listed::Pods(Vec::new()),
            Kind::Service => Listed::Services(Vec::new()),
            Kind::EndpointSlice => Listed::Slices(Vec::new()),
            Kind::Node => Listed::Nodes(Vec::new()),
            Kind::Namespace => Listed::Namespaces(Vec::new()),
            Kind::NetworkPolicy => Listed::Policies(Vec::new()),
            Kind::ServiceCidr => Listed::ServiceCidrs(Vec::new()),
        }
    }

    /// One more; an object of another kind is not taken.
    pub fn push(&mut self, object: Object) {
        match (self, object) {
            (Listed::Pods(all), Object::Pod(one)) => all.push(one),
            (Listed::Services(all), Object::Service(one)) => all.push(one),
            (Listed::Slices(all), Object::Slice(one)) => all.push(one),
            (Listed::Nodes(all), Object::Node(one)) => all.push(one),
            (Listed::Namespaces(all), Object::Namespace(one)) => all.push(one),
            (Listed::Policies(all), Object::Policy(one)) => all.push(one),
            (Listed::ServiceCidrs(all), Object::ServiceCidr(one)) => all.push(one),
            _ => {}
        }
    }

    /// Which kind.
    pub fn kind(&self) -> Kind {
        match self {
            Listed::Pods(_) => Kind::Pod,
            Listed::Services(_) => Kind::Service,
            Listed::Slices(_) => Kind::EndpointSlice,
            Listed::Nodes(_) => Kind::Node,
            Listed::Namespaces(_) => Kind::Namespace,
            Listed::Policies(_) => Kind::NetworkPolicy,
            Listed::ServiceCidrs(_) => Kind::ServiceCidr,
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Listed::Pods(all) => all.len(),
            Listed::Services(all) => all.len(),
            Listed::Slices(all) => all.len(),
            Listed::Nodes(all) => all.len(),
            Listed::Namespaces(all) => all.len(),
            Listed::Policies(all) => all.len(),
            Listed::ServiceCidrs(all) => all.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for kinds without.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Of a Pod, its UID: one made anew under the same name is another one. Unknown where it is empty.
    pub uid: Arc<str>,
}

/// Which pods a cluster tells of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodScope {
    /// All of them.
    #[default]
    Cluster,
    /// Those of this node alone: that another one is not known says nothing.
    Node,
}

/// What happened to the cluster, or to this node's interfaces, at a time that comes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterChange {
    /// Everything of an inventory at once: what is not in it is gone.
    Replace(Box<Inventory>),
    /// A cluster is asked for these kinds, and has not answered yet: names may come.
    Asked {
        /// What it is asked for.
        kinds: Vec<Kind>,
        /// Which pods it is asked for.
        pods: PodScope,
    },
    /// All objects of one kind: those that are not listed are gone.
    List(Listed),
    /// An object came or changed.
    Put(Box<Object>),
    /// An object is gone.
    Delete(ObjectKey),
    /// The cluster does not tell of this kind (no permission, or it has no such kind): nobody waits for it.
    Refused(Kind),
    /// The cluster cannot be asked: since that time what it told may be out of date. `None`: it tells everything again.
    Stale(Option<Timestamp>),
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

impl ClusterChange {
    /// Whether it tells of the cluster rather than of this node's interfaces.
    pub fn of_cluster(&self) -> bool {
        !matches!(
            self,
            ClusterChange::Interface { .. } | ClusterChange::InterfaceGone(_)
        )
    }

    /// Whether it tells of objects of this kind.
    pub fn concerns(&self, kind: Kind) -> bool {
        match self {
            ClusterChange::Replace(_) => true,
            ClusterChange::List(listed) => listed.kind() == kind,
            ClusterChange::Put(object) => object.kind() == kind,
            ClusterChange::Delete(key) => key.kind == kind,
            ClusterChange::Asked { .. }
            | ClusterChange::Refused(_)
            | ClusterChange::Stale(_)
            | ClusterChange::Interface { .. }
            | ClusterChange::InterfaceGone(_) => false,
        }
    }
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
