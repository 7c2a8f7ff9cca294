//! `tracer agent` and `tracer relay`: the options, and what they resolve to.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::bail;
use clap::{ArgMatches, Args, FromArgMatches as _};

use super::config_file;
use super::export::{ExportArgs, LIVE};
use super::logs::{LogArgs, SetLog};
use super::settings_file::SettingsFile;
use super::trace::TraceArgs;
use super::{CommandLine, Exit, Host, values};
use crate::config::{AgentConfig, ExportConfig, Reload, Reread};
use crate::run;
use crate::stream::listen::TlsListen;

/// Arguments of `tracer agent`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  \
        tracer agent --inventory inventory.yaml\n  \
        tracer observe -f --server unix:/run/tracer/agent.sock\n\n\
        `--help` says who may connect and has more options.",
    after_long_help = HELP
)]
pub struct AgentArgs {
    #[command(flatten)]
    socket: SocketArgs,

    /// What it holds of the past, so that one can look back: the latest events, encoded, as in 64MiB
    #[arg(long, env = "TRACER_HISTORY", value_name = "SIZE", default_value = "16MiB", value_parser = values::history_bytes)]
    history: u64,

    /// Serve on this address, too: with TLS, and clients need a certificate
    #[arg(
        long,
        env = "TRACER_LISTEN",
        value_name = "ADDR:PORT",
        requires = "tls_cert"
    )]
    listen: Option<SocketAddr>,

    /// Of --listen: the agent's certificate, PEM
    #[arg(
        long,
        env = "TRACER_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    tls_cert: Option<PathBuf>,

    /// Of --listen: its key, PEM
    #[arg(long, env = "TRACER_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,

    /// Of --listen: only clients with a certificate of this authority may connect, PEM
    #[arg(long, env = "TRACER_TLS_CLIENT_CA", value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,

    /// Of --listen: let anybody connect who reaches the address
    #[arg(
        long,
        env = "TRACER_TLS_ANY_CLIENT",
        hide_short_help = true,
        conflicts_with = "tls_client_ca"
    )]
    tls_any_client: bool,

    /// Streams that it serves at a time
    #[arg(long, env = "TRACER_MAX_CLIENTS", value_name = "N", default_value_t = 32, hide_short_help = true,
        value_parser = clap::value_parser!(u32).range(1..=1024))]
    max_clients: u32,

    /// Options from a file, too: YAML with the names of long options, as in `history: 64MiB`. Read again when it changes
    #[arg(long, env = "TRACER_CONFIG", value_name = "FILE|DIR")]
    config: Option<PathBuf>,

    #[command(flatten)]
    exports: ExportArgs,

    #[command(flatten)]
    log: LogArgs,

    #[command(flatten)]
    trace: TraceArgs,
}

/// Where an agent of this machine is reached.
#[derive(Clone, Debug, Args)]
pub(super) struct SocketArgs {
    /// The agent's socket; /run/tracer/agent.sock for root, else tracer/agent.sock in $XDG_RUNTIME_DIR
    #[arg(long, env = "TRACER_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// Arguments of `tracer relay`.
#[derive(Clone, Debug, Args)]
pub struct RelayArgs {
    #[command(flatten)]
    socket: SocketArgs,
}

const HELP: &str = "\
What it does:
  Traces the pods of this node as `tracer observe --local` does, until SIGTERM
  or Ctrl-C; shows nothing itself. It holds the latest events within --history
  and serves clients: `tracer observe`, `diagnose` and `status` with --server,
  or by way of a cluster's API server.
  A client that is slow or gone never holds it up: each reads the history at
  its own pace, and one that falls behind it is told how many events it missed.

  In a pod of a cluster it asks that cluster who is who, unless --inventory,
  --kubeconfig or --context say otherwise.

What it exports:
  /metrics (OpenMetrics), /livez and /readyz on --http. In a cluster, findings
  of severity warning and error become Events on their pods.

Configuration file:
  --config FILE holds options by their long names, a list where an option can
  be repeated. The command line wins over variables, these over the file. When
  it changes, exclude-namespace, redact-names, metrics-pod-label, log and rules
  change at once; so does what the file of --rules says. `tracer status` and
  the log say what else needs a restart, and why a file cannot be used: then
  all stays as it was.
  Both options take a directory, too, as a ConfigMap is mounted: config.yaml
  and rules.yaml in it, each of which may be missing.

Who may connect:
  The socket is for the user that the agent runs as. --listen needs TLS:
  --tls-cert, --tls-key and, so that not everybody may look, --tls-client-ca.

Needs:
  Linux 5.10 or later; root, or the capabilities BPF, NET_ADMIN and PERFMON.
  `tracer check` says what is missing.

Exit codes:
  0  it was told to end
  2  it could not do its job: no permission, another agent on the socket";

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
                "where is the agent's socket? This is not root, whose agents are at /run/tracer/agent.sock, and \
                 XDG_RUNTIME_DIR is not set: give --socket PATH"
            ),
        }
    }
}

