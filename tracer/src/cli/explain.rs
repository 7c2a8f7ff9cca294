//! `tracer explain`: the options, where objects and events come from, and the exit code.

#[cfg(feature = "client")]
use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

#[cfg(feature = "client")]
use super::agents::AgentsArgs;
use super::captures;
use super::form::ColorArgs;
use super::trace::{TraceArgs, one_source};
use super::values::Span as SpanArg;
use super::{Exit, Host};
use crate::config::{ObserveConfig, Source};
use crate::run::{Collected, Collecting, Predicate};
use tracer_core::explain::{
    self, Coverage, Explanation, Followed, Input, Span, Subject, Target, VerdictKind,
    text::ExplainText,
};
use tracer_core::identity::Index;
use tracer_core::model::event::Event;
use tracer_core::model::time::Timestamp;
use tracer_core::view::WallClock;
use tracer_core::view::filter::FilterConfig;

mod missing;
mod objects;

/// How far back events are looked at.
const LATELY: Duration = Duration::from_secs(15 * 60);

/// Arguments of `tracer explain`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  \
        tracer explain -n shop web-7d9f --to api:8080\n  \
        tracer explain shop/web-7d9f --to db.data --watch\n  \
        tracer explain default/deb-ubuntu --to web --inventory inventory.yaml\n\n\
        `--help` explains the output and the exit codes, and has more options.",
    after_long_help = HELP
)]
pub struct ExplainArgs {
    /// The pod: NAME, NAMESPACE/NAME, or a workload as in deploy/web, of which one pod is taken
    #[arg(value_name = "POD")]
    pod: String,

    /// What it can't reach, with :PORT or :PORT/udp if wanted: a name as the application uses it, NAMESPACE/NAME
    /// of a Service or pod (or svc/NAME, pod/NAME), an address, or a URL
    #[arg(long, value_name = "TARGET")]
    to: Option<String>,

    /// The pod's namespace, unless POD names one [default: that of the kubectl context]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,

    /// Wait until the pod tries it, then explain
    #[arg(long)]
    watch: bool,

    /// Take events from this capture file instead: pcap or pcapng, also with gzip. Repeat it for several; as
    /// NODE=FILE, captures of both nodes show where between them an attempt ended
    #[arg(long, value_name = "[NODE=]FILE")]
    replay: Vec<PathBuf>,

    /// Take events from this machine: trace it until Ctrl-C, --duration or, with --watch, an attempt
    #[arg(long)]
    #[cfg_attr(not(agent), arg(hide = true))]
    local: bool,

    /// With --local: end after this time, as in 30s or 5m
    #[arg(long, value_name = "DURATION", requires = "local")]
    duration: Option<SpanArg>,

    /// Form of the output: text or json (one object)
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t = FormArg::Text)]
    output: FormArg,

    #[command(flatten)]
    color: ColorArgs,

    #[cfg(feature = "client")]
    #[command(flatten)]
    agents: AgentsArgs,

    #[command(flatten)]
    trace: TraceArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormArg {
    Text,
    Json,
}

const HELP: &str = "\
The output:
  The first line is the answer: ✗ it fails, or the configuration prevents it;
  ✓ it works; ? nothing decides it. The sections below are what it rests on:
    pod        the node, the state and the resolver
    name       the names that the pod's resolver tries, in order: what the
               inventory says about each, and what it was answered lately
    service    what an ExternalName stands for; addresses, ports,
               endpoints, traffic policies
    policies   what NetworkPolicies say, each way, for each endpoint
    attempts   lookups, connections, UDP flows and pings of the last 15
               minutes, with their outcomes; by endpoint where it is known;
               packets of them that a kernel dropped; where the latest one
               that failed ended, as the agents of both nodes saw it
    findings   those that concern it
    unknown    what could not be known, and why
    next       the one thing to do
  Facts of objects are stated as facts. Whether the network plugin enforces
  NetworkPolicies is in no object, so a denial is a possible cause.
  -o json prints one object (docs/explain.md).

Where objects and events come from:
  Objects: the API server of the current kubectl context. Needs list on pods,
  services, endpointslices and networkpolicies, in all namespaces or in those
  that matter; what cannot be listed is reported as unknown. Events: the
  agents of that cluster.
  --inventory takes objects from a file and asks no cluster, unless --context,
  --kubeconfig or --server does. --replay takes events from captures, --local
  from this machine; both need names (--inventory, or --kubeconfig with
  --local).

Examples:
  tracer explain -n shop web-7d9f --to api:8080
  tracer explain shop/web-7d9f --to data/db:5432 --watch
  tracer explain deploy/web -n shop --to https://api.example.com
  tracer explain shop/web-7d9f                what fails in this pod now
  tracer explain default/deb-ubuntu --to web --inventory inventory.yaml --replay run.pcapng
  tracer explain default/deb-ubuntu --to 10.96.0.1:443/tcp -o json

