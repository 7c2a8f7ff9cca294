//! Arguments; one file per command.
//!
//! Owns what a user types and the exit code. Raw arguments come first (the structures that clap fills), the resolved
//! configuration second ([`observe::ObserveArgs::resolve`]): what depends on the machine is looked up once, here, and
//! everything below gets it as a value. Data go to standard output, everything else to standard error.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use tracer_core::view::text::safe_lines;

mod agent;
mod agents;
mod check;
mod cluster;
mod config_file;
pub mod diagnose;
mod export;
mod filters;
mod form;
mod limits;
mod logs;
pub mod observe;
mod print;
mod rules_file;
mod settings_file;
mod sources;
mod status;
mod suggest;
mod thresholds;
mod trace;
mod values;
mod version;

/// What a user typed.
#[derive(Debug, Parser)]
#[command(
    name = "tracer",
    version,
    about = "Per-pod DNS and traffic traces for Kubernetes nodes, with the reasons for what failed",
    long_about = "Per-pod DNS and traffic traces for Kubernetes nodes, with the reasons for what failed.\n\n\
        Tracer attaches eBPF programs to the node's end of every pod interface and tells what the pods do there: \
        each lookup with all the names that the resolver tried, each connection with its handshake, each ping with \
        its loss. It changes no packet and needs nothing in the pods.",
    after_help = "Try `tracer check`, then `tracer observe --local`.\n\
        `tracer help observe` says all about events, filters and units.",
    after_long_help = ROOT_HELP,
    max_term_width = 110,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = false
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what pods do, as it happens
    ///
    /// DNS lookups, TCP connections, UDP flows, pings and ICMP errors, one line or block each, until Ctrl-C. A summary of
    /// what was seen, shown and lost goes to standard error.
    Observe(Box<observe::ObserveArgs>),
    /// Say what fails and why, and what to do about it
    ///
    /// Names that do not exist, Services that nobody stands behind, DNS that is slow or silent, pings that cannot be answered:
    /// each finding with its evidence and what to try. Traces this machine, or reads a capture file.
    Diagnose(Box<diagnose::DiagnoseArgs>),
    /// Trace this node and serve what is seen
    ///
    /// Runs on each node, as a DaemonSet or by hand. Attaches probes, holds the latest events, and gives them to `tracer
    /// observe`, `diagnose` and `status`.
    Agent(Box<agent::AgentArgs>),
    /// Say how the agents stand: what they see and cannot see, and what they have lost
    Status(status::StatusArgs),
    /// Connect standard input and output with the agent's socket
    #[command(hide = true)]
    Relay(agent::RelayArgs),
    /// Say whether this node can run it, and what to do where it cannot
    ///
    /// Looks at kernel, permissions, limits, hooks, and whether pods can be told apart. Each line says what was found; a
    /// line that is not ok says what to do. Run it as `tracer observe` will run: as the same user, in the same container.
    /// It changes nothing.
    Check(check::CheckArgs),
    /// Say which version this is and how it was built
    Version,
    /// Write a completion script for a shell to standard output
    Completions(print::CompletionsArgs),
    /// Write a manual page to standard output
    Man(print::ManArgs),
}

const ROOT_HELP: &str = "\
Examples:
  tracer observe -f -n shop                  what pods of a namespace do, from
                                             every node's agent
  tracer status                              agents, and what they cannot see
  tracer check                               can this node run it?
  tracer observe --local                     what its pods do, by address
  kubectl get nodes,ns,pods,svc,endpointslices -A -o yaml > inventory.yaml
  tracer observe --local --inventory inventory.yaml        the same by name
  tracer observe --local -n shop --failed    what failed for namespace shop
  tracer diagnose --local --inventory inventory.yaml --duration 2m
                                             what fails, why, and what to try
  source <(tracer completions bash)          completion in this shell
  tracer man observe | man -l -              the manual page of a command

Needs:
  Linux 5.10 or later and root, or the capabilities BPF, NET_ADMIN and
  PERFMON. `tracer check` says what is missing.

Environment:
  Options of commands that trace or ask agents are also variables: TRACER_ and its name in
  capitals, with _ for -, as in TRACER_DNS_TIMEOUT=3s. The command line wins.
  TRACER_LOG sets what is logged to standard error: warn unless set, for
  example info or tracer=debug. NO_COLOR turns colour off.

