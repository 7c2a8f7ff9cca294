//! The thread that reads a capture file and makes inputs for the pipeline of it.

use tokio::sync::mpsc;

use super::pods::PodAddresses;
use tracer_core::files::capture::{FileError, ReaderStats, Replay, SidesStats};
use tracer_core::model::loss::Losses;
use tracer_core::model::time::Timestamp;
use tracer_core::pipeline::Input;

/// What was read so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) read: ReaderStats,
    pub(super) sides: SidesStats,
    pub(super) reassembled: u64,
    pub(super) losses: Losses,
    /// How far the file was read, in bytes as they are on the disk.
    pub(super) position: u64,
}

/// Some packets.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) inputs: Vec<Input>,
    pub(super) trouble: Option<FileError>,
    pub(super) figures: Figures,
    /// Something was read that waits for what follows it.
    pub(super) held: bool,
}

/// Reads to the end.
pub(super) struct Reading {
    pub(super) replay: Replay,
    /// `None` without an inventory.
    pub(super) pods: Option<PodAddresses>,
    /// Packets that are handed over at once. One for a pipe: its next packet may be long in coming.
    pub(super) batch: usize,
}

impl Reading {
    /// Until the end of the file, or until nobody listens any more.
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
                    Err(error) => batch.trouble = Some(error),
                }
                for (ifindex, ip) in self.replay.new_interfaces() {
                    // It was so before anybody looked: names need not wait for it.
                    let told = pods.map(|pods| pods.behind(ifindex, ip));
                    let told = told.map(|change| Input::Change(Timestamp(0), change));
                    batch.inputs.extend(told);
                }
                batch.inputs.extend(records.drain(..).map(Input::Record));
                if over || batch.trouble.is_some() {
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
            batch.held = self.replay.has_waiting();
            if batches.blocking_send(batch).is_err() {
                return;
            }
        }
    }
}
