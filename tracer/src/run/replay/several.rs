//! Captures of several nodes, each with a pipeline of its own, and the paths that they show together.
//!
//! Events come in the order of the captures' times. A node's capture shows its own pods alone, so that a packet in it
//! says nothing about the other end's interface; which those are, the inventory knows. Paths are joined at the end, for
//! a report: by then both ends of every connection have been decided.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::sightings::{MAX_KEPT, Sightings, Watched};
use super::{ReplaySource, wall};
use crate::config::ObserveConfig;
use crate::run::inventory;
use crate::run::notice::Notices;
use crate::run::output::{Output, Tap};
use crate::run::session::{self, Account, Session, Source, Step};
use tracer_core::diagnose::can_be_followed;
use tracer_core::files::inventory::load;
use tracer_core::model::cluster::{ClusterChange, Inventory};
use tracer_core::model::event::Event;
use tracer_core::model::loss::Losses;
use tracer_core::model::signal::Signal;
use tracer_core::model::time::Timestamp;
use tracer_core::path::{Join, Question};
use tracer_core::pipeline::{Input, Pipeline};
use tracer_core::view::Next;
use tracer_core::view::report::FindingKey;
use tracer_core::view::summary::Summary;

/// Replays captures of several nodes until the end of the longest one.
pub fn observe_replays(
    config: &ObserveConfig,
    captures: &[(Arc<str>, PathBuf)],
) -> Result<Summary> {
    session::block_on(async {
        let (source, screen) = SeveralSource::open(config, captures)?;
        let output = Output::new(screen, Notices::Terminal).on_screen(
            &config.output,
            &"".into(),
            Box::new(wall),
        );
        Session::new(None)?.run(source, output).await
    })
}

/// The same, with a tap instead of a screen. Returns what the events show of both ends, too.
pub(in crate::run) async fn replay_several_into(
    config: &ObserveConfig,
    captures: &[(Arc<str>, PathBuf)],
    tap: Box<dyn Tap>,
) -> Result<(Summary, Join)> {
    let (mut source, screen) = SeveralSource::open(config, captures)?;
    let joined = Rc::new(RefCell::new(Join::default()));
    source.joined = Some(Rc::clone(&joined));
    let output = Output::new(screen, Notices::Terminal).with_taps(vec![tap]);
    let summary = Session::new(None)?.run(source, output).await?;
    Ok((summary, joined.take()))
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
    /// What paths rest on.
    sightings: Sightings,
    /// Where it is left at the end, for a caller without a report.
    joined: Option<Rc<RefCell<Join>>>,
}

impl SeveralSource {
    /// Opens the captures. The pipeline has the inventory, for the names in a filter. Needs a tokio runtime.
    fn open(
        config: &ObserveConfig,
        captures: &[(Arc<str>, PathBuf)],
    ) -> Result<(SeveralSource, Pipeline)> {
        let mut screen = Pipeline::new(config.pipeline.clone());
        let mut known = Inventory::default();
        if let Some(path) = &config.inventory {
            let loaded = load(path)?;
            inventory::log_loaded(path, &loaded);
            known = loaded.inventory.clone();
            let change = ClusterChange::Replace(Box::new(loaded.inventory));
            screen.step(Input::Change(Timestamp(0), change), &mut Vec::new());
        }
        let captures = captures
            .iter()
            .map(|(node, file)| Capture::open(config, node, file, &known))
            .collect::<Result<Vec<_>>>()?;
        let source = SeveralSource {
            captures,
            events: VecDeque::new(),
            sightings: Sightings::default(),
            joined: None,
        };
        Ok((source, screen))
    }

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
            if capture.placed {
                self.sightings.keep(&capture.node, &event);
            }
            self.events
                .push_back((Arc::clone(&capture.node), event, decided));
        }
        true
    }

    fn join(&self) -> Join {
        let captures = self.captures.iter().map(|capture| Watched {
            node: &capture.node,
            span: capture.source.span,
            sees_drops: capture.sees_drops,
        });
        self.sightings.join(captures)
    }

    /// Adds paths to the findings of a report.
    fn add_paths(&self, output: &mut Output) {
        let Some(report) = output.report() else {
            return;
        };
        let join = self.join();
        let questions: Vec<(FindingKey, Question)> = report
            .open_findings()
            .filter(|open| can_be_followed(open.finding.rule))
            .filter_map(|open| Some((open.key.clone(), Question::about(open.node?, open.event)?)))
            .collect();
        for (key, question) in questions {
            if let Some(path) = join.path(&question) {
                report.set_path(&key, path);
            }
        }
    }
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
            if let Some(joined) = &self.joined {
                joined.replace(self.join());
            }
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
        if self.sightings.has_more() {
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
