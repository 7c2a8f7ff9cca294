//! Reads the ring buffer on a thread of its own and sends records in batches.
//!
//! While records come, it reads every few milliseconds, so that no record costs a wake-up. When the ring has been
//! empty for some reads, it asks the probes to wake it for the next record, and sleeps. Sending blocks while the
//! receiver is slow, so the ring takes the back-pressure, and the probes count what finds no room there. This
//! thread applies no policy and drops only ring entries that are no records.
//!
//! It is also the pipeline's clock: only this thread knows up to which time every record has been read. An
//! independent clock would run ahead of records still in the ring on a busy machine, and answers that arrived
//! in time would count as late.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aya::maps::{Array, MapData, RingBuf};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use tokio::sync::mpsc;
use tracer_common::{DropRecord, FROM_POD, RETRANSMITS_UNKNOWN, RecordHeader, flag, reason};

use super::CaptureMessage;
use super::clock;
use super::counters::totals;
use super::drops::DropReader;
use super::losses::LossReader;
use super::processes::Senders;
use tracer_core::model::flow::{Direction, Ifindex};
use tracer_core::model::loss::{InterfaceLoss, Missing, Thinning};
use tracer_core::model::record::Record;
use tracer_core::model::signal::PacketDrop;
use tracer_core::model::time::Timestamp;

/// Pause between two reads while records come, so that a busy ring is read in batches and not record by record.
/// Two threads wake for each read, which costs about as much as five records.
const NAP: Duration = Duration::from_millis(4);
/// The pause after a read of more than [`MANY`] records, so that they do not pile up in a small ring.
const SHORT_NAP: Duration = Duration::from_millis(1);
const MANY: usize = MAX_BATCH;
/// Empty reads before the thread sleeps until the next record.
const NAPS: u32 = 4;
/// Interval of [`CaptureMessage::ReadUntil`]. The pipeline's shortest timeout is the lookups' 20 ms.
const REPORT_TIME_EVERY: Duration = Duration::from_millis(10);
/// The same when no record has come for a while: what then still waits for the time waits for seconds.
const REPORT_TIME_AT_REST: Duration = Duration::from_millis(100);
/// A while: longer than the lookups' timeout.
const REST_AFTER: Duration = Duration::from_millis(200);
/// The same when no record has come for longer than a resolver waits for an answer, and no client waits for the time.
const REPORT_TIME_UNWATCHED: Duration = Duration::from_secs(1);
const UNWATCHED_AFTER: Duration = Duration::from_secs(10);
/// A probe needs some microseconds from reading the clock to finishing its record, more if an interrupt
/// intervenes.
const IN_FLIGHT: Duration = Duration::from_millis(1);
/// Records per message.
const MAX_BATCH: usize = 256;
// EtherTypes.
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// State shared with the capture's owner.
#[derive(Debug)]
pub(super) struct RingState {
    finish: AtomicBool,
    /// Wakes the thread for `finish`.
    wake: OwnedFd,
    /// A client waits for the time, and gets it ten times a second.
    pub watched: AtomicBool,
    /// Ring entries that were no records. Nonzero means a bug.
    pub undecodable: AtomicU64,
    /// Records whose processes were no longer, or not yet, in the table of sockets.
    pub unnamed: AtomicU64,
}

impl RingState {
    pub fn new() -> io::Result<RingState> {
        Ok(RingState {
            finish: AtomicBool::new(false),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            watched: AtomicBool::new(false),
            undecodable: AtomicU64::new(0),
            unnamed: AtomicU64::new(0),
        })
    }

