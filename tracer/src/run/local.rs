//! The probes of this machine: for `tracer observe --local`, and for the agent, which adds what it serves ([`Serving`]).
//!
//! Records and interfaces come from the capture's threads, pods behind interfaces from a thread that looks for them, a
//! changed inventory from the file's watch. Where the pipeline is too slow the records wait in the kernel's ring buffer,
//! and what has no room there is counted there. With `--record` the records are also handed to a thread that writes them
//! ([`super::recorder`]).

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::agent::Serving;
use super::inventory;
use super::notes::Notes;
use super::notice;
use super::output::{self, Output};
use super::recorder::Recorder;
use super::signals::Signals;
use crate::capture::live::{Capture, CaptureMessage, Clock, InterfaceEvent, InterfaceStatus};
use crate::cluster::interface_watch::{self, InterfaceNotice};
use crate::cluster::netns_id::NetnsId;
use crate::cluster::pod_interfaces::InterfaceResolver;
use crate::cluster::reload::POLL_EVERY;
use crate::cluster::watch::{SyncReport, WatchConfig, Watches};
use crate::config::{ClusterConfig, ObserveConfig};
use crate::stream::hub::Question;
use tracer_core::diagnose::DiagnosisSettings;
use tracer_core::files::capture::FileWriter;
use tracer_core::files::inventory::{InventoryFileError, Loaded};
use tracer_core::model::cluster::{Change, Kind};
use tracer_core::model::flow::{Direction, Ifindex};
use tracer_core::model::time::Timestamp;
use tracer_core::pipeline::{Input, Pipeline};
use tracer_core::view::Next;
use tracer_core::view::filter::emission::Unrecorded;
use tracer_core::view::summary::Summary;

/// How often the kernel's flow counters are read: that a UDP flow had no answer is known so much later.
const SWEEP_EVERY: Duration = Duration::from_secs(2);
/// Reading them takes time with the number of flows; it may take one part in so many of a CPU.
const SWEEP_SHARE: u32 = 50;
/// How often losses are looked at and told, if there are new ones.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Identity changes on their way to the pipeline.
const CHANGES: usize = 1024;

/// Traces this machine until Ctrl-C, the end of `--duration` or `--count`, or a closed output; writes the packets to `record`,
/// too.
pub fn observe_local(config: &ObserveConfig, record: Option<&Path>) -> Result<Summary> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    runtime.block_on(async {
        Run::start(config, record, None)?
            .until_stopped(config.duration)
            .await
    })
}

/// Asks the cluster for names, where one is to be asked.
fn watch_cluster(config: &ObserveConfig, changes: mpsc::Sender<Change>) -> Result<Option<Watches>> {
    let watch = |cluster: &ClusterConfig| WatchConfig {
        source: cluster.source.clone(),
        remote: cluster.remote,
        node: Arc::clone(&config.node),
    };
    let watches = config
        .cluster
        .as_ref()
        .map(|cluster| Watches::spawn(watch(cluster), changes));
    Ok(watches.transpose()?)
}

/// Says what a person should know of the cluster's watches.
fn tell_news(watches: Option<&Watches>) {
    for news in watches
        .into_iter()
        .flat_map(|watches| watches.sync().notices())
    {
        match news.trouble {
            true => notice::warn(&news.text),
            false => notice::say(&news.text),
        }
    }
}

pub(super) struct Run {
    output: Output,
    capture: Capture,
    recorder: Option<Recorder>,
    messages: mpsc::Receiver<CaptureMessage>,
    news: std::sync::mpsc::Sender<InterfaceNotice>,
    changes: mpsc::Receiver<Change>,
    inventory: mpsc::Receiver<Result<Loaded, InventoryFileError>>,
    /// Where names come from a cluster. Its changes are among `changes`.
    watches: Option<Watches>,
    /// The name of this node.
    node: Arc<str>,
    clock: Arc<Clock>,
    /// Every record from before this moment is in the pipeline.
    read_until: Timestamp,
    started: Instant,
    notes: Notes,
    /// Directions of interfaces that were told as invisible.
    unseen: HashSet<(Ifindex, Direction)>,
    /// The interfaces that are traced.
    traced: BTreeSet<Ifindex>,
    /// Those of them that have nothing to show: their packets are counted and not told.
    muted: BTreeSet<Ifindex>,
    /// The probes can mute interfaces.
    mutes: bool,
    /// Where names come from.
    names: Names,
    /// Of an agent.
    serving: Option<Serving>,
    signals: Signals,
}

