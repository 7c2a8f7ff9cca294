//! The thread that reads a capture file and turns its packets into inputs for the pipeline.

use tokio::sync::mpsc;

use super::pods::PodAddresses;
use tracer_core::files::capture::{FileError, ReaderStats, Replay, SidesStats};
use tracer_core::model::loss::Losses;
use tracer_core::model::time::Timestamp;
use tracer_core::pipeline::Input;

/// What has been read so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) read: ReaderStats,
    pub(super) sides: SidesStats,
    pub(super) reassembled: u64,
    pub(super) losses: Losses,
    /// Position in the file: bytes on disk, before decompression.
    pub(super) position: u64,
}

/// Inputs from some packets.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) inputs: Vec<Input>,
    pub(super) fault: Option<FileError>,
    pub(super) figures: Figures,
    /// The reader holds packets that wait for others.
    pub(super) has_waiting: bool,
}

/// Reads a capture to its end.
pub(super) struct Reading {
    pub(super) replay: Replay,
    /// `None` without an inventory.
    pub(super) pods: Option<PodAddresses>,
    /// Packets per batch.
    pub(super) batch: usize,
}

impl Reading {
    /// Reads until the end of the file, or until the receiver is dropped.
    pub(super) fn run(mut self, batches: &mpsc::Sender<Batch>) {
        let mut records = Vec::new();
        let mut over = false;
        while !over {
            let mut batch = Batch::default();
            for _ in 0..self.batch {
                let pods = self.pods.as_ref();
                let is_pod = |ip| pods.is_some_and(|pods| pods.has(ip));
                match self.replay.step(is_pod, &mut records) {
                    Ok(true) => {}
                    Ok(false) => over = true,
                    Err(error) => batch.fault = Some(error),
                }
                for (ifindex, ip) in self.replay.new_interfaces() {
                    // Time 0, because the inventory holds for the whole capture.
                    let change = pods.map(|pods| pods.change(ifindex, ip));
                    let input = change.map(|change| Input::Change(Timestamp(0), change));
                    batch.inputs.extend(input);
                }
                for record in records.drain(..) {
                    let due = signals(&mut self.replay, Some(record.time));
                    batch.inputs.extend(due);
                    batch.inputs.push(Input::Record(record));
                }
                if over {
                    batch.inputs.extend(signals(&mut self.replay, None));
                }
                if over || batch.fault.is_some() {
                    break;
                }
            }
            let (read, sides) = self.replay.stats();
            batch.figures = Figures {
                read,
                sides,
                reassembled: self.replay.reassembled(),
                losses: self.replay.losses(),
                position: self.replay.position(),
            };
            batch.has_waiting = self.replay.has_waiting();
            if batches.blocking_send(batch).is_err() {
                return;
            }
        }
    }
}

/// The signals of a recording that precede a record of this time.
fn signals(replay: &mut Replay, until: Option<Timestamp>) -> impl Iterator<Item = Input> {
    let due = replay.signals(until).into_iter();
    due.map(|(at, signal)| Input::Signal(at, signal))
}
