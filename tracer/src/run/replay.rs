//! A capture file, or standard input, as a source: `tracer observe --replay`.
//!
//! Time is the capture's, so replaying a file twice gives the same events whatever else the machine does.
//! Only with a live pipe does the wall clock decide as well ([`pipe`]).

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use self::gap::Gap;
use self::pipe::Pipe;
use self::pods::PodAddresses;
use self::progress::Progress;
use self::reading::{Batch, Figures, Reading};
use super::inventory;
use super::notice::Notices;
use super::output::{Output, Tap};
use super::session::{self, Account, Session, Source, Step};
use crate::config::ObserveConfig;
use tracer_core::files::capture::{FileError, Reader, Replay, ReplaySettings};
use tracer_core::files::inventory::load;
use tracer_core::model::cluster::ClusterChange;
use tracer_core::model::record::Record;
use tracer_core::model::time::Timestamp;
use tracer_core::pipeline::{Input, Pipeline};
use tracer_core::view::Next;
use tracer_core::view::summary::Summary;

mod gap;
mod kind;
mod pipe;
mod pods;
mod progress;
mod reading;
mod several;
mod sightings;

pub use self::several::observe_replays;
pub(super) use self::several::replay_several_into;

/// How often the wall clock advances the pipeline with a live pipe.
const TICK_EVERY: Duration = Duration::from_millis(100);
/// Packets of a file per batch.
const BATCH: usize = 256;
/// Capacity of the queue of batches.
const QUEUE: usize = 16;
/// How long to read on after Ctrl-C. It ends both sides of `tcpdump | tracer`, and tcpdump then writes what
/// it still has in its buffer.
const LAST_PACKETS: Duration = Duration::from_millis(500);
/// A pipe that is later than this is a recording, not a live capture behind a buffer.
const MAX_BUFFER_LAG: Duration = Duration::from_secs(3600);
/// Faults of a file that are listed. Further ones are only counted.
const MAX_FAULTS: usize = 10;

/// Replays a capture file, or standard input for `-`, until its end, Ctrl-C, the end of `--duration` or
/// `--count`, or a closed output.
pub fn observe_replay(config: &ObserveConfig, path: &Path) -> Result<Summary> {
    session::block_on(async {
        let (source, pipeline) = ReplaySource::open(config, path, None, Notices::Terminal)?;
        let output = Output::new(pipeline, Notices::Terminal).on_screen(
            &config.output,
            &config.node,
            Box::new(wall),
        );
        // With a file, --duration is a span of the capture's time.
        let duration = config.duration.filter(|_| source.pipe.is_some());
        Session::new(duration)?.run(source, output).await
    })
}

/// Replays a capture as [`observe_replay`] does, with a tap instead of a screen.
pub(super) async fn replay_into(
    config: &ObserveConfig,
    path: &Path,
    tap: Box<dyn Tap>,
) -> Result<Summary> {
    let (source, pipeline) = ReplaySource::open(config, path, None, Notices::Terminal)?;
    let output = Output::new(pipeline, Notices::Terminal).with_taps(vec![tap]);
    Session::new(None)?.run(source, output).await
}

/// A capture's times are wall times.
fn wall(at: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_nanosecond(i128::from(at.0)).unwrap_or(jiff::Timestamp::MAX)
}

/// A capture that is being read.
struct ReplaySource {
    batches: mpsc::Receiver<Batch>,
    ticks: Interval,
    is_stdin: bool,
    /// The file's name, for messages.
    name: String,
    /// The state of a pipe; `None` for a file.
    pipe: Option<Pipe>,
    /// Where `--duration` ends a file, counted from its first packet.
    until: Option<Duration>,
    span: Span,
    /// Inputs that have been read and not passed on.
    inputs: std::vec::IntoIter<Input>,
    /// The time that passes before the next packet, and that packet.
    gap: Gap,
    packet: Option<Record>,
    tick: Option<Timestamp>,
    ended: bool,
    figures: Figures,
    /// The reader holds packets that wait for others.
    has_waiting: bool,
    faults: Vec<String>,
    more_faults: u64,
    progress: Option<Progress>,
    notices: Notices,
}

/// From the first packet to the latest.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    first: Option<Timestamp>,
    latest: Timestamp,
}

