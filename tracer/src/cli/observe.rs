//! `tracer observe`: the options, and what they resolve to.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use clap::builder::BoolishValueParser;

use super::agents::{self, AgentsArgs};
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

    #[command(flatten)]
    form: FormArgs,

    /// End after so many events
    #[arg(long, env = "TRACER_COUNT", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// End after so long, as in 30s, 5m or '1h 30m'; of a capture file, after so much of it
    #[arg(long, env = "TRACER_DURATION", value_name = "DURATION")]
    duration: Option<Span>,

    /// Go on with what happens from now on. --local does so in any case; agents give what they hold of the past without it
    #[arg(short, long, env = "TRACER_FOLLOW", value_parser = BoolishValueParser::new())]
    follow: bool,

    #[command(flatten)]
    filters: FilterArgs,

    #[command(flatten)]
    history: HistoryArgs,

    #[command(flatten)]
    agents: AgentsArgs,

    #[command(flatten)]
    trace: TraceArgs,
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
  For agents of a cluster a kubeconfig whose user may list pods and exec in
  those of the agents. For --local Linux 5.10 or later; root, or the capabilities BPF, NET_ADMIN and PERFMON.
  `tracer check` says what is missing.

Environment:
  Every option is also a variable: TRACER_ and its name in capitals, with _
  for -, as in TRACER_NODE_NAME. The command line wins.";

fn help() -> String {
    format!(
        "{}\n\n{HELP_EVENTS}\n\n{}\n\n{HELP_USE}",
        agents::HELP,
        filters::HELP
    )
}

impl ObserveArgs {
    /// What to do, with everything looked up.
    pub fn resolve(&self, host: &Host) -> anyhow::Result<ObserveConfig> {
        let source = self.source()?;
        let since = self.history.since.map(|since| since.at(&host.now));
        let filter = self.filters.resolve();
        // A recording is for other questions, too.
        let emission = match self.record {
            None => filter.emission(),
            Some(_) => Emission::default(),
        };
        Ok(ObserveConfig {
            output: OutputSettings {
                format: self.form.format(),
                color: self.form.color(host),
                filter,
                count: self.count,
                since: since.transpose()?,
                last: self.history.last.map(|last| last as usize),
                report: false,
            },
            duration: self.duration.map(|span| span.0),
            ..self.trace.resolve(host, source, emission)?
        })
    }

    fn source(&self) -> anyhow::Result<Source> {
        one_source(self.local, self.replay.is_some(), &self.agents)?;
        match (self.local, &self.replay, &self.record) {
            (false, None, Some(_)) => {
                bail!("--record writes what --local traces: agents send events, no packets")
            }
            (false, None, None) => Ok(Source::Agents {
                agents: self.agents.resolve(self.trace.kube())?,
                follow: self.follow,
                history: !self.follow
                    || self.history.since.is_some()
                    || self.history.last.is_some(),
            }),
            (false, Some(_), Some(_)) => {
                bail!(
                    "--record writes what --local traces; a capture that is replayed is a file already"
                )
            }
            (true, _, Some(record)) if record == Path::new("-") => {
                bail!("--record needs a file: the events are on standard output")
            }
            (true, _, _) if self.history.since.is_some() || self.history.last.is_some() => {
                bail!(
                    "--since and --last choose from what was recorded, and --local has no record of the past: it shows what \
                 happens from now on. Leave them out, or end it with --count or --duration"
                )
            }
            (true, _, record) => Ok(Source::Local {
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
}

pub(super) fn run(config: &ObserveConfig) -> anyhow::Result<Exit> {
    let summary = run::observe(config)?;
    eprint!("{summary}");
    Ok(Exit::Fine)
}
