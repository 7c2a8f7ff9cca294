//! The options of a capture. Plain values: the command line fills them in.

use std::net::IpAddr;
use std::time::Duration;

use tracer_core::model::emission::Emission;
use tracer_core::model::glob::Glob;
use tracer_core::model::settings::Thresholds;
use tracer_core::pipeline;

/// How to capture. [`Options::default`] is right for a node; tests and the command line change single fields.
#[derive(Clone, Debug)]
pub struct Options {
    /// The capture's name. Two captures of one name cannot run in the same network namespace.
    pub instance: String,
    /// Trace only interfaces whose name matches one of these; empty: every pod interface.
    pub interfaces: Vec<Glob>,
    /// The node's own addresses, as far as known. An interface that holds one is not a pod's.
    pub node_addresses: Vec<IpAddr>,
    /// Ports that carry DNS: 1 to [`MAX_DNS_PORTS`](tracer_common::MAX_DNS_PORTS).
    pub dns_ports: Vec<u16>,
    /// Which packets cause records.
    pub emission: Emission,
    /// Bytes to capture of a DNS message over UDP.
    pub payload_cap_bytes: u32,
    /// Size of the ring buffer. aya rounds it up to a power of two of pages.
    pub ring_bytes: u32,
    /// Entries of the kernel's flow table.
    pub flow_entries: u32,
    /// An interface's share of the ring buffer: above this many records per second it is thinned while the ring
    /// is half full. The share falls as the ring fills. 0: never thin.
    pub records_per_second: u32,
    /// Time without a packet after which a flow's entry is removed.
    pub flow_idle: Duration,
    /// The same time for closed TCP connections and DNS flows, which are many.
    pub flow_linger: Duration,
    /// Interval for listing the kernel's interfaces again, in case a message was lost, and for checking that
    /// the probes are still attached.
    pub relist_every: Duration,
    /// Also trace the node's own sockets, at its uplinks.
    pub node: bool,
    /// Read the cgroup of the socket that sent a packet.
    pub senders: bool,
    /// Name the process whose socket sent a packet, for TCP (Linux 5.12), UDP and ICMP (6.3).
    pub processes: bool,
    /// Report the packets of pods that the kernel drops (Linux 5.17).
    pub drops: bool,
    /// Count the TCP segments that sockets of pods send again.
    pub retransmits: bool,
    /// Log every packet in the probes (through the `log` crate).
    pub probe_log: bool,
    /// The kind of hook to attach to.
    pub hook: HookChoice,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            instance: "default".to_owned(),
            interfaces: Vec::new(),
            node_addresses: Vec::new(),
            dns_ports: pipeline::Settings::default().dns_ports,
            emission: Emission::default(),
            payload_cap_bytes: 1_232,
            ring_bytes: 8 << 20,
            flow_entries: 65_536,
            // Far above a pod's DNS queries and connections, far below a flood.
            records_per_second: 10_000,
            flow_idle: Thresholds::default().flow_idle,
            flow_linger: Duration::from_secs(10),
            relist_every: Duration::from_secs(30),
            node: false,
            senders: true,
            processes: true,
            drops: true,
            retransmits: true,
            probe_log: false,
            hook: HookChoice::Auto,
        }
    }
}

/// The kind of hook to attach the probes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookChoice {
    /// TCX where the kernel has it (6.6), else clsact.
    #[default]
    Auto,
    /// TCX only.
    Tcx,
    /// clsact, even where the kernel has TCX.
    Clsact,
}
