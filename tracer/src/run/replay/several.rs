//! Captures of several nodes, each with a pipeline of its own, and the paths that they show together.
//!
//! Events come in the order of the captures' times. A node's capture shows its own pods alone, so that a packet in it
//! says nothing about the other end's interface; which those are, the inventory knows. Paths are joined at the end, for
//! a report: by then both ends of every connection have been decided.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::{ReplaySource, wall};
use crate::config::ObserveConfig;
use crate::run::inventory;
use crate::run::notice::Notices;
use crate::run::output::Output;
use crate::run::session::{self, Account, Session, Source, Step};
use tracer_core::files::inventory::load;
use tracer_core::model::cluster::{ClusterChange, Inventory};
use tracer_core::model::event::{Body, Event};
use tracer_core::model::flow::{Protocol, Role};
use tracer_core::model::loss::Losses;
use tracer_core::model::signal::Signal;
use tracer_core::model::time::Timestamp;
use tracer_core::path::{self, Clock, Join, NodeFacts, Question, Watch};
use tracer_core::pipeline::{Input, Pipeline};
use tracer_core::view::Next;
use tracer_core::view::summary::Summary;

/// Events that are kept for the paths.
const MAX_KEPT: usize = 200_000;
/// The clocks of two nodes without a connection that shows their difference are taken to agree within this time.
const UNKNOWN_CLOCK: Duration = Duration::from_secs(1);

/// Replays captures of several nodes until the end of the longest one.
pub fn observe_replays(
    config: &ObserveConfig,
    captures: &[(Arc<str>, PathBuf)],
) -> Result<Summary> {
    session::block_on(async {
        let mut screen = Pipeline::new(config.pipeline.clone());
        let mut known = Inventory::default();
        if let Some(path) = &config.inventory {
            let loaded = load(path)?;
            inventory::log_loaded(path, &loaded);
            known = loaded.inventory.clone();
            let change = ClusterChange::Replace(Box::new(loaded.inventory));
            // For the names in the filter.
            screen.step(Input::Change(Timestamp(0), change), &mut Vec::new());
        }
        let captures = captures
            .iter()
            .map(|(node, file)| Capture::open(config, node, file, &known))
            .collect::<Result<Vec<_>>>()?;
        let source = SeveralSource {
            captures,
            events: VecDeque::new(),
            kept: Vec::new(),
            more: false,
        };
        let output = Output::new(screen, Notices::Terminal).on_screen(
            &config.output,
            &"".into(),
            Box::new(wall),
        );
        Session::new(None)?.run(source, output).await
    })
}

/// The capture of one node.
struct Capture {
    node: Arc<str>,
    source: ReplaySource,
    pipeline: Pipeline,
    /// The next input.
    pending: Option<Input>,
    ended: bool,
    /// It shows the pods of a node that the inventory knows.
    placed: bool,
    /// Its recording says that dropped packets are in it.
    sees_drops: bool,
}

impl Capture {
    fn open(
        config: &ObserveConfig,
        node: &Arc<str>,
        file: &std::path::Path,
        known: &Inventory,
    ) -> Result<Capture> {
        let of_node = |pod: &&tracer_core::model::cluster::Pod| pod.node.as_ref() == Some(node);
        let placed = known.pods.iter().any(|pod| of_node(&pod));
        let mut config = config.clone();
        config.pipeline.index.node = placed.then(|| Arc::clone(node));
        let only = placed.then_some(node);
        let (source, pipeline) = ReplaySource::open(&config, file, only, Notices::Terminal)?;
        Ok(Capture {
            node: Arc::clone(node),
            source,
            pipeline,
            pending: None,
            ended: false,
            placed,
            sees_drops: false,
        })
    }

    /// Fetches the next input, if it is there. Returns whether there is one, or none will come.
    fn fetch(&mut self) -> bool {
        if self.pending.is_none() && !self.ended {
            match self.source.step() {
                Some(Step::Input(input)) => self.pending = Some(input),
                Some(_) => {
                    self.pending = Some(Input::End(self.source.span.latest));
                    self.ended = true;
                }
                None => return false,
            }
        }
        true
    }
}

/// Several captures as one source.
struct SeveralSource {
    captures: Vec<Capture>,
    /// Events to be shown, each with the time at which it was decided.
    events: VecDeque<(Arc<str>, Event, Timestamp)>,
    /// Events that paths rest on.
    kept: Vec<(Arc<str>, Event)>,
    /// There were more of them.
    more: bool,
}

impl SeveralSource {
    /// Runs the earliest input. Returns whether there was one.
    fn run_one(&mut self) -> bool {
        let pending = self.captures.iter_mut().filter(|one| one.pending.is_some());
        let at = |one: &&mut Capture| one.pending.as_ref().map(Input::time);
        let Some(capture) = pending.min_by_key(at) else {
            return false;
        };
        let Some(input) = capture.pending.take() else {
            return false;
        };
        let decided = input.time();
        if let Input::Signal(_, Signal::DropsSeen(seen)) = input {
            capture.sees_drops = seen;
        }
        let mut events = Vec::new();
        capture.pipeline.step(input, &mut events);
        for event in events {
            if capture.placed && rests(&event) {
                match self.kept.len() < MAX_KEPT {
                    true => self.kept.push((Arc::clone(&capture.node), event.clone())),
                    false => self.more = true,
                }
            }
            self.events
                .push_back((Arc::clone(&capture.node), event, decided));
        }
        true
    }