/// Where names come from, and since when they have been so.
pub(super) struct Names {
    pub(super) source: String,
    pub(super) known: bool,
    pub(super) as_of: Option<jiff::Timestamp>,
}

impl Names {
    fn of_cluster(report: &SyncReport) -> Names {
        let stale = report.stale_since();
        Names {
            source: format!("cluster {}: {report}", report.server),
            known: report.is_synced() && stale.is_none(),
            as_of: match stale {
                None if report.is_synced() => Some(jiff::Timestamp::now()),
                stale => stale,
            },
        }
    }

    fn of(inventory: Option<&Path>) -> Names {
        match inventory {
            Some(path) => Names {
                source: format!("inventory {}", path.display()),
                known: true,
                as_of: Some(jiff::Timestamp::now()),
            },
            None => Names {
                source: "none: pods are shown by address".to_owned(),
                known: false,
                as_of: None,
            },
        }
    }
}

impl Run {
    /// Loads, attaches, and is ready to run; within a tokio runtime. With `serving` events go there instead of to standard
    /// output.
    pub(super) fn start(
        config: &ObserveConfig,
        record: Option<&Path>,
        serving: Option<Serving>,
    ) -> Result<Run> {
        let signals = Signals::listen()?;
        let mut pipeline = Pipeline::new(config.pipeline.clone());
        let mut node_addresses = Vec::new();
        let mut file = None;
        if let Some(path) = &config.inventory {
            let (open, loaded) = inventory::open(path)?;
            file = Some(open);
            let nodes = loaded.inventory.nodes.iter();
            node_addresses = nodes
                .filter(|node| node.name == config.node)
                .flat_map(|node| node.ips.iter().copied())
                .collect();
            let change = Change::Replace(Box::new(loaded.inventory));
            // Before everything that can be seen from now on.
            pipeline.step(Input::Change(Timestamp(0), change), &mut Vec::new());
        }
        let (changed, changes) = mpsc::channel(CHANGES);
        // Before anything is attached, too: its first answers are awaited then, and nothing needs to be undone where it
        // cannot be asked.
        let watches = watch_cluster(config, changed.clone())?;
        // Before anything is attached: where the file cannot be had nothing needs to be undone.
        let writer = record.map(FileWriter::create).transpose()?;
        let resolver =
            InterfaceResolver::new().context("cannot ask the kernel for namespace ids")?;
        let (capture, messages) = Capture::start(crate::capture::Options {
            node_addresses,
            ..config.capture.clone()
        })?;
        let (news, told) = std::sync::mpsc::channel();
        interface_watch::spawn(resolver, told, move |change| {
            match changed.blocking_send(change) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })
        .context("cannot start the thread that finds the pods behind interfaces")?;
        let (read, inventory) = mpsc::channel(1);
        let clock = capture.clock();
        let wall = Arc::clone(&clock);
        let wall =
            move |at: Timestamp| jiff::Timestamp::try_from(wall.wall(at)).unwrap_or_default();
        let outlets = match &serving {
            Some(serving) => serving.outlets(Arc::new(wall)),
            None => output::stdout(&config.output, &config.node, Box::new(wall)),
        };
        let mut output = Output::new(pipeline, outlets);
        if let Some(serving) = &serving {
            output.guard(serving.exports.privacy());
        }
        output.without(Unrecorded::new(
            config.capture.emission.clone(),
            config.capture.dns_ports.clone(),
        ));
        output.warn_of_filters();
        output.tell_news();
        let recorder = match record.zip(writer) {
            Some((path, writer)) => {
                let file = path.display().to_string();
                Some(Recorder::start(file, writer, Arc::clone(&clock))?)
            }
            None => None,
        };
        let run = Run {
            output,
            capture,
            recorder,
            messages,
            news,
            changes,
            inventory,
            watches,
            node: Arc::clone(&config.node),
            read_until: clock.now(),
            clock,
            started: Instant::now(),
            notes: Notes::default(),
            unseen: HashSet::new(),
            traced: BTreeSet::new(),
            muted: BTreeSet::new(),
            mutes: config.capture.emission.by_interface,
            names: Names::of(config.inventory.as_deref()),
            serving,
            signals,
        };
        run.announce(&config.node);
        if let Some(file) = file {
            tokio::spawn(file.watch(POLL_EVERY, read));
        }
        Ok(run)
    }