impl AgentArgs {
    /// What to do, with everything looked up.
    pub fn resolve(&self, host: &Host) -> anyhow::Result<AgentConfig> {
        Ok(AgentConfig {
            trace: self.trace.resolve_for_agent(host)?,
            socket: self.socket.path()?,
            listen: self.listen()?,
            history_bytes: usize::try_from(self.history).unwrap_or(usize::MAX),
            max_clients: self.max_clients as usize,
        })
    }

    fn listen(&self) -> anyhow::Result<Option<TlsListen>> {
        let Some(address) = self.listen else {
            return Ok(None);
        };
        let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            bail!("--listen needs TLS: give --tls-cert FILE and --tls-key FILE");
        };
        if self.tls_client_ca.is_none() && !self.tls_any_client {
            bail!(
                "--listen {address}: who may connect? Events tell what every pod looks up and connects to. Give \
                 --tls-client-ca FILE, the authority of the clients' certificates; --tls-any-client lets everybody in"
            );
        }
        Ok(Some(TlsListen {
            address,
            certificate: certificate.clone(),
            key: key.clone(),
            client_authorities: self.tls_client_ca.clone(),
        }))
    }

    /// Files of settings that are read again when they change.
    fn files(&self) -> Vec<PathBuf> {
        let config = self.config.as_ref();
        let config = config.map(|given| SettingsFile::of(given, config_file::IN_DIRECTORY));
        let files = config.into_iter().chain(self.trace.rules().file());
        files.map(|file| file.path().to_owned()).collect()
    }

    pub(super) fn run(
        &self,
        host: &Host,
        line: CommandLine,
        matches: ArgMatches,
    ) -> anyhow::Result<Exit> {
        let config = self.resolve(host)?;
        let set_log = self.log.install();
        let files = self.files();
        let exports = ExportConfig {
            http: self.exports.http.0,
            kube_events: !self.exports.no_kube_events,
            live: self.exports.live(config.trace.pipeline.diagnosis.clone()),
            reload: (!files.is_empty()).then(|| Reload {
                files,
                read: Box::new(move || reread(&line, &matches, &set_log)),
            }),
        };
        let summary = run::agent(&config, exports)?;
        for told in summary.to_string().lines().filter(|told| !told.is_empty()) {
            tracing::info!("{told}");
        }
        Ok(Exit::Fine)
    }
}

/// Reads the files of settings again, all or nothing. What is logged changes here, the rest is for the run to change.
fn reread(line: &CommandLine, started: &ArgMatches, set_log: &SetLog) -> Result<Reread, String> {
    let parsed =
        config_file::parse(&line.command, &line.args).map_err(|error| error.to_string())?;
    let (Some((name, new)), Some((_, old))) = (parsed.subcommand(), started.subcommand()) else {
        return Err("there is no command any more".to_owned());
    };
    let args = AgentArgs::from_arg_matches(new).map_err(|error| error.to_string())?;
    let diagnosis = args
        .trace
        .rules()
        .resolve()
        .map_err(|error| format!("{error:#}"))?;
    set_log(&args.log.log)?;
    let command = line.command.find_subcommand(name);
    let changed = command.map_or_else(Vec::new, |command| {
        config_file::differences(command, old, new)
    });
    Ok(Reread {
        live: args.exports.live(diagnosis),
        files: args.files(),
        restart: changed
            .into_iter()
            .filter(|option| !LIVE.contains(&option.as_str()))
            .collect(),
    })
}

impl RelayArgs {
    pub(super) fn run(&self) -> anyhow::Result<Exit> {
        run::relay(&self.socket.path()?)?;
        Ok(Exit::Fine)
    }
}
