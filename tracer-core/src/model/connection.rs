//! TCP connections and UDP flows.

use std::time::Duration;

use super::evidence::{OtherReply, TcpEvidence, Unanswered};
use super::flow::{Flow, FlowTotals, Role};
use super::observation::IcmpError;
use super::time::Timestamp;

/// The state that a TCP connection's event reports.
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
    /// RST after the handshake.
    Reset,
    /// FIN in both directions.
    Closed,
    /// Established, without an end that was seen, and no longer followed: its entry made room for another
    /// connection, or the input ended. It may still be open.
    Idle,
    /// An unanswered SYN about which no verdict is possible: too young when the input ended, or given up by
    /// its opener.
    Undecided,
}

/// What refused a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusedBy {
    /// A RST: no listener on that port.
    Rst,
    /// An ICMP error: a router, a firewall or kube-proxy.
    Icmp,
}

/// A TCP connection at the time of an event.
#[derive(Clone, Debug, PartialEq)]
pub struct TcpConnection {
    /// The connection's flow.
    pub flow: Flow,
    /// Whether the pod opened it.
    pub role: Role,
    /// Its state.
    pub state: TcpState,
    /// Time from the first SYN to the SYN-ACK.
    pub handshake: Option<Duration>,
    /// SYNs beyond the first.
    pub syn_retransmits: u32,
    /// Totals so far.
    pub totals: FlowTotals,
    /// The ICMP error that refused it.
    pub icmp: Option<IcmpError>,
    /// Time of the latest packet or error.
    pub last: Timestamp,
    /// What else its packets show.
    pub evidence: TcpEvidence,
}

/// The state that a UDP flow's event reports.
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
    /// Not answered yet, and too young for a verdict when the input ended.
    Undecided,
}

/// A UDP flow other than DNS at the time of an event.
#[derive(Clone, Debug, PartialEq)]
pub struct UdpFlow {
    /// The flow.
    pub flow: Flow,
    /// Whether the pod sent the first packet.
    pub role: Role,
    /// Its state.
    pub state: UdpState,
    /// Totals so far.
    pub totals: FlowTotals,
    /// The ICMP error that came back.
    pub icmp: Option<IcmpError>,
    /// Time of the latest packet or error.
    pub last: Timestamp,
    /// Packets of one end since the other was last heard, if there are any. Whether the flow was answered
    /// before shows in its totals.
    pub unanswered: Option<Unanswered>,
    /// Answers came from another address than the one that the pod sent to.
    pub reply_from: Option<OtherReply>,
}
