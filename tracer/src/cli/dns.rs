//! `tracer dns`: the options, and the configuration that they resolve to.
//!
//! The sources and filters are those of `observe`. The output is one screen, at the end.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::Args;

#[cfg(feature = "client")]
use super::agents::AgentsArgs;
use super::filters::SubjectArgs;
use super::form::ColorArgs;
use super::trace::{TraceArgs, one_source};
use super::values::{Moment, Span, choice};
use super::{Exit, Host};
use crate::config::{ObserveConfig, Source};
use crate::run;
use tracer_core::view::filter::{EventType, FilterConfig};
use tracer_core::view::summary::Summary;
use tracer_core::view::{DnsSettings, Format, OutputSettings};

/// How far back agents are asked.
const USUAL_SINCE: Duration = Duration::from_secs(15 * 60);

/// Arguments of `tracer dns`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  \
        tracer dns\n  \
        tracer dns -n shop --since 1h\n  \
        tracer dns --local --inventory inventory.yaml --duration 2m\n  \
        tracer dns -o json | jq .servers\n\n\
        `--help` explains the output and has more options.",
    after_long_help = HELP
)]
pub struct DnsArgs {
    /// Trace this machine until Ctrl-C or --duration, then print the screen. Needs no cluster
    #[arg(long)]
    #[cfg_attr(not(agent), arg(hide = true))]
    local: bool,

    /// Read a capture file instead: pcap or pcapng, also with gzip; - is standard input
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,

    /// Only what began since then: a duration ago (5m), a time of day (12:30), or a date and time [default:
    /// 15m for agents]
    #[arg(long, value_name = "WHEN")]
    since: Option<Moment>,

    /// End after this time, as in 30s, 5m or '1h 30m'; with agents, also count what happens meanwhile
    #[arg(long, value_name = "DURATION")]
    duration: Option<Span>,

    /// Rows of each table, at most [default: 7; json: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    top: Option<u16>,

    /// Output format: text, or json (one object)
    #[arg(short, long, value_name = "FORMAT", default_value = "text",
        value_parser = choice([("text", Format::Text), ("json", Format::Json)]))]
    output: Format,

    #[command(flatten)]
    color: ColorArgs,

    #[command(flatten)]
    subject: SubjectArgs,

    #[cfg(feature = "client")]
    #[command(flatten)]
    agents: AgentsArgs,

    #[command(flatten)]
    trace: TraceArgs,
}

const HELP: &str = "\
The output:
  Above the tables: lookups (calls of a resolver by an application), the
  queries that they took, how many failed, and what was lost. A lookup of
  which records were lost, or that was still open at the end, is undecided and
  counts as neither a success nor a failure. NXDOMAIN for a search domain is
  no failure of a lookup that finds the name in another one.
  SERVER   → what clients ask, mostly a Service, seen at the clients;
           ← the pod that answers, such as each CoreDNS pod, seen at itself.
           QUERIES are packets, and AGAIN those among them that repeat
           another. ANSWERED is the share of queries with an answer of any
           kind. OTHER is shown if there is any: FORMERR, ICMP errors, other
           codes.
  WORKLOAD FAILED: nothing usable for the application. EACH: queries for each
           lookup. WASTED: queries for other candidates of the search path
           before the name that was found. AGAIN: lookups that repeated a
           question. P50 and P99: how long lookups took.
  SAVINGS  Queries that would not have been sent had the application written
           the name in full with a final dot, counted from what was seen. An
           ndots is named if the workload found every name with that many
           dots as it is, so that no lookup would have taken more queries.
  FAILING NAME  The name as the application wrote it, how its lookups ended,
           and the workload that asked most.
  The worst rows come first. A pod that answers DNS queries itself is marked
  as DNS server: it asks for others, so its lookups are in no total.
  P50 and P99 are right to 3.2 %. `-o json` has more numbers and every row;
  docs/dns.md lists its fields.

Where the numbers come from:
  Agents are asked for the last 15 minutes of their history (--since). The
  history of a busy node may not reach that far: the first line has the time
  of the first event, and `tracer status` the oldest event of each agent.
  With filters, agents are asked only where the selected pods run, so the
  rows with ← may lack queries. Users need the verbs list and watch on
  traces.tracer.internal, as for `tracer observe`.

