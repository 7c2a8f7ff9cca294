//! Output of the correlators: an event on a flow, before either end is identified.

use std::sync::Arc;

use super::connection::{TcpConnection, UdpFlow};
use super::dns::Question;
use super::echo::Echo;
use super::exchange::Exchange;
use super::flow::{Flow, Role};
use super::observation::IcmpError;
use super::time::Timestamp;

/// An event on a flow.
#[derive(Clone, Debug, PartialEq)]
pub struct Correlated {
    /// When it happened (see [`super::event::Event::time`]).
    pub time: Timestamp,
    /// The flow.
    pub flow: Flow,
    /// The pod's role in the flow.
    pub role: Role,
    /// The event.
    pub event: CorrelatedEvent,
}

/// The kinds of correlated events.
#[derive(Clone, Debug, PartialEq)]
pub enum CorrelatedEvent {
    /// A query was seen. Not shown; it marks a candidate as open for the lookup stage.
    Asked(Asked),
    /// An exchange ended.
    Exchange(Arc<Exchange>),
    /// A TCP connection changed its state.
    Tcp(Box<TcpConnection>),
    /// A UDP flow changed its state.
    Udp(Box<UdpFlow>),
    /// Evidence arose on a connection whose state stays the same. Not shown; the rules see it.
    TcpProgress(Box<TcpConnection>),
    /// Evidence arose on a UDP flow whose state stays the same. Not shown; the rules see it.
    UdpProgress(Box<UdpFlow>),
    /// A run of echo requests continues or ended.
    Echo(Box<Echo>),
    /// An ICMP error that concerns no known exchange, connection, flow or run.
    IcmpError(Box<IcmpError>),
    /// A full table removed an entry of this flow: its later packets look like those of an unknown one. Not
    /// shown. It precedes the event of the entry.
    MadeRoom,
}

impl Correlated {
    /// A full table removed an entry of this flow, which began at that time.
    pub fn made_room(began: Timestamp, flow: Flow, role: Role) -> Correlated {
        Correlated {
            time: began,
            flow,
            role,
            event: CorrelatedEvent::MadeRoom,
        }
    }
}

/// A query at the time it is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The number of its exchange.
    pub exchange: u64,
    /// The message's identifier.
    pub id: u16,
    /// The question.
    pub question: Question,
    /// 1 for the first attempt.
    pub attempt: u32,
}
