//! Output of the pipeline: an event with both ends identified.

use std::sync::Arc;

use super::connection::{TcpConnection, UdpFlow};
use super::echo::Echo;
use super::exchange::Exchange;
use super::finding::Finding;
use super::flow::{Ifindex, Role};
use super::identity::{PeerEnd, PodEnd};
use super::lookup::{Lookup, Place};
use super::loss::Loss;
use super::observation::IcmpError;
use super::signal::PacketDrop;
use super::time::Timestamp;

/// An event, ready to be shown or exported.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When it happened: the time of the first query, SYN or request.
    pub time: Timestamp,
    /// Both ends; `None` for events about the tracer itself (losses).
    pub ends: Option<Ends>,
    /// Records of it may have been lost: its counts, attempts and times can be too low, and no conclusion rests
    /// on it.
    pub incomplete: bool,
    /// The event's content.
    pub body: Body,
}

/// The two ends of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The interface it was seen on.
    pub ifindex: Ifindex,
    /// The pod's role.
    pub role: Role,
    /// The pod behind the interface.
    pub pod: PodEnd,
    /// The other end.
    pub peer: PeerEnd,
    /// The other end is a pod of this node whose interface is traced too, so that end reports the same event.
    pub peer_traced_here: bool,
}

/// The content of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A DNS exchange, and its place in its lookup.
    Dns(Arc<Exchange>, Option<Place>),
    /// A lookup.
    Lookup(Box<Lookup>),
    /// A TCP connection.
    Tcp(Box<TcpConnection>),
    /// A UDP flow.
    Udp(Box<UdpFlow>),
    /// A run of echo requests.
    Echo(Box<Echo>),
    /// An ICMP error that concerns no known exchange, connection, flow or run.
    IcmpError(Box<IcmpError>),
    /// A packet that the kernel dropped.
    Drop(Box<PacketDrop>),
    /// A conclusion.
    Finding(Box<Finding>),
    /// A loss in the tracer.
    Lost(Loss),
}
