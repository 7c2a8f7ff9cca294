//! Configuration of an agent, and the part of it that can change while the agent runs.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::ObserveConfig;
use crate::export::event_log::EventLogConfig;
use crate::export::otlp::OtlpConfig;
use crate::stream::listen::TlsListen;
use crate::stream::relays::RelaysConfig;
use tracer_core::diagnose::DiagnosisSettings;
use tracer_core::view::privacy::PrivacySettings;

/// Configuration of `tracer agent`.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// What to trace, with [`Source::Local`](super::Source::Local); `output` and `duration` are unused.
    pub trace: ObserveConfig,
    /// The Unix socket to serve on.
    pub socket: PathBuf,
    /// An address to serve on as well.
    pub listen: Option<TlsListen>,
    /// The size of the event history.
    pub history_bytes: usize,
    /// The maximum number of client streams.
    pub max_clients: usize,
    /// The relays to connect to, in a cluster.
    pub relays: Option<RelaysConfig>,
}

/// Exports beside the stream, and the settings that can change.
#[derive(Debug)]
pub struct ExportConfig {
    /// The address of metrics, and of health for other clients than the kubelet.
    pub http: Option<SocketAddr>,
    /// The address of the kubelet's probes.
    pub probes: Option<SocketAddr>,
    /// Whether findings become Kubernetes Events, in a cluster.
    pub kube_events: bool,
    /// The collector to export to, if any.
    pub otlp: Option<OtlpConfig>,
    /// Where to write events as lines, if anywhere.
    pub events: Option<EventLogConfig>,
    /// The initial settings that can change.
    pub live: LiveSettings,
    /// The configuration and rules files, which are read again when one of them changes.
    pub reload: Option<Reload>,
}

/// Settings that can change while the agent runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LiveSettings {
    /// What exports leave out.
    pub privacy: PrivacySettings,
    /// Whether each pod has metrics of its own.
    pub metrics_pod_label: bool,
    /// Silenced findings and thresholds of rules.
    pub diagnosis: DiagnosisSettings,
}

/// Files of settings that can be read again.
pub struct Reload {
    /// The files that were read at the start.
    pub files: Vec<PathBuf>,
    /// Reads all files again, or returns why one of them is invalid.
    pub read: Box<dyn Fn() -> Result<Reread, String> + Send>,
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reload").field(&self.files).finish()
    }
}

/// Settings that were read again.
#[derive(Clone, Debug, PartialEq)]
pub struct Reread {
    /// The settings that take effect now.
    pub live: LiveSettings,
    /// Changed options that need a restart.
    pub restart: Vec<String>,
    /// The files to watch from now on: the configuration may name others than before.
    pub files: Vec<PathBuf>,
}
