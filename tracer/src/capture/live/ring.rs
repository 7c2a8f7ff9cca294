//! Reads the ring buffer on a thread of its own and sends records in batches.
//!
//! The probes do not wake this thread for a record, only when a part of the ring is filled: it looks by itself often
//! enough that nothing waits 10 ms. Sending blocks when the receiver is slow: back-pressure ends in the ring, where what
//! finds no room is counted. Owns no policy and drops nothing but what is no record.
//!
//! It is also the pipeline's clock: only this thread knows up to when everything was read. A clock of its own would, on a
//! busy machine, run ahead of records that are still in the ring, and call late what was in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;
use tracer_common::{FROM_POD, RecordHeader, flag};

use super::CaptureMessage;
use super::clock;
use super::counters::totals;
use tracer_core::model::flow::{Direction, Ifindex};
use tracer_core::model::record::Record;
use tracer_core::model::time::Timestamp;

/// With [`NAP`] the longest that a record waits for the next look, well below 10 ms.
const POLL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 5_000_000,
};
/// After records were read, so that a busy ring is read in batches and not record by record.
const NAP: Duration = Duration::from_millis(1);
/// How often it says up to when it has read. The shortest wait of the pipeline is the lookups' 20 ms.
const TELL_TIME: Duration = Duration::from_millis(10);
/// Between reading the clock and finishing its record a probe runs for some microseconds; an interrupt may come between.
const IN_FLIGHT: Duration = Duration::from_millis(1);
/// The most records of one message.
const BATCH: usize = 256;

/// What the thread shares with its owner.
#[derive(Debug, Default)]
pub(super) struct RingState {
    /// No program is attached any more: read what is left, then end.
    pub finish: AtomicBool,
    /// Ring entries that were no records; a bug if ever.
    pub undecodable: AtomicU64,
}

/// Reads until it is told to finish or nobody receives any more.
pub(super) fn run(
    mut ring: RingBuf<MapData>,
    sender: &mpsc::Sender<CaptureMessage>,
    state: &Arc<RingState>,
) {
    let mut teller = Teller::new(sender, state);
    loop {
        // Read before the ring: what was written before the end was told is then read.
        let last_look = state.finish.load(Ordering::Acquire);
        let looked = clock::now();
        let drained = teller.drain(|| ring.next().map(|item| parse(&item)));
        match drained {
            Ok(Drained::Nothing) if last_look => {
                // Nobody is left to tell where this fails.
                let _ = teller.read_until(looked);
                return;
            }
            Ok(_) if teller.read_until(looked).is_err() => return,
            Ok(Drained::Nothing) => {}
            Ok(Drained::Some) => std::thread::sleep(NAP),
            Err(Closed) => return,
        }
        let mut fds = [PollFd::new(&ring, PollFlags::IN)];
        // An error (a signal) is as good as a timeout: the next look follows.
        let _ = poll(&mut fds, Some(&POLL));
    }
}

enum Drained {
    Nothing,
    Some,
}

/// Nobody receives any more.
#[derive(Debug)]
struct Closed;

/// Sends what is read, and up to when everything was.
struct Teller<'a> {
    sender: &'a mpsc::Sender<CaptureMessage>,
    state: &'a RingState,
    told: Timestamp,
}