    /// Adds paths to the findings of a report.
    fn add_paths(&self, output: &mut Output) {
        let Some(report) = output.report() else {
            return;
        };
        let join = self.join();
        let questions: Vec<(String, Question)> = report
            .open_findings()
            .filter(|(_, _, finding)| path::concerns(finding.rule))
            .filter_map(|(node, event, finding)| {
                Some((finding.id.clone(), Question::about(node?, event)?))
            })
            .collect();
        for (id, question) in questions {
            if let Some(path) = join.path(&question) {
                report.set_path(&id, path);
            }
        }
    }

    fn join(&self) -> Join {
        let clocks = path::clocks(self.kept.iter().map(|(node, event)| (node, event)));
        let mut join = Join::default();
        for capture in &self.captures {
            let span = capture.source.span;
            let known = clocks.get(&capture.node).copied();
            let clock = known.unwrap_or(Clock {
                ahead_ns: 0,
                error: UNKNOWN_CLOCK,
            });
            // With an unknown clock, or without all events, nothing is claimed from absence.
            let watched = match (known, span.first, self.more) {
                (Some(_), Some(first), false) => self.watched(&capture.node, first, span.latest),
                _ => Vec::new(),
            };
            let facts = NodeFacts {
                watched,
                sees_drops: capture.sees_drops,
            };
            join.know(&capture.node, facts, clock);
        }
        for (node, event) in &self.kept {
            let clock = clocks.get(node).copied().unwrap_or(Clock {
                ahead_ns: 0,
                error: UNKNOWN_CLOCK,
            });
            join.feed(node, event, clock);
        }
        join
    }

    /// A pod's port counts as watched while the capture lasts if another connection to it shows both directions.
    fn watched(&self, node: &Arc<str>, from: Timestamp, until: Timestamp) -> Vec<Watch> {
        let own = self.kept.iter().filter(|(of, _)| of == node);
        let seen: BTreeMap<(IpAddr, u16), Protocol> =
            own.filter_map(|(_, event)| served(event)).collect();
        seen.into_iter()
            .map(|((pod, port), protocol)| Watch {
                pod,
                only: Some((protocol, port)),
                from,
                until,
            })
            .collect()
    }
}

/// Whether paths rest on events of this kind.
fn rests(event: &Event) -> bool {
    !matches!(
        event.body,
        Body::Lookup(_) | Body::IcmpError(_) | Body::Finding(_)
    )
}

/// The pod's port that this event shows in both directions.
fn served(event: &Event) -> Option<((IpAddr, u16), Protocol)> {
    let (flow, role, both) = match &event.body {
        Body::Tcp(tcp) => (tcp.flow, tcp.role, tcp.handshake.is_some()),
        Body::Udp(udp) => {
            let totals = udp.totals;
            let both = totals.tx.packets > 0 && totals.rx.packets > 0;
            (udp.flow, udp.role, both)
        }
        Body::Dns(exchange, _) => (exchange.flow, exchange.role, exchange.rcode.is_some()),
        _ => return None,
    };
    (role == Role::Server && both).then(|| ((flow.pod.ip(), flow.pod.port()), flow.protocol))
}

impl Source for SeveralSource {
    const REPORT_EVERY: Duration = Duration::from_millis(500);

    async fn wait(&mut self) -> Result<()> {
        match self
            .captures
            .iter_mut()
            .find(|one| one.pending.is_none() && !one.ended)
        {
            Some(capture) => capture.source.wait().await,
            None => Ok(()),
        }
    }

    fn next(&mut self, _output: &Output) -> Result<Option<Step>> {
        loop {
            if let Some((node, event, decided)) = self.events.pop_front() {
                return Ok(Some(Step::Event(node, Box::new(event), decided)));
            }
            for capture in &mut self.captures {
                if !capture.fetch() {
                    return Ok(None);
                }
            }
            if !self.run_one() {
                return Ok(Some(Step::End));
            }
        }
    }

    fn report(&mut self, output: &mut Output) -> Result<Next> {
        Ok(if output.is_unread() {
            Next::Closed
        } else {
            Next::Continue
        })
    }

    async fn finish(self, output: &mut Output, next: Next) -> Result<Account> {
        if next == Next::Continue {
            self.add_paths(output);
            output.close()?;
        }
        let mut account = Account::default();
        let mut packets = 0;
        let mut losses = Losses::default();
        for capture in &self.captures {
            let Capture {
                node,
                source,
                pipeline,
                placed,
                ..
            } = capture;
            packets += source.figures.read.packets;
            losses.merge(&source.figures.losses);
            losses.merge(&pipeline.losses());
            let notes = source.notes(pipeline.unseen().count());
            (account.notes).extend(notes.into_iter().map(|note| format!("{node}: {note}")));
            if !placed {
                account.notes.push(format!(
                    "{node}: the inventory has no pod on a node of this name, so this capture is part of no path; \
                     name the node with --replay NODE=FILE"
                ));
            }
            let span = source.span;
            let lasts = span.latest.since(span.first.unwrap_or(span.latest));
            account.duration = account.duration.max(Some(lasts));
        }
        if self.more {
            account.notes.push(format!(
                "paths rest on the first {MAX_KEPT} events, so nothing is claimed from absence"
            ));
        }
        if packets == 0 {
            account.empty = self.captures.first().map(|one| one.source.name.clone());
        }
        account.packets = Some(packets);
        account.losses = losses;
        Ok(account)
    }
}
