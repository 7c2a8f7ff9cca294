//! Which agents are asked, as options of every command that can ask them.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;

use super::cluster::KubeArgs;
use crate::client::{Options, Target, TlsFiles};
use tracer_core::model::glob::Glob;

/// Which agents are asked.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Agents")]
pub(super) struct AgentsArgs {
    /// An agent that does not run in a cluster, or is to be reached without it: unix:PATH or https://HOST:PORT
    #[arg(
        long,
        env = "TRACER_SERVER",
        value_name = "ADDR",
        value_delimiter = ','
    )]
    server: Vec<String>,

    /// Only agents of nodes whose name fits
    #[arg(long, env = "TRACER_NODE", value_name = "GLOB", value_delimiter = ',')]
    node: Vec<Glob>,

    /// The namespace of the agents; any unless given
    #[arg(long, env = "TRACER_AGENT_NAMESPACE", value_name = "NAME")]
    agent_namespace: Option<String>,

    /// Of https: the authority that the agents' certificates come from, PEM
    #[arg(
        long,
        env = "TRACER_TLS_CA",
        value_name = "FILE",
        hide_short_help = true
    )]
    tls_ca: Option<PathBuf>,

    /// Of https: the certificate that this client shows, PEM
    #[arg(
        long,
        env = "TRACER_TLS_CERT",
        value_name = "FILE",
        hide_short_help = true,
        requires = "tls_key"
    )]
    tls_cert: Option<PathBuf>,

    /// Of https: its key, PEM
    #[arg(
        long,
        env = "TRACER_TLS_KEY",
        value_name = "FILE",
        hide_short_help = true,
        requires = "tls_cert"
    )]
    tls_key: Option<PathBuf>,

    /// Of https: the name that the agents' certificates are for, where it is not the host's
    #[arg(
        long,
        env = "TRACER_TLS_NAME",
        value_name = "NAME",
        hide_short_help = true
    )]
    tls_name: Option<String>,
}

/// Where agents are found, for the long help.
pub(super) const HELP: &str = "\
Where events come from:
  Without --local and --replay from the agents of a cluster: pods labelled
  app.kubernetes.io/name=tracer,app.kubernetes.io/component=agent, in the
  cluster that kubectl would talk to. Each is reached through the API server,
  by exec of `tracer relay` in its pod: no port is open, and who may create
  pods/exec there may watch. --server names agents that are reached directly.
  Without -f agents give what they hold of the past, and it ends; with -f what
  happens from now on, and with --since or --last also that part of the past.
  Events of several nodes come in the order in which they were told; one node
  whose agent is silent or slow delays the others for 2 s at most. An agent
  that goes is told, tried again, and goes on where it was: nothing is shown
  twice, and what its history no longer holds is told as lost.
  Traffic between pods of two nodes has two sides, and each node tells its own:
  --direction client shows it once.";

impl AgentsArgs {
    /// Whether any of it was given that asks for agents.
    pub(super) fn asked_for(&self) -> Option<&'static str> {
        if !self.server.is_empty() {
            Some("--server")
        } else if !self.node.is_empty() {
            Some("--node")
        } else {
            None
        }
    }

    /// Which agents.
    pub(super) fn resolve(&self, kube: &KubeArgs) -> anyhow::Result<Options> {
        let files = TlsFiles {
            authorities: self.tls_ca.clone(),
            certificate: self.tls_cert.clone(),
            key: self.tls_key.clone(),
            name: self.tls_name.clone(),
        };
        let servers = self.server.iter().map(|written| {
            Target::parse(written, &files).map_err(|error| anyhow!("--server {written}: {error}"))
        });
        Ok(Options {
            servers: servers.collect::<Result<_, _>>()?,
            nodes: self.node.clone(),
            kubeconfig: kube.kubeconfig.clone(),
            context: kube.context.clone(),
            namespace: self.agent_namespace.clone(),
        })
    }
}
