//! `--events`: events as JSON lines, on standard output or in a file, for collectors of container logs.
//!
//! Owns which events are written ([`selection`](super::selection)), their queue and the thread that writes.
//! The pipeline task calls [`EventLog::offer`], which never waits: a slow or full disk loses lines, which are
//! counted. The lines are those of `-o json`. [`file`] owns the file and its rotation.

use std::io::{self, Stdout, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;

mod file;
#[cfg(test)]
mod tests;

use self::file::RotatedFile;
pub use self::file::{FileError, Rotation};
use super::selection::{Choice, EventClass, Selection};
use super::waiting::Waiting;
use tracer_core::model::event::Event;
use tracer_core::model::loss::{Losses, Stage};
use tracer_core::view::json::Json;
use tracer_core::view::{Encode as _, WallClock};

/// What to write, and where to.
#[derive(Clone, Debug, PartialEq)]
pub struct EventLogConfig {
    /// The output.
    pub target: EventLogTarget,
    /// The events to write.
    pub events: Vec<EventClass>,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventLogTarget {
    /// Standard output.
    Stdout,
    /// A file, which is replaced by a new one when it is full.
    File(PathBuf, Rotation),
}

/// Lines by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventLogTotals {
    /// Lines handed to the operating system.
    pub written: u64,
    /// Lines that could not be written.
    pub failed: u64,
    /// Lines dropped because the queue was full.
    pub dropped: u64,
}

#[derive(Debug, Default)]
struct Counters {
    written: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

/// Hands lines to the thread that writes.
#[derive(Debug)]
pub struct EventLog {
    selection: Selection,
    json: Json,
    waiting: Arc<Mutex<Waiting<String>>>,
    /// Wakes the thread. It ends when no sender is left.
    wake: SyncSender<()>,
    counters: Arc<Counters>,
}

/// The counts of an event log that runs.
#[derive(Clone, Debug)]
pub struct EventLogCounts(Arc<Counters>);

/// An event log that has started: its input, its counts, and the thread that ends once its input is dropped and
/// everything is written.
#[derive(Debug)]
pub struct Started {
    /// Takes events.
    pub log: EventLog,
    /// The totals.
    pub counts: EventLogCounts,
    /// The thread.
    pub thread: JoinHandle<()>,
}

/// Opens the output and starts the thread. `node` is the node in each line.
pub fn start(config: &EventLogConfig, node: &str) -> Result<Started, FileError> {
    let output = match &config.target {
        EventLogTarget::Stdout => Output::Stdout(io::stdout()),
        EventLogTarget::File(path, rotation) => {
            Output::File(RotatedFile::open(path.clone(), *rotation)?)
        }
    };
    let (wake, woken) = sync_channel(1);
    let waiting = Arc::new(Mutex::new(Waiting::new()));
    let counters = Arc::<Counters>::default();
    let writer = Writer {
        output,
        counters: Arc::clone(&counters),
        failing: false,
        torn: false,
    };
    let queue = Arc::clone(&waiting);
    let thread = std::thread::Builder::new()
        .name("tracer-events".to_owned())
        .spawn(move || writer.run(&queue, &woken))
        .map_err(FileError::Thread)?;
    Ok(Started {
        log: EventLog {
            selection: Selection::new(&config.events),
            json: Json::new(node.into()),
            waiting,
            wake,
            counters: Arc::clone(&counters),
        },
        counts: EventLogCounts(counters),
        thread,
    })
}

impl EventLog {
    /// Queues the line of an event that is selected; ignores all others.
    pub fn offer(&mut self, event: &Event, clock: &dyn WallClock) {
        if self.selection.choose(event) != Choice::Take {
            return;
        }
        let mut line = String::new();
        if let Err(error) = self.json.encode(event, clock, &mut line) {
            tracing::debug!("{error}");
            self.counters.failed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let dropped = self.waiting.lock().push(event, line);
        self.counters.dropped.fetch_add(dropped, Ordering::Relaxed);
        // A thread that is not awake yet finds all of the queue.
        let _ = self.wake.try_send(());
    }
}

impl EventLogCounts {
    /// Totals so far.
    pub fn totals(&self) -> EventLogTotals {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        EventLogTotals {
            written: read(&self.0.written),
            failed: read(&self.0.failed),
            dropped: read(&self.0.dropped),
        }
    }
}

impl EventLogTotals {
    /// Adds the lines that were lost.
    pub fn add_losses(&self, losses: &mut Losses) {
        losses.add(Stage::Queue, "--events too slow", self.dropped);
        losses.add(Stage::Queue, "--events not written", self.failed);
    }
}

#[derive(Debug)]
enum Output {
    Stdout(Stdout),
    File(RotatedFile),
}

impl Output {
    fn write_line(&mut self, line: &str) -> io::Result<()> {
        match self {
            // A line at a time, so that no reader sees half of one.
            Output::Stdout(stdout) => {
                let mut stdout = stdout.lock();
                stdout.write_all(line.as_bytes())?;
                stdout.flush()
            }
            Output::File(file) => file.write_line(line),
        }
    }
}

/// The body of the thread.
#[derive(Debug)]
struct Writer {
    output: Output,
    counters: Arc<Counters>,
    /// The last line could not be written.
    failing: bool,
    /// A part of the last line may have been written.
    torn: bool,
}

impl Writer {
    fn run(mut self, waiting: &Mutex<Waiting<String>>, woken: &Receiver<()>) {
        loop {
            let next = waiting.lock().pop();
            match next {
                Some(line) => self.write(line),
                None if woken.recv().is_err() => {
                    // The last lines may have come between the two.
                    while let Some(line) = { waiting.lock().pop() } {
                        self.write(line);
                    }
                    return;
                }
                None => {}
            }
        }
    }

    fn write(&mut self, mut line: String) {
        if self.torn {
            line.insert(0, '\n');
        }
        match self.output.write_line(&line) {
            Ok(()) => {
                self.counters.written.fetch_add(1, Ordering::Relaxed);
                if std::mem::take(&mut self.failing) {
                    tracing::info!("--events: lines are written again");
                }
                self.torn = false;
            }
            Err(error) => {
                self.counters.failed.fetch_add(1, Ordering::Relaxed);
                self.torn = true;
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(
                        "cannot write events to {}: {error}. Events are lost until that works again; tracing continues",
                        self.output.name()
                    );
                }
            }
        }
    }
}

impl Output {
    fn name(&self) -> String {
        match self {
            Output::Stdout(_) => "standard output".to_owned(),
            Output::File(file) => file.path().display().to_string(),
        }
    }
}
