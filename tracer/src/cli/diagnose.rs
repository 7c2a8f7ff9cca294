//! `tracer diagnose`: the options, what they resolve to, and the exit code.
//!
//! The sources and filters are those of `observe`. The output is the findings alone, each once, at the end.

use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};

#[cfg(feature = "client")]
use super::agents::AgentsArgs;
use super::captures;
use super::filters::SubjectArgs;
use super::form::ColorArgs;
use super::trace::{TraceArgs, one_source};
use super::values::Span;
use super::{Exit, Host};
use crate::config::{ObserveConfig, Source};
use crate::run;
use tracer_core::model::finding::Severity;
use tracer_core::view::filter::EventType;
use tracer_core::view::summary::Summary;
use tracer_core::view::{Format, OutputSettings};

mod catalogue;

/// Arguments of `tracer diagnose`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  \
        tracer diagnose --local --inventory inventory.yaml --duration 2m\n  \
        tracer diagnose --replay run.pcapng --inventory inventory.yaml -n shop\n  \
        tracer diagnose --explain ping-clusterip\n\n\
        `--help` explains the output and the exit codes, and has more options.",
    after_long_help = HELP
)]
pub struct DiagnoseArgs {
    /// Trace this machine until Ctrl-C or --duration, then print the findings. Needs no cluster
    #[arg(long)]
    #[cfg_attr(not(agent), arg(hide = true))]
    local: bool,

    /// Read a capture file instead: pcap or pcapng, also with gzip; - is standard input, as in tcpdump -U -w - | ...
    /// Several captures of one time, as NODE=FILE with an inventory, show where between the nodes a packet was lost
    #[arg(long, value_name = "[NODE=]FILE")]
    replay: Vec<PathBuf>,

    /// End after this time, as in 30s, 5m or '1h 30m'; for a capture file, of its own time
    #[arg(long, value_name = "DURATION")]
    duration: Option<Span>,

    /// Exit with 1 if there is a finding of this severity or a worse one
    #[arg(long, value_name = "SEVERITY", value_enum, default_value_t = SeverityArg::Warning)]
    fail_on: SeverityArg,

    /// List the rules
    #[arg(long)]
    list: bool,

    /// Explain a rule: what it means, what it looks at, what it cannot know; `all` explains every rule
    #[arg(long, value_name = "RULE")]
    explain: Option<String>,

