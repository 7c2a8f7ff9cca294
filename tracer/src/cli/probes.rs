//! The probes of this machine, as options of every command that can trace it.

use std::time::Duration;

use clap::Args;

use super::values::{Instance, Int, RingSize};
use crate::capture::Options;
use tracer_core::model::emission::Emission;
use tracer_core::model::glob::Glob;

/// How the probes capture. Defaults are those of [`Options`].
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Probes")]
pub(super) struct ProbeArgs {
    /// Only interfaces (pods', uplinks) whose name matches [default: all]
    #[arg(long, value_name = "GLOB", value_delimiter = ',')]
    pub interface: Vec<Glob>,

    /// Name of this tracer among several on one node
    #[arg(long, value_name = "NAME", hide_short_help = true, default_value_t = Instance(Options::default().instance))]
    pub instance: Instance,

    /// Size of the kernel's buffer for captured packets, a power of two
    #[arg(long, value_name = "SIZE", hide_short_help = true, default_value_t = RingSize(Options::default().ring_bytes))]
    pub ring_size: RingSize,

    /// Flows that the kernel counts at a time
    #[arg(long, value_name = "N", hide_short_help = true, default_value_t = Int(Options::default().flow_entries))]
    pub flow_table_size: Int<u32, 64, 16_777_216>,

    /// Bytes captured of a DNS message over UDP; longer messages are truncated and flagged
    #[arg(long, value_name = "N", hide_short_help = true, default_value_t = Int(Options::default().payload_cap_bytes))]
    pub payload_bytes: Int<u32, 128, 1984>,

    /// Rate above which an interface is thinned while the kernel's buffer is half full; 0 to never thin
    #[arg(long, value_name = "N", hide_short_help = true, default_value_t = Int(Options::default().records_per_second))]
    pub records_per_second: Int<u32, 0, 100_000_000>,

    /// Without effect since thinning follows the buffer's free room
    #[arg(long, value_name = "N", hide = true, default_value_t = Int(20_000))]
    pub record_burst: Int<u32, 1, 100_000_000>,

    /// Do not read conntrack, which knows the endpoint behind a Service's address
    #[arg(long, hide_short_help = true)]
    pub no_conntrack: bool,

    /// Do not trace the node's own traffic: hostNetwork pods and processes outside Kubernetes
    #[arg(long, hide_short_help = true)]
    pub no_node: bool,

    /// Do not name processes, for which each send of a socket on the node takes some 40 ns longer
    #[arg(long, hide_short_help = true)]
    pub no_processes: bool,

    /// Do not read which packets of pods the kernel drops
    #[arg(long, hide_short_help = true)]
    pub no_drops: bool,

    /// Do not count the TCP segments that pods send again
    #[arg(long, hide_short_help = true)]
    pub no_retransmits: bool,

    /// Log from inside the probes, to debug them; slow
    #[arg(long, hide_short_help = true)]
    pub probe_log: bool,
}

impl ProbeArgs {
    /// The capture's options. `emission` selects the packets that the probes emit.
    pub(super) fn resolve(
        &self,
        dns_ports: Vec<u16>,
        emission: Emission,
        flow_idle: Duration,
    ) -> Options {
        Options {
            instance: self.instance.0.clone(),
            interfaces: self.interface.clone(),
            dns_ports,
            emission,
            payload_cap_bytes: self.payload_bytes.0,
            ring_bytes: self.ring_size.0,
            flow_entries: self.flow_table_size.0,
            records_per_second: self.records_per_second.0,
            flow_idle,
            node: !self.no_node,
            processes: !self.no_processes,
            drops: !self.no_drops,
            retransmits: !self.no_retransmits,
            probe_log: self.probe_log,
            ..Options::default()
        }
    }
}
