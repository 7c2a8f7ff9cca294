//! Configuration of a run: the resolved form of a command line, a file, or a test.
//!
//! Owns the combined settings of stages and edges and nothing else: it looks nothing up and checks nothing.
//! The command line resolves into it; the composition root reads it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::capture;
#[cfg(feature = "client")]
use crate::client;
use crate::cluster::{ClusterSource, RemoteIdentity};
use tracer_core::pipeline;
use tracer_core::view::OutputSettings;

#[cfg(agent)]
mod agent;
#[cfg(agent)]
mod relay;

#[cfg(agent)]
pub use self::agent::{AgentConfig, ExportConfig, LiveSettings, Reload, Reread};
#[cfg(agent)]
pub use self::relay::{RelayConfig, TlsPair};

/// Configuration of `tracer observe`.
#[derive(Clone, Debug)]
pub struct ObserveConfig {
    /// Where packets or events come from.
    pub source: Source,
    /// The probes, for a local source. The node's addresses are added from the inventory.
    pub capture: capture::Options,
    /// Whether to read conntrack, for a local source.
    pub conntrack: bool,
    /// A file of Kubernetes objects, as kubectl prints them, that names pods and Services.
    pub inventory: Option<PathBuf>,
    /// The cluster that names pods and Services, instead of a file.
    pub cluster: Option<ClusterConfig>,
    /// This node's name.
    pub node: Arc<str>,
    /// The pure stages.
    pub pipeline: pipeline::Settings,
    /// The output.
    pub output: OutputSettings,
    /// The run ends after this time.
    pub duration: Option<Duration>,
}

/// A cluster that names pods and Services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterConfig {
    /// How to connect to it.
    pub source: ClusterSource,
    /// How much of it to watch.
    pub remote: RemoteIdentity,
}

/// Where packets or events come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// The pod interfaces of this machine. Only a build with an agent can trace them.
    Local {
        /// The capture file to write packets to.
        record: Option<PathBuf>,
    },
    /// A capture file; `-` is standard input.
    Replay(PathBuf),
    /// Captures of several nodes: names and files.
    Replays(Vec<(Arc<str>, PathBuf)>),
    /// Agents, which trace already.
    #[cfg(feature = "client")]
    Agents {
        /// The agents to ask.
        agents: client::Options,
        /// Stream new events.
        follow: bool,
        /// Start with the agents' history.
        history: bool,
    },
}

impl Source {
    /// Whether events come from the relays of a cluster.
    pub fn is_a_cluster(&self) -> bool {
        match self {
            #[cfg(feature = "client")]
            Source::Agents { agents, .. } => agents.servers.is_empty(),
            _ => false,
        }
    }

    /// Whether events come from agents.
    pub fn is_of_agents(&self) -> bool {
        !matches!(
            self,
            Source::Local { .. } | Source::Replay(_) | Source::Replays(_)
        )
    }

    /// Whether agents are asked for past events alone.
    pub fn is_past_of_agents(&self) -> bool {
        match self {
            #[cfg(feature = "client")]
            Source::Agents { follow, .. } => !follow,
            _ => false,
        }
    }
}
