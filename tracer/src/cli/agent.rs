//! `tracer agent`: its options, and the configuration that they resolve to.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::bail;
use clap::{ArgMatches, Args};

use super::config_file::{self, Given};
use super::export::{ExportArgs, LIVE};
use super::logs::{LogArgs, SetLog};
use super::trace::TraceArgs;
use super::values::{HistorySize, Int};
use super::{Exit, Host};
use crate::config::{AgentConfig, ExportConfig, Reload, Reread};
use crate::run;
use crate::stream::listen::{self, TlsListen};
use crate::stream::relays::RelaysConfig;

/// Arguments of `tracer agent`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  \
        tracer agent --inventory inventory.yaml\n  \
        tracer observe -f --server unix:/run/tracer/agent.sock\n\n\
        `--help` has more options and explains who can connect.",
    after_long_help = HELP
)]
pub struct AgentArgs {
    #[command(flatten)]
    pub(super) socket: SocketArgs,

    /// Event history kept in memory, such as 64MiB
    #[arg(long, value_name = "SIZE", default_value_t = HistorySize(16 << 20))]
    pub(super) history: HistorySize,

    /// Also serve on this address, with TLS
    #[arg(long, value_name = "ADDR:PORT")]
    pub(super) listen: Option<SocketAddr>,

    /// For --listen: the agent's certificate, PEM
    #[arg(long, value_name = "FILE")]
    pub(super) tls_cert: Option<PathBuf>,

    /// For --listen: the private key of --tls-cert, PEM
    #[arg(long, value_name = "FILE")]
    pub(super) tls_key: Option<PathBuf>,

    /// For --listen: accept only clients with a certificate from this CA, PEM
    #[arg(long, value_name = "FILE")]
    pub(super) tls_client_ca: Option<PathBuf>,

    /// For --listen: accept clients without a certificate
    #[arg(long, hide_short_help = true)]
    pub(super) tls_any_client: bool,

    /// Maximum number of client streams
    #[arg(long, value_name = "N", default_value_t = Int(32), hide_short_help = true)]
    pub(super) max_clients: Int<u32, 1, 1024>,

    /// Read options from this YAML file, such as `history: 64MiB`. Read again when it changes
    #[arg(long, value_name = "FILE|DIR")]
    pub(super) config: Option<PathBuf>,

    /// Connect to the relays behind this Service, NAME or NAMESPACE/NAME [default: none]
    #[arg(long, value_name = "SERVICE")]
    pub(super) relay: Option<RelayService>,

    /// For --relay: the file of a service account token for the audience tracer-relay
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/run/secrets/tracer-relay/token",
        hide_short_help = true
    )]
    pub(super) relay_token: PathBuf,

    #[command(flatten)]
    pub(super) exports: ExportArgs,

    #[command(flatten)]
    pub(super) log: LogArgs,

    #[command(flatten)]
    pub(super) trace: TraceArgs,
}

/// The socket of this machine's agent.
#[derive(Clone, Debug, Args)]
pub(super) struct SocketArgs {
    /// The agent's socket [default: /run/tracer/agent.sock for root, else tracer/agent.sock in
    /// $XDG_RUNTIME_DIR]
    #[arg(long, value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,
}

/// A Service, as NAME or NAMESPACE/NAME.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RelayService {
    namespace: Option<String>,
    name: String,
}

impl FromStr for RelayService {
    type Err = String;

