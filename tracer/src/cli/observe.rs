//! `tracer observe`: its options, and the configuration that they resolve to.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

#[cfg(feature = "client")]
use super::agents::{self, AgentsArgs};
use super::captures;
use super::filters::{self, FilterArgs, HistoryArgs};
use super::form::FormArgs;
use super::trace::{TraceArgs, one_source};
use super::values::Span;
use super::{Exit, Host};
use crate::config::{ObserveConfig, Source};
use crate::run;
use tracer_core::model::emission::Emission;
use tracer_core::view::OutputSettings;

#[cfg(test)]
mod tests;

/// Arguments of `tracer observe`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  \
        tracer observe -f -n default\n  \
        tracer observe --since 10m --failed\n  \
        tracer observe --local --inventory inventory.yaml -p deb-ubuntu\n  \
        tracer observe --local --failed -o json | jq .\n\n\
        Every option is also a variable: --node-name is TRACER_NODE_NAME.\n\
        `--help` has more options and explains the output and each filter.",
    after_long_help = help()
)]
pub struct ObserveArgs {
    /// Trace this machine: attach probes to its pod interfaces and follow new ones. Needs no cluster
    #[arg(long)]
    #[cfg_attr(not(agent), arg(hide = true))]
    local: bool,

    /// Read a capture file: pcap or pcapng, optionally compressed with gzip; - reads standard input, as in
    /// tcpdump -U -w - | tracer observe --replay -. Give it several times for captures of several nodes
    #[arg(long, value_name = "[NODE=]FILE")]
    replay: Vec<PathBuf>,

    /// With --local, also write the packets to this pcapng file, with pod names as comments
    #[cfg(agent)]
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,

    #[command(flatten)]
    form: FormArgs,

    /// End after N events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// End after this time: 30s, 5m or '1h 30m'; with --replay, after this much of the capture
    #[arg(long, value_name = "DURATION")]
    duration: Option<Span>,

    /// Follow: print new events as they happen. Without it agents send past events only; --local always follows
    #[arg(short, long)]
    follow: bool,

    #[command(flatten)]
    filters: FilterArgs,

    #[command(flatten)]
    history: HistoryArgs,

    #[cfg(feature = "client")]
    #[command(flatten)]
    agents: AgentsArgs,

    #[command(flatten)]
    trace: TraceArgs,
}

const HELP_EVENTS: &str = "\
Output:
  TIME          POD          TYPE  NAME OR PEER            RESULT      DETAILS
  12:01:03.126  default/web  dns   db A                    ✗ NXDOMAIN  2 queries, 3.1 ms
                                   ├ ….svc.cluster.local. A  ✗ NXDOMAIN  0.8 ms
                                   └ db. A                   ✗ NXDOMAIN  0.7 ms
  12:01:03.126  default/web  FINDING  error: default/web can't resolve \"db\": ...
  → is a connection or ping by the pod, ← one to the pod. …suffix is the
  requested name plus a search domain. ✓ succeeded, ✗ failed, ! degraded,
  · neutral, such as `undecided`: the input ended before the answer came.
  A finding is one line; `tracer diagnose` shows its cause and what to try.
  The time is when the event was decided, in local time; an event that began
  clearly before that also shows when. JSON has the time of its first query,
  SYN or request, in UTC. Latency and handshake count from that packet to the
  answer, including retransmissions; JSON has nanoseconds. Byte counts include
  the IP header.
  On a terminal the output has a header, and long lines break at its width;
  the variable COLUMNS sets another one. In a pipe each line is whole.

What is shown:
  text leaves out routine events: the single queries of a lookup (its block
  lists them), UDP flows that open or close, and connections that close after
  both sides sent data. --type and --outcome show them; -o wide and -o json
  show everything.
  Traffic between two pods on this node is shown once, from the client's side
  or from the side of the pod in -p. --direction server shows the server's
  side.
  Losses are always shown, whatever the filters.";

const HELP_USE: &str = "\
Examples:
  tracer observe -f -n default
  tracer observe --since 10m --failed --node 'worker-*'
  tracer observe -f --server unix:/run/tracer/agent.sock
  tracer observe --local --inventory inventory.yaml -p 'web-*'
  tracer observe --local --type lookup --rcode NXDOMAIN
  tracer observe --local --type tcp --outcome refused,timeout
  tracer observe --local --peer kube-system/kube-dns --slow 50ms
  tracer observe --local --failed --duration 5m -o json > failures.jsonl
  tracer observe --local --record run.pcapng
  tracer observe --local --kubeconfig /etc/kubernetes/admin.conf
  tracer observe --replay run.pcapng --inventory inventory.yaml
  ssh node tcpdump -U -w - -i any | tracer observe --replay -

