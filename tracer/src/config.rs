//! What a run is told to do: the resolved form of the command line, of a file, or of a test.
//!
//! Owns the put-together settings of the stages and edges and nothing else: it looks nothing up and checks nothing. The
//! command line resolves into it, the composition root reads it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::capture;
use crate::client;
use crate::cluster::{ClusterSource, RemoteIdentity};
use crate::stream::listen::TlsListen;
use tracer_core::diagnose::DiagnosisSettings;
use tracer_core::pipeline;
use tracer_core::view::OutputSettings;
use tracer_core::view::privacy::PrivacySettings;

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

/// What an agent exports beside its stream, and what it holds back.
#[derive(Debug)]
pub struct ExportConfig {
    /// Where health and metrics are served.
    pub http: Option<SocketAddr>,
    /// Findings become Events of the cluster, where there is one.
    pub kube_events: bool,
    /// What can change while the agent runs.
    pub live: LiveSettings,
    /// The configuration and rules files, read again when one of them changes.
    pub reload: Option<Reload>,
}

/// What can change while the agent runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LiveSettings {
    /// What is held back.
    pub privacy: PrivacySettings,
    /// Each pod has metrics of its own.
    pub metrics_pod_label: bool,
    /// Which findings are told, and from when on.
    pub diagnosis: DiagnosisSettings,
}

/// Files of settings that can be read again.
pub struct Reload {
    /// Those that were read at the start.
    pub files: Vec<PathBuf>,
    /// Reads all of them; why they cannot be used, where they cannot.
    pub read: Box<dyn Fn() -> Result<Reread, String> + Send>,
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reload").field(&self.files).finish()
    }
}

/// What files of settings say that were read again.
#[derive(Clone, Debug, PartialEq)]
pub struct Reread {
    /// What can change while the agent runs.
    pub live: LiveSettings,
    /// The options that have changed and cannot.
    pub restart: Vec<String>,
    /// The files that it was read from: the configuration may name other ones than before.
    pub files: Vec<PathBuf>,
}
