//! What claims are made of: facts, each with typed fields. [`super::wording`] turns them into sentences.
//!
//! One enum per subject. A rule picks variants; it never writes a sentence.

mod connection;
mod flow;
mod inventory;
mod name;
mod object;
mod path;
mod ping;
mod pod;
mod policy;
mod route;
mod server;

pub(super) use self::connection::{ConnectionFact, Others};
pub(super) use self::flow::{FlowFact, StallCause};
pub(super) use self::inventory::{InventoryFact, Lacking};
pub(super) use self::name::{
    AddressFamily, HostNames, LeadingServices, NameFact, Place, Tried, WrongForm,
};
pub(super) use self::object::{
    Destination, DestinationKind, EndpointPlace, Figures, NotReady, ObjectName, PortName, Ready,
    Selector, Server, ServerKind, Who,
};
pub(super) use self::path::{AddressHolder, DroppedPackets, IcmpMeaning, PathFact};
pub(super) use self::ping::PingFact;
pub(super) use self::pod::PodFact;
pub(super) use self::policy::{Denial, Denied, Governs, PolicyFact};
pub(super) use self::route::{DeclaredPort, EndpointShare, Local, MissingTarget, RouteFact};
pub(super) use self::server::{CachePod, Rejection, ServerFact, TcpFailure, Upstream};

/// A fact that explains a finding.
#[derive(Clone, Debug)]
pub(super) enum Fact {
    /// About a connection, or UDP packets.
    Connection(ConnectionFact),
    /// About a connection that is slow, breaks or stalls.
    Flow(FlowFact),
    /// About what the inventory does not show.
    Inventory(InventoryFact),
    /// About a name.
    Name(NameFact),
    /// About the path of packets.
    Path(PathFact),
    /// About a ping.
    Ping(PingFact),
    /// About a pod.
    Pod(PodFact),
    /// About NetworkPolicies.
    Policy(PolicyFact),
    /// About where a Service forwards to.
    Route(RouteFact),
    /// About a DNS server.
    Server(ServerFact),
}

macro_rules! fact_from {
    ($($variant:ident($subject:ident),)+) => {
        $(impl From<$subject> for Fact {
            fn from(fact: $subject) -> Fact {
                Fact::$variant(fact)
            }
        })+
    };
}

fact_from! {
    Connection(ConnectionFact),
    Flow(FlowFact),
    Inventory(InventoryFact),
    Name(NameFact),
    Path(PathFact),
    Ping(PingFact),
    Pod(PodFact),
    Policy(PolicyFact),
    Route(RouteFact),
    Server(ServerFact),
}
