//! The record from the ring buffer or a capture file: a packet's first bytes, its time and place.

use super::flow::{Direction, FlowTotals, Ifindex};
use super::identity::Process;
use super::loss::Missing;
use super::time::Timestamp;

/// One packet, or one chunk of a long TCP segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Time of the probe's run, or the capture's time stamp.
    pub time: Timestamp,
    /// The interface it was seen on.
    pub ifindex: Ifindex,
    /// Its direction.
    pub direction: Direction,
    /// The EtherType of the network header (0x0800, 0x86dd).
    pub ethertype: u16,
    /// The packet's length from the network header on; `bytes` may be shorter.
    pub wire_len: u32,
    /// Offset of `bytes` from the network header; not 0 for later chunks of a TCP segment.
    pub chunk_offset: u32,
    /// The flow's counters including this packet; `None` if the flow table was full.
    pub totals: Option<FlowTotals>,
    /// Lost records of this interface so far.
    pub missing: Missing,
    /// The id of the cgroup (version 2) of the pod's socket that sent it; 0 where no socket did, as for resets and
    /// ICMP replies, or where that is not known.
    pub sender_cgroup: u64,
    /// The process that owns that socket, where it is known.
    pub sender_process: Option<Process>,
    /// The captured bytes from the network header (plus `chunk_offset`) on.
    pub bytes: Vec<u8>,
}