Capture files:
  --replay reads pcap and pcapng in any byte order and time resolution, also
  compressed with gzip. Link types: Ethernet, Linux cooked (tcpdump -i any),
  raw IP, BSD loopback. The inventory decides which end is the pod; without one
  it is the end that queried or connected. A packet captured on several
  interfaces counts once. IP fragments are reassembled.
  Time is the capture's, and the command ends with the file. On a pipe whose
  packets arrive within 2 s of their timestamps, the wall clock decides
  timeouts, 2 s late; tcpdump needs -U for that.
  --record writes what the probes emit: DNS and ICMP packets in full, the TCP
  packets that open and close a connection, the first packet of other flows,
  each with its flow's counters; with filters, only what they need. Wireshark
  reads the file. A replay repeats the same events, without the counters
  between two recorded packets.

Needs:
  For a cluster's agents: Tracer's relay in the cluster, and a kubeconfig whose
  user can list and watch traces.tracer.internal. For --local: Linux 5.10 or later, and root or the
  capabilities BPF, NET_ADMIN and PERFMON; `tracer check` reports what is
  missing.

Environment:
  Every option is also a variable: TRACER_ and its name in capitals, with _
  for -, as in TRACER_NODE_NAME. The command line wins.";

fn help() -> String {
    let parts = [
        #[cfg(feature = "client")]
        agents::HELP,
        HELP_EVENTS,
        filters::HELP,
        HELP_USE,
    ];
    parts.join("\n\n")
}

impl ObserveArgs {
    /// The configuration of the run.
    pub fn resolve(&self, host: &Host) -> anyhow::Result<ObserveConfig> {
        let source = self.source()?;
        let since = self.history.since.map(|since| since.at(&host.now));
        let filter = self.filters.resolve()?;
        let usual = source.is_past_of_agents() && self.count.is_none();
        // A recording answers other questions later, so it gets every packet.
        let emission = match &source {
            Source::Local { record: Some(_) } => Emission::default(),
            _ => filter.emission(),
        };
        Ok(ObserveConfig {
            output: OutputSettings {
                format: self.form.output,
                color: self.form.color.resolve(host),
                width: host.width,
                header: host.terminal,
                filter,
                count: self.count,
                since: since.transpose()?,
                last: self.history.last(usual),
                ..OutputSettings::default()
            },
            duration: self.duration.map(|span| span.0),
            ..self.trace.resolve(host, source, emission)?
        })
    }

    fn source(&self) -> anyhow::Result<Source> {
        one_source(
            self.local,
            !self.replay.is_empty(),
            self.agents_selected_by(),
        )?;
        self.check_record()?;
        if self.local {
            if self.history.is_given() {
                bail!(
                    "--since, --last and --all select past events, and --local has only new ones. Leave them out, or end the run \
                     with --count or --duration"
                );
            }
            return Ok(Source::Local {
                record: self.record(),
            });
        }
        match &*self.replay {
            [_, ..] if self.follow => {
                bail!(
                    "--follow waits for new events, and a capture file gets none; from a pipe, --replay reads to the end \
                     without it"
                )
            }
            [] => self.agents_source(),
            files => captures::source(files),
        }
    }
}

#[cfg(agent)]
impl ObserveArgs {
    fn record(&self) -> Option<PathBuf> {
        self.record.clone()
    }

    fn check_record(&self) -> anyhow::Result<()> {
        match &self.record {
            None => Ok(()),
            Some(_) if !self.replay.is_empty() => {
                bail!(
                    "--record writes what --local traces; --replay reads a file that exists already"
                )
            }
            Some(_) if !self.local => {
                bail!("--record writes what --local traces: agents send events, not packets")
            }
            Some(file) if file.as_os_str() == "-" => {
                bail!("--record needs a file: standard output has the events")
            }
            Some(_) => Ok(()),
        }
    }
}

#[cfg(not(agent))]
impl ObserveArgs {
    fn record(&self) -> Option<PathBuf> {
        None
    }

    fn check_record(&self) -> anyhow::Result<()> {
        Ok(())
    }
}

#[cfg(feature = "client")]
impl ObserveArgs {
    fn agents_selected_by(&self) -> Option<&'static str> {
        self.agents.selected_by()
    }

    fn agents_source(&self) -> anyhow::Result<Source> {
        Ok(Source::Agents {
            agents: self.agents.resolve(&self.trace.kube)?,
            follow: self.follow,
            history: !self.follow || self.history.is_given(),
        })
    }
}

#[cfg(not(feature = "client"))]
impl ObserveArgs {
    fn agents_selected_by(&self) -> Option<&'static str> {
        None
    }

    fn agents_source(&self) -> anyhow::Result<Source> {
        Err(super::trace::no_client())
    }
}

pub(super) fn run(config: &ObserveConfig) -> anyhow::Result<Exit> {
    let summary = run::observe(config)?;
    eprint!("{summary}");
    Ok(Exit::Fine)
}