    /// Form of the output: text, wide (with the evidence), table (a line per finding), json (one object per
    /// line) or, of --explain, markdown
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t = FormArg::Text)]
    output: FormArg,

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

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SeverityArg {
    Info,
    Warning,
    Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormArg {
    Text,
    Wide,
    Table,
    Json,
    Markdown,
}

const HELP: &str = "\
The output:
  ✗ default/web can't resolve \"db\": the Service is in namespace data; use db.data
    nxdomain-other-namespace (error, active), 3 times from 2026-01-31 12:01:03 to 12:04:10
    why  None of its search domains has that name: ...
    fix  use db.data
    try  kubectl ...
  Symptom, cause and fix; the rule, the state, the count and the time; why;
  what to do, ready to be copied. Each finding is printed once, at the end:
  the worst first, the newest of those first, resolved ones last. ✗ error,
  ! warning, · info, ✓ its cause is gone. The state is active, intermittent
  (some attempts fail and some succeed: 30 of 60 times) or resolved. One cause
  in several pods of a workload is one finding, with their number and the
  names of three; its count is their sum. With --local, standard error names
  each finding as soon as it is found. Suppositions are marked as possible.
  Without --inventory most rules cannot tell the cause, and print what they
  lack. What stayed undecided, and names in the filter that match nothing,
  are named on standard error.
  -o table prints a line per finding: severity, state, count, of, pod or
  workload, rule, headline, last.
  -o json prints one object per finding: id, rule, severity, state (active,
  intermittent or resolved), first, last, count, of, pods (how many, if
  several), headline, summary, was (what had failed, if resolved), why, fix,
  try, evidence.

Examples:
  tracer diagnose --local --inventory inventory.yaml --duration 2m
  tracer diagnose --local --inventory inventory.yaml -n shop -p 'web-*'
  tracer diagnose --replay run.pcapng --inventory inventory.yaml -o json
  tracer diagnose --replay run.pcapng --inventory inventory.yaml -o table
  tracer diagnose --replay run.pcapng --fail-on error && echo fine
  tracer diagnose --list
  tracer diagnose --explain nxdomain-other-namespace
  kubectl get nodes,ns,pods,svc,endpointslices,networkpolicies -A -o yaml > inventory.yaml

Exit codes:
  0  no finding of severity warning or error (--fail-on sets another severity)
  1  at least one such finding, even if its cause is gone
  2  the diagnosis was not possible: wrong usage, no permission, no such file
  3  no finding of severity warning or error, but something stayed undecided:
     it was unanswered at the end, or records of it were lost; or a pod,
     Service or namespace in the filter does not exist

Environment:
  Every option but --list and --explain is also a variable: TRACER_ and its
  name in capitals, with _ for -, as in TRACER_FAIL_ON. The command line wins.";

impl DiagnoseArgs {
    /// Resolves the options to a configuration.
    pub fn resolve(&self, host: &Host) -> anyhow::Result<ObserveConfig> {
        let source = self.source()?;
        let mut filter = self.subject.resolve();
        // Users who can see findings need not be allowed to see events.
        if source.is_a_cluster() {
            filter.types = vec![EventType::Finding];
        }
        let emission = filter.emission();
        Ok(ObserveConfig {
            output: OutputSettings {
                format: match self.output {
                    FormArg::Text => Format::Text,
                    FormArg::Wide => Format::Wide,
                    FormArg::Table => Format::Table,
                    FormArg::Json => Format::Json,
                    FormArg::Markdown => {
                        bail!(
                            "-o markdown is for --explain: findings are text, wide, table or json"
                        )
                    }
                },
                color: self.color.resolve(host),
                width: host.width,
                header: host.terminal,
                filter,
                report: true,
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
        match (self.local, &*self.replay) {
            (false, []) => self.agents_source(),
            (true, _) => Ok(Source::Local { record: None }),
            (false, files) => captures::source(files),
        }
    }

    fn threshold(&self) -> Severity {
        match self.fail_on {
            SeverityArg::Info => Severity::Info,
            SeverityArg::Warning => Severity::Warning,
            SeverityArg::Error => Severity::Error,
        }
    }

    /// Runs the command: prints the rules, or the findings.
    pub(super) fn run(&self, host: &Host, out: &mut impl Write) -> anyhow::Result<Exit> {
        if self.list {
            return catalogue::list(self.output, out);
        }
        if let Some(rule) = &self.explain {
            return catalogue::explain(rule, self.output, out);
        }
        let config = self.resolve(host)?;
        let summary = run::observe(&config)?;
        eprint!("{summary}");
        let has_identities = config.inventory.is_some() || config.cluster.is_some();
        if !has_identities
            && matches!(
                config.source,
                Source::Local { .. } | Source::Replay(_) | Source::Replays(_)
            )
        {
            eprintln!(
                "note: without --inventory, pods and Services have no names, and most causes stay unknown; `tracer diagnose \
                 --help` shows how to make one"
            );
        }
        Ok(self.exit(&summary))
    }

    /// A finding outranks what stayed undecided.
    fn exit(&self, summary: &Summary) -> Exit {
        let digest = summary.report.as_ref();
        let undecided = digest.is_some_and(|digest| digest.undecided.total() > 0);
        match digest.and_then(|digest| digest.worst) {
            Some(worst) if worst >= self.threshold() => Exit::Found,
            Some(worst) if worst >= Severity::Warning => Exit::Fine,
            _ if undecided || !summary.unmatched.is_empty() => Exit::Undecided,
            _ => Exit::Fine,
        }
    }
}

#[cfg(feature = "client")]
impl DiagnoseArgs {
    fn agents_selected_by(&self) -> Option<&'static str> {
        self.agents.selected_by()
    }

    fn agents_source(&self) -> anyhow::Result<Source> {
        Ok(Source::Agents {
            agents: self.agents.resolve(&self.trace.kube)?,
            // The history has the findings so far; --duration also waits for new ones.
            follow: self.duration.is_some(),
            history: true,
        })
    }
}

#[cfg(not(feature = "client"))]
impl DiagnoseArgs {
    fn agents_selected_by(&self) -> Option<&'static str> {
        None
    }

    fn agents_source(&self) -> anyhow::Result<Source> {
        Err(super::trace::no_client())
    }
}
