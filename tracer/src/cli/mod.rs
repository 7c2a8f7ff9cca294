//! Command line: what users type, and the exit code. One file per command.
//!
//! Raw arguments come first (the structures that clap fills), the resolved configuration second
//! ([`observe::ObserveArgs::resolve`]): whatever depends on the machine is looked up once, here, and passed
//! down as a value. Data goes to standard output, everything else to standard error.
//!
//! `cfg(agent)` includes the commands and options that trace this machine, the feature `client` those that ask agents.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

#[cfg(agent)]
use anyhow::Context;
use clap::builder::BoolishValueParser;
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};

use tracer_core::model::printable::safe_lines;

#[cfg(agent)]
mod agent;
#[cfg(feature = "client")]
mod agents;
mod captures;
#[cfg(agent)]
mod check;
mod cluster;
#[cfg(agent)]
mod config_file;
pub mod diagnose;
pub mod dns;
#[cfg(agent)]
mod events;
mod explain;
#[cfg(agent)]
mod export;
mod filters;
mod form;
mod limits;
#[cfg(agent)]
mod logs;
#[cfg(agent)]
mod names;
pub mod observe;
#[cfg(agent)]
mod otlp;
mod print;
#[cfg(agent)]
mod probes;
#[cfg(agent)]
mod relay;
mod rules_file;
mod settings_file;
mod sources;
#[cfg(feature = "client")]
mod status;
mod suggest;
mod thresholds;
mod trace;
mod values;
mod version;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "tracer",
    version,
    about = "Trace the DNS lookups and connections of Kubernetes pods, and explain their failures",
    long_about = "Trace the DNS lookups and connections of Kubernetes pods, and explain their failures.\n\n\
        Tracer attaches eBPF programs to the node's end of every pod interface. It reports each lookup with all names \
        that the resolver tried, each connection with its handshake, and each ping with its loss. It changes no packet \
        and needs nothing in the pods.",
    after_help = AFTER_HELP,
    after_long_help = ROOT_HELP,
    max_term_width = 110,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = false
)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what pods do, as it happens
    ///
    /// Prints DNS lookups, TCP connections, UDP flows, pings and ICMP errors as lines or blocks, until
    /// Ctrl-C. A summary of the events seen, shown and lost goes to standard error.
    Observe(Box<observe::ObserveArgs>),
    /// Diagnose failures: what, why and how to fix
    ///
    /// Finds names that do not exist, Services without a working endpoint, slow or silent DNS servers, and
    /// pings that cannot be answered. Each finding has its evidence and commands to try. Reads the agents'
    /// events, traces this machine, or reads a capture file.
    Diagnose(Box<diagnose::DiagnoseArgs>),
    /// Show the health of DNS in one screen
    ///
    /// Success and latency of each DNS server, failures and queries of each workload, the names that fail, and
    /// the queries that full names or another ndots would save. Reads the agents' events of the last 15
    /// minutes, traces this machine, or reads a capture file.
    Dns(Box<dns::DnsArgs>),
    /// Explain why a pod can't reach a destination, and what to do
    ///
    /// Shows how the name resolves in the pod, the Service and its endpoints, what NetworkPolicies allow each
    /// way, what the pod tried lately, and the findings about it; then the one thing to do. Without --to it
    /// explains the pod: its resolver, its policies, and what fails now.
    Explain(Box<explain::ExplainArgs>),
    /// Trace this node and serve its events
    ///
    /// Runs on each node, as a DaemonSet or by hand. Attaches probes, keeps the latest events in memory, and
    /// serves them to `tracer observe`, `diagnose`, `dns` and `status`.
    #[cfg(agent)]
    Agent(Box<agent::AgentArgs>),
    /// Show agent status: coverage, blind spots and losses
    #[cfg(feature = "client")]
    Status(status::StatusArgs),
    /// Serve the events of all agents as a Kubernetes API
    ///
    /// Runs in the cluster, as a Deployment. Agents connect to it, and users ask it through Kubernetes' API
    /// server: `kubectl get findings`, and `tracer observe`, `diagnose`, `dns` and `status`.
    #[cfg(agent)]
    Relay(Box<relay::RelayArgs>),
    /// Check whether this node can run Tracer, and how to fix what is missing
    ///
    /// Checks the kernel, permissions, limits and hooks, and whether Tracer can identify pods. Each line is a
    /// result; a line that is not ok has a remedy. Run it the way `tracer observe` will run: as the same
    /// user, in the same container. It changes nothing.
    #[cfg(agent)]
    Check(check::CheckArgs),
    /// Print version and build information
    Version(Box<version::VersionArgs>),
    /// Print a completion script for a shell
    Completions(print::CompletionsArgs),
    /// Print a manual page
    Man(print::ManArgs),
}

