//! Facts about a ping.

use ipnet::IpNet;

use super::{Lacking, PortName, Ready};
use crate::diagnose::route::Access;
use crate::model::observation::IcmpError;

#[derive(Clone, Debug)]
pub(in crate::diagnose) enum PingFact {
    /// Such an address forwards only these ports.
    VirtualAddress(Access, Vec<PortName>),
    /// Something other than a pod of the Service replied.
    AnsweredElsewhere,
    /// An ICMP error came back.
    Rejected(IcmpError),
    /// The packets went around until their TTL ran out.
    Loops(IcmpError),
    /// Nothing came back.
    NotAnswered,
    /// The Service's ready endpoints.
    ReadyEndpoints(Ready),
    /// The inventory does not show whether the address is a ClusterIP.
    ClusterIpUnknown(Lacking),
    /// The address is in the range of ClusterIPs, and no Service has it.
    InServiceRange(IpNet),
    /// What came back.
    CameBack(IcmpError),
}
