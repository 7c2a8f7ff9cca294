//! An IP packet of a capture file, before it is known which end is the pod.

use crate::model::flow::{Direction, FlowTotals, Ifindex};
use crate::model::time::Timestamp;

/// Where the capture's interface saw a packet go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkDirection {
    /// To the host that captured.
    Incoming,
    /// From the host that captured.
    Outgoing,
}

impl LinkDirection {
    /// The other one.
    pub fn reverse(self) -> LinkDirection {
        match self {
            LinkDirection::Incoming => LinkDirection::Outgoing,
            LinkDirection::Outgoing => LinkDirection::Incoming,
        }
    }
}

/// Which of a capture's interfaces a packet was seen on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The section of a pcapng file.
    pub section: u32,
    /// The interface's number within it.
    pub interface: u32,
    /// The interface index that the link header holds (Linux cooked v2), else 0.
    pub device: u32,
}

/// What this program itself noted about a packet when it recorded it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The host end of the pod's veth.
    pub ifindex: Ifindex,
    /// Which way it went over it.
    pub direction: Direction,
    /// The flow's counters.
    pub totals: Option<FlowTotals>,
}

/// An IP packet of a capture file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The capture's stamp: nanoseconds since the epoch.
    pub time: Timestamp,
    /// Where it was captured.
    pub origin: Origin,
    /// Its direction there, where the file tells.
    pub direction: Option<LinkDirection>,
    /// The EtherType of the network header.
    pub ethertype: u16,
    /// The packet's length from the network header on; `bytes` may be shorter.
    pub wire_len: u32,
    /// The packet from the network header on, as far as it was captured.
    pub bytes: Vec<u8>,
    /// What was noted when this program recorded it.
    pub recorded: Option<Recorded>,
}
