//! Edge: connects to agents and merges their events.
//!
//! Owns the connection to an agent ([`target`]: a unix socket, an address with TLS, or `tracer relay` in its
//! pod through the API server), finding the agents ([`cluster`]), the stream of each with its reconnections
//! ([`agent_stream`]), one order for all of them ([`merge`], [`feed`]), and their status ([`status`]). It
//! never prints: notes and warnings are [`feed::Update`]s. While other agents have events to show, it waits
//! for an agent only up to a fixed time.

mod agent_stream;
pub mod cluster;
pub mod feed;
pub mod merge;
pub mod skew;
pub mod status;
pub mod target;
mod unix_socket;

use std::path::PathBuf;

use tracer_core::model::glob::Glob;

pub use self::target::{Target, TlsFiles};

/// The agents to ask.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Agents to reach directly; if empty, those of the cluster.
    pub servers: Vec<Target>,
    /// Only agents on these nodes; if empty, all.
    pub nodes: Vec<Glob>,
    /// The kubeconfig; `None` for the one that kubectl finds, else the cluster that this process runs in.
    pub kubeconfig: Option<PathBuf>,
    /// A context in the kubeconfig.
    pub context: Option<String>,
    /// The agents' namespace; `None` for any, or the usual one if the user cannot list pods in all.
    pub namespace: Option<String>,
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
    /// The API server did not list the agents.
    #[error("cannot list the agents' pods {scope}: {reason}")]
    List {
        /// Where agents were searched.
        scope: String,
        /// The error.
        reason: String,
    },
    /// No agent runs.
    #[error(
        "no tracer agent runs {scope} (pods labelled {label}). `kubectl apply -k deploy/` installs one on every node; \
         `kubectl get pods -A -l {label}` shows them",
        label = cluster::LABEL
    )]
    NoAgents {
        /// Where agents were searched.
        scope: String,
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
