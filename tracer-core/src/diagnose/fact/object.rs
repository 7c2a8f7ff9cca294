//! Objects of the cluster as facts name them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Lacking;
use crate::identity::Endpoint;
use crate::model::cluster::{NetworkPolicy, Pod, Service, ServicePort};
use crate::model::dns::DnsName;
use crate::model::identity::{PodEnd, PodIdentity, ServiceIdentity};

/// `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::diagnose) struct ObjectName {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

macro_rules! object_name_from {
    ($($object:ty,)+) => {
        $(impl From<&$object> for ObjectName {
            fn from(object: &$object) -> ObjectName {
                ObjectName {
                    namespace: Arc::clone(&object.namespace),
                    name: Arc::clone(&object.name),
                }
            }
        })+
    };
}

object_name_from!(NetworkPolicy, Pod, PodIdentity, Service, ServiceIdentity,);

/// A pod: by its name, or by its address if it has no known name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::diagnose) enum Who {
    Pod(ObjectName),
    Address(IpAddr),
}

impl From<&PodEnd> for Who {
    fn from(end: &PodEnd) -> Who {
        match &end.identity {
            Ok(pod) => Who::Pod(ObjectName::from(&**pod)),
            Err(_) => Who::Address(end.ip),
        }
    }
}

/// An endpoint: its address, its pod and its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::diagnose) struct EndpointPlace {
    pub ip: IpAddr,
    pub pod: Option<ObjectName>,
    pub node: Option<Arc<str>>,
}

impl From<&Endpoint> for EndpointPlace {
    fn from(endpoint: &Endpoint) -> EndpointPlace {
        EndpointPlace {
            ip: endpoint.ip,
            pod: endpoint.pod.as_deref().map(ObjectName::from),
            node: endpoint.node.clone(),
        }
    }
}

/// The ready endpoints of a Service.
#[derive(Clone, Debug)]
pub(in crate::diagnose) enum Ready {
    /// The inventory has no EndpointSlices.
    Unknown(Lacking),
    /// These.
    Endpoints(Vec<EndpointPlace>),
}

/// Why a Service has no ready endpoint.
#[derive(Clone, Debug)]
pub(in crate::diagnose) enum NotReady {
    /// It has endpoints, none of them ready.
    Unready(Vec<EndpointPlace>),
    /// The pods of all its endpoints are being deleted.
    Terminating(Vec<EndpointPlace>),
    /// It has this many ready endpoints, none with an address of this family.
    OtherFamily { v4: bool, ready: usize },
    /// It has neither endpoints nor a selector.
    NoSelector,
    /// It has no endpoint, and the inventory does not have all pods.
    PodsUnknown(Selector, Lacking),
    /// It has no endpoint, though its selector matches these pods; or matches none.
    Selects(Selector, Vec<ObjectName>),
}

/// Labels that select pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::diagnose) struct Selector(pub Vec<(Arc<str>, Arc<str>)>);

/// `80/TCP`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::diagnose) struct PortName {
    pub port: u16,
    pub protocol: Arc<str>,
}

impl From<&ServicePort> for PortName {
    fn from(port: &ServicePort) -> PortName {
        PortName {
            port: port.port,
            protocol: Arc::clone(&port.protocol),
        }
    }
}

/// A DNS server: its address and what has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::diagnose) struct Server {
    pub kind: ServerKind,
    pub ip: IpAddr,
}

/// What has the address of a DNS server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::diagnose) enum ServerKind {
    /// A Service or a pod.
    Object(ObjectName),
    /// The cache on the pod's node: NodeLocal DNSCache if `named`, otherwise one that listens on a link-local
    /// address.
    NodeCache { named: bool },
    /// A node, by its name.
    Node(Arc<str>),
    /// Unknown, or outside of the cluster.
    Other,
}

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::diagnose) struct Destination {
    pub kind: DestinationKind,
    pub ip: IpAddr,
    pub port: u16,
}

/// The owner of the address at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::diagnose) enum DestinationKind {
    Service(ObjectName),
    /// A port of a node that belongs to a Service.
    NodePort(ObjectName, Arc<str>),
    Pod(ObjectName),
    Node(Arc<str>),
    /// Unknown; the pod resolved the address from this name.
    Name(DnsName),
    Unknown,
}

/// The cost of a lookup: queries, and the time to its end if a query was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::diagnose) struct Figures {
    pub queries: u64,
    pub duration: Option<Duration>,
}