Exit codes:
  0  the latest attempts succeeded
  1  it fails, or the configuration prevents it
  2  it could not be explained: wrong usage, no such pod or target, no
     permission
  3  nothing was seen that decides it";

impl ExplainArgs {
    /// Runs the command.
    pub(super) fn run(&self, host: &Host, out: &mut impl Write) -> anyhow::Result<Exit> {
        one_source(
            self.local,
            !self.replay.is_empty(),
            self.agents_selected_by(),
        )?;
        self.one_cluster()?;
        if self.watch && !self.replay.is_empty() {
            bail!("--watch waits for new attempts, and --replay reads the past: leave one out");
        }
        let objects = self.objects(host)?;
        let namespace = self.namespace.as_deref().or(objects.namespace.as_deref());
        let subject = Subject::find(&self.pod, namespace, &objects.index, &objects.coverage)
            .map_err(|error| missing::pod(&error))?;
        let target = self.to.as_deref().map(|to| {
            Target::parse(to, &subject.namespace, &objects.index, &objects.coverage)
                .map_err(|error| missing::target(&error))
        });
        let question = Rc::new(Question {
            objects,
            subject,
            target: target.transpose()?,
        });
        let collected = self.collect(host, &question)?;
        if collected.gave_up && self.watch {
            return Ok(Exit::Undecided);
        }
        let explanation = question.explain(&collected, self.span(&collected));
        self.print(&explanation, host, out)?;
        Ok(exit(&explanation))
    }

    fn print(
        &self,
        explanation: &Explanation,
        host: &Host,
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        let text = match self.output {
            FormArg::Json => {
                let mut line = explanation.json().context("cannot write JSON")?;
                line.push('\n');
                line
            }
            FormArg::Text => ExplainText {
                color: self.color.resolve(host),
                width: host.width,
                ages: self.replay.is_empty(),
                time_zone: jiff::tz::TimeZone::system(),
            }
            .write(explanation),
        };
        out.write_all(text.as_bytes())
            .context("cannot write to standard output")
    }

    /// The time that the events cover.
    fn span(&self, collected: &Collected) -> Option<Span> {
        let span = match (self.local, self.replay.len()) {
            (true, _) => Span::Whole("this run"),
            (false, 0) => Span::Last(LATELY),
            (false, 1) => Span::Whole("the capture"),
            (false, _) => Span::Whole("the captures"),
        };
        collected.complete.then_some(span)
    }

    fn collect(&self, host: &Host, question: &Rc<Question>) -> anyhow::Result<Collected> {
        let own = Rc::clone(question);
        let is_own: Predicate = Rc::new(move |event| own.is_own(event));
        let awaited = Rc::clone(question);
        let awaited: Predicate = Rc::new(move |event| awaited.is_attempt(event));
        let collecting = Collecting {
            is_own,
            awaited: self.watch.then_some(awaited),
        };
        if !self.replay.is_empty() {
            let config = self.config(host, Source::Replay(self.replay[0].clone()))?;
            return match captures::of_nodes(&self.replay, &question.objects.index)? {
                Some(captures) => {
                    Collected::from_captures_of_nodes(&config, &captures, &collecting)
                }
                None => Collected::from_captures(&config, &self.replay, &collecting),
            };
        }
        if self.local {
            let config = ObserveConfig {
                duration: self.duration.map(|span| span.0),
                ..self.config(host, Source::Local { record: None })?
            };
            return from_probes(&config, &collecting);
        }
        self.collect_from_agents(question, &collecting)
    }

    fn config(&self, host: &Host, source: Source) -> anyhow::Result<ObserveConfig> {
        let filter = FilterConfig::default();
        self.trace.resolve(host, source, filter.emission())
    }
}

#[cfg(agent)]
fn from_probes(config: &ObserveConfig, collecting: &Collecting) -> anyhow::Result<Collected> {
    Collected::from_probes(config, collecting)
}

#[cfg(not(agent))]
fn from_probes(_: &ObserveConfig, _: &Collecting) -> anyhow::Result<Collected> {
    bail!("--local: this build of tracer cannot trace")
}