impl ReplaySource {
    /// Opens the capture and starts the thread that reads it. The pipeline has the inventory already. With `node`, only
    /// pods of that node are behind the capture's interfaces. Needs a tokio runtime.
    fn open(
        config: &ObserveConfig,
        path: &Path,
        node: Option<&Arc<str>>,
        notices: Notices,
    ) -> Result<(ReplaySource, Pipeline)> {
        let is_stdin = path == Path::new("-");
        if is_stdin && io::stdin().is_terminal() {
            bail!(
                "--replay - reads a capture from standard input, which is a terminal: pipe one in, as in \
                 `tcpdump -U -w - | tracer observe --replay -`"
            );
        }
        let reader = Reader::open(path).map_err(|error| explained(&error))?;
        let mut pipeline = Pipeline::new(config.pipeline.clone());
        let mut pods = None;
        if let Some(path) = &config.inventory {
            let loaded = load(path)?;
            inventory::log_loaded(path, &loaded);
            pods = Some(PodAddresses::from_inventory(&loaded.inventory, node));
            let change = ClusterChange::Replace(Box::new(loaded.inventory));
            pipeline.step(Input::Change(Timestamp(0), change), &mut Vec::new());
        }
        let settings = ReplaySettings {
            dns_ports: config.pipeline.dns_ports.clone(),
            flows: config.pipeline.limits.connections + config.pipeline.limits.udp_flows,
            flow_idle: config.pipeline.thresholds.flow_idle,
        };
        let pipe = kind::is_pipe(path).then(Pipe::default);
        let reading = Reading {
            replay: Replay::new(reader, &settings),
            pods,
            // A pipe's next packet may be long in coming.
            batch: if pipe.is_some() { 1 } else { BATCH },
        };
        let (sender, batches) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name("tracer-read".to_owned())
            .spawn(move || reading.run(&sender))
            .context("cannot start the thread that reads the capture")?;
        let mut ticks = interval(TICK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let source = ReplaySource {
            batches,
            ticks,
            is_stdin,
            name: match is_stdin {
                true => "standard input".to_owned(),
                false => path.display().to_string(),
            },
            until: config.duration.filter(|_| pipe.is_none()),
            pipe,
            span: Span::default(),
            inputs: Vec::new().into_iter(),
            gap: Gap::default(),
            packet: None,
            tick: None,
            ended: false,
            figures: Figures::default(),
            has_waiting: false,
            faults: Vec::new(),
            more_faults: 0,
            progress: Progress::new(path),
            notices,
        };
        Ok((source, pipeline))
    }

    /// The next step; `None` if a batch has to arrive first.
    fn step(&mut self) -> Option<Step> {
        loop {
            if let Some(at) = self.gap.next() {
                return Some(Step::Input(Input::Tick(at)));
            }
            if let Some(packet) = self.packet.take() {
                return Some(Step::Input(Input::Record(packet)));
            }
            if let Some(at) = self.tick.take() {
                self.span.latest = at;
                return Some(Step::Input(Input::Tick(at)));
            }
            match self.inputs.next() {
                Some(Input::Record(packet)) => self.schedule(packet),
                Some(input) => return Some(Step::Input(input)),
                None => return self.ended.then_some(Step::End),
            }
        }
    }

    /// What is unusual about the capture, one line each; `one_way` pods have one direction only.
    fn notes(&self, one_way: usize) -> Vec<String> {
        let mut notes: Vec<String> = self
            .faults
            .iter()
            .map(|fault| format!("warning: {fault}"))
            .collect();
        if self.more_faults > 0 {
            notes.push(format!("warning: {} more faults", self.more_faults));
        }
        let counts: Vec<String> = [
            (self.figures.read.not_ip, "not IP"),
            (self.figures.sides.copies, "duplicates"),
            (self.figures.reassembled, "reassembled from fragments"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
        if !counts.is_empty() {
            notes.push(format!("packets: {}", counts.join(", ")));
        }
        if one_way > 0 {
            notes.push(format!(
                "{one_way} pods have only one direction in the capture; nothing is concluded from their silence"
            ));
        }
        notes
    }

    fn take(&mut self, batch: Batch) {
        let Batch {
            inputs,
            fault,
            figures,
            has_waiting,
        } = batch;
        self.inputs = inputs.into_iter();
        self.figures = figures;
        self.has_waiting = has_waiting;
        if let Some(fault) = fault {
            if self.faults.len() < MAX_FAULTS {
                self.faults.push(fault.explained());
            } else {
                self.more_faults += 1;
            }
        }
    }

    /// Schedules a packet after the time that passes before it, or the end if it is beyond `--duration`.
    fn schedule(&mut self, packet: Record) {
        let time = packet.time;
        let first = *self.span.first.get_or_insert(time);
        let end = self.until.map(|until| first.after(until));
        let beyond = end.filter(|end| time > *end);
        let until = beyond.unwrap_or(time);
        self.gap = Gap::new(self.span.latest, until);
        self.span.latest = self.span.latest.max(until);
        if beyond.is_some() {
            self.inputs = Vec::new().into_iter();
            self.ended = true;
        } else {
            self.check_lag(time);
            self.packet = Some(packet);
        }
    }

    /// Checks whether a pipe's packets arrive at about the time of their timestamps.
    fn check_lag(&mut self, stamp: Timestamp) {
        let Some(pipe) = &mut self.pipe else { return };
        if let Some(Pipe::Late { by }) = pipe.packet(stamp, now())
            && by < MAX_BUFFER_LAG
        {
            self.notices.note(&format!(
                "packets come {:.0} s after they were captured, so timeouts are reported with the next packet; \
                 tcpdump -U writes each packet at once",
                by.as_secs_f64()
            ));
        }
    }

    /// The time up to which all packets of a live pipe have arrived, if it has advanced.
    fn live_tick(&self) -> Option<Timestamp> {
        // A packet that the reader holds is older than the clock.
        let pipe = self.pipe.filter(|_| !self.has_waiting)?;
        pipe.tick(now()).filter(|at| *at > self.span.latest)
    }
}

impl Source for ReplaySource {
    const REPORT_EVERY: Duration = Duration::from_millis(500);

    fn announce(&mut self) {
        if self.is_stdin {
            self.notices
                .progress("reading a capture from standard input; Ctrl-C ends");
        }
    }

    async fn wait(&mut self) -> Result<()> {
        let live = self.pipe.is_some();
        tokio::select! {
            batch = self.batches.recv() => match batch {
                Some(batch) => self.take(batch),
                None => self.ended = true,
            },
            _ = self.ticks.tick(), if live => self.tick = self.live_tick(),
        }
        Ok(())
    }

    fn next(&mut self, _output: &Output) -> Result<Option<Step>> {
        Ok(self.step())
    }

    fn report(&mut self, output: &mut Output) -> Result<Next> {
        if let Some(progress) = &mut self.progress {
            progress.show(&self.figures);
        }
        match self.pipe {
            Some(_) => output.report_losses(self.span.latest, &self.figures.losses),
            // A file's losses are reported at the end, so that replaying it twice gives the same output.
            None if output.is_unread() => Ok(Next::Closed),
            None => Ok(Next::Continue),
        }
    }

    fn after_interrupt(&self) -> Duration {
        match self.pipe {
            Some(_) => LAST_PACKETS,
            None => Duration::ZERO,
        }
    }

    async fn finish(mut self, output: &mut Output, mut next: Next) -> Result<Account> {
        if let Some(progress) = &mut self.progress {
            progress.clear();
        }
        let latest = self.span.latest;
        if next != Next::Closed {
            // Losses are shown even after `--count` events.
            next = next.and(output.report_losses(latest, &self.figures.losses)?);
        }
        if next == Next::Continue {
            output.end(latest)?;
        }
        let read = &self.figures.read;
        if !self.faults.is_empty() && output.pipeline().records() == 0 && read.not_ip == 0 {
            bail!("{}", self.faults.join("\n"));
        }
        let notes = self.notes(output.pipeline().unseen().count());
        Ok(Account {
            duration: Some(latest.since(self.span.first.unwrap_or(latest))),
            packets: Some(read.packets),
            empty: (read.packets == 0).then_some(self.name),
            losses: self.figures.losses,
            notes,
            ..Account::default()
        })
    }
}

fn explained(error: &FileError) -> anyhow::Error {
    anyhow::anyhow!(error.explained())
}

fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let ns = now.unwrap_or_default().as_nanos();
    Timestamp(u64::try_from(ns).unwrap_or(u64::MAX))
}