    fn from_str(written: &str) -> Result<RelayService, String> {
        let (namespace, name) = match written.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, written),
        };
        if name.is_empty() || name.contains('/') || namespace.is_some_and(str::is_empty) {
            return Err("a Service is NAME or NAMESPACE/NAME".to_owned());
        }
        Ok(RelayService {
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for RelayService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

const HELP: &str = "\
Operation:
  Traces this node's pods, as `tracer observe --local` does, until SIGTERM or
  Ctrl-C. It prints no events: it keeps the latest ones in memory (--history)
  and serves them to `tracer observe`, `diagnose`, `dns` and `status`, either with
  --server or through the relays (--relay).
  A slow or disconnected client never delays the agent. Each client reads the
  history at its own pace; a client that falls behind is shown how many
  events it missed.

  In a pod, names come from the pod's cluster unless --inventory, --kubeconfig
  or --context is given.

Exports:
  /metrics (OpenMetrics) on --http, /livez and /readyz on --health. In a
  cluster, findings of severity warning and error become Events on their pods.
  --otlp exports findings, failures and metrics to an OpenTelemetry collector,
  --events writes them as JSON lines. An output that is slow or away never
  delays the agent: what it loses is counted in tracer_lost_total.

Configuration file:
  --config FILE contains options by their long names, and lists for options
  that can be repeated. The command line wins over variables, and variables
  win over the file. The agent reads the file, and the one of --rules, again
  when it changes. Changes to exclude-namespace, redact-names,
  metrics-pod-label, log and rules take effect at once; `tracer status` and
  the log list the options that need a restart. If a file is invalid, they
  show why and the previous settings stay in effect.
  --config and --rules also accept a directory, such as a mounted ConfigMap,
  and read config.yaml and rules.yaml in it. Either file may be missing.

Access:
  Only the agent's user can connect to the socket. With --relay the agent
  connects to the relays of its cluster, which serve its events to users as a
  Kubernetes API (`tracer relay --help`). --listen requires TLS (--tls-cert,
  --tls-key) and, to restrict clients, --tls-client-ca.

Needs:
  Linux 5.10 or later, and root or the capabilities BPF, NET_ADMIN and
  PERFMON. `tracer check` reports what is missing.

Exit codes:
  0  the agent was stopped
  2  it could not run: no permission, or another agent uses the socket";

impl SocketArgs {
    fn path(&self) -> anyhow::Result<PathBuf> {
        if let Some(path) = &self.socket {
            return Ok(path.clone());
        }
        if rustix::process::geteuid().is_root() {
            return Ok(PathBuf::from("/run/tracer/agent.sock"));
        }
        match std::env::var_os("XDG_RUNTIME_DIR") {
            Some(directory) => Ok(PathBuf::from(directory).join("tracer/agent.sock")),
            None => bail!(
                "cannot find the agent's socket: this user is not root and XDG_RUNTIME_DIR is not set; give --socket PATH"
            ),
        }
    }
}

impl AgentArgs {
    /// The configuration of the agent.
    pub fn resolve(&self, host: &Host) -> anyhow::Result<AgentConfig> {
        Ok(AgentConfig {
            trace: self.trace.resolve_for_agent(host)?,
            socket: self.socket.path()?,
            listen: self.listen()?,
            history_bytes: usize::try_from(self.history.0).unwrap_or(usize::MAX),
            max_clients: self.max_clients.0 as usize,
            relays: self.relay.as_ref().map(|relay| RelaysConfig {
                service: relay.name.clone(),
                namespace: relay.namespace.clone(),
                token: self.relay_token.clone(),
            }),
        })
    }

    /// Checks what clap cannot: one option may be in the file and the other on the command line.
    fn listen(&self) -> anyhow::Result<Option<TlsListen>> {
        if self.tls_cert.is_some() && self.tls_key.is_none() {
            bail!("--tls-cert needs its private key: give --tls-key FILE");
        }
        if self.tls_any_client && self.tls_client_ca.is_some() {
            bail!("--tls-any-client cannot be used with --tls-client-ca");
        }
        let Some(address) = self.listen else {
            return Ok(None);
        };
        let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            bail!("--listen needs TLS: give --tls-cert FILE and --tls-key FILE");
        };
        if self.tls_client_ca.is_none() && !self.tls_any_client {
            bail!(
                "--listen {address} needs --tls-client-ca FILE, the CA of the clients' certificates: events reveal the names \
                 and addresses that every pod uses. --tls-any-client accepts all clients"
            );
        }
        Ok(Some(TlsListen {
            address,
            certificate: certificate.clone(),
            key: key.clone(),
            limits: listen::LIMITS,
            client_authorities: self.tls_client_ca.clone(),
        }))
    }

    /// The files of settings that are read again when they change.
    fn files(&self) -> Vec<PathBuf> {
        let config = self.config.as_deref().map(config_file::locate);
        let files = config.into_iter().chain(self.trace.rules.file());
        files.map(|file| file.path().to_owned()).collect()
    }

    /// Adds the options of the configuration file, except those in `given`.
    fn with_file(&self, given: &Given) -> anyhow::Result<AgentArgs> {
        let mut args = self.clone();
        if let Some(path) = &self.config {
            config_file::read(&config_file::locate(path))?.apply(&mut args, given);
        }
        Ok(args)
    }

    pub(super) fn run(self, host: &Host, matches: &ArgMatches) -> anyhow::Result<Exit> {
        let given = Given::new(matches);
        let args = self.with_file(&given)?;
        let config = args.resolve(host)?;
        let set_log = args.log.install();
        let files = args.files();
        let exports = ExportConfig {
            http: args.exports.http.0,
            probes: args.exports.health.0,
            kube_events: !args.exports.no_kube_events,
            otlp: args.exports.otlp.resolve()?,
            events: args.exports.events.resolve(),
            live: args.exports.live(config.trace.pipeline.diagnosis.clone()),
            reload: (!files.is_empty()).then(|| Reload {
                files,
                read: Box::new(move || {
                    reread(&self, &given, &args, &set_log).map_err(|error| format!("{error:#}"))
                }),
            }),
        };
        let summary = run::agent(&config, exports)?;
        for line in summary.to_string().lines().filter(|line| !line.is_empty()) {
            tracing::info!("{line}");
        }
        Ok(Exit::Fine)
    }
}

/// Reads the files of settings again: all of them or, if one is invalid, none. Applies the log filter; the
/// caller applies the rest.
fn reread(
    command_line: &AgentArgs,
    given: &Given,
    started: &AgentArgs,
    set_log: &SetLog,
) -> anyhow::Result<Reread> {
    let args = command_line.with_file(given)?;
    let diagnosis = args.trace.rules.resolve()?;
    set_log(&args.log.log).map_err(anyhow::Error::msg)?;
    let changed = config_file::differences(started, &args);
    Ok(Reread {
        live: args.exports.live(diagnosis),
        files: args.files(),
        restart: changed
            .into_iter()
            .filter(|option| !LIVE.contains(&option.as_str()))
            .collect(),
    })
}