    /// Says that it traces, and what: until here a user waits.
    fn announce(&self, node: &str) {
        let mut names: Vec<String> = self
            .capture
            .interfaces()
            .into_iter()
            .map(|status| status.link.name)
            .collect();
        names.sort();
        let names = match names.as_slice() {
            [] => "none yet, new pods are found as they come".to_owned(),
            names => names.join(", "),
        };
        notice::say(&format!(
            "tracing the pod interfaces of {node} ({names}); Ctrl-C ends"
        ));
    }

    /// Until a signal, the end of `duration`, or of the output.
    pub(super) async fn until_stopped(mut self, duration: Option<Duration>) -> Result<Summary> {
        let end = tokio::time::sleep(duration.unwrap_or(Duration::MAX));
        tokio::pin!(end);
        let mut reports = interval(REPORT_EVERY);
        reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let sweep = tokio::time::sleep(SWEEP_EVERY);
        tokio::pin!(sweep);
        // The channel of a run without an inventory file is closed from the start.
        let mut reloads = true;
        loop {
            let next = tokio::select! {
                message = self.messages.recv() => match message {
                    Some(message) => self.message(message)?,
                    None => bail!("the capture ended by itself: the log says why"),
                },
                Some(change) = self.changes.recv() => self.change(change)?,
                read = self.inventory.recv(), if reloads => match read {
                    Some(read) => self.reload(read)?,
                    None => { reloads = false; Next::Continue }
                },
                () = &mut sweep => {
                    let begun = tokio::time::Instant::now();
                    let flows = self.capture.sweep().context("cannot read the kernel's flow counters")?;
                    sweep.as_mut().reset(begun + SWEEP_EVERY.max(begun.elapsed() * SWEEP_SHARE));
                    self.output.step(Input::Counters(self.read_until, flows))?
                }
                Some(wish) = wished(&mut self.serving) => match wish {
                    Wish::Answer(question) => {
                        // Who asked may be gone by now.
                        let _ = question.answer.send(question.filter.warnings(self.output.pipeline.index()));
                        Next::Continue
                    }
                    Wish::Rules(rules) => {
                        let rules = Input::Rules(self.clock.now(), Box::new(rules));
                        self.output.step(rules)?
                    },
                },
                _ = reports.tick() => self.report()?,
                () = &mut end => break,
                _ = self.signals.interrupt.recv() => break,
                _ = self.signals.terminate.recv() => break,
            };
            if next != Next::Continue {
                break;
            }
        }
        self.finish().await
    }

