//! `tracer observe --replay`: a capture file, or standard input.
//!
//! Time is the capture's, so replaying a file twice gives the same events whatever else the machine does. Only a live pipe
//! has a clock beside its packets ([`pipe`]).

use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use rustix::fs::FileType;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::pipe::Pipe;
use self::pods::PodAddresses;
use self::reading::{Batch, Figures, Reading};
use super::inventory;
use super::output::{self, Output};
use super::signals::Signals;
use crate::config::ObserveConfig;
use tracer_core::files::capture::{FileError, Reader, Replay, ReplaySettings};
use tracer_core::model::cluster::Change;
use tracer_core::model::time::Timestamp;
use tracer_core::pipeline::{Input, Pipeline};
use tracer_core::view::Next;
use tracer_core::view::summary::Summary;
use tracer_core::view::text::safe;

mod pipe;
mod pods;
mod reading;

/// How often what time alone decides is looked at, of a live pipe.
const TICK_EVERY: Duration = Duration::from_millis(100);
/// How often losses of a pipe are told, a reader that went away is noticed, and progress is shown.
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// Between two packets of a capture time passes as it does live: in steps like these for a while, so that what time alone
/// decides is decided when it would have been, then in long ones until nothing waits any more.
const STEP: Duration = Duration::from_millis(20);
const STEPS_FOR: Duration = Duration::from_secs(15);
const LONG_STEP: Duration = Duration::from_secs(1);
const LONG_STEPS_FOR: Duration = Duration::from_secs(900);
/// Packets of a file that are handed over at once.
const BATCH: usize = 256;
/// Batches on their way to the pipeline.
const QUEUE: usize = 16;
/// Ctrl-C ends `tcpdump | tracer` both, and what tcpdump still had in its buffer is worth a moment.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// So many things wrong with a file are told one by one.
const MAX_TROUBLES: usize = 10;

/// Replays a capture file, or standard input for `-`, until its end, Ctrl-C, the end of `--duration` or `--count`, or a closed
/// output.
pub fn observe_replay(config: &ObserveConfig, path: &Path) -> Result<Summary> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    runtime.block_on(async { Run::start(config, path)?.until_over(config.duration).await })
}

struct Run {
    output: Output,
    batches: mpsc::Receiver<Batch>,
    progress: Option<Progress>,
    /// Of a pipe.
    pipe: Option<Pipe>,
    span: Span,
    /// Where `--duration` ends, of a file.
    until: Option<Duration>,
    figures: Figures,
    held: bool,
    /// What was wrong with the file, and how much more there was of it.
    troubles: Vec<String>,
    more_troubles: u64,
    signals: Signals,
}

/// From the first packet to the latest.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    first: Option<Timestamp>,
    latest: Timestamp,
}

/// How far a long file was read, for whoever waits.
struct Progress {
    file: String,
    bytes: u64,
    shown: bool,
}

impl Run {
    fn start(config: &ObserveConfig, path: &Path) -> Result<Run> {
        let stdin = path == Path::new("-");
        if stdin && io::stdin().is_terminal() {
            bail!(
                "--replay - reads a capture from standard input, which is a terminal: pipe one in, as in \
                 `tcpdump -U -w - | tracer observe --replay -`"
            );
        }
        let reader = Reader::open(path).map_err(|error| explained(&error))?;
        let mut pipeline = Pipeline::new(config.pipeline.clone());
        let mut pods = None;
        if let Some(path) = &config.inventory {
            let (_, loaded) = inventory::open(path)?;
            pods = Some(PodAddresses::of(&loaded.inventory));
            let change = Change::Replace(Box::new(loaded.inventory));
            pipeline.step(Input::Change(Timestamp(0), change), &mut Vec::new());
        }
        let wall = |at: Timestamp| {
            jiff::Timestamp::from_nanosecond(i128::from(at.0)).unwrap_or(jiff::Timestamp::MAX)
        };
        let mut output = Output::new(
            pipeline,
            output::stdout(&config.output, &config.node, Box::new(wall)),
        );
        output.warn_of_filters();

        let settings = ReplaySettings {
            dns_ports: config.pipeline.dns_ports.clone(),
            flows: config.pipeline.limits.connections + config.pipeline.limits.udp_flows,
            flow_idle: config.pipeline.thresholds.flow_idle,
        };
        let pipe = is_pipe(path).then(Pipe::default);
        let reading = Reading {
            replay: Replay::new(reader, &settings),
            pods,
            batch: if pipe.is_some() { 1 } else { BATCH },
        };
        let (sender, batches) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name("tracer-read".to_owned())
            .spawn(move || reading.run(&sender))
            .context("cannot start the thread that reads the capture")?;
        let signals = Signals::listen()?;
        if stdin {
            eprintln!("reading a capture from standard input; Ctrl-C ends");
        }
        Ok(Run {
            output,
            batches,
            progress: Progress::of(path),
            pipe,
            span: Span::default(),
            until: None,
            figures: Figures::default(),
            held: false,
            troubles: Vec::new(),
            more_troubles: 0,
            signals,
        })
    }

