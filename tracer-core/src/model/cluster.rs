//! Kubernetes objects, trimmed to what identity and diagnosis use, and the changes that feed the index.
//!
//! An inventory file and the watches of a cluster produce the same changes.

mod node;
mod pod;
mod policy;
mod service;

use std::sync::Arc;

use ipnet::IpNet;

use super::flow::Ifindex;
use super::time::Timestamp;

pub use self::node::{Namespace, Node};
pub use self::pod::{Container, ContainerPort, DnsPolicy, Phase, Pod, PodDns};
pub use self::policy::{
    Expression, LabelSelector, NetworkPolicy, Operator, Peer, PolicyPort, PolicyRule, PortSpec,
};
pub use self::service::{
    AddressType, BalancerAddress, EndpointPort, EndpointSlice, Service, ServiceKind, ServicePort,
    ServiceType, SliceEndpoint, TrafficPolicy,
};

/// A ServiceCIDR: the ranges that ClusterIPs come from.
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

    /// The resource name in the API and in RBAC.
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
    /// A Namespace.
    Namespace(Namespace),
    /// A NetworkPolicy.
    Policy(NetworkPolicy),
    /// A ServiceCIDR.
    ServiceCidr(ServiceCidr),
}

impl Object {
    /// The object's kind.
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
    /// Namespaces.
    Namespaces(Vec<Namespace>),
    /// NetworkPolicies.
    Policies(Vec<NetworkPolicy>),
    /// ServiceCIDRs.
    ServiceCidrs(Vec<ServiceCidr>),
}

impl Listed {
    /// An empty list of a kind.
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

    /// Adds an object; ignores one of another kind.
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

    /// Adds the objects of another list; ignores one of another kind.
    pub fn append(&mut self, other: Listed) {
        match (self, other) {
            (Listed::Pods(all), Listed::Pods(more)) => all.extend(more),
            (Listed::Services(all), Listed::Services(more)) => all.extend(more),
            (Listed::Slices(all), Listed::Slices(more)) => all.extend(more),
            (Listed::Nodes(all), Listed::Nodes(more)) => all.extend(more),
            (Listed::Namespaces(all), Listed::Namespaces(more)) => all.extend(more),
            (Listed::Policies(all), Listed::Policies(more)) => all.extend(more),
            (Listed::ServiceCidrs(all), Listed::ServiceCidrs(more)) => all.extend(more),
            _ => {}
        }
    }

    /// The objects' kind.
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

    /// Number of objects.
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

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Identifies an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for cluster-scoped kinds.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// A Pod's UID: a Pod recreated under the same name has another one. Empty if unknown.
    pub uid: Arc<str>,
}

/// The pods that a cluster source lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodScope {
    /// All of them.
    #[default]
    Cluster,
    /// Only pods of this node: an unknown pod proves nothing.
    Node,
}

/// A change of the cluster, or of this node's interfaces. The input carries its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterChange {
    /// Replaces everything with an inventory: objects missing from it are gone.
    Replace(Box<Inventory>),
    /// A cluster was asked for these kinds and has not answered yet, so events wait for names.
    Asked {
        /// The requested kinds.
        kinds: Vec<Kind>,
        /// The requested pods.
        pods: PodScope,
    },
    /// Replaces all objects of one kind: unlisted ones are gone.
    List(Listed),
    /// An object was added or changed.
    Put(Box<Object>),
    /// An object is gone.
    Delete(ObjectKey),
    /// The cluster does not serve this kind (no permission, or no such kind): no event waits for it.
    Refused(Kind),
    /// The cluster is unreachable: since that time its data may be stale. `None` means that it answers again.
    Stale(Option<Timestamp>),
    /// An interface is traced; `uid` is its pod, found by network namespace. `None` when the interface is
    /// attached, and when the pod is no longer known.
    Interface {
        /// The host end of the pod's veth.
        ifindex: Ifindex,
        /// The pod's UID in its cgroup path.
        uid: Option<Arc<str>>,
    },
    /// An interface of the node itself is traced: an uplink, at which its own sockets are seen.
    NodeInterface(Ifindex),
    /// The node's `lo` is traced: what its own sockets ask a DNS server on the node is seen there.
    Loopback(Ifindex),
    /// An interface is gone.
    InterfaceGone(Ifindex),
    /// Cgroups of this node's containers.
    Containers(Vec<ContainerCgroup>),
}

/// The cgroup of a container, or one that a process of the container made below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerCgroup {
    /// Its id, as the kernel has it: the inode number of its directory (version 2).
    pub id: u64,
    /// The pod's UID in its path.
    pub pod_uid: Arc<str>,
    /// The container's id in its path.
    pub container_id: Arc<str>,
}

impl ClusterChange {
    /// Whether it concerns the cluster rather than this node's interfaces.
    pub fn of_cluster(&self) -> bool {
        !matches!(
            self,
            ClusterChange::Interface { .. }
                | ClusterChange::NodeInterface(_)
                | ClusterChange::Loopback(_)
                | ClusterChange::InterfaceGone(_)
                | ClusterChange::Containers(_)
        )
    }

    /// Whether it concerns objects of this kind.
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
            | ClusterChange::Containers(_)
            | ClusterChange::NodeInterface(_)
            | ClusterChange::Loopback(_)
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
    /// Namespaces.
    pub namespaces: Vec<Namespace>,
    /// NetworkPolicies.
    pub policies: Vec<NetworkPolicy>,
    /// ServiceCIDRs.
    pub service_cidrs: Vec<ServiceCidr>,
}
