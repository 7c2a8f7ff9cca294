//! Edge: reaches agents and merges what they tell.
//!
//! Owns the way to an agent ([`target`]: a unix socket, an address with TLS, or `tracer relay` in its pod by way of the API
//! server), which agents there are ([`cluster`]), the stream of each with its reconnections ([`source`]), one order for all
//! of them ([`merge`], [`feed`]), and their status ([`status`]). It never prints: what a person should know comes as
//! [`feed::News`]. Nothing here waits for an agent longer than a fixed bound while others have something to say.

pub mod cluster;
pub mod feed;
pub mod merge;
pub mod skew;
mod source;
pub mod status;
pub mod target;

use std::path::PathBuf;

use tracer_core::model::glob::Glob;

pub use self::target::{Target, TlsFiles};

/// Which agents.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Those that run here; empty: those of the cluster.
    pub servers: Vec<Target>,
    /// Only agents of these nodes; empty: of all.
    pub nodes: Vec<Glob>,
    /// Where the cluster is; `None`: as kubectl finds it, else the cluster that this runs in.
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig.
    pub context: Option<String>,
    /// The namespace of the agents; `None`: any, or the usual one for those who may not look in all.
    pub namespace: Option<String>,
}

impl Options {
    fn picks(&self, node: &str) -> bool {
        self.nodes.is_empty() || self.nodes.iter().any(|glob| glob.matches(node))
    }
}

/// Why nothing can be asked of anybody.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The cluster is not known.
    #[error(
        "cannot find the cluster: {why}. Give --kubeconfig FILE (and --context), or --server for an agent that runs without \
         a cluster, or --local to trace this machine"
    )]
    NoCluster {
        /// Why.
        why: String,
    },
    /// The API server did not list the agents.
    #[error("cannot list the agents' pods {scope}: {why}")]
    List {
        /// Where they were looked for.
        scope: String,
        /// Why.
        why: String,
    },
    /// There are none.
    #[error(
        "no tracer agent runs {scope} (pods labelled {label}). `kubectl apply -k deploy/` installs one on every node; \
         `kubectl get pods -A -l {label}` shows them",
        label = cluster::LABEL
    )]
    NoAgents {
        /// Where they were looked for.
        scope: String,
    },
    /// None on the nodes that were asked for.
    #[error("no agent runs on a node like {asked}; there are agents on: {there}")]
    NoSuchNode {
        /// What was asked for.
        asked: String,
        /// Where there are agents.
        there: String,
    },
    /// None of them could be reached.
    #[error("no agent could be reached:{}", lines(why))]
    NoneReached {
        /// Which, and why.
        why: Vec<String>,
    },
}

fn lines(why: &[String]) -> String {
    why.iter().map(|line| format!("\n  {line}")).collect()
}

/// A message of several lines on one.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An error with its causes, on one line, each once.
fn causes(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let text = next.to_string();
        if !said.contains(&text) {
            said.push_str(": ");
            said.push_str(&text);
        }
        cause = next.source();
    }
    one_line(&said)
}
