//! The bounds of reassembly.

use std::time::Duration;

/// How long is waited and how much is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Connections; the one unused for longest makes room.
    pub connections: usize,
    /// Bytes that one connection may hold in both directions, with what it costs to hold them. A message has at most
    /// 65,535 and its prefix; a longer one than this leaves room for is given up.
    pub connection_bytes: usize,
    /// Bytes that all connections may hold; at the limit the one unused for longest that holds any makes room.
    pub total_bytes: usize,
    /// Pieces out of order that one direction may hold.
    pub out_of_order: usize,
    /// A hole is given up when nothing filled it for so long. Retransmission timeouts start at 200 ms and double; this
    /// lets three of them pass and stays below the time after which a query counts as unanswered.
    pub gap_wait: Duration,
    /// A connection without a segment for so long is forgotten.
    pub idle: Duration,
}

impl Default for StreamLimits {
    fn default() -> StreamLimits {
        StreamLimits {
            connections: 4_096,
            connection_bytes: 128 << 10,
            total_bytes: 32 << 20,
            out_of_order: 256,
            gap_wait: Duration::from_secs(2),
            idle: Duration::from_secs(300),
        }
    }
}