const AFTER_HELP: &str = if cfg!(agent) {
    "Start with `tracer check`, then `tracer observe --local`.\n\
     See `tracer help observe` for events, filters and units."
} else {
    "Start with `tracer status`, then `tracer observe -f`.\n\
     See `tracer help observe` for events, filters and units."
};

const ROOT_HELP: &str = "\
Examples:
  tracer observe -f -n shop                  follow the pods of a namespace,
                                             on all nodes
  tracer dns                                 how well DNS works, in one screen
  tracer explain shop/web-0 --to db.data     why can't this pod reach that name?
  tracer status                              show agents and their blind spots
  tracer check                               can this node run Tracer?
  tracer observe --local                     trace this node's pods, shown by
                                             address
  kubectl get nodes,ns,pods,svc,endpointslices -A -o yaml > inventory.yaml
  tracer observe --local --inventory inventory.yaml        shown by name
  tracer observe --local -n shop --failed    failures of namespace shop
  tracer diagnose --local --inventory inventory.yaml --duration 2m
                                             what fails, why, and what to try
  source <(tracer completions bash)          completion in this shell
  tracer man observe | man -l -              the manual page of a command

Needs:
  Tracing needs Linux 5.10 or later, and root or the capabilities BPF,
  NET_ADMIN and PERFMON. `tracer check` reports what is missing.

Environment:
  Options of commands that trace or ask agents are also variables: TRACER_ and
  the option's name in capitals, with _ for -, as in TRACER_DNS_TIMEOUT=3s. The
  command line wins. TRACER_LOG sets the log level on standard error (default
  warn), for example info or tracer=debug. NO_COLOR turns colour off.

Exit codes:
  0  success
  1  `tracer diagnose` found a problem of severity warning or error; `tracer
     explain` explained a failure; `tracer check` found something that
     prevents Tracer from running
  2  failure: wrong usage, no permission, no such file";

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Success.
    Fine,
    /// The command worked and found a problem.
    Found,
    /// The command could not do its job.
    Failed,
    /// The command found no problem, but could not judge everything.
    Undecided,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Fine => 0,
            Exit::Found => 1,
            Exit::Failed => 2,
            Exit::Undecided => 3,
        })
    }
}

/// Options that no variable sets: (command, option).
///
/// `--list` and `--explain` replace what `tracer diagnose` does. `--to` and `--watch` are the question of
/// `tracer explain`. `TRACER_OUTPUT` is for events, and `tracer check`, `explain` and `version` have other formats.
const WITHOUT_VARIABLE: [(&str, &str); 7] = [
    ("check", "output"),
    ("diagnose", "explain"),
    ("diagnose", "list"),
    ("explain", "output"),
    ("explain", "to"),
    ("explain", "watch"),
    ("version", "output"),
];

/// The definition of the command line. Completions, manual pages and help are generated from it.
///
/// Every other long option also gets its variable: `TRACER_` and its name in capitals, with _ for -.
fn definition() -> clap::Command {
    Cli::command().mut_subcommands(|command| {
        let name = command.get_name().to_owned();
        command.mut_args(|arg| match arg.get_long().map(variable) {
            Some(variable) if !has_no_variable(&name, &arg) => with_variable(arg, variable),
            _ => arg,
        })
    })
}

fn has_no_variable(command: &str, arg: &clap::Arg) -> bool {
    let mut without = WITHOUT_VARIABLE.iter();
    without.any(|(of, long)| *of == command && arg.get_long() == Some(long))
}

fn variable(long: &str) -> String {
    format!("TRACER_{}", long.to_uppercase().replace('-', "_"))
}

fn with_variable(arg: clap::Arg, variable: String) -> clap::Arg {
    let arg = arg.env(variable);
    match arg.get_action() {
        // As a variable a flag has a value: 1, yes, true, on, or the opposites.
        ArgAction::SetTrue => arg.value_parser(BoolishValueParser::new()),
        _ => arg,
    }
}

/// The definition for parsing and help. The help explains once how variables are named, and never shows their
/// values.
pub fn command() -> clap::Command {
    let hide = |arg: clap::Arg| arg.hide_env(true).hide_env_values(true);
    definition().mut_subcommands(|command| command.mut_args(hide))
}

/// Names the command `kubectl tracer` if it runs as a kubectl plugin.
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

/// Parses the command line, runs the command and prints its error.
pub fn main() -> ExitCode {
    let matches = named(command()).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match run(cli, &matches) {
        Ok(exit) => exit.into(),
        Err(error) if is_broken_pipe(&error) => Exit::Fine.into(),
        Err(error) => {
            complain(&format!("{error:#}"));
            Exit::Failed.into()
        }
    }
}

