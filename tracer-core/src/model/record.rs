//! What comes out of the ring buffer or a capture file: one packet's first bytes and where it was seen.

use super::flow::{Direction, FlowTotals, Ifindex};
use super::time::Timestamp;

/// One packet, or one chunk of a long TCP segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When the probe ran, or the capture's stamp.
    pub time: Timestamp,
    /// Where it was seen.
    pub ifindex: Ifindex,
    /// Which way it went.
    pub direction: Direction,
    /// The EtherType of the network header (0x0800, 0x86dd).
    pub ethertype: u16,
    /// The packet's length from the network header on; `bytes` may be shorter.
    pub wire_len: u32,
    /// Where `bytes` start, from the network header: not 0 for the later chunks of a TCP segment.
    pub chunk_offset: u32,
    /// The flow's counters including this packet; `None` where the flow table was full.
    pub totals: Option<FlowTotals>,
    /// The packet from the network header (plus `chunk_offset`) on, as far as it was captured.
    pub bytes: Vec<u8>,
}
