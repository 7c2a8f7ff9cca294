//! The probes of this machine as a source: for `tracer observe --local`, and for the agent.
//!
//! Records and interfaces come from the capture's threads, the pods behind interfaces from a thread that
//! looks for them, changes of the inventory from the file's watch or the cluster's. Where the pipeline is too
//! slow, records wait in the kernel's ring buffer; those that do not fit are counted there. With `--record`,
//! a thread also writes the records to a file ([`super::recorder`]).

use std::collections::{BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::conntrack::Conntrack;
use self::identity_source::IdentitySource;
use self::invisible::InvisibleDirections;
use self::muting::Muting;
use super::inventory;
use super::notes::Notes;
use super::notice::Notices;
use super::output::Output;
use super::recorder::Recorder;
use super::session::{self, Account, Passed, Session, Source, Step, pass_on};
use crate::capture::live::{
    Capture, CaptureMessage, Clock, InterfaceEvent, InterfaceStatus, KernelStats, LinkOf,
    TaskCgroups,
};
use crate::cluster::container_cgroups;
use crate::cluster::interface_watch::{self, InterfaceNotice};
use crate::cluster::netns_id::NetnsId;
use crate::cluster::pod_interfaces::InterfaceResolver;
use crate::cluster::reload::{InventoryFile, POLL_EVERY};
use crate::config::ObserveConfig;
use crate::heap;
use crate::stream::hub::FilterCheck;
use tracer_core::diagnose::DiagnosisSettings;
use tracer_core::files::capture::FileWriter;
use tracer_core::files::inventory::{InventoryFileError, Loaded};
use tracer_core::model::cluster::{ClusterChange, Kind};
use tracer_core::model::flow::{FlowSnapshot, Ifindex};
use tracer_core::model::loss::Losses;
use tracer_core::model::record::Record;
use tracer_core::model::signal::Signal;
use tracer_core::model::time::Timestamp;
use tracer_core::pipeline::{Input, Pipeline, Settings};
use tracer_core::view::filter::emission::Unrecorded;
use tracer_core::view::summary::Summary;
use tracer_core::view::{Next, WallClock};

mod conntrack;
mod identity_source;
mod invisible;
mod muting;

pub(super) use self::conntrack::ConntrackStatus;
pub(super) use self::identity_source::IdentityState;

/// Time between two reads of the kernel's flow counters, and so the delay until an unanswered UDP flow is
/// noticed.
const SWEEP_EVERY: Duration = Duration::from_secs(2);
/// A read takes time with the number of flows. It may take at most one part in this many of a CPU.
const SWEEP_SHARE: u32 = 50;
/// How long the start is not announced because interfaces are still to be traced. One that vanishes before its turn has
/// no event.
const ANNOUNCE_WITHIN: Duration = Duration::from_secs(10);
/// Capacity of the queue of identity changes.
const CHANGES: usize = 1024;

/// Traces this machine until Ctrl-C, the end of `--duration` or `--count`, or a closed output. With `record`,
/// also writes the packets to that file.
pub fn observe_local(config: &ObserveConfig, record: Option<&Path>) -> Result<Summary> {
    session::block_on(async {
        let session = Session::new(config.duration)?;
        let (local, pipeline) = LocalSource::start(config, record, Notices::Terminal)?;
        let output = Output::new(pipeline, Notices::Terminal)
            .on_screen(&config.output, &config.node, Box::new(local.wall_clock()))
            .announcing_findings(true)
            .without(Unrecorded::new(
                config.capture.emission.clone(),
                config.capture.dns_ports.clone(),
            ));
        session.run(local, output).await
    })
}

/// A request to the task that owns the pipeline.
pub(super) enum Request {
    /// Check a client's filter.
    CheckFilter(FilterCheck),
    /// Use these rules from now on.
    SetRules(DiagnosisSettings),
}

/// Publishes the state of the source, as an agent does. Returns whether a client follows the events.
type Publish = Box<dyn FnMut(LocalReport<'_>) -> bool>;

/// The state of the capture, given to the agent with every report.
pub(super) struct LocalReport<'a> {
    pub(super) now: Timestamp,
    pub(super) interfaces: &'a [InterfaceStatus],
    pub(super) stats: &'a KernelStats,
    pub(super) losses: Losses,
    pub(super) identity: IdentityState,
    pub(super) conntrack: ConntrackStatus,
    pub(super) pipeline: &'a Pipeline,
    pub(super) events: u64,
    /// Why dropped packets are not seen, if they are not.
    pub(super) drops_unseen: Option<&'a str>,
    /// Why retransmissions are not counted, if they are not.
    pub(super) retransmits_uncounted: Option<&'a str>,
    /// Why sockets do not show their processes, if they do not.
    pub(super) processes_unnamed: Option<&'a str>,
    /// The same of UDP and ICMP sockets alone.
    pub(super) datagrams_unnamed: Option<&'a str>,
}

/// The probes of this machine.
pub(super) struct LocalSource {
    capture: Capture,
    messages: mpsc::Receiver<CaptureMessage>,
    clock: Arc<Clock>,
    /// Every record from before this time is in the pipeline.
    read_until: Timestamp,
    next_sweep: Instant,
    /// The kernel's counters as of this time, until every record from before it is in the pipeline.
    counted: Option<(Timestamp, Vec<FlowSnapshot>)>,
    /// Interfaces that the start found and that are still to be traced; `None` once the start is announced.
    untraced: Option<BTreeSet<String>>,
    announce_by: Instant,
    recorder: Option<Recorder>,
    /// Notices for the thread that finds the pods behind interfaces.
    interfaces: std::sync::mpsc::Sender<InterfaceNotice>,
    /// Requests to the thread that finds the containers of cgroups.
    containers: std::sync::mpsc::Sender<()>,
    /// Changes from these threads and from the watches of the cluster.
    changes: mpsc::Receiver<ClusterChange>,
    inventory: mpsc::Receiver<Result<Loaded, InventoryFileError>>,
    identity: IdentitySource,
    requests: BoxStream<'static, Request>,
    publish: Option<Publish>,
    node: Arc<str>,
    muting: Muting,
    invisible: InvisibleDirections,
    notes: Notes,
    notices: Notices,
    arrived: Option<Arrived>,
    conntrack: Conntrack,
    /// Inputs that precede the records.
    pending: VecDeque<Input>,
    records: std::vec::IntoIter<Record>,
    applied: Applied,
    /// The heap was trimmed after the last read of all objects.
    trimmed: bool,
}

/// What [`Source::wait`] received.
enum Arrived {
    Capture(CaptureMessage),
    Change(ClusterChange),
    Inventory(Result<Loaded, InventoryFileError>),
    Flows(Timestamp, Vec<FlowSnapshot>),
    Request(Request),
}

/// What the last change means for the capture, once the index has it.
#[derive(Clone, Copy, Debug, Default)]
struct Applied {
    identities: bool,
    nodes: bool,
}

impl LocalSource {
    /// Loads the inventory and attaches the probes. The pipeline has the inventory already. Needs a tokio
    /// runtime.
    pub(super) fn start(
        config: &ObserveConfig,
        record: Option<&Path>,
        notices: Notices,
    ) -> Result<(LocalSource, Pipeline)> {
        let capture = &config.capture;
        let mut pipeline = Pipeline::new(Settings {
            all_clients: capture.interfaces.is_empty()
                && capture.node
                && capture.senders
                && !capture.emission.by_interface,
            ..config.pipeline.clone()
        });
        // A large file takes a second to read, in which the probes are attached already.
        let reading = config.inventory.clone().map(|path| {
            std::thread::spawn(move || InventoryFile::open(&path).map(|read| (path, read)))
        });
        let (changed, changes) = mpsc::channel(CHANGES);
        // The cluster and the output come before the probes: where either fails, nothing has to be detached.
        let identity = IdentitySource::start(config, changed.clone())?;
        let writer = record.map(FileWriter::create).transpose()?;
        let resolver =
            InterfaceResolver::new().context("cannot ask the kernel for namespace ids")?;
        // Before the probes, so that no flow which they see is older.
        let conntrack = match config.conntrack {
            true => Conntrack::start(Clock::new().now()),
            false => Conntrack::default(),
        };
        let started = Capture::start(config.capture.clone());
        let read = match reading {
            Some(reading) => Some(
                reading
                    .join()
                    .map_err(|_| anyhow!("the thread that reads the inventory ended"))??,
            ),
            None => None,
        };
        let (capture, messages) = started?;
        let mut file = None;
        if let Some((path, (open, loaded))) = read {
            inventory::log_loaded(&path, &loaded);
            file = Some(open);
            let nodes = loaded.inventory.nodes.iter();
            let addresses = nodes
                .filter(|node| node.name == config.node)
                .flat_map(|node| node.ips.iter().copied());
            capture.set_node_addresses(addresses.collect());
            let change = ClusterChange::Replace(Box::new(loaded.inventory));
            // Time 0 is before everything that the probes can see.
            pipeline.step(Input::Change(Timestamp(0), change), &mut Vec::new());
        }
        let (containers, requests) = std::sync::mpsc::channel();
        let of_containers = changed.clone();
        let only_processes = capture.only_processes();
        container_cgroups::spawn(requests, TaskCgroups::reader, move |scan| {
            only_processes.set(scan.begun, scan.only_processes);
            match of_containers.blocking_send(ClusterChange::Containers(scan.cgroups)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })
        .context("cannot start the thread that finds containers")?;
        let (interfaces, wanted) = std::sync::mpsc::channel();
        interface_watch::spawn(resolver, wanted, move |change| {
            match changed.blocking_send(change) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })
        .context("cannot start the thread that finds the pods behind interfaces")?;
        let (reloads, inventory) = mpsc::channel(1);
        if let Some(file) = file {
            tokio::spawn(file.watch(POLL_EVERY, reloads));
        }
        let clock = capture.clock();
        let recorder = match record.zip(writer) {
            Some((path, writer)) => {
                let file = path.display().to_string();
                let mut recorder = Recorder::start(file, writer, Arc::clone(&clock), notices)?;
                let seen = Signal::DropsSeen(capture.drops_unseen().is_none());
                recorder.signal(clock.now(), &seen);
                Some(recorder)
            }
            None => None,
        };
        let local = LocalSource {
            untraced: Some(capture.waiting().iter().cloned().collect()),
            capture,
            messages,
            read_until: clock.now(),
            clock,
            next_sweep: Instant::now() + SWEEP_EVERY,
            counted: None,
            announce_by: Instant::now() + ANNOUNCE_WITHIN,
            recorder,
            interfaces,
            containers,
            changes,
            inventory,
            identity,
            requests: futures::stream::pending().boxed(),
            publish: None,
            node: Arc::clone(&config.node),
            muting: Muting::new(config.capture.emission.by_interface),
            invisible: InvisibleDirections::default(),
            notes: Notes::default(),
            notices,
            arrived: None,
            conntrack,
            pending: VecDeque::new(),
            records: Vec::new().into_iter(),
            applied: Applied::default(),
            trimmed: false,
        };
        Ok((local, pipeline))
    }

    /// The wall time of records.
    pub(super) fn wall_clock(&self) -> impl WallClock + Send + Sync + 'static {
        let clock = Arc::clone(&self.clock);
        move |at: Timestamp| jiff::Timestamp::try_from(clock.wall(at)).unwrap_or_default()
    }

    /// Also serves these requests.
    pub(super) fn serving(mut self, requests: BoxStream<'static, Request>) -> LocalSource {
        self.requests = requests;
        self
    }

    /// Also passes every report to `publish`.
    pub(super) fn publishing(
        mut self,
        publish: impl FnMut(LocalReport<'_>) -> bool + 'static,
    ) -> LocalSource {
        self.publish = Some(Box::new(publish));
        self
    }

    /// Announces the start once the interfaces that it found are traced, or if it is `overdue`.
    fn announce_if_traced(&mut self, overdue: bool) {
        if (self.untraced.as_ref()).is_some_and(|names| overdue || names.is_empty()) {
            let untraced = self.untraced.take().unwrap_or_default();
            self.announce_start(untraced);
        }
    }

    fn announce_start(&self, untraced: BTreeSet<String>) {
        let interfaces = self.capture.interfaces().into_iter();
        let (uplinks, pods): (Vec<_>, Vec<_>) =
            interfaces.partition(|status| status.link.of.is_node());
        let of_node: Vec<String> = uplinks.into_iter().map(|status| status.link.name).collect();
        let mut names = untraced;
        names.extend(pods.into_iter().map(|status| status.link.name));
        let names = match names.is_empty() {
            true => "none yet; new pods are traced as they start".to_owned(),
            false => Vec::from_iter(names).join(", "),
        };
        let of_node = match of_node.as_slice() {
            [] => String::new(),
            uplinks => format!(" and its own traffic at {}", uplinks.join(", ")),
        };
        self.notices.progress(&format!(
            "tracing the pod interfaces of {} ({names}){of_node}; Ctrl-C ends",
            self.node
        ));
    }

    fn interface(&mut self, event: InterfaceEvent) -> Result<Option<Input>> {
        if let Some(names) = &mut self.untraced {
            names.remove(event.name());
        }
        self.announce_if_traced(false);
        let (notice, input) = match event {
            InterfaceEvent::Attached { link, since } => {
                self.muting.attached(link.ifindex);
                if let Some(recorder) = &mut self.recorder {
                    recorder.name(link.ifindex, &link.name);
                }
                let attached = Input::Attached(since, link.ifindex);
                match link.of {
                    LinkOf::Pod { netnsid } => (
                        InterfaceNotice::Seen(link.ifindex, Some(NetnsId(netnsid))),
                        attached,
                    ),
                    LinkOf::Node => {
                        self.record_signal(since, &Signal::NodeInterface(link.ifindex, false));
                        self.pending.push_back(attached);
                        return Ok(Some(
                            self.change(ClusterChange::NodeInterface(link.ifindex)),
                        ));
                    }
                    LinkOf::Loopback => {
                        self.record_signal(since, &Signal::NodeInterface(link.ifindex, true));
                        self.pending.push_back(attached);
                        return Ok(Some(self.change(ClusterChange::Loopback(link.ifindex))));
                    }
                }
            }
            InterfaceEvent::Gone { ifindex, of, .. } => {
                self.invisible.gone(ifindex);
                self.muting.gone(ifindex);
                if of.is_node() {
                    let gone = ClusterChange::InterfaceGone(ifindex);
                    self.pending
                        .push_back(Input::Change(self.clock.now(), gone));
                }
                (
                    InterfaceNotice::Gone(ifindex),
                    Input::Gone(self.clock.now(), ifindex),
                )
            }
            InterfaceEvent::Failed { link, why } => {
                self.notices
                    .warn(&format!("{} is not traced: {why}", link.name));
                self.notes
                    .push(format!("{} was not traced: {why}", link.name));
                return Ok(Some(Input::Untraced(self.clock.now(), link.ifindex)));
            }
        };
        self.interfaces
            .send(notice)
            .context("the thread that finds pods behind interfaces ended")?;
        Ok(Some(input))
    }

    fn change(&mut self, change: ClusterChange) -> Input {
        if let ClusterChange::Interface {
            ifindex: Ifindex(ifindex),
            uid: Some(uid),
        } = &change
        {
            tracing::debug!(ifindex, %uid, "its pod is known");
        }
        if let (Some(recorder), ClusterChange::Containers(found)) = (&mut self.recorder, &change) {
            recorder.containers(self.clock.now(), found);
        }
        self.applied = Applied {
            identities: true,
            nodes: change.concerns(Kind::Node),
        };
        Input::Change(self.clock.now(), change)
    }

    /// Adapts the capture to a change that the index has by now.
    fn apply(&mut self, output: &Output) -> Result<()> {
        let Applied { identities, nodes } = std::mem::take(&mut self.applied);
        if nodes {
            let addresses = output.index().node_addresses(&self.node);
            // Without an object for this node, keep the addresses.
            if !addresses.is_empty() {
                self.capture.set_node_addresses(addresses.to_vec());
            }
        }
        if identities && self.muting.is_enabled() {
            let silent = output.silent_interfaces(self.muting.traced(), self.clock.now());
            for switch in self.muting.mute(silent) {
                self.capture
                    .mute(switch.ifindex, switch.mute)
                    .context("cannot mute an interface in the probes")?;
            }
        }
        Ok(())
    }

    /// The next input that need not be waited for: signals, then the records that they precede.
    fn next_input(&mut self) -> Option<Input> {
        let pending = self.pending.pop_front();
        pending.or_else(|| self.records.next().map(Input::Record))
    }

    /// Records what precedes these records, and them. Nothing else is pending when a batch arrives.
    fn record(&mut self, records: &[Record], output: &Output) {
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        for input in &self.pending {
            if let Input::Signal(at, signal) = input {
                recorder.signal(*at, signal);
            }
        }
        recorder.take(records, output.index());
    }

    fn record_signal(&mut self, at: Timestamp, signal: &Signal) {
        if let Some(recorder) = &mut self.recorder {
            recorder.signal(at, signal);
        }
    }

    fn report_invisible(&mut self, output: &Output, interfaces: &[InterfaceStatus]) {
        let unseen = output.pipeline().unseen();
        for note in self.invisible.report(unseen, interfaces) {
            self.notices.warn(&note);
            self.notes.push(note);
        }
    }
}

impl Source for LocalSource {
    const REPORT_EVERY: Duration = Duration::from_secs(1);

    fn announce(&mut self) {
        self.announce_if_traced(false);
    }

    async fn wait(&mut self) -> Result<()> {
        self.arrived = Some(tokio::select! {
            message = self.messages.recv() => match message {
                Some(message) => Arrived::Capture(message),
                None => bail!("the capture ended by itself; the log has the reason"),
            },
            Some(change) = self.changes.recv() => Arrived::Change(change),
            Some(read) = self.inventory.recv() => Arrived::Inventory(read),
            Some(request) = self.requests.next() => Arrived::Request(request),
            () = tokio::time::sleep_until(self.next_sweep), if self.counted.is_none() => {
                let (begun, at) = (Instant::now(), self.clock.now());
                let flows = self.capture.sweep().context("cannot read the kernel's flow counters")?;
                self.next_sweep = begun + SWEEP_EVERY.max(begun.elapsed() * SWEEP_SHARE);
                Arrived::Flows(at, flows)
            }
        });
        Ok(())
    }

    fn next(&mut self, output: &Output) -> Result<Option<Step>> {
        self.apply(output)?;
        if let Some(input) = self.next_input() {
            return Ok(Some(Step::Input(input)));
        }
        let Some(arrived) = self.arrived.take() else {
            return Ok(None);
        };
        let input = match arrived {
            Arrived::Capture(CaptureMessage::Records(records)) => {
                self.conntrack.drain(self.clock.now(), &mut self.pending);
                self.record(&records, output);
                self.records = records.into_iter();
                self.next_input()
            }
            Arrived::Capture(CaptureMessage::Drop(at, dropped)) => {
                let signal = Signal::Dropped(dropped);
                self.record_signal(at, &signal);
                Some(Input::Signal(at, signal))
            }
            Arrived::Capture(CaptureMessage::Lost(lost)) => lost
                .iter()
                .map(|loss| loss.until)
                .max()
                .map(|until| Input::Lost(until, lost)),
            Arrived::Capture(CaptureMessage::ReadUntil(until)) => {
                self.read_until = until;
                self.conntrack.drain(self.clock.now(), &mut self.pending);
                self.record(&[], output);
                if let Some((at, flows)) = self.counted.take_if(|(at, _)| *at <= until) {
                    self.pending.push_back(Input::Counters(at, flows));
                }
                self.pending.push_back(Input::Tick(until));
                self.next_input()
            }
            Arrived::Capture(CaptureMessage::Interface(event)) => self.interface(event)?,
            Arrived::Change(change) => Some(self.change(change)),
            Arrived::Inventory(Ok(loaded)) => {
                self.identity.reloaded();
                self.trimmed = false;
                Some(self.change(ClusterChange::Replace(Box::new(loaded.inventory))))
            }
            Arrived::Inventory(Err(error)) => {
                self.notices
                    .warn(&format!("the previous inventory stays in effect: {error}"));
                None
            }
            // Counters that overtake records show a connection whose handshake is still to be read.
            Arrived::Flows(at, flows) => {
                self.counted = Some((at, flows));
                None
            }
            Arrived::Request(Request::CheckFilter(check)) => {
                let warnings = check.filter.warnings(output.index());
                // The client may be gone by now.
                let _ = check.answer.send(warnings);
                None
            }
            Arrived::Request(Request::SetRules(rules)) => {
                Some(Input::Rules(self.clock.now(), Box::new(rules)))
            }
        };
        Ok(input.map(Step::Input))
    }

    fn report(&mut self, output: &mut Output) -> Result<Next> {
        self.announce_if_traced(Instant::now() > self.announce_by);
        self.identity.give_notices(self.notices);
        if !self.trimmed && self.identity.state().fresh {
            self.trimmed = true;
            heap::trim();
        }
        if output.unknown_cgroups() {
            // Without the thread containers stay unknown.
            let _ = self.containers.send(());
        }
        let interfaces = self.capture.interfaces();
        self.report_invisible(output, &interfaces);
        if let Some(note) = self.conntrack.notice() {
            self.notices.note(&note);
            self.notes.push(note);
        }
        let stats = self.capture.stats()?;
        let mut lost = stats.losses_of(&interfaces);
        if let Some(recorder) = &self.recorder {
            lost.merge(&recorder.losses());
        }
        let now = self.clock.now();
        if let Some(change) = self.identity.staleness(output.index(), now) {
            output.put(Input::Change(now, change))?;
        }
        if let Some(input) = self.conntrack.counters(now) {
            if let Input::Signal(at, signal) = &input {
                self.record_signal(*at, signal);
            }
            output.put(input)?;
        }
        if let Some(publish) = &mut self.publish {
            let followed = publish(LocalReport {
                now,
                interfaces: &interfaces,
                stats: &stats,
                losses: output.losses(&lost),
                identity: self.identity.state(),
                conntrack: self.conntrack.status(),
                events: output.events(),
                pipeline: output.pipeline(),
                drops_unseen: self.capture.drops_unseen(),
                retransmits_uncounted: self.capture.retransmits_uncounted(),
                processes_unnamed: self.capture.processes_unnamed(),
                datagrams_unnamed: self.capture.datagrams_unnamed(),
            });
            self.capture.set_watched(followed);
        }
        output.report_losses(now, &lost)
    }

    /// Detaches, passes on what is still in the ring, and ends the pipeline.
    async fn finish(mut self, output: &mut Output, mut next: Next) -> Result<Account> {
        // The capture forgets an interface's name when it detaches.
        let interfaces = self.capture.interfaces();
        self.capture.shutdown();
        self.arrived = None;
        while let Some(message) = self.messages.recv().await {
            if next == Next::Continue
                && let CaptureMessage::Records(_)
                | CaptureMessage::Drop(..)
                | CaptureMessage::Lost(_) = message
            {
                self.arrived = Some(Arrived::Capture(message));
                if let Passed::Stopped(end) = pass_on(&mut self, output)? {
                    next = end;
                }
            }
        }
        if next == Next::Continue
            && let Some((at, flows)) = self.counted.take()
        {
            next = output.step(Input::Counters(at, flows))?;
        }
        if next == Next::Continue {
            let flows = self
                .capture
                .sweep()
                .context("cannot read the kernel's flow counters")?;
            next = output.step(Input::Counters(self.clock.now(), flows))?;
        }
        if next == Next::Continue {
            output.end(self.clock.now())?;
        }
        self.report_invisible(output, &interfaces);
        self.identity.give_notices(self.notices);
        let stats = self.capture.stop_before_exit()?;
        let mut losses = stats.losses_of(&interfaces);
        let mut notes = self.notes.into_lines();
        if let Some(recorder) = self.recorder {
            losses.merge(&recorder.losses());
            notes.push(recorder.finish(output.index()));
        }
        notes.extend(self.identity.note());
        Ok(Account {
            packets: Some(stats.seen),
            losses,
            notes,
            ..Account::default()
        })
    }
}
