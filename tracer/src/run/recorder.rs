//! `--record`: a thread that writes the records and signals that the pipeline reads to a capture file.
//!
//! A slow or full disk never delays tracing: records that do not fit the queue or cannot be written are
//! counted, and the summary reports them. Input: the live records, and the index for the names of their pods.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use lru::LruCache;

use super::notice::Notices;
use crate::capture::live::Clock;
use tracer_core::files::capture::{FileError, FileWriter, WriterStats, pod_address};
use tracer_core::identity::Index;
use tracer_core::model::cluster::ContainerCgroup;
use tracer_core::model::flow::Ifindex;
use tracer_core::model::loss::{Losses, Stage};
use tracer_core::model::record::Record;
use tracer_core::model::signal::Signal;
use tracer_core::model::time::Timestamp;

/// Time until a record is in the file, for readers that follow the file.
const FLUSH_EVERY: Duration = Duration::from_millis(100);
/// Batches of records in the queue: about as much as a ring buffer of the default size holds.
const QUEUE: usize = 128;
/// Interface names kept. A node has a few hundred interfaces at a time.
const MAX_NAMES: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");
/// Cgroups that are remembered. A node has a few hundred containers at a time.
const MAX_CGROUPS: usize = 16_384;
/// Measurements of the offset between the clocks differ by less than this. A larger difference means that the
/// wall clock was set.
const CLOCK_STEP_NS: i128 = 1_000_000;

/// What one block of the file needs.
enum Entry {
    /// A record.
    Packet {
        stamp: Timestamp,
        interface: Arc<str>,
        record: Record,
        comment: String,
    },
    /// A signal.
    Signal(Timestamp, Signal),
}

/// Hands records to the thread that writes.
pub(super) struct Recorder {
    file: String,
    sender: SyncSender<Vec<Entry>>,
    thread: JoinHandle<WriterStats>,
    names: LruCache<Ifindex, Arc<str>>,
    stamps: Stamps,
    unqueued: u64,
    /// Signals for the next batch.
    signals: Vec<Entry>,
    /// Cgroups that are recorded: each scan finds all.
    cgroups: HashSet<u64>,
}

impl Recorder {
    /// Starts the thread.
    pub(super) fn start(
        file: String,
        writer: FileWriter,
        clock: Arc<Clock>,
        notices: Notices,
    ) -> Result<Recorder> {
        let (sender, entries) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("tracer-record".to_owned())
            .spawn(move || write(writer, &entries, notices))
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
            signals: Vec::new(),
            cgroups: HashSet::new(),
        })
    }

    /// Remembers an interface's name.
    pub(super) fn name(&mut self, ifindex: Ifindex, name: &str) {
        self.names.put(ifindex, Arc::from(name));
    }

    /// Keeps a signal for the next batch.
    pub(super) fn signal(&mut self, at: Timestamp, signal: &Signal) {
        let stamp = self.stamps.stamp(at);
        self.signals.push(Entry::Signal(stamp, signal.clone()));
    }

    /// Keeps the containers of cgroups that are new.
    pub(super) fn containers(&mut self, at: Timestamp, found: &[ContainerCgroup]) {
        if self.cgroups.len() >= MAX_CGROUPS {
            self.cgroups.clear();
        }
        for cgroup in found {
            if self.cgroups.insert(cgroup.id) {
                self.signal(at, &Signal::Container(cgroup.clone()));
            }
        }
    }

    /// Queues signals, and the records that they precede, for the file. Never waits.
    pub(super) fn take(&mut self, records: &[Record], index: &Index) {
        let mut entries = std::mem::take(&mut self.signals);
        entries.extend(records.iter().map(|record| Entry::Packet {
            stamp: self.stamps.stamp(record.time),
            interface: self.names.get(&record.ifindex).cloned().unwrap_or_default(),
            record: record.clone(),
            comment: comment(record, index),
        }));
        if entries.is_empty() {
            return;
        }
        match self.sender.try_send(entries) {
            Ok(()) => {}
            Err(TrySendError::Full(entries) | TrySendError::Disconnected(entries)) => {
                self.unqueued += entries.len() as u64;
            }
        }
    }

    /// Records that did not fit the queue.
    pub(super) fn losses(&self) -> Losses {
        let mut losses = Losses::default();
        losses.add(Stage::Queue, "recording too slow", self.unqueued);
        losses
    }

    /// Waits until everything is written. Returns a sentence about the packets in the file and those missing
    /// from it.
    pub(super) fn finish(mut self, index: &Index) -> String {
        self.take(&[], index);
        let Recorder {
            file,
            sender,
            thread,
            unqueued,
            ..
        } = self;
        drop(sender);
        let Ok(stats) = thread.join() else {
            return format!(
                "the recording {file} is incomplete: the thread that writes it ended early"
            );
        };
        let WriterStats {
            written,
            unwritten,
            unplaced,
        } = stats;
        let mut summary = format!("recorded: {written} packets in {file}");
        for (count, why) in [
            (unwritten, "could not be written"),
            (unqueued, "came faster than the disk could write"),
            (unplaced, "belong to packets whose first part is missing"),
        ] {
            if count > 0 {
                summary += &format!("; {count} records {why}");
            }
        }
        summary
    }
}

/// The comment on a packet: the pod it belongs to.
fn comment(record: &Record, index: &Index) -> String {
    // The writer joins later chunks to the packet of the first one.
    let Some(ip) = pod_address(record) else {
        return String::new();
    };
    match index.pod(record.time, record.ifindex, ip) {
        Ok(pod) => format!("{}/{}", pod.namespace, pod.name),
        Err(reason) => format!("{ip} ({})", reason.as_str()),
    }
}

/// The body of the thread.
fn write(mut writer: FileWriter, entries: &Receiver<Vec<Entry>>, notices: Notices) -> WriterStats {
    // The writer fails once; after that it only counts.
    let warn = |result: Result<(), FileError>| {
        if let Err(error) = result {
            notices.warn(&format!("{}; tracing continues", error.explained()));
        }
    };
    let mut flushed = Instant::now();
    loop {
        let batch = match entries.recv_timeout(FLUSH_EVERY) {
            Ok(batch) => batch,
            Err(RecvTimeoutError::Timeout) => Vec::new(),
            Err(RecvTimeoutError::Disconnected) => break,
        };
        for entry in batch {
            warn(match entry {
                Entry::Packet {
                    stamp,
                    interface,
                    record,
                    comment,
                } => writer.write(stamp, &interface, &record, &comment),
                Entry::Signal(stamp, signal) => writer.signal(stamp, &signal),
            });
        }
        if flushed.elapsed() >= FLUSH_EVERY {
            warn(writer.flush());
            flushed = Instant::now();
        }
    }
    let (_, stats, result) = writer.finish();
    warn(result);
    stats
}

/// Converts the kernel time of records to wall time.
struct Stamps {
    clock: Arc<Clock>,
    /// Wall time minus kernel time. Kept until the wall clock is set, so that the times between packets are
    /// exact.
    offset_ns: Option<i128>,
}

impl Stamps {
    fn stamp(&mut self, at: Timestamp) -> Timestamp {
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
