//! Which agents to ask, as options of every command that can ask them.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;

use super::cluster::KubeArgs;
use crate::client::{Options, Target, TlsFiles};
use tracer_core::model::glob::Glob;

/// Which agents to ask.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Agents")]
pub(super) struct AgentsArgs {
    /// Connect directly to this agent: unix:PATH or https://HOST:PORT
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    server: Vec<String>,

    /// Only agents on nodes whose name matches
    #[arg(long, value_name = "GLOB", value_delimiter = ',')]
    node: Vec<Glob>,

    /// For https: the CA of the agents' certificates, PEM
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    tls_ca: Option<PathBuf>,

    /// For https: this client's certificate, PEM
    #[arg(
        long,
        value_name = "FILE",
        hide_short_help = true,
        requires = "tls_key"
    )]
    tls_cert: Option<PathBuf>,

    /// For https: the private key of --tls-cert, PEM
    #[arg(
        long,
        value_name = "FILE",
        hide_short_help = true,
        requires = "tls_cert"
    )]
    tls_key: Option<PathBuf>,

    /// For https: the name in the agents' certificates [default: the host in --server]
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    tls_name: Option<String>,
}

/// Where agents are found, for the long help.
pub(super) const HELP: &str = "\
Where events come from:
  Without --local and --replay, events come from the agents of the current
  kubectl context, through the relays of the cluster: Kubernetes' API server
  authenticates the user, and RBAC decides. Events need the verbs list and
  watch on traces.tracer.internal, findings the same on findings, status list
  on tracernodes; in one namespace (-n) or in all. --server connects to agents
  directly.
  Without -f the command prints the last 20 events and ends; --last, --since
  and --all select others. With -f it prints new events; --since or --last
  adds that part of the history.
  With several contexts (--context a,b) the events have the context as
  `cluster`. Events of several nodes are merged in time order; a silent or slow node
  delays the others by at most 2 s. Lost connections are reported and retried;
  streams resume without duplicates, and events that have left an agent's
  history are reported as lost.
  Traffic between pods on two nodes has two sides, and each node reports its
  own: --direction client shows it once.";

impl AgentsArgs {
    /// The option that selects agents, if one does.
    pub(super) fn selected_by(&self) -> Option<&'static str> {
        if !self.server.is_empty() {
            Some("--server")
        } else if !self.node.is_empty() {
            Some("--node")
        } else {
            None
        }
    }

    /// The agents to ask.
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
            contexts: kube.contexts(),
        })
    }
}