impl Teller<'_> {
    fn new<'a>(sender: &'a mpsc::Sender<CaptureMessage>, state: &'a RingState) -> Teller<'a> {
        Teller {
            sender,
            state,
            told: Timestamp(0),
        }
    }

    /// Sends all entries that there are: records, or `None` for what is none. Says in between up to when it has read: a
    /// ring that is filled as fast as it is read has no end, and whoever waits for the time must not wait for that.
    fn drain(
        &mut self,
        mut next: impl FnMut() -> Option<Option<Record>>,
    ) -> Result<Drained, Closed> {
        let mut drained = Drained::Nothing;
        loop {
            let mut batch = Vec::new();
            while batch.len() < BATCH
                && let Some(entry) = next()
            {
                match entry {
                    Some(record) => batch.push(record),
                    None => {
                        self.state.undecodable.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            let Some(latest) = batch.last().map(|record: &Record| record.time) else {
                return Ok(drained);
            };
            self.send(CaptureMessage::Records(batch))?;
            // The ring is in the order in which probes began to write.
            self.read_until(latest)?;
            drained = Drained::Some;
        }
    }

    /// Everything from before `at` was sent, but for what a probe was about to write then.
    fn read_until(&mut self, at: Timestamp) -> Result<(), Closed> {
        if at.since(self.told) < TELL_TIME {
            return Ok(());
        }
        self.told = at;
        let until = Timestamp(at.0.saturating_sub(IN_FLIGHT.as_nanos() as u64));
        self.send(CaptureMessage::ReadUntil(until))
    }

    fn send(&self, message: CaptureMessage) -> Result<(), Closed> {
        self.sender.blocking_send(message).map_err(|_| Closed)
    }
}

/// One ring entry: the header, then at least as many bytes as it says.
fn parse(entry: &[u8]) -> Option<Record> {
    let (head, bytes) = entry.split_at_checked(size_of::<RecordHeader>())?;
    // SAFETY: `head` is as long as the header, which is plain integers: every pattern is a value.
    let header = unsafe { head.as_ptr().cast::<RecordHeader>().read_unaligned() };
    let bytes = bytes.get(..usize::from(header.captured_len_bytes))?;
    Some(Record {
        time: Timestamp(header.ktime_ns),
        ifindex: Ifindex(header.ifindex),
        direction: if header.direction == FROM_POD {
            Direction::FromPod
        } else {
            Direction::ToPod
        },
        ethertype: header.ethertype,
        wire_len: header.wire_len_bytes,
        chunk_offset: header.chunk_offset_bytes,
        totals: (header.flags & flag::NO_FLOW == 0).then(|| totals(&header.flow)),
        bytes: bytes.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracer_common::{FlowTotals, TO_POD};

    fn entry(header: RecordHeader, bytes: &[u8]) -> Vec<u8> {
        // SAFETY: a plain structure without padding, read as the bytes that it is.
        let head = unsafe {
            std::slice::from_raw_parts((&raw const header).cast::<u8>(), size_of::<RecordHeader>())
        };
        [head, bytes].concat()
    }

    #[test]
    fn a_ring_that_never_runs_empty_tells_the_time_all_the_same() {
        let (sender, mut receiver) = mpsc::channel(4);
        let reading = std::thread::spawn(move || {
            let state = RingState::default();
            let mut at = 0;
            let without_end = || {
                at += 100_000;
                let header = RecordHeader {
                    ktime_ns: at,
                    ..RecordHeader::default()
                };
                Some(parse(&entry(header, &[])))
            };
            Teller::new(&sender, &state).drain(without_end).is_err()
        });
        let mut latest = Timestamp(0);
        let mut told = None;
        for _ in 0..1_000 {
            match receiver.blocking_recv().expect("it goes on") {
                CaptureMessage::Records(records) => {
                    assert!(records.iter().all(|record| Some(record.time) >= told));
                    latest = records.last().expect("no batch is empty").time;
                }
                CaptureMessage::ReadUntil(until) => {
                    assert!(until < latest && latest.since(until) <= IN_FLIGHT);
                    told = Some(until);
                }
                CaptureMessage::Interface(event) => panic!("{event:?}"),
            }
        }
        // Of 500 batches of 25.6 ms each the last ones.
        assert!(told.is_some_and(|told| latest.since(told) < TELL_TIME * 4));
        drop(receiver);
        assert!(reading.join().expect("it ends"), "nobody receives any more");
    }

    #[test]
    fn a_record_holds_the_captured_bytes_and_not_the_slot_s_rest() {
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
            ethertype: 0x0800,
            direction: TO_POD,
            ..RecordHeader::default()
        };
        let record = parse(&entry(header, &[1, 2, 3, 99, 99])).expect("a record");
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
        assert_eq!(parse(&entry(header, &[])).expect("a record").totals, None);
    }

    #[test]
    fn an_entry_shorter_than_it_says_is_no_record() {
        let header = RecordHeader {
            captured_len_bytes: 5,
            ..RecordHeader::default()
        };
        let whole = entry(header, &[0; 4]);
        assert_eq!(parse(&whole), None);
        assert_eq!(parse(&whole[..20]), None);
    }
}
