//! What a run is told to do: the resolved form of the command line, of a file, or of a test.
//!
//! Owns the put-together settings of the stages and edges and nothing else: it looks nothing up and checks nothing. The
//! command line resolves into it, the composition root reads it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::capture;
use crate::client;
use crate::cluster::watch::{ClusterSource, RemoteIdentity};
use crate::pipeline;
use crate::sinks::OutputSettings;
use crate::stream::listen::TlsListen;

/// Everything that `tracer observe` needs to know.
#[derive(Clone, Debug)]
pub struct ObserveConfig {
    /// Where packets come from.
    pub source: Source,
    /// The probes, where they come from this machine. The addresses of the node are added from the inventory.
    pub capture: capture::Options,
    /// Who is who: Kubernetes objects as kubectl prints them.
    pub inventory: Option<PathBuf>,
    /// The cluster that says who is who, instead.
    pub cluster: Option<ClusterConfig>,
    /// The name of this node.
    pub node: Arc<str>,
    /// The pure stages.
    pub pipeline: pipeline::Settings,
    /// What is shown.
    pub output: OutputSettings,
    /// Ends by itself after so long.
    pub duration: Option<Duration>,
}

/// A cluster that is asked who is who.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterConfig {
    /// Where it is.
    pub source: ClusterSource,
    /// How much of it is watched.
    pub remote: RemoteIdentity,
}

/// Where packets come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// The pod interfaces of this machine.
    Local {
        /// A capture file to write them to.
        record: Option<PathBuf>,
    },
    /// A capture file; `-` is standard input.
    Replay(PathBuf),
    /// Agents, which trace already.
    Agents {
        /// Which.
        agents: client::Options,
        /// Go on with what happens from now on.
        follow: bool,
        /// Begin with what they hold of the past.
        history: bool,
    },
}

/// Everything that `tracer agent` needs to know.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// What it traces, as [`Source::Local`]; `output` and `duration` are not used.
    pub trace: ObserveConfig,
    /// The unix socket where it serves.
    pub socket: PathBuf,
    /// An address where it serves, too.
    pub listen: Option<TlsListen>,
    /// What it may hold of the past.
    pub history_bytes: usize,
    /// Streams at a time.
    pub max_clients: usize,
}