    fn message(&mut self, message: CaptureMessage) -> Result<Next> {
        match message {
            CaptureMessage::Records(records) => {
                if let Some(recorder) = &mut self.recorder {
                    recorder.take(&records, self.output.pipeline.index());
                }
                for record in records {
                    let next = self.output.put(Input::Record(record))?;
                    if next != Next::Continue {
                        return Ok(next);
                    }
                }
                self.output.flush()
            }
            CaptureMessage::ReadUntil(until) => {
                self.read_until = until;
                self.output.step(Input::Tick(until))
            }
            CaptureMessage::Interface(event) => {
                let news = match event {
                    InterfaceEvent::Attached { link, since } => {
                        self.output.put(Input::Attached(since, link.ifindex))?;
                        self.traced.insert(link.ifindex);
                        if let Some(recorder) = &mut self.recorder {
                            recorder.name(link.ifindex, &link.name);
                        }
                        InterfaceNotice::Seen(link.ifindex, Some(NetnsId(link.netnsid)))
                    }
                    InterfaceEvent::Gone { ifindex, .. } => {
                        self.output.put(Input::Gone(self.clock.now(), ifindex))?;
                        self.unseen.retain(|(gone, _)| *gone != ifindex);
                        self.traced.remove(&ifindex);
                        self.muted.remove(&ifindex);
                        InterfaceNotice::Gone(ifindex)
                    }
                    InterfaceEvent::Failed { link, why } => {
                        notice::warn(&format!("{} is not traced: {why}", link.name));
                        self.notes
                            .push(format!("{} was not traced: {why}", link.name));
                        return Ok(Next::Continue);
                    }
                };
                self.news
                    .send(news)
                    .context("the thread that finds pods behind interfaces ended")?;
                Ok(Next::Continue)
            }
        }
    }

    fn reload(&mut self, read: Result<Loaded, InventoryFileError>) -> Result<Next> {
        match read {
            Ok(loaded) => {
                let next = self.change(Change::Replace(Box::new(loaded.inventory)))?;
                self.output.warn_of_filters();
                self.names.as_of = Some(jiff::Timestamp::now());
                Ok(next)
            }
            Err(error) => {
                notice::warn(&format!("the inventory stays as it was: {error}"));
                Ok(Next::Continue)
            }
        }
    }

    /// Something of who is who changed; and with it, perhaps, which interfaces have something to show.
    fn change(&mut self, change: Change) -> Result<Next> {
        let now = self.clock.now();
        let listed = matches!(change, Change::List(_));
        let of_nodes = change.concerns(Kind::Node);
        let known = match &change {
            Change::Interface { ifindex, uid } => uid.clone().map(|uid| (*ifindex, uid)),
            _ => None,
        };
        let next = self.output.step(Input::Change(now, change))?;
        if of_nodes {
            let addresses = self.output.pipeline.index().node_addresses(&self.node);
            // A node that is not among them says nothing of its addresses.
            if !addresses.is_empty() {
                self.capture.set_node_addresses(addresses.to_vec());
            }
        }
        if listed {
            self.output.warn_of_filters();
        }
        if self.mutes {
            let muted = self.output.mute(&self.traced, now);
            for ifindex in self.muted.symmetric_difference(&muted) {
                self.capture
                    .mute(*ifindex, muted.contains(ifindex))
                    .context("cannot choose the interfaces that the probes tell of")?;
            }
            self.muted = muted;
        }
        if let Some((ifindex, uid)) = known {
            tracing::debug!(ifindex = ifindex.0, %uid, "its pod is known");
        }
        Ok(next)
    }

    fn report(&mut self) -> Result<Next> {
        tell_news(self.watches.as_ref());
        let interfaces = self.capture.interfaces();
        self.tell_unseen(&interfaces);
        let stats = self.capture.stats()?;
        let mut lost = stats.losses();
        if let Some(recorder) = &self.recorder {
            lost.merge(&recorder.losses());
        }
        let now = self.clock.now();
        let cluster = self.watches.as_ref().map(|watches| watches.sync().report());
        if let Some(report) = &cluster {
            self.tell_stale(now, report)?;
        }
        if let Some(serving) = &mut self.serving {
            let of_cluster = cluster.as_ref().map(Names::of_cluster);
            let names = of_cluster.as_ref().unwrap_or(&self.names);
            serving.publish(now, &interfaces, &stats, &lost, names, &mut self.output);
        }
        self.output.report(now, &lost)
    }

