//! `--record`: what the pipeline reads is written to a file, too, by a thread of its own.
//!
//! A disk that is slow or full never holds up tracing: what finds no room in the queue, and what cannot be written, is
//! counted and said at the end. Input: the live records, and the index for their pods' names.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use lru::LruCache;

use super::notice;
use crate::capture::live::Clock;
use tracer_core::files::capture::{FileWriter, WriterStats, pod_address};
use tracer_core::identity::Index;
use tracer_core::model::flow::Ifindex;
use tracer_core::model::loss::{Losses, Stage};
use tracer_core::model::record::Record;
use tracer_core::model::time::Timestamp;

/// What came so far is in the file after so long, for those who look into it meanwhile.
const FLUSH_EVERY: Duration = Duration::from_millis(100);
/// Batches of records on their way to the disk: about as much as the ring buffer of the default size holds.
const QUEUE: usize = 128;
/// Names of interfaces that are remembered; a node has a few hundred at a time.
const MAX_NAMES: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");
/// The offset between the clocks is measured, and the measurements differ by less than this. More means that somebody set
/// the wall clock.
const CLOCK_STEP_NS: i128 = 1_000_000;

/// A record with all that its packet's block needs.
struct Entry {
    stamp: Timestamp,
    interface: Arc<str>,
    record: Record,
    comment: String,
}

/// Hands records to the thread that writes.
pub(super) struct Recorder {
    file: String,
    sender: SyncSender<Vec<Entry>>,
    thread: JoinHandle<WriterStats>,
    names: LruCache<Ifindex, Arc<str>>,
    stamps: Stamps,
    unqueued: u64,
}

impl Recorder {
    /// Starts the thread.
    pub(super) fn start(file: String, writer: FileWriter, clock: Arc<Clock>) -> Result<Recorder> {
        let (sender, entries) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("tracer-record".to_owned())
            .spawn(move || write(writer, &entries))
            .context("cannot start the thread that writes the recording")?;
        Ok(Recorder {
            file,
            sender,
            thread,
            names: LruCache::new(MAX_NAMES),
            stamps: Stamps {
                clock,
                offset_ns: None,
            },
            unqueued: 0,
        })
    }

    /// What an interface is called.
    pub(super) fn name(&mut self, ifindex: Ifindex, name: &str) {
        self.names.put(ifindex, Arc::from(name));
    }

    /// Takes records on their way to the pipeline. Never waits.
    pub(super) fn take(&mut self, records: &[Record], index: &Index) {
        let entries: Vec<Entry> = records
            .iter()
            .map(|record| Entry {
                stamp: self.stamps.of(record.time),
                interface: self.names.get(&record.ifindex).cloned().unwrap_or_default(),
                record: record.clone(),
                comment: comment(record, index),
            })
            .collect();
        match self.sender.try_send(entries) {
            Ok(()) => {}
            Err(TrySendError::Full(entries) | TrySendError::Disconnected(entries)) => {
                self.unqueued += entries.len() as u64;
            }
        }
    }

    /// What had no room.
    pub(super) fn losses(&self) -> Losses {
        let mut losses = Losses::default();
        losses.add(Stage::Queue, "recording too slow", self.unqueued);
        losses
    }

    /// Waits until everything is written. Says how many packets the file holds and how many it does not.
    pub(super) fn finish(self) -> String {
        let Recorder {
            file,
            sender,
            thread,
            unqueued,
            ..
        } = self;
        drop(sender);
        let Ok(stats) = thread.join() else {
            return format!("the recording {file} is incomplete: its thread ended early");
        };
        let WriterStats {
            written,
            unwritten,
            unplaced,
        } = stats;
        let mut said = format!("recorded: {written} packets in {file}");
        for (count, why) in [
            (unwritten, "could not be written"),
            (unqueued, "came faster than they could be written"),
            (unplaced, "are parts of packets whose beginning is missing"),
        ] {
            if count > 0 {
                said += &format!("; {count} records {why}");
            }
        }
        said
    }
}

/// Whose packet it is, for people.
fn comment(record: &Record, index: &Index) -> String {
    // A later chunk becomes part of its first one's packet.
    let Some(ip) = pod_address(record) else {
        return String::new();
    };
    match index.pod(record.time, record.ifindex, ip) {
        Ok(pod) => format!("{}/{}", pod.namespace, pod.name),
        Err(reason) => format!("{ip} ({})", reason.as_str()),
    }
}

/// The thread.
fn write(mut writer: FileWriter, entries: &Receiver<Vec<Entry>>) -> WriterStats {
    let mut flushed = Instant::now();
    loop {
        let batch = match entries.recv_timeout(FLUSH_EVERY) {
            Ok(batch) => batch,
            Err(RecvTimeoutError::Timeout) => Vec::new(),
            Err(RecvTimeoutError::Disconnected) => break,
        };
        for entry in batch {
            let Entry {
                stamp,
                interface,
                record,
                comment,
            } = entry;
            tell(writer.write(stamp, &interface, &record, &comment));
        }
        if flushed.elapsed() >= FLUSH_EVERY {
            tell(writer.flush());
            flushed = Instant::now();
        }
    }
    let (_, stats, result) = writer.finish();
    tell(result);
    stats
}

/// The writer fails once; from then on it only counts.
fn tell(result: Result<(), tracer_core::files::capture::FileError>) {
    if let Err(error) = result {
        notice::warn(&format!("{}; tracing goes on", error.explained()));
    }
}

/// Wall time of records.
struct Stamps {
    clock: Arc<Clock>,
    /// Wall minus kernel time. Kept while nobody sets the wall clock, so that times between packets are exact.
    offset_ns: Option<i128>,
}

impl Stamps {
    fn of(&mut self, at: Timestamp) -> Timestamp {
        let wall = self.clock.wall(at).duration_since(UNIX_EPOCH);
        let wall_ns = i128::try_from(wall.unwrap_or_default().as_nanos()).unwrap_or(i128::MAX);
        let measured = wall_ns - i128::from(at.0);
        let offset = match self.offset_ns {
            Some(kept) if (kept - measured).abs() < CLOCK_STEP_NS => kept,
            _ => measured,
        };
        self.offset_ns = Some(offset);
        Timestamp(u64::try_from(i128::from(at.0) + offset).unwrap_or_default())
    }
}
