//! `tracer observe`: the options, and what they resolve to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::bail;
use clap::builder::BoolishValueParser;
use clap::{Args, ColorChoice, ValueEnum};

use super::filters::{self, FilterArgs, HistoryArgs};
use super::limits::LimitArgs;
use super::thresholds::ThresholdArgs;
use super::values::{self, Span};
use super::{Exit, Host};
use crate::capture::{self, DEFAULT_RECORD_BURST, DEFAULT_RECORDS_PER_SECOND};
use crate::config::{ObserveConfig, Source};
use crate::diagnose::DiagnosisSettings;
use crate::identity::IndexSettings;
use crate::model::dns::DnsName;
use crate::model::emission::Emission;
use crate::model::glob::Glob;
use crate::sinks::text::{Color, use_color};
use crate::sinks::{Format, OutputSettings};
use crate::{pipeline, run};

#[cfg(test)]
mod tests;

/// Arguments of `tracer observe`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  \
        tracer observe --local --inventory inventory.yaml -p deb-ubuntu\n  \
        tracer observe --local --failed -o json | jq .\n\n\
        Every option is also a variable: --node-name is TRACER_NODE_NAME.\n\
        `--help` says how events are told, what each filter means, and has more options.",
    after_long_help = help()
)]
pub struct ObserveArgs {
    /// Trace this machine: attaches probes to the pod interfaces found here and follows them. Needs no cluster
    #[arg(long, env = "TRACER_LOCAL", value_parser = BoolishValueParser::new())]
    local: bool,

    /// Read a capture file instead: pcap or pcapng, also with gzip; - is standard input, as in tcpdump -U -w - | ...
    #[arg(long, env = "TRACER_REPLAY", value_name = "FILE")]
    replay: Option<PathBuf>,

    /// With --local, write the packets to a pcapng file, too, with pod names as comments
    #[arg(long, env = "TRACER_RECORD", value_name = "FILE")]
    record: Option<PathBuf>,

    /// Form of the output: text, wide (with node, workload, ports, identifiers, bytes, TTLs) or json (one object a line)
    #[arg(short, long, env = "TRACER_OUTPUT", value_name = "FORM", value_enum, default_value_t = FormatArg::Text)]
    output: FormatArg,

    /// Colour: auto colours a terminal unless NO_COLOR is set
    #[arg(long, env = "TRACER_COLOR", value_name = "WHEN", value_enum, default_value_t = ColorChoice::Auto)]
    color: ColorChoice,

    /// End after so many events
    #[arg(long, env = "TRACER_COUNT", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// End after so long, as in 30s, 5m or '1h 30m'; of a capture file, after so much of it
    #[arg(long, env = "TRACER_DURATION", value_name = "DURATION")]
    duration: Option<Span>,

    /// Go on with what happens from now on. --local does so in any case
    #[arg(short, long, env = "TRACER_FOLLOW", value_parser = BoolishValueParser::new())]
    follow: bool,

    #[command(flatten)]
    filters: FilterArgs,

    #[command(flatten)]
    history: HistoryArgs,

    #[command(flatten)]
    sources: SourceArgs,

    #[command(flatten)]
    thresholds: ThresholdArgs,

    #[command(flatten)]
    limits: LimitArgs,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Sources")]
struct SourceArgs {
    /// Names for addresses: what `kubectl get nodes,ns,pods,svc,endpointslices -A -o yaml` prints. Read again when it changes
    #[arg(long, env = "TRACER_INVENTORY", value_name = "FILE")]
    inventory: Option<PathBuf>,

