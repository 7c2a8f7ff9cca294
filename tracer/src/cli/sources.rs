//! Names and DNS, as options of every command that traces or replays.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use clap::Args;

use super::Host;
use super::values::{Domain, Int};
use tracer_core::identity::IndexSettings;
use tracer_core::pipeline;

/// Where names come from, and on which ports DNS runs.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Sources")]
pub(super) struct SourceArgs {
    /// Take names from this file, the output of `kubectl get nodes,ns,pods,svc,endpointslices -A -o yaml`.
    /// Read again when it changes
    #[arg(long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,

    /// The cluster's DNS domain
    #[arg(long, value_name = "DOMAIN", default_value_t = Domain(IndexSettings::default().cluster_domain))]
    pub cluster_domain: Domain,

    /// This node's name in the cluster [default: the hostname]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,

    /// A port that carries DNS; at most 8
    #[arg(long, value_name = "PORT", value_delimiter = ',', hide_short_help = true,
        default_values_t = pipeline::Settings::default().dns_ports.into_iter().map(Int))]
    pub dns_port: Vec<Int<u16, 1, 65_535>>,
}

impl SourceArgs {
    /// Settings of the index that no Kubernetes object holds.
    pub(super) fn index(&self, host: &Host) -> IndexSettings {
        IndexSettings {
            cluster_domain: self.cluster_domain.0.clone(),
            node: Some(self.node(host)),
        }
    }

    /// This node's name.
    pub(super) fn node(&self, host: &Host) -> Arc<str> {
        Arc::from(self.node_name.as_deref().unwrap_or(&host.name))
    }

    /// The DNS ports without duplicates.
    pub(super) fn dns_ports(&self) -> anyhow::Result<Vec<u16>> {
        let mut ports = Vec::new();
        for port in &self.dns_port {
            if !ports.contains(&port.0) {
                ports.push(port.0);
            }
        }
        if ports.len() > tracer_common::MAX_DNS_PORTS {
            bail!(
                "--dns-port: {} ports given, at most {} are supported",
                ports.len(),
                tracer_common::MAX_DNS_PORTS
            );
        }
        Ok(ports)
    }
}