Examples:
  tracer dns                                   the cluster, last 15 minutes
  tracer dns -n shop --since 1h                what the pods of shop ask
  tracer dns -p 'shop/web-*' --top 20
  tracer dns --duration 1m                     and what happens in a minute
  tracer dns --server unix:/run/tracer/agent.sock
  tracer dns --local --inventory inventory.yaml --duration 2m
  tracer dns --replay run.pcapng --inventory inventory.yaml
  tracer dns -o json | jq '.failing_names[] | {name, outcome, lookups}'
  tracer dns -o json | jq '.servers[] | [.name, .latency.p99_ns]'

Exit codes:
  0  the screen was printed, whatever it shows
  2  wrong usage, no permission, no agent, no such file

Environment:
  Every option is also a variable: TRACER_ and its name in capitals, with _
  for -, as in TRACER_SINCE. The command line wins.";

impl DnsArgs {
    /// Resolves the options to a configuration.
    pub fn resolve(&self, host: &Host) -> anyhow::Result<ObserveConfig> {
        let source = self.source()?;
        let usual = source.is_of_agents().then_some(Moment::Ago(USUAL_SINCE));
        let since = self.since.or(usual).map(|since| since.at(&host.now));
        let filter = FilterConfig {
            types: vec![EventType::Dns, EventType::Lookup],
            both_sides: true,
            ..self.subject.resolve()
        };
        let emission = filter.emission();
        Ok(ObserveConfig {
            output: OutputSettings {
                format: self.output,
                color: self.color.resolve(host),
                width: host.width,
                filter,
                since: since.transpose()?,
                dns: Some(DnsSettings {
                    top: self.top.map(usize::from),
                }),
                ..OutputSettings::default()
            },
            duration: self.duration.map(|span| span.0),
            ..self.trace.resolve(host, source, emission)?
        })
    }

    fn source(&self) -> anyhow::Result<Source> {
        one_source(self.local, self.replay.is_some(), self.agents_selected_by())?;
        match (self.local, &self.replay) {
            (true, _) if self.since.is_some() => bail!(
                "--since selects past events, and --local has only new ones. Leave it out, or end the run with --duration"
            ),
            (true, _) => Ok(Source::Local { record: None }),
            (false, Some(file)) => Ok(Source::Replay(file.clone())),
            (false, None) => self.agents_source(),
        }
    }
}

pub(super) fn run(args: &DnsArgs, host: &Host) -> anyhow::Result<Exit> {
    let config = args.resolve(host)?;
    let summary = run::observe(&config)?;
    eprint!("{summary}");
    if let Some(note) = what_to_do(&config, &summary) {
        eprintln!("note: {note}");
    }
    Ok(Exit::Fine)
}

/// What helps if nothing was seen, or only addresses.
fn what_to_do(config: &ObserveConfig, summary: &Summary) -> Option<&'static str> {
    let names = config.inventory.is_some() || config.cluster.is_some();
    let agents = config.source.is_of_agents();
    match (summary.shown, agents) {
        (0, true) => Some(
            "look further back with --since 1h, or wait with --duration 1m; without filters if there are some; `tracer \
             status` shows what agents trace and how far back they remember",
        ),
        (0, false) => Some(
            "the traced pods sent no DNS query to a traced port, or the filters exclude it: see --dns-port, and `tracer \
             observe` for what there is",
        ),
        (_, false) if !names => Some(
            "without --inventory, pods and Services are shown by address; `tracer diagnose --help` shows how to make one",
        ),
        _ => None,
    }
}

#[cfg(feature = "client")]
impl DnsArgs {
    fn agents_selected_by(&self) -> Option<&'static str> {
        self.agents.selected_by()
    }

    fn agents_source(&self) -> anyhow::Result<Source> {
        Ok(Source::Agents {
            agents: self.agents.resolve(&self.trace.kube)?,
            follow: self.duration.is_some(),
            history: true,
        })
    }
}

#[cfg(not(feature = "client"))]
impl DnsArgs {
    fn agents_selected_by(&self) -> Option<&'static str> {
        None
    }

    fn agents_source(&self) -> anyhow::Result<Source> {
        Err(super::trace::no_client())
    }
}