    /// The cluster's DNS domain
    #[arg(long, env = "TRACER_CLUSTER_DOMAIN", value_name = "DOMAIN", default_value = "cluster.local",
        value_parser = values::domain)]
    cluster_domain: DnsName,

    /// What this node is called in the cluster; the machine's name unless given
    #[arg(long, env = "TRACER_NODE_NAME", value_name = "NAME")]
    node_name: Option<String>,

    /// Only interfaces whose name fits; every pod interface unless given
    #[arg(
        long,
        env = "TRACER_INTERFACE",
        value_name = "GLOB",
        value_delimiter = ','
    )]
    interface: Vec<Glob>,

    /// Tells several tracers on one node apart
    #[arg(long, env = "TRACER_INSTANCE", value_name = "NAME", default_value = "default", hide_short_help = true,
        value_parser = values::instance)]
    instance: String,

    /// A port where DNS is spoken; up to 8
    #[arg(long, env = "TRACER_DNS_PORT", value_name = "PORT", value_delimiter = ',', default_value = "53",
        hide_short_help = true, value_parser = clap::value_parser!(u16).range(1..))]
    dns_port: Vec<u16>,

    /// Kernel buffer for packets on their way to user space, a power of two
    #[arg(long, env = "TRACER_RING_SIZE", value_name = "SIZE", default_value = "8MiB", hide_short_help = true,
        value_parser = values::ring_bytes)]
    ring_size: u32,

    /// Flows that the kernel counts at a time
    #[arg(long, env = "TRACER_FLOW_TABLE_SIZE", value_name = "N", default_value = "65536", hide_short_help = true,
        value_parser = clap::value_parser!(u32).range(64..=16_777_216))]
    flow_table_size: u32,

    /// How much of a DNS message over UDP is captured; of a longer one the rest is missing, and that is said
    #[arg(long, env = "TRACER_PAYLOAD_BYTES", value_name = "N", default_value = "1232", hide_short_help = true,
        value_parser = clap::value_parser!(u16).range(128..=1984))]
    payload_bytes: u16,

    /// Packets a second that one interface may send to user space in the long run; 0: no limit
    #[arg(long, env = "TRACER_RECORDS_PER_SECOND", value_name = "N", hide_short_help = true,
        value_parser = clap::value_parser!(u32).range(..=100_000_000), default_value_t = DEFAULT_RECORDS_PER_SECOND)]
    records_per_second: u32,

    /// Packets that one interface may send to user space at once on top of that. What is held back is still counted
    #[arg(long, env = "TRACER_RECORD_BURST", value_name = "N", hide_short_help = true,
        value_parser = clap::value_parser!(u32).range(1..=100_000_000), default_value_t = DEFAULT_RECORD_BURST)]
    record_burst: u32,

    /// Log from inside the probes, to find faults in them; slow
    #[arg(long, env = "TRACER_PROBE_LOG", hide_short_help = true, value_parser = BoolishValueParser::new())]
    probe_log: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    Text,
    Wide,
    Json,
}

const HELP_EVENTS: &str = "\
How events are told:
  12:01:03.123  default/web  ?  db                     A  ✗ NXDOMAIN  2 queries
                                ├ ….svc.cluster.local. A  ✗ NXDOMAIN  0.8 ms
                                └ db.                  A  ✗ NXDOMAIN  0.7 ms
  The mark says what the pod does: ? asks DNS, → connects or pings, ← is
  asked, connected to or pinged. …suffix is what was asked for with a search
  domain behind it. ✓ worked, ✗ failed, ! worked badly, · neither.
  Times are when it began: the first query, SYN or request; local here, UTC in
  JSON. Latency and handshake count from there to the answer, retransmissions
  included; JSON has them in nanoseconds. Bytes count from the IP header on.

What is shown:
  text leaves out what a person would skip: the single queries of a lookup,
  whose block tells them already, UDP flows that open or close, and
  connections that close after both sides spoke. --type or --outcome asks for
  them; -o wide and -o json show everything.
  Traffic between two pods of this node is told once: from the client's side,
  or from the side of the pod that -p names. --direction server shows the
  server's side.
  What was lost is always shown, whatever the filters say.";

const HELP_USE: &str = "\
Examples:
  tracer observe --local --inventory inventory.yaml -p 'web-*'
  tracer observe --local --type lookup --rcode NXDOMAIN
  tracer observe --local --type tcp --outcome refused,timeout
  tracer observe --local --peer kube-system/kube-dns --slow 50ms
  tracer observe --local --failed --duration 5m -o json > failures.jsonl
  tracer observe --local --record run.pcapng
  tracer observe --replay run.pcapng --inventory inventory.yaml
  ssh node tcpdump -U -w - -i any | tracer observe --replay -

Capture files:
  --replay reads pcap and pcapng of any byte order and stamp resolution, also
  compressed with gzip: Ethernet, Linux cooked (tcpdump -i any), raw IP, BSD
  loopback. Which end is the pod the inventory says; without one it is the
  end that asked or connected. A packet that was captured at several
  interfaces counts once. IP fragments are put together.
  Time is the capture's; at the end of the file it ends. Only of a pipe whose
  packets come within 2 s of their stamps does the wall clock tell timeouts,
  2 s later than they are; tcpdump needs -U for that.
  --record writes what the probes hand over: DNS and ICMP whole, of TCP what
  opens and closes a connection, of other flows the first packet, each with
  its flow's counters; with filters, only what they can show. Wireshark reads
  it. Replayed, it tells the events again, but between two such packets nobody
  counted.

Needs:
  Linux 5.10 or later; root, or the capabilities BPF, NET_ADMIN and PERFMON.
  `tracer check` says what is missing.

