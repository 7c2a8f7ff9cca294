//! Facts about the path of packets.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::ObjectName;
use crate::diagnose::memory::{FlowDrops, Rise};
use crate::model::observation::IcmpError;

#[derive(Clone, Debug)]
pub(in crate::diagnose) enum PathFact {
    /// The path's MTU, as the ICMP error reports it.
    Mtu(IcmpError),
    /// Why the pod keeps sending packets that are too big.
    MtuCauses,
    /// The error quotes this address instead of the one that the pod connects to, so that the pod ignores it.
    QuotesOther(IpAddr),
    /// An ICMP error came back, about this endpoint instead of the Service, so that the pod ignores it.
    StrayError(IcmpError),
    /// Why large packets are lost without an error.
    SilentMtuCauses,
    /// What an ICMP error about this protocol means, and its possible causes.
    IcmpMeans(IcmpMeaning, &'static str),
    /// The kernel dropped packets of it.
    Dropped(DroppedPackets),
    /// What the kernel's reason for a drop means.
    DropMeans(&'static str),
    /// The node's conntrack dropped packets, and its table was full.
    ConntrackFull(Rise),
    /// The attempt's packets may be among them.
    PossiblyDropped,
    /// The node's conntrack could not insert entries when a query was sent.
    InsertFailed(Rise),
    /// The kernel also dropped a packet of the query's socket.
    InsertFailedProven,
    /// Who sent the ICMP error.
    IcmpSender(IpAddr, AddressHolder),
}

/// Packets of an attempt that the kernel dropped.
#[derive(Clone, Debug)]
pub(in crate::diagnose) struct DroppedPackets {
    pub drops: FlowDrops,
    /// The node.
    pub node: Option<Arc<str>>,
    /// The other end in them, if it is not the one that the pod asked: they had been translated.
    pub peer: Option<SocketAddr>,
}

/// What an ICMP error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::diagnose) enum IcmpMeaning {
    /// There is no route to the network.
    Network,
    /// The host does not answer on its link.
    Host,
    /// The host does not speak the protocol.
    Protocol,
    /// The port is closed, or a firewall says so.
    Port,
    /// A firewall prohibits it.
    Prohibited,
    /// The packet went around until its TTL ran out.
    TimeExceeded,
    /// Anything else.
    Other,
}

impl From<&IcmpError> for IcmpMeaning {
    fn from(error: &IcmpError) -> IcmpMeaning {
        match (error.v6, error.icmp_type, error.icmp_code) {
            (false, 3, 0 | 6 | 11) | (true, 1, 0) => IcmpMeaning::Network,
            (false, 3, 1 | 7 | 12) | (true, 1, 3) => IcmpMeaning::Host,
            (false, 3, 2) => IcmpMeaning::Protocol,
            (false, 3, 3) | (true, 1, 4) => IcmpMeaning::Port,
            (false, 3, 9 | 10 | 13) | (true, 1, 1 | 5 | 6) => IcmpMeaning::Prohibited,
            (false, 11, _) | (true, 3, _) => IcmpMeaning::TimeExceeded,
            _ => IcmpMeaning::Other,
        }
    }
}

/// Who has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::diagnose) enum AddressHolder {
    /// The pod itself.
    Itself,
    /// Another pod.
    Pod(ObjectName),
    /// A Service.
    Service(ObjectName),
    /// The pod's own node.
    OwnNode(Arc<str>),
    /// Another node.
    OtherNode(Arc<str>),
    /// No pod: it is in the range of the pods of the pod's own node.
    RangeOfNode(Arc<str>),
    /// No object of the inventory.
    NoObject,
    /// There is no inventory.
    Unknown,
}