Exit codes:
  0  fine
  1  `tracer diagnose` found something of severity warning or error; `tracer
     check` found what prevents it from running here
  2  it could not do its job: wrong usage, no permission, no such file";

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Fine,
    /// It did its job and found what is wrong.
    Found,
    /// It could not do its job.
    Failed,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Fine => 0,
            Exit::Found => 1,
            Exit::Failed => 2,
        })
    }
}

/// The command line's definition; completions, the manual page and the help all come from it.
pub fn command() -> clap::Command {
    // The variables' names follow from the options', so one sentence says it once. What they hold just now belongs in no
    // help text at all.
    let hide = |arg: clap::Arg| arg.hide_env(true).hide_env_values(true);
    let mut command = Cli::command().mut_args(hide);
    let names: Vec<String> = command
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned())
        .collect();
    for name in names {
        command = command.mut_subcommand(name, |sub| sub.mut_args(hide));
    }
    command
}

/// As a plugin it is called `kubectl tracer`, and its help says so.
fn named(command: clap::Command) -> clap::Command {
    let program = std::env::args_os().next().unwrap_or_default();
    let plugin = std::path::Path::new(&program)
        .file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with("kubectl-"));
    if plugin {
        command.bin_name("kubectl tracer")
    } else {
        command
    }
}

/// Parses, runs, says why not.
pub fn main() -> ExitCode {
    let line = CommandLine {
        command: named(command()),
        args: std::env::args_os().collect(),
    };
    let parsed = config_file::parse(&line.command, &line.args)
        .and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(config_file::ParseError::Line(error)) => error.exit(),
        Err(error) => {
            complain(&error.to_string());
            return Exit::Failed.into();
        }
    };
    match run(cli, line, matches) {
        Ok(exit) => exit.into(),
        Err(error) if reader_is_gone(&error) => Exit::Fine.into(),
        Err(error) => {
            complain(&format!("{error:#}"));
            Exit::Failed.into()
        }
    }
}

/// Says why it could not do its job. Errors quote names of files, and words of API servers and agents.
fn complain(why: &str) {
    // Where even standard error is closed there is nobody to tell.
    let _ = writeln!(io::stderr(), "tracer: {}", safe_lines(why));
}

/// What was typed, to be parsed again when the configuration file changes.
#[derive(Clone, Debug)]
struct CommandLine {
    command: clap::Command,
    args: Vec<std::ffi::OsString>,
}

fn run(cli: Cli, line: CommandLine, matches: clap::ArgMatches) -> anyhow::Result<Exit> {
    let mut stdout = io::stdout().lock();
    match cli.command {
        Command::Observe(args) => {
            drop(stdout);
            log_to_stderr();
            let config = args.resolve(&Host::look_up())?;
            observe::run(&config)
        }
        Command::Diagnose(args) => {
            log_to_stderr();
            drop(stdout);
            args.run(&Host::look_up(), &mut io::stdout())
        }
        Command::Agent(args) => {
            drop(stdout);
            args.run(&Host::look_up(), line, matches)
        }
        Command::Status(args) => {
            log_to_stderr();
            args.run(&Host::look_up(), &mut stdout)
        }
        Command::Relay(args) => {
            drop(stdout);
            args.run()
        }
        Command::Check(args) => check::run(&args, &mut stdout),
        Command::Version => version::print(&mut stdout),
        Command::Completions(args) => print::completions(&args, &mut stdout),
        Command::Man(args) => print::man(&args, &mut stdout),
    }
}

/// Whoever read the output has what they wanted: no error.
fn reader_is_gone(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// What is logged unless TRACER_LOG says otherwise. What kube complains of is said by the watches in their own words, once.
const DEFAULT_LOG: &str = "warn,kube_client=error,kube_runtime=error";

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("TRACER_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(DEFAULT_LOG));
    // It fails only where somebody set a subscriber before, and then that one logs.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .try_init();
}

/// What of this machine the resolved configuration depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The machine's name: what a node is called unless it was told otherwise.
    pub name: String,
    /// Somebody looks at standard output.
    pub terminal: bool,
    /// NO_COLOR.
    pub no_color: Option<std::ffi::OsString>,
    /// TERM.
    pub term: Option<std::ffi::OsString>,
    /// What time it is, and in which time zone.
    pub now: jiff::Zoned,
}

impl Host {
    /// Looks it up.
    pub fn look_up() -> Host {
        Host {
            name: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            terminal: io::stdout().is_terminal(),
            no_color: std::env::var_os("NO_COLOR"),
            term: std::env::var_os("TERM"),
            now: jiff::Zoned::now(),
        }
    }
}
