//! How long the pipeline waits and how much it keeps. Every figure is an option of the command line.

use std::time::Duration;

/// When silence becomes an event (the design's table "When an event is emitted").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// A query without an answer is a timeout this long after its last attempt. glibc retries after 5 s by default, so
    /// the wait is longer than that: a retry joins its exchange.
    pub dns_timeout: Duration,
    /// An answer this long after its timeout still finds its query and is told as late.
    pub dns_late: Duration,
    /// A truncated answer is told after so long, unless the client asks again over TCP or is connecting. It does so at
    /// once; the wait is for a busy node.
    pub dns_tcp_wait: Duration,
    /// A lookup without a new candidate for so long is over.
    pub lookup_idle: Duration,
    /// After a candidate was found, so long for a query of another type to follow (bind's nslookup asks AAAA after A). A
    /// container at its CPU limit stands still for up to the 100 ms of a scheduling period.
    pub lookup_grace: Duration,
    /// A connection whose first SYN was not answered for so long has timed out.
    pub tcp_timeout: Duration,
    /// `opening` is told at this many retransmissions of the SYN.
    pub tcp_opening_retransmits: u32,
    /// A connection or UDP flow without a packet for so long is closed.
    pub flow_idle: Duration,
    /// A UDP flow whose packets got no answer for so long is unanswered.
    pub udp_timeout: Duration,
    /// A running echo run is told so often.
    pub echo_report: Duration,
    /// An echo run without a request for so long is done.
    pub echo_idle: Duration,
    /// An event whose pod is not known yet waits so long for its name.
    pub identity_wait: Duration,
}

impl Default for Thresholds {
    fn default() -> Thresholds {
        Thresholds {
            dns_timeout: Duration::from_secs(6),
            dns_late: Duration::from_secs(30),
            dns_tcp_wait: Duration::from_secs(1),
            lookup_idle: Duration::from_secs(6),
            lookup_grace: Duration::from_millis(100),
            tcp_timeout: Duration::from_secs(7),
            tcp_opening_retransmits: 2,
            flow_idle: Duration::from_secs(300),
            udp_timeout: Duration::from_secs(6),
            echo_report: Duration::from_secs(10),
            echo_idle: Duration::from_secs(3),
            identity_wait: Duration::from_secs(2),
        }
    }
}

/// How many entries each table keeps. At the limit the oldest makes room, and that is counted as loss at stage `table`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open DNS exchanges.
    pub exchanges: usize,
    /// TCP connections.
    pub connections: usize,
    /// UDP flows.
    pub udp_flows: usize,
    /// Echo runs.
    pub echo_runs: usize,
    /// Requests of one echo run whose reply is awaited.
    pub echo_outstanding: usize,
    /// Open lookups.
    pub lookups: usize,
    /// Queries of one lookup that are kept as steps.
    pub lookup_steps: usize,
    /// Events that wait for their pod's name.
    pub waiting_events: usize,
    /// Reassembly of DNS over TCP.
    pub streams: StreamLimits,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            exchanges: 65_536,
            connections: 65_536,
            udp_flows: 65_536,
            echo_runs: 4_096,
            echo_outstanding: 4_096,
            lookups: 16_384,
            lookup_steps: 64,
            waiting_events: 4_096,
            streams: StreamLimits::default(),
        }
    }
}

/// How long the reassembly of DNS over TCP waits and how much it keeps.
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
