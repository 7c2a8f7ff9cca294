//! A TCP connection and a UDP flow.

use std::time::Duration;

use super::flow::{Flow, FlowTotals, Role};
use super::observation::IcmpError;
use super::time::Timestamp;

/// What a TCP connection's event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TcpState {
    /// SYN sent at least three times, no answer yet.
    Opening,
    /// SYN-ACK seen.
    Established,
    /// The SYN was answered by RST or an ICMP error.
    Refused(RefusedBy),
    /// The SYN was not answered in time.
    Timeout,
    /// RST after it was established.
    Reset,
    /// FIN both ways, or idle for too long.
    Closed,
}

/// What refused a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusedBy {
    /// A reset: somebody's kernel has no listener there.
    Rst,
    /// An ICMP error: a router, a firewall or kube-proxy.
    Icmp,
}

/// A TCP connection at one of the moments that are told.
#[derive(Clone, Debug, PartialEq)]
pub struct TcpConnection {
    /// Which flow.
    pub flow: Flow,
    /// Whether the pod opened it.
    pub role: Role,
    /// Where it stands.
    pub state: TcpState,
    /// First SYN to SYN-ACK.
    pub handshake: Option<Duration>,
    /// SYNs beyond the first.
    pub syn_retransmits: u32,
    /// Totals so far.
    pub totals: FlowTotals,
    /// The ICMP error that refused it.
    pub icmp: Option<IcmpError>,
    /// The latest packet, or the error.
    pub last: Timestamp,
}

/// What a UDP flow's event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UdpState {
    /// First packet.
    Open,
    /// Nothing came back in time.
    Unanswered,
    /// An ICMP error came back.
    IcmpError,
    /// Idle for too long.
    Closed,
}

/// A UDP flow other than DNS at one of the moments that are told.
#[derive(Clone, Debug, PartialEq)]
pub struct UdpFlow {
    /// Which flow.
    pub flow: Flow,
    /// Whether the pod sent the first packet.
    pub role: Role,
    /// Where it stands.
    pub state: UdpState,
    /// Totals so far.
    pub totals: FlowTotals,
    /// The ICMP error that came back.
    pub icmp: Option<IcmpError>,
    /// The latest packet, or the error.
    pub last: Timestamp,
}