#[cfg(feature = "client")]
impl ExplainArgs {
    fn agents_selected_by(&self) -> Option<&'static str> {
        self.agents.selected_by()
    }

    /// A pod is of one cluster, and two clusters can have the same names and addresses.
    fn one_cluster(&self) -> anyhow::Result<()> {
        let contexts = self.trace.kube.contexts();
        if contexts.len() > 1 {
            bail!(
                "--context {}: a pod is of one cluster, so give one context",
                contexts.join(",")
            );
        }
        Ok(())
    }

    /// Whether no cluster is asked: an inventory was given and no option selects a cluster or an agent.
    fn is_offline(&self) -> bool {
        let asks = self.agents.selected_by().is_some() || self.trace.kube.is_given();
        self.trace.sources.inventory.is_some() && !asks
    }

    fn collect_from_agents(
        &self,
        question: &Question,
        collecting: &Collecting,
    ) -> anyhow::Result<Collected> {
        if self.is_offline() {
            if self.watch {
                bail!(
                    "--watch needs a source of events: --local, or an option that selects a cluster or an agent \
                     (--context, --kubeconfig, --server)"
                );
            }
            let mut collected = Collected::none();
            let no_source = "what the pod tried: an inventory has no events; give captures with --replay, or select a \
                             cluster with --context";
            collected.unknown.push(no_source.to_owned());
            return Ok(collected);
        }
        let agents = self.agents.resolve(&self.trace.kube)?;
        let subject = &question.subject;
        let filter = FilterConfig {
            namespaces: vec![subject.namespace.parse().context("the pod's namespace")?],
            pods: vec![subject.full_name().parse().context("the pod's name")?],
            ..FilterConfig::default()
        };
        let waits = || eprintln!("{}", question.waiting());
        Collected::from_agents(&agents, &filter, LATELY, collecting, &waits)
    }
}

#[cfg(not(feature = "client"))]
impl ExplainArgs {
    fn agents_selected_by(&self) -> Option<&'static str> {
        None
    }

    #[expect(clippy::unnecessary_wraps, reason = "the same as with the feature")]
    fn one_cluster(&self) -> anyhow::Result<()> {
        Ok(())
    }

    fn collect_from_agents(&self, _: &Question, _: &Collecting) -> anyhow::Result<Collected> {
        let mut collected = Collected::none();
        collected
            .unknown
            .push("what the pod tried: give captures with --replay".to_owned());
        Ok(collected)
    }
}

/// The objects that are there.
struct Objects {
    index: Index,
    coverage: Coverage,
    /// The namespace of the kubectl context.
    namespace: Option<String>,
    /// What is unknown of them.
    unknown: Vec<String>,
}

/// What is asked.
struct Question {
    objects: Objects,
    subject: Subject,
    target: Option<Target>,
}

impl Question {
    fn input<'a>(
        &'a self,
        events: &'a [Event],
        now: Timestamp,
        clock: &'a dyn WallClock,
        span: Option<Span>,
        unknown: &[String],
    ) -> Input<'a> {
        let mut all = self.objects.unknown.clone();
        all.extend_from_slice(unknown);
        Input {
            index: &self.objects.index,
            coverage: &self.objects.coverage,
            subject: &self.subject,
            target: self.target.as_ref(),
            events,
            span,
            now,
            clock,
            unknown: all,
            followed: None,
        }
    }

    fn explain(&self, collected: &Collected, span: Option<Span>) -> Explanation {
        let mut input = self.input(
            &collected.events,
            collected.now,
            &*collected.clock,
            span,
            &collected.unknown,
        );
        let attempt = explain::failed_attempt(&input);
        let followed = attempt.zip(collected.follow.as_ref());
        let followed = followed.map(|(attempt, follow)| (attempt, follow(attempt)));
        match &followed {
            Some((attempt, Ok(Some(path)))) => input.followed = Some(Followed { attempt, path }),
            Some((_, Err(reason))) => {
                (input.unknown).push(format!("where the latest attempt ended: {reason}"));
            }
            _ => {}
        }
        explain::explain(&input)
    }

    fn is_own(&self, event: &Event) -> bool {
        explain::is_needed(&self.subject, event)
    }

    fn is_attempt(&self, event: &Event) -> bool {
        let clock = |_: Timestamp| jiff::Timestamp::UNIX_EPOCH;
        let events = std::slice::from_ref(event);
        explain::attempted(&self.input(events, Timestamp(0), &clock, None, &[]))
    }

    /// What `--watch` waits for, and the command that makes it happen.
    #[cfg(feature = "client")]
    fn waiting(&self) -> String {
        let own = self.subject.full_name();
        let mut text = match &self.target {
            Some(target) => format!("waiting until {own} tries {target}; Ctrl-C ends"),
            None => format!("waiting until {own} tries anything; Ctrl-C ends"),
        };
        let clock = |_: Timestamp| jiff::Timestamp::UNIX_EPOCH;
        if let Some(probe) = explain::probe(&self.input(&[], Timestamp(0), &clock, None, &[])) {
            // Writing to a String does not fail.
            let _ = write!(text, "\nto try it now: {}", probe.command);
        }
        text
    }
}

/// The answer as an exit code.
fn exit(explanation: &Explanation) -> Exit {
    match explanation.verdict.kind {
        VerdictKind::Works => Exit::Fine,
        VerdictKind::Fails | VerdictKind::Blocked => Exit::Found,
        VerdictKind::Unknown => Exit::Undecided,
    }
}
