//! An IP packet from a capture file, before its pod end is known.

use crate::model::flow::{Direction, FlowTotals, Ifindex};
use crate::model::identity::Process;
use crate::model::time::Timestamp;

/// The direction of a packet at the capture's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkDirection {
    /// Towards the capturing host.
    Incoming,
    /// From the capturing host.
    Outgoing,
}

impl LinkDirection {
    /// The opposite direction.
    pub fn reverse(self) -> LinkDirection {
        match self {
            LinkDirection::Incoming => LinkDirection::Outgoing,
            LinkDirection::Outgoing => LinkDirection::Incoming,
        }
    }
}

/// The interface of a capture on which a packet was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The section of a pcapng file.
    pub section: u32,
    /// The interface's number within the section.
    pub interface: u32,
    /// The interface index in the link header (Linux cooked v2), else 0.
    pub device: u32,
}

/// The note that this program added to a packet when it recorded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The host end of the pod's veth.
    pub ifindex: Ifindex,
    /// The packet's direction there.
    pub direction: Direction,
    /// The flow's counters.
    pub totals: Option<FlowTotals>,
    /// The cgroup of the socket that sent it; 0 where that is not known.
    pub sender_cgroup: u64,
    /// The process that sent it.
    pub sender_process: Option<Process>,
}

/// An IP packet of a capture file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The capture's timestamp: nanoseconds since the epoch.
    pub time: Timestamp,
    /// Where it was captured.
    pub origin: Origin,
    /// Its direction there, if the file shows it.
    pub direction: Option<LinkDirection>,
    /// The EtherType of the network header.
    pub ethertype: u16,
    /// The packet's length on the wire, from the network header on; `bytes` may be shorter.
    pub wire_len: u32,
    /// The captured bytes, from the network header on.
    pub bytes: Vec<u8>,
    /// Packets that were lost before this one, modulo 2^16: of its interface in a recording of this program, else
    /// of the whole file, because a pod's packets can be on several interfaces.
    pub lost: u16,
    /// This program's note, if it recorded the packet.
    pub recorded: Option<Recorded>,
}
