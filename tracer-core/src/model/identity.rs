//! Who an end of a flow is. Unknown is an answer, with a reason; a wrong name is a defect.

use std::net::IpAddr;
use std::sync::Arc;

use super::dns::DnsName;

/// A pod as events name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodIdentity {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// UID; unlike the name it is never used again.
    pub uid: Arc<str>,
    /// What the pod belongs to.
    pub workload: Option<Workload>,
    /// The node it runs on.
    pub node: Option<Arc<str>>,
}

/// The controller behind a pod, as a person thinks of it (the Deployment, not its ReplicaSet).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Workload {
    /// Kind (Deployment, DaemonSet, ...).
    pub kind: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

/// A Service as events name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceIdentity {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

/// Why a pod has no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnknownReason {
    /// No inventory and no cluster to ask.
    NoInventory,
    /// A cluster was asked, and has not answered yet.
    NotAnswered,
    /// The cluster does not let it read pods.
    Refused,
    /// The interface's pod is not in the inventory (yet), nor its address.
    NotInInventory,
    /// The interface belongs to no pod process that could be found, and its address to no pod.
    NoPodProcess,
    /// Several pods have this address, or the interface and the address name different pods.
    Ambiguous,
}

impl UnknownReason {
    /// In words, for people and for the JSON contract's "unknown".
    pub fn as_str(self) -> &'static str {
        match self {
            UnknownReason::NoInventory => "no inventory: give --inventory FILE",
            UnknownReason::NotAnswered => "the API server has not answered yet",
            UnknownReason::Refused => "no permission to read pods from the API server",
            UnknownReason::NotInInventory => "not in the inventory",
            UnknownReason::NoPodProcess => "no pod process found for its interface",
            UnknownReason::Ambiguous => "several pods fit",
        }
    }
}

/// The pod's end of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodEnd {
    /// Its address.
    pub ip: IpAddr,
    /// Its port, where the protocol has ports.
    pub port: Option<u16>,
    /// Who it is.
    pub identity: Result<Arc<PodIdentity>, UnknownReason>,
}

/// The other end of a flow. Everything beyond the address may be missing: then it is external.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerEnd {
    /// Its address, as on the wire at the pod's veth.
    pub ip: IpAddr,
    /// Its port, where the protocol has ports.
    pub port: Option<u16>,
    /// The pod that has this address.
    pub pod: Option<Arc<PodIdentity>>,
    /// The Service that has this address (ClusterIP, external or LoadBalancer address).
    pub service: Option<Arc<ServiceIdentity>>,
    /// The node: the pod's, or the one that has this address.
    pub node: Option<Arc<str>>,
    /// The names that this pod resolved it from.
    pub names: Vec<DnsName>,
}