    /// No probe sees packets any more: read the rest, then end.
    pub fn finish(&self) {
        self.finish.store(true, Ordering::Release);
        // Fails only if the counter is at its maximum, and then the thread is awake.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

/// What the kernel shows beside the packets.
#[derive(Default)]
pub(super) struct Sources {
    pub drops: Option<DropReader>,
    /// What sockets of pods send again is counted in their flows.
    pub counts_retransmits: bool,
}

/// Reads until [`RingState::finish`] is called and the ring is empty, or the receiver is gone.
pub(super) fn run(
    mut ring: RingBuf<MapData>,
    mut waits: Array<MapData, u32>,
    mut sources: Sources,
    senders: Senders,
    mut losses: LossReader,
    sender: &mpsc::Sender<CaptureMessage>,
    state: &Arc<RingState>,
) {
    let mut sender = BatchSender::new(sender, state, senders, || losses.read());
    let mut latest = clock::now();
    let mut empty = 0;
    let mut nap;
    loop {
        // Both are read before the ring: every record from before the flag was set, or before this time, is
        // read below.
        let finishing = state.finish.load(Ordering::Acquire);
        let read_at = clock::now();
        match sender.drain(|| ring.next().map(|item| parse(&item, &mut sources))) {
            Ok(Drained::Nothing) if finishing => {
                // Fails only if the receiver is gone.
                let _ = sender.report(read_at);
                return;
            }
            Ok(Drained::Nothing) => {
                empty += 1;
                nap = NAP;
            }
            Ok(Drained::Some(records)) => {
                empty = 0;
                latest = read_at;
                nap = if records > MANY { SHORT_NAP } else { NAP };
            }
            Err(Closed) => return,
        }
        let every = interval(read_at.since(latest), state.watched.load(Ordering::Relaxed));
        if sender.read_until(read_at, every).is_err() {
            return;
        }
        if empty < NAPS {
            std::thread::sleep(nap);
            continue;
        }
        // The probe that writes the next record clears it. If this fails, the thread polls as often as it
        // reports the time.
        let _ = waits.set(0, 1, 0);
        let timeout = Timespec {
            tv_sec: every.as_secs() as i64,
            tv_nsec: i64::from(every.subsec_nanos()),
        };
        // Returns at once for a record that came before the probes saw the flag. An error (a signal) counts as
        // a timeout: the loop reads the ring again.
        let mut fds = [
            PollFd::new(&ring, PollFlags::IN),
            PollFd::new(&state.wake, PollFlags::IN),
        ];
        let _ = poll(&mut fds, Some(&timeout));
    }
}

/// Interval of the reports of the time, after so long without a record.
fn interval(without: Duration, watched: bool) -> Duration {
    if without < REST_AFTER {
        REPORT_TIME_EVERY
    } else if watched || without < UNWATCHED_AFTER {
        REPORT_TIME_AT_REST
    } else {
        REPORT_TIME_UNWATCHED
    }
}

enum Drained {
    Nothing,
    /// So many records.
    Some(usize),
}

/// The receiver is gone.
#[derive(Debug)]
struct Closed;

/// Sends records in batches, the losses, and up to which time all of them have been sent.
struct BatchSender<'a, L> {
    sender: &'a mpsc::Sender<CaptureMessage>,
    state: &'a RingState,
    senders: Senders,
    /// Reads what the kernel has lost since the last call.
    losses: L,
    reported: Timestamp,
}

impl<'a, L: FnMut() -> Vec<InterfaceLoss>> BatchSender<'a, L> {
    fn new(
        sender: &'a mpsc::Sender<CaptureMessage>,
        state: &'a RingState,
        senders: Senders,
        losses: L,
    ) -> BatchSender<'a, L> {
        BatchSender {
            sender,
            state,
            senders,
            losses,
            reported: Timestamp(0),
        }
    }