Environment:
  Every option is also a variable: TRACER_ and its name in capitals, with _
  for -, as in TRACER_NODE_NAME. The command line wins.";

fn help() -> String {
    format!("{HELP_EVENTS}\n\n{}\n\n{HELP_USE}", filters::HELP)
}

impl ObserveArgs {
    /// What to do, with everything looked up.
    pub fn resolve(&self, host: &Host) -> anyhow::Result<ObserveConfig> {
        let source = self.source()?;
        let since = self.history.since.map(|since| since.at(&host.now));
        let dns_ports = self.dns_ports()?;
        let sources = &self.sources;
        let color = match self.color {
            ColorChoice::Auto => Color::Auto,
            ColorChoice::Always => Color::Always,
            ColorChoice::Never => Color::Never,
        };
        let variable = |name: &str| match name {
            "NO_COLOR" => host.no_color.clone(),
            "TERM" => host.term.clone(),
            _ => None,
        };
        let filter = self.filters.resolve();
        let thresholds = self.thresholds.resolve();
        Ok(ObserveConfig {
            source,
            capture: capture::Options {
                instance: sources.instance.clone(),
                interfaces: sources.interface.clone(),
                dns_ports: dns_ports.clone(),
                // A recording is for other questions, too.
                emission: match self.record {
                    None => filter.emission(),
                    Some(_) => Emission::default(),
                },
                payload_cap_bytes: u32::from(sources.payload_bytes),
                ring_bytes: sources.ring_size,
                flow_entries: sources.flow_table_size,
                records_per_second: sources.records_per_second,
                record_burst: sources.record_burst,
                flow_idle: thresholds.flow_idle,
                probe_log: sources.probe_log,
                ..capture::Options::default()
            },
            inventory: sources.inventory.clone(),
            node: Arc::from(sources.node_name.as_deref().unwrap_or(&host.name)),
            pipeline: pipeline::Settings {
                dns_ports,
                thresholds,
                limits: self.limits.resolve(),
                index: IndexSettings {
                    cluster_domain: sources.cluster_domain.clone(),
                },
                diagnosis: DiagnosisSettings::default(),
            },
            output: OutputSettings {
                format: match self.output {
                    FormatArg::Text => Format::Text,
                    FormatArg::Wide => Format::Wide,
                    FormatArg::Json => Format::Json,
                },
                color: use_color(color, host.terminal, variable),
                filter,
                count: self.count,
                since: since.transpose()?,
                last: self.history.last.map(|last| last as usize),
            },
            duration: self.duration.map(|span| span.0),
        })
    }

    fn source(&self) -> anyhow::Result<Source> {
        match (self.local, &self.replay, &self.record) {
            (true, Some(_), _) => bail!(
                "--local and --replay: packets come from this machine or from a file; leave one out"
            ),
            (false, None, _) => bail!(
                "observe what? Give --local to trace the pods of this machine (as root, or with the capabilities BPF, \
                 NET_ADMIN and PERFMON), or --replay FILE to read a capture. `tracer observe --help` has examples"
            ),
            (false, Some(_), Some(_)) => {
                bail!(
                    "--record writes what --local traces; a capture that is replayed is a file already"
                )
            }
            (true, None, Some(record)) if record == Path::new("-") => {
                bail!("--record needs a file: the events are on standard output")
            }
            (true, None, _) if self.history.since.is_some() || self.history.last.is_some() => {
                bail!(
                    "--since and --last choose from what was recorded, and --local has no record of the past: it shows what \
                 happens from now on. Leave them out, or end it with --count or --duration"
                )
            }
            (true, None, record) => Ok(Source::Local {
                record: record.clone(),
            }),
            (false, Some(_), None) if self.follow => {
                bail!(
                    "--follow goes on with what happens from now on, and nothing is added to a capture; a pipe is read \
                     to its end in any case"
                )
            }
            (false, Some(file), None) => Ok(Source::Replay(file.clone())),
        }
    }

    fn dns_ports(&self) -> anyhow::Result<Vec<u16>> {
        let mut ports = Vec::new();
        for port in &self.sources.dns_port {
            if !ports.contains(port) {
                ports.push(*port);
            }
        }
        if ports.len() > tracer_common::MAX_DNS_PORTS {
            bail!(
                "{} ports with --dns-port: the probes know at most {}; leave some out",
                ports.len(),
                tracer_common::MAX_DNS_PORTS
            );
        }
        Ok(ports)
    }
}

pub(super) fn run(config: &ObserveConfig) -> anyhow::Result<Exit> {
    let summary = run::observe(config)?;
    eprint!("{summary}");
    Ok(Exit::Fine)
}
