//! Edge: connects to agents and merges their events.
//!
//! Owns the connection to one agent ([`target`]: a unix socket, or an address with TLS) and to the relays of a
//! cluster through its API server (`cluster`), the streams with their reconnections ([`agent_stream`],
//! `relay_stream`), one order for all of them ([`merge`], [`feed`]), the agents' status ([`status`]), and the paths of findings ([`paths`]). It
//! never prints: notes and warnings are [`feed::Update`]s. While other agents have events to show, it waits
//! for an agent only up to a fixed time.

mod agent_stream;
mod cluster;
pub mod feed;
pub mod merge;
pub mod paths;
mod relay_stream;
pub mod skew;
pub mod status;
pub mod target;
mod unix_socket;

use std::path::PathBuf;

use tracer_core::model::glob::Glob;

pub use self::cluster::connect;
pub use self::target::{Target, TlsFiles};

/// The agents to ask.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Agents to reach directly; if empty, the relays of the cluster.
    pub servers: Vec<Target>,
    /// Only agents on these nodes; if empty, all.
    pub nodes: Vec<Glob>,
    /// The kubeconfig; `None` for the one that kubectl finds, else the cluster that this process runs in.
    pub kubeconfig: Option<PathBuf>,
    /// Contexts in the kubeconfig, each a cluster; if empty, the current one.
    pub contexts: Vec<String>,
}

impl Options {
    fn picks(&self, node: &str) -> bool {
        self.nodes.is_empty() || self.nodes.iter().any(|glob| glob.matches(node))
    }
}

/// Why no agent can be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no cluster to look in.
    #[error(
        "cannot find the cluster: {reason}. Use --kubeconfig FILE (and --context), --server for an agent outside a cluster, \
         or --local to trace this machine"
    )]
    NoCluster {
        /// The error.
        reason: String,
    },
    /// The cluster serves no such API.
    #[error(
        "the cluster has no Tracer relay (no API tracer.internal): install Tracer (docs/install.md), use --server for one \
         agent, or --local to trace this machine"
    )]
    NoRelay,
    /// The user may not see this.
    #[error(
        "{reason}. Ask for one namespace with -n NAMESPACE, or for the ClusterRole tracer-{resource}-view (docs/install.md)"
    )]
    Forbidden {
        /// What was asked for.
        resource: &'static str,
        /// The API server's answer.
        reason: String,
    },
    /// No agent runs on the nodes that were asked for.
    #[error("no agent runs on a node that matches {asked}; agents run on: {available}")]
    NoSuchNode {
        /// The nodes that were asked for.
        asked: String,
        /// The nodes that have an agent.
        available: String,
    },
    /// No agent answered.
    #[error("no agent could be reached:{}", lines(reasons))]
    NoneReached {
        /// Each agent with its error.
        reasons: Vec<String>,
    },
}

fn lines(reasons: &[String]) -> String {
    reasons.iter().map(|line| format!("\n  {line}")).collect()
}