    /// Tells the pipeline whether what the cluster told may be out of date, when that changes.
    fn tell_stale(&mut self, now: Timestamp, report: &SyncReport) -> Result<()> {
        let index = self.output.pipeline.index();
        let since = report.stale_since();
        if since.is_some() == index.stale_since().is_some() {
            return Ok(());
        }
        // The watches have the time of day.
        let since = since.map(|since| {
            let ago = jiff::Timestamp::now().duration_since(since).as_nanos();
            Timestamp(now.0.saturating_sub(u64::try_from(ago).unwrap_or(0)))
        });
        self.output.put(Input::Change(now, Change::Stale(since)))?;
        Ok(())
    }

    /// Says of which interfaces a direction cannot be seen, once.
    fn tell_unseen(&mut self, interfaces: &[InterfaceStatus]) {
        let new: Vec<(Ifindex, Direction)> = self
            .output
            .pipeline
            .unseen()
            .filter(|direction| !self.unseen.contains(direction))
            .collect();
        for (ifindex, direction) in new {
            self.unseen.insert((ifindex, direction));
            let name = interfaces
                .iter()
                .find(|status| status.link.ifindex == ifindex)
                .map_or_else(
                    || format!("interface {}", ifindex.0),
                    |status| status.link.name.clone(),
                );
            let unseen = match direction {
                Direction::ToPod => "to the pod are not visible (bpf_redirect_peer?)",
                Direction::FromPod => "from the pod are not visible",
            };
            let note = format!("{name}: packets {unseen}; nothing is concluded from silence");
            notice::warn(&note);
            self.notes.push(note);
        }
    }

    /// Detaches, tells what is still in the ring and what the end decides, and sums up.
    async fn finish(mut self) -> Result<Summary> {
        // By their names, which the capture forgets with what it detaches.
        let interfaces = self.capture.interfaces();
        self.capture.shutdown();
        let mut next = Next::Continue;
        while let Some(message) = self.messages.recv().await {
            if next == Next::Continue
                && let CaptureMessage::Records(records) = message
            {
                next = self.message(CaptureMessage::Records(records))?;
            }
        }
        if next == Next::Continue {
            let flows = self
                .capture
                .sweep()
                .context("cannot read the kernel's flow counters")?;
            next = self.output.step(Input::Counters(self.clock.now(), flows))?;
        }
        if next == Next::Continue {
            self.output.end(self.clock.now())?;
        }
        self.tell_unseen(&interfaces);
        let stats = self.capture.stop()?;
        let mut notes = std::mem::take(&mut self.notes).all();
        let mut lost = stats.losses();
        if let Some(recorder) = self.recorder {
            lost.merge(&recorder.losses());
            notes.push(recorder.finish());
        }
        tell_news(self.watches.as_ref());
        if let Some(watches) = self.watches {
            let report = watches.sync().report();
            notes.push(format!("names from {}: {report}", report.server));
        }
        Ok(Summary {
            duration: self.started.elapsed(),
            packets: Some(stats.seen),
            agents: None,
            records: self.output.pipeline.records(),
            events: self.output.events(),
            shown: self.output.shown(),
            report: self.output.digest(),
            silenced: self.output.pipeline.silenced(),
            losses: self.output.losses(&lost),
            notes,
        })
    }
}

/// What others want of the one who owns the pipeline.
enum Wish {
    /// An answer, for a client.
    Answer(Question),
    /// Other rules, which a file names.
    Rules(DiagnosisSettings),
}

/// The next wish; without an agent nobody ever has one.
async fn wished(serving: &mut Option<Serving>) -> Option<Wish> {
    let serving = serving.as_mut()?;
    tokio::select! {
        question = serving.questions.recv() => question.map(Wish::Answer),
        rules = serving.exports.other_rules() => Some(Wish::Rules(rules)),
    }
}
