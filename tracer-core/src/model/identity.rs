//! The identity of a flow's ends. An unknown identity has a reason; a wrong one is a defect.

use std::net::IpAddr;
use std::sync::Arc;

use super::dns::DnsName;

/// A pod in an event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodIdentity {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// UID; unlike the name it is never reused.
    pub uid: Arc<str>,
    /// The controller it belongs to.
    pub workload: Option<Workload>,
    /// The node it runs on.
    pub node: Option<Arc<str>>,
}

/// The controller a user knows: the Deployment, not its ReplicaSet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Workload {
    /// Kind (Deployment, DaemonSet, ...).
    pub kind: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

/// A Service in an event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceIdentity {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

/// Why a pod's identity is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnknownReason {
    /// Neither an inventory nor a cluster to ask.
    NoInventory,
    /// The cluster has not answered yet.
    NotAnswered,
    /// The cluster denies access to pods.
    Refused,
    /// Neither the interface's pod nor its address is in the inventory (yet).
    NotInInventory,
    /// No process of the interface's pod was found, and no pod has the address.
    NoPodProcess,
    /// Several pods have this address, or interface and address identify different pods.
    Ambiguous,
    /// A process of the node, which is in no container of a known pod.
    NodeProcess,
}

impl UnknownReason {
    /// The reason in words, for people and for the JSON field "unknown".
    pub fn as_str(self) -> &'static str {
        match self {
            UnknownReason::NoInventory => "no inventory: give --inventory FILE",
            UnknownReason::NotAnswered => "the API server has not answered yet",
            UnknownReason::Refused => "no permission to read pods from the API server",
            UnknownReason::NotInInventory => "not in the inventory",
            UnknownReason::NoPodProcess => "no pod process found for its interface",
            UnknownReason::Ambiguous => "several pods fit",
            UnknownReason::NodeProcess => "a process of the node, of no known pod",
        }
    }
}

/// A process, as it was when it connected a socket (TCP) or first sent from it (UDP, ICMP), or when it was found alone in its
/// container.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// Its id, as the node sees it.
    pub pid: u32,
    /// Its name, of at most 15 bytes, which it can change itself: `/proc/PID/comm`.
    pub comm: Arc<str>,
}

/// The pod's end of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodEnd {
    /// Its address.
    pub ip: IpAddr,
    /// Its port, if the protocol has ports.
    pub port: Option<u16>,
    /// The pod, or why it is unknown.
    pub identity: Result<Arc<PodIdentity>, UnknownReason>,
    /// The container that sent or received it; `None` if unknown.
    pub container: Option<Arc<str>>,
    /// It is the node itself, seen at an uplink, where only what the node's own sockets opened is seen.
    pub at_uplink: bool,
    /// The process that opened the socket; `None` if unknown.
    pub process: Option<Process>,
}

/// The endpoint that a Service's address was translated to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Backend {
    /// Its address.
    pub ip: IpAddr,
    /// Its port, if the protocol has ports.
    pub port: Option<u16>,
    /// The pod that has this address.
    pub pod: Option<Arc<PodIdentity>>,
    /// The pod's node, or the node with this address.
    pub node: Option<Arc<str>>,
}

/// The other end of a flow. With only an address it is external.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerEnd {
    /// Its address, as on the wire at the pod's veth.
    pub ip: IpAddr,
    /// Its port, if the protocol has ports.
    pub port: Option<u16>,
    /// The pod that has this address.
    pub pod: Option<Arc<PodIdentity>>,
    /// The hostNetwork pod of this node whose process sends from there, as its packets' cgroup shows. Its address is the
    /// node's, or one that it listens on, so no address names it.
    pub host_pod: Option<Arc<PodIdentity>>,
    /// The Service that has this address (ClusterIP, external or LoadBalancer address), or this port at every
    /// node.
    pub service: Option<Arc<ServiceIdentity>>,
    /// The pod's node, or the node with this address.
    pub node: Option<Arc<str>>,
    /// DNS names that the pod resolved to this address.
    pub names: Vec<DnsName>,
    /// The endpoint behind the Service's address, as conntrack translates this flow; `None` if unknown, or if
    /// nothing is translated.
    pub backend: Option<Arc<Backend>>,
}

impl PeerEnd {
    /// The pod at the other end, by its address or by its process.
    pub fn any_pod(&self) -> Option<&Arc<PodIdentity>> {
        self.pod.as_ref().or(self.host_pod.as_ref())
    }
}
