//! Flow identity and flow counters.

use std::net::{IpAddr, SocketAddr};

/// An interface index: the host end of a pod's veth. In replay, the capture file's interface number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ifindex(pub u32);

/// The direction of a packet across the host end of a pod's veth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Sent by the pod (tc ingress of the host end).
    FromPod,
    /// Sent to the pod (tc egress of the host end).
    ToPod,
}

/// The pod's role in an exchange, a connection or an echo run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The pod asks, connects or pings.
    Client,
    /// The other end asks, connects or pings.
    Server,
}

/// The transport of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// ICMP for IPv4 (RFC 792).
    Icmp,
    /// TCP (RFC 9293).
    Tcp,
    /// UDP (RFC 768).
    Udp,
    /// ICMPv6 (RFC 4443).
    Icmpv6,
    /// Any other IP protocol number.
    Other(u8),
}

impl Protocol {
    /// From the IP protocol number.
    pub fn from_number(number: u8) -> Protocol {
        match number {
            1 => Protocol::Icmp,
            6 => Protocol::Tcp,
            17 => Protocol::Udp,
            58 => Protocol::Icmpv6,
            other => Protocol::Other(other),
        }
    }

    /// The IP protocol number.
    pub fn number(self) -> u8 {
        match self {
            Protocol::Icmp => 1,
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Icmpv6 => 58,
            Protocol::Other(number) => number,
        }
    }
}

/// A flow, seen from the pod. For ICMP echo the pod's port is the identifier and the peer's is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// The interface it was seen on. The same flow of two pods on one node is two flows.
    pub ifindex: Ifindex,
    /// Transport.
    pub protocol: Protocol,
    /// The pod's end.
    pub pod: SocketAddr,
    /// The other end, as on the wire at the pod's veth: a ClusterIP is still the ClusterIP.
    pub peer: SocketAddr,
}

/// Packets and bytes (from the network header on) in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets; a GSO segment counts as the one packet that crossed the veth.
    pub packets: u64,
    /// Bytes from the network header on.
    pub bytes: u64,
}

/// Totals of both directions, seen from the pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowTotals {
    /// Sent by the pod.
    pub tx: Traffic,
    /// Sent to the pod.
    pub rx: Traffic,
    /// TCP segments that the pod's kernel sent again: SYN, data or FIN, not a SYN-ACK. `None` where the kernel does not
    /// show it. The latest of them may not be counted yet.
    pub retransmits: Option<u64>,
}

/// A flow's counters at one time, from a sweep of the kernel's flow table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowSnapshot {
    /// The flow.
    pub flow: Flow,
    /// Totals since the entry was created.
    pub totals: FlowTotals,
    /// Time of the first packet that the entry counts. A flow gets a new entry after a long silence.
    pub first: super::time::Timestamp,
    /// Time of the latest packet.
    pub last: super::time::Timestamp,
    /// TCP flags of both directions.
    pub tcp_flags: SeenFlags,
}

/// The TCP flags of a flow's packets so far, ORed; zero for other protocols.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeenFlags {
    /// Flags that the pod sent.
    pub tx: u8,
    /// Flags sent to the pod.
    pub rx: u8,
}

impl SeenFlags {
    /// FIN (RFC 9293 section 3.1).
    pub const FIN: u8 = 0x01;
    /// SYN.
    pub const SYN: u8 = 0x02;
    /// RST.
    pub const RST: u8 = 0x04;
    /// PSH.
    pub const PSH: u8 = 0x08;
    /// ACK.
    pub const ACK: u8 = 0x10;
}

/// The flow of a packet quoted by an ICMP error, seen from that packet's sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QuotedFlow {
    /// Transport of the quoted packet.
    pub protocol: Protocol,
    /// Source of the quoted packet; for ICMP echo the port is the identifier.
    pub src: SocketAddr,
    /// Destination of the quoted packet.
    pub dst: SocketAddr,
}

/// An address with port 0, for protocols without ports.
pub fn host(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, 0)
}
