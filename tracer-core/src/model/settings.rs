//! How long the pipeline waits and how much it keeps. Every value is a command line option.

use std::time::Duration;

/// When silence becomes an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// A query times out this long after its last attempt. glibc retries after 5 s by default, so the wait is
    /// longer: a retry joins its exchange.
    pub dns_timeout: Duration,
    /// An answer within this time after the timeout still matches its query and is reported as late.
    pub dns_late: Duration,
    /// How long a truncated answer waits for the client to retry over TCP or to connect. Clients do so at
    /// once; the wait is for a busy node.
    pub dns_tcp_wait: Duration,
    /// A lookup ends after this time without a new candidate.
    pub lookup_idle: Duration,
    /// After a candidate succeeded, how long a query of another type may follow (BIND's nslookup asks for
    /// AAAA after A). A container at its CPU limit pauses for up to 100 ms, a scheduling period.
    pub lookup_grace: Duration,
    /// A connection times out this long after its unanswered first SYN.
    pub tcp_timeout: Duration,
    /// Number of SYN retransmissions after which `opening` is reported.
    pub tcp_opening_retransmits: u32,
    /// A connection or UDP flow closes after this time without a packet.
    pub flow_idle: Duration,
    /// A UDP flow is unanswered after this time without a packet in return.
    pub udp_timeout: Duration,
    /// Report interval for a running ping.
    pub echo_report: Duration,
    /// An echo run ends after this time without a request.
    pub echo_idle: Duration,
    /// How long an event waits for the identity of its pod.
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

/// Number of entries per table, and their memory. A full table evicts the oldest entry of the interface that
/// holds most, and counts a loss at stage `table`.
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
    /// Requests of one echo run that wait for a reply.
    pub echo_outstanding: usize,
    /// Open lookups.
    pub lookups: usize,
    /// Queries kept as steps of one lookup.
    pub lookup_steps: usize,
    /// Events that wait for the identity of their pod.
    pub waiting_events: usize,
    /// Memory of the tables. Not an option: an agent's memory limit is fixed where it is deployed.
    pub memory: Memory,
    /// Reassembly of DNS over TCP.
    pub streams: StreamLimits,
}

/// Bytes that each kind of state may take, whatever the pods of a node send. By default 48 MiB together with
/// [`StreamLimits::total_bytes`] and the stream table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// DNS exchanges: open ones, identifiers of answered ones, truncated answers that wait for TCP.
    pub exchanges: usize,
    /// TCP connections: open ones and what is kept of ended ones.
    pub connections: usize,
    /// UDP flows.
    pub udp_flows: usize,
    /// Echo runs with their outstanding requests.
    pub echo_runs: usize,
    /// Open lookups with their steps.
    pub lookups: usize,
    /// The names that pods resolved addresses from.
    pub names: usize,
    /// Events that wait for the identity of their pod.
    pub waiting_events: usize,
}

impl Memory {
    /// All of it.
    pub fn total(&self) -> usize {
        self.exchanges
            + self.connections
            + self.udp_flows
            + self.echo_runs
            + self.lookups
            + self.names
            + self.waiting_events
    }
}

impl Default for Memory {
    fn default() -> Memory {
        Memory {
            exchanges: 12 << 20,
            connections: 9 << 20,
            udp_flows: 5 << 20,
            echo_runs: 2 << 20,
            lookups: 9 << 20,
            names: 3 << 20,
            waiting_events: 2 << 20,
        }
    }
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
            memory: Memory::default(),
            streams: StreamLimits::default(),
        }
    }
}

/// How long the reassembly of DNS over TCP waits, and how much it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Connections.
    pub connections: usize,
    /// Memory that one connection may hold in both directions, overhead included. A message has at most
    /// 65,535 bytes and its prefix; a message that does not fit is given up.
    pub connection_bytes: usize,
    /// Memory that all connections may hold for payload.
    pub total_bytes: usize,
    /// Out-of-order pieces that one direction may hold.
    pub out_of_order: usize,
    /// How long a hole waits to be filled. Retransmission timeouts start at 200 ms and double; this allows
    /// for three of them and stays below the time after which a query counts as unanswered.
    pub gap_wait: Duration,
    /// A connection is forgotten after this time without a segment.
    pub idle: Duration,
}

impl Default for StreamLimits {
    fn default() -> StreamLimits {
        StreamLimits {
            connections: 2_048,
            connection_bytes: 128 << 10,
            total_bytes: 4 << 20,
            out_of_order: 256,
            gap_wait: Duration::from_secs(2),
            idle: Duration::from_secs(300),
        }
    }
}
