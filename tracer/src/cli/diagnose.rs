//! `tracer diagnose`: the options, what they resolve to, and the exit code.
//!
//! The sources and the choice of pods are those of `observe`; what is shown is the findings alone, each once, at the end.

use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};

#[cfg(feature = "client")]
use super::agents::AgentsArgs;
use super::filters::SubjectArgs;
use super::form::ColorArgs;
use super::trace::{TraceArgs, one_source};
use super::values::Span;
use super::{Exit, Host};
use crate::config::{ObserveConfig, Source};
use crate::run;
use tracer_core::model::finding::Severity;
use tracer_core::view::{Format, OutputSettings};

mod catalogue;

/// Arguments of `tracer diagnose`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  \
        tracer diagnose --local --inventory inventory.yaml --duration 2m\n  \
        tracer diagnose --replay run.pcapng --inventory inventory.yaml -n shop\n  \
        tracer diagnose --explain ping-clusterip\n\n\
        `--help` says how findings are told and what the exit codes mean, and has more options.",
    after_long_help = HELP
)]
pub struct DiagnoseArgs {
    /// Trace this machine until Ctrl-C or --duration, and say what was found. Needs no cluster
    #[arg(long)]
    #[cfg_attr(not(agent), arg(hide = true))]
    local: bool,

    /// Read a capture file instead: pcap or pcapng, also with gzip; - is standard input, as in tcpdump -U -w - | ...
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,

    /// End after so long, as in 30s, 5m or '1h 30m'; of a capture file, after so much of it
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

    /// Form of the output: text, wide (with the evidence), json (one object a line) or, of --explain, markdown
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
    Json,
    Markdown,
}

const HELP: &str = "\
How findings are told:
  ✗ default/web looked up \"db\": NXDOMAIN (4 queries, 3.1 ms)
    nxdomain-other-namespace (error), 3 times from 2026-01-31 12:01:03 to 12:04:10
    why  None of its search domains has that name: ...
         Service data/db exists, in another namespace than the pod.
    try  db.data
  What failed; the rule, how often and when; why; what to do, ready to be
  copied. Each finding stands once, at the end: what is wrong still comes
  first, the worst of that first. ✗ error, ! warning, · info, ✓ its cause is
  gone. With --local each is named on standard error as soon as it is found.
  What is only supposed is called possible. Without --inventory most rules
  cannot say why, and say what they lack.
  -o json has one object a finding: id, rule, severity, state (active or
  resolved), first, last, count, summary, was (what had failed, if resolved),
  why, try, evidence.

Examples:
  tracer diagnose --local --inventory inventory.yaml --duration 2m
  tracer diagnose --local --inventory inventory.yaml -n shop -p 'web-*'
  tracer diagnose --replay run.pcapng --inventory inventory.yaml -o json
  tracer diagnose --replay run.pcapng --fail-on error && echo fine
  tracer diagnose --list
  tracer diagnose --explain nxdomain-other-namespace
  kubectl get nodes,ns,pods,svc,endpointslices,networkpolicies -A -o yaml > inventory.yaml

Exit codes:
  0  nothing of severity warning or error was found (--fail-on moves the line)
  1  something was, also if its cause is gone by now
  2  it could not do its job: wrong usage, no permission, no such file

Environment:
  Every option but --list and --explain is also a variable: TRACER_ and its
  name in capitals, with _ for -, as in TRACER_FAIL_ON. The command line wins.";

impl DiagnoseArgs {
    /// What to do, with everything looked up.
    pub fn resolve(&self, host: &Host) -> anyhow::Result<ObserveConfig> {
        let filter = self.subject.resolve();
        let emission = filter.emission();
        Ok(ObserveConfig {
            output: OutputSettings {
                format: match self.output {
                    FormArg::Text => Format::Text,
                    FormArg::Wide => Format::Wide,
                    FormArg::Json => Format::Json,
                    FormArg::Markdown => {
                        bail!("-o markdown is for --explain: findings are text, wide or json")
                    }
                },
                color: self.color.resolve(host),
                width: host.width,
                filter,
                report: true,
                ..OutputSettings::default()
            },
            duration: self.duration.map(|span| span.0),
            ..self.trace.resolve(host, self.source()?, emission)?
        })
    }

    fn source(&self) -> anyhow::Result<Source> {
        one_source(self.local, self.replay.is_some(), self.agents_selected_by())?;
        match (self.local, &self.replay) {
            (false, None) => self.from_agents(),
            (true, _) => Ok(Source::Local { record: None }),
            (false, Some(file)) => Ok(Source::Replay(file.clone())),
        }
    }

    fn line(&self) -> Severity {
        match self.fail_on {
            SeverityArg::Info => Severity::Info,
            SeverityArg::Warning => Severity::Warning,
            SeverityArg::Error => Severity::Error,
        }
    }

    /// Does what was asked for: says something of the rules, or looks for findings.
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
        let told_who = config.inventory.is_some() || config.cluster.is_some();
        if !told_who && matches!(config.source, Source::Local { .. } | Source::Replay(_)) {
            eprintln!(
                "note: without --inventory it is not known who is who, and most causes cannot be told; `tracer diagnose \
                 --help` says how to make one"
            );
        }
        let worst = summary.report.and_then(|digest| digest.worst);
        Ok(match worst {
            Some(worst) if worst >= self.line() => Exit::Found,
            _ => Exit::Fine,
        })
    }
}

#[cfg(feature = "client")]
impl DiagnoseArgs {
    fn agents_selected_by(&self) -> Option<&'static str> {
        self.agents.selected_by()
    }

    fn from_agents(&self) -> anyhow::Result<Source> {
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

    fn from_agents(&self) -> anyhow::Result<Source> {
        Err(super::trace::no_client())
    }
}