    /// Sends entries until `next` returns `None`. An inner `None` is an entry that cannot be read. Reports the
    /// time between batches: a ring that fills as fast as it is read never runs empty, and the pipeline must
    /// not wait for that.
    fn drain(
        &mut self,
        mut next: impl FnMut() -> Option<Option<Entry>>,
    ) -> Result<Drained, Closed> {
        let mut drained = 0;
        loop {
            let mut batch = Vec::with_capacity(MAX_BATCH);
            let mut sent = Vec::new();
            let mut latest = None;
            while batch.len() < MAX_BATCH
                && let Some(entry) = next()
            {
                drained += 1;
                match entry {
                    Some(Entry::Record(record, socket)) => {
                        latest = Some(record.time);
                        if socket != 0 {
                            sent.push((batch.len(), socket));
                        }
                        batch.push(record);
                    }
                    Some(Entry::Drop(at, dropped)) => {
                        latest = Some(at);
                        self.send_records(std::mem::take(&mut batch), std::mem::take(&mut sent))?;
                        self.send(CaptureMessage::Drop(at, dropped))?;
                    }
                    Some(Entry::Unreadable) => {}
                    None => {
                        self.state.undecodable.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            let Some(latest) = latest else {
                return Ok(match drained {
                    0 => Drained::Nothing,
                    entries => Drained::Some(entries),
                });
            };
            self.send_records(batch, sent)?;
            // The ring is ordered by when a probe reserved its record.
            self.read_until(latest, REPORT_TIME_EVERY)?;
        }
    }

    /// Sends a batch. `sent` are the positions and sockets of the records that a socket sent.
    fn send_records(&self, mut batch: Vec<Record>, sent: Vec<(usize, u64)>) -> Result<(), Closed> {
        // A full batch has more behind it, which does not wait.
        let wait = batch.len() < MAX_BATCH;
        let unnamed = self.senders.name(&mut batch, sent, wait);
        self.state.unnamed.fetch_add(unnamed, Ordering::Relaxed);
        match batch.is_empty() {
            true => Ok(()),
            false => self.send(CaptureMessage::Records(batch)),
        }
    }

    /// Reports the time at intervals.
    fn read_until(&mut self, at: Timestamp, every: Duration) -> Result<(), Closed> {
        if at.since(self.reported) < every {
            return Ok(());
        }
        self.report(at)
    }

    /// Reports that every record from before `at` was sent, minus the time that a probe needs to write its
    /// record or to count its loss. The losses come first: without them the silence of a lost answer would be
    /// evidence.
    fn report(&mut self, at: Timestamp) -> Result<(), Closed> {
        self.reported = at;
        let lost = (self.losses)();
        if !lost.is_empty() {
            self.send(CaptureMessage::Lost(lost))?;
        }
        let until = Timestamp(at.0.saturating_sub(IN_FLIGHT.as_nanos() as u64));
        self.send(CaptureMessage::ReadUntil(until))
    }

    fn send(&self, message: CaptureMessage) -> Result<(), Closed> {
        self.sender.blocking_send(message).map_err(|_| Closed)
    }
}

/// What an entry of the ring is.
#[derive(Debug, PartialEq)]
enum Entry {
    /// With the cookie of the socket that sent the packet, or 0.
    Record(Record, u64),
    Drop(Timestamp, PacketDrop),
    /// A dropped packet whose headers are not readable. That may be why it was dropped.
    Unreadable,
}

fn parse(entry: &[u8], sources: &mut Sources) -> Option<Entry> {
    let head = entry.get(..size_of::<RecordHeader>())?;
    // SAFETY: `head` is as long as the header, which consists of integers: every bit pattern is valid. The
    // read is unaligned.
    let header = unsafe { head.as_ptr().cast::<RecordHeader>().read_unaligned() };
    if header.reason != reason::DROP {
        let mut record = record(&header, &entry[head.len()..])?;
        if let Some(totals) = &mut record.totals
            && sources.counts_retransmits
            && header.retransmits != RETRANSMITS_UNKNOWN
        {
            totals.retransmits = Some(header.retransmits.into());
        }
        return Some(Entry::Record(record, header.socket()));
    }
    let whole = entry.get(..size_of::<DropRecord>())?;
    // SAFETY: as above, for the whole record.
    let record = unsafe { whole.as_ptr().cast::<DropRecord>().read_unaligned() };
    Some(match sources.drops.as_mut()?.read(&record) {
        Some((at, dropped)) => Entry::Drop(at, dropped),
        None => Entry::Unreadable,
    })
}

/// The record with this header, which at least `captured_len_bytes` bytes follow.
fn record(header: &RecordHeader, bytes: &[u8]) -> Option<Record> {
    let bytes = bytes.get(..usize::from(header.captured_len_bytes))?;
    Some(Record {
        time: Timestamp(header.ktime_ns),
        ifindex: Ifindex(header.ifindex),
        direction: if header.direction == FROM_POD {
            Direction::FromPod
        } else {
            Direction::ToPod
        },
        ethertype: match header.flags & flag::IPV6 {
            0 => IPV4,
            _ => IPV6,
        },
        wire_len: header.wire_len_bytes,
        chunk_offset: header.chunk_offset_bytes(),
        missing: Missing {
            count: header.lost,
            thinning: Thinning(header.thinning),
        },
        totals: (header.flags & flag::NO_FLOW == 0).then(|| totals(&header.flow)),
        sender_cgroup: header.cgroup_id,
        sender_process: None,
        bytes: bytes.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracer_common::{FlowTotals, TO_POD};

    fn entry(header: RecordHeader, bytes: &[u8]) -> Vec<u8> {
        // SAFETY: `RecordHeader` has no padding, so all its bytes are initialised; the slice ends before
        // `header` does.
        let head = unsafe {
            std::slice::from_raw_parts((&raw const header).cast::<u8>(), size_of::<RecordHeader>())
        };
        [head, bytes].concat()
    }

    fn parsed(entry: &[u8]) -> Option<Record> {
        match parse(entry, &mut Sources::default())? {
            Entry::Record(record, _) => Some(record),
            Entry::Drop(..) | Entry::Unreadable => None,
        }
    }

    #[test]
    fn the_time_is_reported_while_the_ring_never_runs_empty() {
        let (sender, mut receiver) = mpsc::channel(4);
        let reading = std::thread::spawn(move || {
            let state = RingState::new().expect("an eventfd");
            let mut at = 0;
            let endless = || {
                at += 100_000;
                let header = RecordHeader {
                    ktime_ns: at,
                    ..RecordHeader::default()
                };
                Some(parse(&entry(header, &[]), &mut Sources::default()))
            };
            BatchSender::new(&sender, &state, Senders::default(), Vec::new)
                .drain(endless)
                .is_err()
        });
        let mut latest = Timestamp(0);
        let mut reported = None;
        for _ in 0..1_000 {
            match receiver.blocking_recv().expect("the ring never ends") {
                CaptureMessage::Records(records) => {
                    assert!(records.iter().all(|record| Some(record.time) >= reported));
                    latest = records.last().expect("no batch is empty").time;
                }
                CaptureMessage::ReadUntil(until) => {
                    assert!(until < latest && latest.since(until) <= IN_FLIGHT);
                    reported = Some(until);
                }
                other => panic!("{other:?}"),
            }
        }
        // A batch spans 25.6 ms, so a report follows every one.
        assert!(reported.is_some_and(|until| latest.since(until) < REPORT_TIME_EVERY * 4));
        drop(receiver);
        assert!(reading.join().expect("it ends"), "the receiver is gone");
    }

    #[test]
    fn the_time_is_reported_less_often_the_longer_no_record_comes() {
        let seconds = Duration::from_secs;
        let millis = Duration::from_millis;
        for watched in [false, true] {
            assert_eq!(interval(millis(199), watched), millis(10));
            assert_eq!(interval(millis(200), watched), millis(100));
            // glibc waits 5 s for an answer, and its timeout is reported in time.
            assert_eq!(interval(seconds(6), watched), millis(100));
        }
        assert_eq!(interval(seconds(10), false), seconds(1));
        assert_eq!(interval(seconds(3_600), true), millis(100));
    }

    #[test]
    fn losses_are_reported_before_the_time() {
        let (sender, mut receiver) = mpsc::channel(4);
        let state = RingState::new().expect("an eventfd");
        let loss = InterfaceLoss {
            ifindex: Ifindex(3),
            from: Timestamp(1),
            until: Timestamp(2),
            count: 7,
            thinning: None,
        };
        let mut reads = 0;
        let losses = || {
            reads += 1;
            vec![loss]
        };
        let mut batches = BatchSender::new(&sender, &state, Senders::default(), losses);
        batches
            .read_until(Timestamp(50_000_000), REPORT_TIME_EVERY)
            .expect("there is room");
        batches
            .read_until(Timestamp(50_000_001), REPORT_TIME_EVERY)
            .expect("there is room");
        let mut next = || receiver.try_recv();
        assert!(matches!(next(), Ok(CaptureMessage::Lost(lost)) if lost == [loss]));
        assert!(matches!(
            next(),
            Ok(CaptureMessage::ReadUntil(Timestamp(49_000_000)))
        ));
        assert!(next().is_err(), "the second time is too soon");
        assert_eq!(reads, 1);
    }

    #[test]
    fn a_record_contains_only_the_captured_bytes_of_its_slot() {
        let header = RecordHeader {
            ktime_ns: 7,
            flow: FlowTotals {
                tx_packets: 1,
                tx_bytes: 60,
                rx_packets: 2,
                rx_bytes: 90,
            },
            ifindex: 4,
            wire_len_bytes: 60,
            captured_len_bytes: 3,
            direction: TO_POD,
            ..RecordHeader::default()
        };
        let record = parsed(&entry(header, &[1, 2, 3, 99, 99])).expect("a record");
        assert_eq!(record.bytes, [1, 2, 3]);
        assert_eq!(
            (record.time, record.ifindex, record.direction),
            (Timestamp(7), Ifindex(4), Direction::ToPod)
        );
        let totals = record.totals.expect("known");
        assert_eq!((totals.tx.bytes, totals.rx.packets), (60, 2));
    }

    #[test]
    fn a_record_without_a_flow_has_no_totals() {
        let header = RecordHeader {
            flags: flag::NO_FLOW,
            ..RecordHeader::default()
        };
        assert_eq!(parsed(&entry(header, &[])).expect("a record").totals, None);
    }

    #[test]
    fn an_entry_shorter_than_its_captured_length_is_no_record() {
        let header = RecordHeader {
            captured_len_bytes: 5,
            ..RecordHeader::default()
        };
        let whole = entry(header, &[0; 4]);
        assert_eq!(parsed(&whole), None);
        assert_eq!(parsed(&whole[..20]), None);
    }
}
