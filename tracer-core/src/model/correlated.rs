//! What the correlators put out: something that happened on a flow, before anyone knows whose flow it is.

use super::connection::{TcpConnection, UdpFlow};
use super::dns::Question;
use super::echo::Echo;
use super::exchange::Exchange;
use super::flow::{Flow, Role};
use super::observation::IcmpError;
use super::time::Timestamp;

/// Something that happened on a flow.
#[derive(Clone, Debug, PartialEq)]
pub struct Correlated {
    /// When it happened (see [`super::event::Event::time`]).
    pub time: Timestamp,
    /// Which flow.
    pub flow: Flow,
    /// The pod's role in it.
    pub role: Role,
    /// What happened.
    pub what: CorrelatedEvent,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum CorrelatedEvent {
    /// A query was seen. Not shown; the lookup stage needs it to know that a candidate is still open.
    Asked(Asked),
    /// An exchange ended.
    Exchange(Box<Exchange>),
    /// A TCP connection changed its state.
    Tcp(Box<TcpConnection>),
    /// A UDP flow changed its state.
    Udp(Box<UdpFlow>),
    /// A run of echo requests goes on or ended.
    Echo(Box<Echo>),
    /// An ICMP error that belongs to nothing known.
    IcmpError(Box<IcmpError>),
}

/// A query, the moment it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The message's identifier.
    pub id: u16,
    /// What is asked.
    pub question: Question,
    /// 1 for the first attempt.
    pub attempt: u32,
}