    async fn until_over(mut self, duration: Option<Duration>) -> Result<Summary> {
        let live = self.pipe.is_some();
        // Of a file it is the capture's time that counts.
        self.until = duration.filter(|_| !live);
        let end = tokio::time::sleep(duration.filter(|_| live).unwrap_or(Duration::MAX));
        tokio::pin!(end);
        let [mut ticks, mut reports] = [TICK_EVERY, REPORT_EVERY].map(|every| {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        let mut interrupted = false;
        loop {
            let next = tokio::select! {
                batch = self.batches.recv() => match batch {
                    Some(batch) => self.batch(batch)?,
                    None => break,
                },
                _ = ticks.tick(), if live => flow(self.tick()?),
                _ = reports.tick() => flow(self.report()?),
                () = &mut end => break,
                _ = self.signals.interrupt.recv() => {
                    if interrupted || !live {
                        break;
                    }
                    interrupted = true;
                    end.as_mut().reset(Instant::now() + LAST_WORDS);
                    ControlFlow::Continue(())
                }
                _ = self.signals.terminate.recv() => break,
            };
            if let ControlFlow::Break(next) = next {
                return self.finish(next);
            }
        }
        self.finish(Next::Continue)
    }

    /// Breaks where replay is over, with what is left to do.
    fn batch(&mut self, batch: Batch) -> Result<ControlFlow<Next>> {
        let Batch {
            inputs,
            trouble,
            figures,
            held,
        } = batch;
        self.figures = figures;
        self.held = held;
        for input in inputs {
            if let Input::Record(record) = &input {
                let time = record.time;
                let first = *self.span.first.get_or_insert(time);
                let end = self.until.map(|until| first.after(until));
                let over = end.filter(|end| time > *end);
                let next = self.pass(over.unwrap_or(time))?;
                if next != Next::Continue || over.is_some() {
                    return Ok(ControlFlow::Break(next));
                }
                self.notice(time);
            }
            let next = self.output.put(input)?;
            if next != Next::Continue {
                return Ok(ControlFlow::Break(next));
            }
        }
        if let Some(error) = trouble {
            if self.troubles.len() < MAX_TROUBLES {
                self.troubles.push(error.explained());
            } else {
                self.more_troubles += 1;
            }
        }
        Ok(flow(self.output.flush()?))
    }

    /// The time up to which the next packet is away passes.
    fn pass(&mut self, until: Timestamp) -> Result<Next> {
        let from = self.span.latest;
        self.span.latest = from.max(until);
        // Before the first packet there is nothing that waits.
        if from == Timestamp::default() {
            return Ok(Next::Continue);
        }
        let mut passed = STEP;
        while passed < LONG_STEPS_FOR && from.after(passed) < until {
            let next = self.output.put(Input::Tick(from.after(passed)))?;
            if next != Next::Continue {
                return Ok(next);
            }
            passed += if passed < STEPS_FOR { STEP } else { LONG_STEP };
        }
        Ok(Next::Continue)
    }

    /// Whether packets come at the time of their stamps.
    fn notice(&mut self, stamp: Timestamp) {
        let Some(pipe) = &mut self.pipe else { return };
        if let Some(Pipe::Late { by }) = pipe.packet(stamp, now())
            && by < Duration::from_secs(3600)
        {
            eprintln!(
                "note: packets come {:.0} s after they were captured, so timeouts are told with the next packet; tcpdump \
                 hands them over at once with -U",
                by.as_secs_f64()
            );
        }
    }

    fn tick(&mut self) -> Result<Next> {
        // A packet that was read and waits for others is older than the clock.
        let tick = self.pipe.filter(|_| !self.held);
        match tick.and_then(|pipe| pipe.tick(now())) {
            Some(at) if at > self.span.latest => {
                self.span.latest = at;
                self.output.step(Input::Tick(at))
            }
            _ => Ok(Next::Continue),
        }
    }

    fn report(&mut self) -> Result<Next> {
        if let Some(progress) = &mut self.progress {
            progress.show(&self.figures);
        }
        // Of a file they are told at the end: so replaying it twice gives the same output.
        match self.pipe {
            Some(_) => self.output.report(self.span.latest, &self.figures.losses),
            None if self.output.is_unread() => Ok(Next::Closed),
            None => Ok(Next::Continue),
        }
    }

    fn finish(mut self, mut next: Next) -> Result<Summary> {
        Progress::clear(self.progress.as_mut());
        let latest = self.span.latest;
        if next != Next::Closed {
            // `--count` is full for events, and the pipeline still has its say on what was lost.
            let told = self.output.report(latest, &self.figures.losses)?;
            next = if next == Next::Continue { told } else { next };
        }
        if next == Next::Continue {
            self.output.end(latest)?;
        }
        let read = &self.figures.read;
        if !self.troubles.is_empty() && self.output.pipeline.records() == 0 && read.not_ip == 0 {
            bail!("{}", self.troubles.join("\n"));
        }
        let mut notes: Vec<String> = self
            .troubles
            .iter()
            .map(|trouble| format!("warning: {trouble}"))
            .collect();
        if self.more_troubles > 0 {
            notes.push(format!("warning: {} more of the kind", self.more_troubles));
        }
        let counts = [
            (read.not_ip, "not IP"),
            (self.figures.sides.copies, "copies of others"),
            (self.figures.reassembled, "put together from fragments"),
        ];
        let said: Vec<String> = counts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        if !said.is_empty() {
            notes.push(format!("of the packets: {}", said.join(", ")));
        }
        let one_way = self.output.pipeline.unseen().count();
        if one_way > 0 {
            notes.push(format!(
                "of {one_way} pods only one direction is in the capture; of these nothing is concluded from silence"
            ));
        }
        Ok(Summary {
            agents: None,
            duration: latest.since(self.span.first.unwrap_or(latest)),
            packets: Some(read.packets),
            records: self.output.pipeline.records(),
            events: self.output.events(),
            shown: self.output.shown(),
            report: self.output.digest(),
            silenced: self.output.pipeline.silenced(),
            losses: self.output.losses(&self.figures.losses),
            notes,
        })
    }
}

impl Progress {
    /// For a file with a length, where somebody looks at standard error and not at events.
    fn of(path: &Path) -> Option<Progress> {
        if !io::stderr().is_terminal() || io::stdout().is_terminal() {
            return None;
        }
        let metadata = path.metadata().ok()?;
        (metadata.is_file() && metadata.len() > 0).then(|| Progress {
            file: safe(&path.display().to_string()).into_owned(),
            bytes: metadata.len(),
            shown: false,
        })
    }

    fn show(&mut self, figures: &Figures) {
        let percent = figures.position.min(self.bytes) * 100 / self.bytes;
        let packets = figures.read.packets;
        eprint!("\r{}: {percent} %, {packets} packets\u{1b}[K", self.file);
        self.shown = true;
    }

    fn clear(progress: Option<&mut Progress>) {
        if let Some(progress) = progress.filter(|progress| progress.shown) {
            eprint!("\r\u{1b}[K");
            progress.shown = false;
        }
    }
}

/// An output that wants no more ends replay.
fn flow(next: Next) -> ControlFlow<Next> {
    match next {
        Next::Continue => ControlFlow::Continue(()),
        end => ControlFlow::Break(end),
    }
}

fn explained(error: &FileError) -> anyhow::Error {
    anyhow::anyhow!(error.explained())
}

/// Whether what is behind the path comes while it is read. Standard input can be a file, too.
fn is_pipe(path: &Path) -> bool {
    let fifo = |file: FileType| matches!(file, FileType::Fifo | FileType::Socket);
    let stat = if path == Path::new("-") {
        rustix::fs::fstat(io::stdin())
    } else {
        rustix::fs::stat(path)
    };
    stat.is_ok_and(|stat| fifo(FileType::from_raw_mode(stat.st_mode)))
}

fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let ns = now.unwrap_or_default().as_nanos();
    Timestamp(u64::try_from(ns).unwrap_or(u64::MAX))
}
