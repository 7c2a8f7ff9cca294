//! What the pipeline puts out: something that happened, with both ends identified.

use super::connection::{TcpConnection, UdpFlow};
use super::echo::Echo;
use super::exchange::Exchange;
use super::finding::Finding;
use super::flow::{Ifindex, Role};
use super::identity::{PeerEnd, PodEnd};
use super::lookup::{Lookup, Place};
use super::loss::Loss;
use super::observation::IcmpError;
use super::time::Timestamp;

/// One event, as sinks show it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When it happened: the first query, the first SYN, the first request of what it tells.
    pub time: Timestamp,
    /// Who took part; `None` for what concerns the tracer itself (losses).
    pub ends: Option<Ends>,
    /// What happened.
    pub body: Body,
}

/// Who took part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Where it was seen.
    pub ifindex: Ifindex,
    /// The pod's role.
    pub role: Role,
    /// The pod whose interface it was seen on.
    pub pod: PodEnd,
    /// The other end.
    pub peer: PeerEnd,
    /// The other end is a pod of this node whose interface is traced too, so the same is told from there.
    pub peer_traced_here: bool,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A DNS exchange, and where it stands in its lookup.
    Dns(Box<Exchange>, Option<Place>),
    /// A lookup.
    Lookup(Box<Lookup>),
    /// A TCP connection.
    Tcp(Box<TcpConnection>),
    /// A UDP flow.
    Udp(Box<UdpFlow>),
    /// A run of echo requests.
    Echo(Box<Echo>),
    /// An ICMP error that belongs to no exchange, connection or echo run that is known.
    IcmpError(Box<IcmpError>),
    /// A conclusion.
    Finding(Box<Finding>),
    /// The tracer lost something.
    Lost(Loss),
}
