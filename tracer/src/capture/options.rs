//! What a capture can be told. Plain values: the command line fills them in.

use std::net::IpAddr;
use std::time::Duration;

use tracer_core::model::emission::Emission;
use tracer_core::model::glob::Glob;

/// Of one interface, unless told otherwise: far more than a pod's DNS and connections, far less than a flood.
pub const DEFAULT_RECORDS_PER_SECOND: u32 = 10_000;
/// On top of that at once.
pub const DEFAULT_RECORD_BURST: u32 = 20_000;

/// How to capture. [`Options::default`] is right for a node; tests and the command line change single fields.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names this capture among others in the same network namespace. Two with one name cannot run at once.
    pub instance: String,
    /// Only interfaces whose name fits one of these; empty: every pod interface.
    pub interfaces: Vec<Glob>,
    /// The node's own addresses as far as they are known: an interface that holds one is no pod's.
    pub node_addresses: Vec<IpAddr>,
    /// Ports that carry DNS, 1 to [`MAX_DNS_PORTS`](tracer_common::MAX_DNS_PORTS) of them.
    pub dns_ports: Vec<u16>,
    /// Which packets cause records.
    pub emission: Emission,
    /// How many bytes of a DNS message over UDP are captured.
    pub payload_cap_bytes: u32,
    /// The ring buffer; aya rounds it up to a power of two of pages.
    pub ring_bytes: u32,
    /// Entries of the kernel's flow table.
    pub flow_entries: u32,
    /// Records a second that one interface may cause in the long run; 0: no limit.
    pub records_per_second: u32,
    /// Records that one interface may cause at once on top of that.
    pub record_burst: u32,
    /// An entry of the flow table without a packet for so long is removed.
    pub flow_idle: Duration,
    /// A closed TCP connection's entry is removed after so long, a DNS exchange's likewise: there are many of them.
    pub flow_linger: Duration,
    /// How often to compare with the kernel's lists what its messages told, and to look whether the probes are in place.
    pub look_again: Duration,
    /// The probes log every packet (through the `log` crate).
    pub probe_log: bool,
    /// Where the probes are hooked in.
    pub hook: HookChoice,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            instance: "default".to_owned(),
            interfaces: Vec::new(),
            node_addresses: Vec::new(),
            dns_ports: vec![53],
            emission: Emission::default(),
            payload_cap_bytes: 1_232,
            ring_bytes: 8 << 20,
            flow_entries: 65_536,
            records_per_second: DEFAULT_RECORDS_PER_SECOND,
            record_burst: DEFAULT_RECORD_BURST,
            flow_idle: Duration::from_secs(300),
            flow_linger: Duration::from_secs(10),
            look_again: Duration::from_secs(30),
            probe_log: false,
            hook: HookChoice::Auto,
        }
    }
}

/// Which kind of hook to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookChoice {
    /// TCX where the kernel has it (6.6), else clsact.
    #[default]
    Auto,
    /// TCX or nothing.
    Tcx,
    /// clsact, also where the kernel has TCX.
    Clsact,
}