/// Prints why the command failed. Errors quote file names and messages of API servers and agents, so they are
/// escaped.
fn complain(why: &str) {
    // If standard error is closed there is nowhere else to report to.
    let _ = writeln!(io::stderr(), "tracer: {}", safe_lines(why));
}

#[cfg_attr(
    not(agent),
    expect(unused_variables, reason = "only an agent reads its matches")
)]
fn run(cli: Cli, matches: &clap::ArgMatches) -> anyhow::Result<Exit> {
    let mut stdout = io::stdout();
    match cli.command {
        Command::Observe(args) => {
            log_to_stderr();
            let config = args.resolve(&Host::look_up())?;
            observe::run(&config)
        }
        Command::Diagnose(args) => {
            log_to_stderr();
            args.run(&Host::look_up(), &mut stdout)
        }
        Command::Dns(args) => {
            log_to_stderr();
            dns::run(&args, &Host::look_up())
        }
        Command::Explain(args) => {
            log_to_stderr();
            args.run(&Host::look_up(), &mut stdout)
        }
        #[cfg(agent)]
        Command::Agent(args) => {
            let (_, matches) = matches
                .subcommand()
                .context("the command line has no command")?;
            args.run(&Host::look_up(), matches)
        }
        #[cfg(feature = "client")]
        Command::Status(args) => {
            log_to_stderr();
            args.run(&Host::look_up(), &mut stdout)
        }
        #[cfg(agent)]
        Command::Relay(args) => args.run(),
        #[cfg(agent)]
        Command::Check(args) => check::run(&args, &mut stdout),
        Command::Version(args) => args.run(&mut stdout),
        Command::Completions(args) => print::completions(&args, &mut stdout),
        Command::Man(args) => print::man(&args, &mut stdout),
    }
}

/// Whether the reader of the output closed it. That is no error: the reader has what it needs.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// The log filter unless TRACER_LOG is set. The watches report kube's errors themselves, once each.
const DEFAULT_LOG: &str = "warn,kube_client=error,kube_runtime=error";

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("TRACER_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(DEFAULT_LOG));
    // It fails only if there is a subscriber already, which then logs.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .try_init();
}

/// The properties of this machine that the configuration depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The hostname, which is the default node name.
    pub name: String,
    /// Whether standard output is a terminal.
    pub terminal: bool,
    /// The columns to fit lines in: the terminal's, 100 if it does not say; the variable COLUMNS wins. `None`
    /// without both.
    pub width: Option<usize>,
    /// The variable NO_COLOR.
    pub no_color: Option<std::ffi::OsString>,
    /// The variable TERM.
    pub term: Option<std::ffi::OsString>,
    /// The current time, in the local time zone.
    pub now: jiff::Zoned,
}

impl Host {
    /// Reads them.
    pub fn look_up() -> Host {
        Host {
            name: hostname(),
            terminal: io::stdout().is_terminal(),
            width: columns(),
            no_color: std::env::var_os("NO_COLOR"),
            term: std::env::var_os("TERM"),
            now: jiff::Zoned::now(),
        }
    }
}

/// The columns of a terminal that does not say how many it has.
const USUAL_COLUMNS: usize = 100;

fn columns() -> Option<usize> {
    let variable = std::env::var("COLUMNS").ok();
    let given = variable.and_then(|columns| columns.parse().ok());
    let terminal = || {
        let size = terminal_size::terminal_size_of(io::stdout());
        let known = size.map(|(width, _)| usize::from(width.0));
        let unknown = || io::stdout().is_terminal().then_some(USUAL_COLUMNS);
        known.filter(|width| *width > 0).or_else(unknown)
    };
    given.filter(|width| *width > 0).or_else(terminal)
}

#[cfg(unix)]
fn hostname() -> String {
    let system = rustix::system::uname();
    system.nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn hostname() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{WITHOUT_VARIABLE, command, variable};

    #[test]
    fn every_long_option_has_its_variable() {
        let command = command();
        let mut without = Vec::new();
        for sub in command.get_subcommands() {
            for arg in sub.get_arguments() {
                let Some(long) = arg.get_long().filter(|long| *long != "help") else {
                    continue;
                };
                match arg.get_env() {
                    Some(name) => assert_eq!(*name, *variable(long), "{} --{long}", sub.get_name()),
                    None => without.push((sub.get_name(), long)),
                }
            }
        }
        without.sort_unstable();
        assert_eq!(without, WITHOUT_VARIABLE);
        assert_eq!(variable("dns-timeout"), "TRACER_DNS_TIMEOUT");
    }
}
