//! What a run is told to do: the resolved form of the command line, of a file, or of a test.
//!
//! Owns the put-together settings of the stages and edges and nothing else: it looks nothing up and checks nothing. The
//! command line resolves into it, the composition root reads it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::capture;
use crate::cluster::watch::{ClusterSource, RemoteIdentity};
use crate::pipeline;
use crate::sinks::OutputSettings;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The pod interfaces of this machine.
    Local {
        /// A capture file to write them to.
        record: Option<PathBuf>,
    },
    /// A capture file; `-` is standard input.
    Replay(PathBuf),
}
