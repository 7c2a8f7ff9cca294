//! Facts about a connection that failed, or UDP packets.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::{NotReady, ObjectName, PortName, Ready, Who};

#[derive(Clone, Debug)]
pub(in crate::diagnose) enum ConnectionFact {
    /// The Service does not have the port; it has these.
    PortNotServed {
        port: PortName,
        served: Vec<PortName>,
    },
    /// The Service has the port for this protocol instead.
    OtherProtocol(&'static str),
    /// Why an unserved port may be silent.
    UnservedSilent,
    /// What rejects an unserved port.
    UnservedRejected,
    /// What resets an unserved port.
    UnservedReset,
    /// The Service's ready endpoints.
    ReadyEndpoints(Ready),
    /// Both pods are on this node.
    SameNode(Arc<str>),
    /// The pods are on these two nodes.
    TwoNodes(Arc<str>, Arc<str>),
    /// The pods' nodes are unknown.
    NodesUnknown,
    /// The address is in the range of ClusterIPs, and no Service has it.
    InServiceRange(IpNet),
    /// No object of the inventory has the address.
    AddressUnused,
    /// Whether other pods connected to it.
    ReachedByOthers(Others),
    /// The pod does not listen on the port.
    PodNotListening(u16),
    /// The host does not listen on the port.
    HostNotListening(u16),
    /// The reset came from an endpoint of the Service.
    ResetByEndpoint,
    /// The Service's port and its target port.
    TargetPort { port: u16, target: u16 },
    /// The containers declare these ports instead.
    DeclaredPorts {
        declared: Vec<PortName>,
        target: u16,
    },
    /// These pods declare other ports than the target port; others of the Service may not.
    UndeclaredBy { pods: Vec<ObjectName>, target: u16 },
    /// Some of the Service's endpoints may fail and others may not; it is not visible which.
    WhichEndpoint(usize),
    /// This endpoint sent the ICMP error.
    EndpointRejects(ObjectName),
    /// The Service has endpoints at these addresses, and their pods have ended.
    EndpointsEnded(Vec<IpAddr>),
    /// A node may forward to an endpoint that is gone.
    ForwardedToGone,
    /// The Service has no ready endpoint.
    NoReadyEndpoint,
    /// Why it has none.
    NotReady(NotReady),
    /// Why the node may drop it silently.
    DroppedWithoutEndpoint,
    /// The address belonged to this pod, which has been gone for this long; `None`: which has ended and still
    /// exists.
    AddressOfGonePod {
        ip: IpAddr,
        pod: ObjectName,
        gone_for: Option<Duration>,
    },
    /// The Service selects pods like that one.
    SelectsSimilarPods(ObjectName),
}

/// Whether another pod of the node got through.
#[derive(Clone, Debug)]
pub(in crate::diagnose) enum Others {
    /// This one, after the failure began.
    Meanwhile(Who),
    /// This one, this long before.
    Before(Who, Duration),
    /// None in the last five minutes.
    None,
}
