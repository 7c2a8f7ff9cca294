//! What is traced and who is who, as options of every command that traces or replays.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use clap::builder::BoolishValueParser;

use super::{Host, values};
use crate::capture::{self, DEFAULT_RECORD_BURST, DEFAULT_RECORDS_PER_SECOND};
use tracer_core::identity::IndexSettings;
use tracer_core::model::dns::DnsName;
use tracer_core::model::emission::Emission;
use tracer_core::model::glob::Glob;

/// What is traced and who is who.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Sources")]
pub(super) struct SourceArgs {
    /// Names for addresses: what `kubectl get nodes,ns,pods,svc,endpointslices -A -o yaml` prints. Read again when it changes
    #[arg(long, env = "TRACER_INVENTORY", value_name = "FILE")]
    pub inventory: Option<PathBuf>,

    /// The cluster's DNS domain
    #[arg(long, env = "TRACER_CLUSTER_DOMAIN", value_name = "DOMAIN", default_value = "cluster.local",
        value_parser = values::domain)]
    cluster_domain: DnsName,

    /// What this node is called in the cluster; the machine's name unless given
    #[arg(long, env = "TRACER_NODE_NAME", value_name = "NAME")]
    node_name: Option<String>,

    /// Only interfaces whose name fits; every pod interface unless given
    #[arg(
        long,
        env = "TRACER_INTERFACE",
        value_name = "GLOB",
        value_delimiter = ','
    )]
    interface: Vec<Glob>,

    /// Tells several tracers on one node apart
    #[arg(long, env = "TRACER_INSTANCE", value_name = "NAME", default_value = "default", hide_short_help = true,
        value_parser = values::instance)]
    instance: String,

    /// A port where DNS is spoken; up to 8
    #[arg(long, env = "TRACER_DNS_PORT", value_name = "PORT", value_delimiter = ',', default_value = "53",
        hide_short_help = true, value_parser = clap::value_parser!(u16).range(1..))]
    dns_port: Vec<u16>,

    /// Kernel buffer for packets on their way to user space, a power of two
    #[arg(long, env = "TRACER_RING_SIZE", value_name = "SIZE", default_value = "8MiB", hide_short_help = true,
        value_parser = values::ring_bytes)]
    ring_size: u32,

    /// Flows that the kernel counts at a time
    #[arg(long, env = "TRACER_FLOW_TABLE_SIZE", value_name = "N", default_value = "65536", hide_short_help = true,
        value_parser = clap::value_parser!(u32).range(64..=16_777_216))]
    flow_table_size: u32,

    /// How much of a DNS message over UDP is captured; of a longer one the rest is missing, and that is said
    #[arg(long, env = "TRACER_PAYLOAD_BYTES", value_name = "N", default_value = "1232", hide_short_help = true,
        value_parser = clap::value_parser!(u16).range(128..=1984))]
    payload_bytes: u16,

    /// Packets a second that one interface may send to user space in the long run; 0: no limit
    #[arg(long, env = "TRACER_RECORDS_PER_SECOND", value_name = "N", hide_short_help = true,
        value_parser = clap::value_parser!(u32).range(..=100_000_000), default_value_t = DEFAULT_RECORDS_PER_SECOND)]
    records_per_second: u32,

    /// Packets that one interface may send to user space at once on top of that. What is held back is still counted
    #[arg(long, env = "TRACER_RECORD_BURST", value_name = "N", hide_short_help = true,
        value_parser = clap::value_parser!(u32).range(1..=100_000_000), default_value_t = DEFAULT_RECORD_BURST)]
    record_burst: u32,

    /// Log from inside the probes, to find faults in them; slow
    #[arg(long, env = "TRACER_PROBE_LOG", hide_short_help = true, value_parser = BoolishValueParser::new())]
    probe_log: bool,
}

impl SourceArgs {
    /// The probes' part of it, with what they are to hand over.
    pub(super) fn capture(
        &self,
        emission: Emission,
        flow_idle: Duration,
    ) -> anyhow::Result<capture::Options> {
        Ok(capture::Options {
            instance: self.instance.clone(),
            interfaces: self.interface.clone(),
            dns_ports: self.dns_ports()?,
            emission,
            payload_cap_bytes: u32::from(self.payload_bytes),
            ring_bytes: self.ring_size,
            flow_entries: self.flow_table_size,
            records_per_second: self.records_per_second,
            record_burst: self.record_burst,
            flow_idle,
            probe_log: self.probe_log,
            ..capture::Options::default()
        })
    }

    /// What no object of the cluster says.
    pub(super) fn index(&self) -> IndexSettings {
        IndexSettings {
            cluster_domain: self.cluster_domain.clone(),
        }
    }

    /// What this node is called.
    pub(super) fn node(&self, host: &Host) -> Arc<str> {
        Arc::from(self.node_name.as_deref().unwrap_or(&host.name))
    }

    /// The ports where DNS is spoken, each once.
    pub(super) fn dns_ports(&self) -> anyhow::Result<Vec<u16>> {
        let mut ports = Vec::new();
        for port in &self.dns_port {
            if !ports.contains(port) {
                ports.push(*port);
            }
        }
        if ports.len() > tracer_common::MAX_DNS_PORTS {
            bail!(
                "{} ports with --dns-port: the probes know at most {}; leave some out",
                ports.len(),
                tracer_common::MAX_DNS_PORTS
            );
        }
        Ok(ports)
    }
}
