//! DNS over TCP: reassembles the segments of all connections into messages.
//!
//! Owns the table of connections, its limits and its losses. [`half_stream`] orders the segments of one
//! direction ([`position`] is its arithmetic, [`pieces`] its store), [`framing`] finds the messages,
//! [`plausible`] judges whether bytes could start a message. The decoder supplies the segments of DNS ports.
//! Never decodes a message for others, never looks at a clock, and never reports a guess as certain.
//!
//! Guarantees: a message without `resynchronised` equals the sent one byte for byte, and every payload byte
//! is delivered, repeated, dropped or held ([`StreamCounts`]). Memory stays within [`StreamLimits`] whatever
//! the sender does.

mod framing;
mod half_stream;
mod pieces;
mod plausible;
mod position;
mod tally;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::fair_table::{FairTable, Room};
use crate::model::flow::{Direction, Flow};
use crate::model::loss::{Losses, Stage};
use crate::model::observation::TcpSegment;
use crate::model::time::Timestamp;

use half_stream::HalfStream;
use tally::{Books, GivenUp};

pub use crate::model::settings::StreamLimits;
pub use tally::StreamCounts;

/// How long an ended connection is remembered, so that its last segments do not open a new one.
const LINGER: Duration = Duration::from_secs(60);

/// A segment's extent on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The whole segment's payload, of which a chunk is a part. Gives the position of a FIN.
    pub length: u32,
    /// No record holds the rest of the segment: the capture cut it off. Not set for a chunk that others
    /// follow.
    pub cut: bool,
}

impl Extent {
    /// The extent of a segment captured whole, in one piece.
    pub fn whole(segment: &TcpSegment) -> Extent {
        Extent {
            length: u32::try_from(segment.payload.len()).unwrap_or(u32::MAX),
            cut: false,
        }
    }
}

/// A DNS message from a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamMessage {
    /// Its connection.
    pub flow: Flow,
    /// Its direction.
    pub direction: Direction,
    /// The message without its length prefix.
    pub bytes: Vec<u8>,
    /// Time of the packet with the first byte of its length prefix.
    pub began: Timestamp,
    /// Time of the latest packet with a part of it. Messages of a stream are emitted in order; this is the
    /// message's own time all the same.
    pub completed: Timestamp,
    /// Its start was guessed: the stream was not seen from its start, or a gap covered a message boundary.
    pub resynchronised: bool,
}

/// A change of a connection, or of one direction, besides its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamNotice {
    /// The connection.
    pub flow: Flow,
    /// The direction; `None` means both.
    pub direction: Option<Direction>,
    /// The change.
    pub what: StreamChange,
}

/// A change of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamChange {
    /// Bytes of unknown content were given up.
    Gap,
    /// No more bytes will come.
    Ended {
        /// By a RST; otherwise by a FIN, or because a new connection took its ports.
        reset: bool,
        /// Bytes are missing.
        gap: bool,
    },
}

#[derive(Debug)]
struct Connection {
    from_pod: HalfStream,
    to_pod: HalfStream,
    last: Timestamp,
    /// As last added to the table's sum.
    memory: usize,
}

impl Connection {
    fn unseen(time: Timestamp) -> Connection {
        Connection {
            from_pod: HalfStream::unseen(),
            to_pod: HalfStream::unseen(),
            last: time,
            memory: 0,
        }
    }

    fn half(&mut self, direction: Direction) -> &mut HalfStream {
        match direction {
            Direction::FromPod => &mut self.from_pod,
            Direction::ToPod => &mut self.to_pod,
        }
    }

    fn held_memory(&self) -> usize {
        self.from_pod.memory() + self.to_pod.memory()
    }

    fn is_over(&self) -> bool {
        self.from_pod.is_finished() && self.to_pod.is_finished()
    }

    /// When the connection needs attention if nothing arrives.
    fn deadline(&self, limits: &StreamLimits) -> Timestamp {
        let waiting = [&self.from_pod, &self.to_pod]
            .into_iter()
            .filter_map(HalfStream::waiting_since)
            .map(|since| since.after(limits.gap_wait));
        waiting.fold(self.last.after(limits.idle), Timestamp::min)
    }
}

/// All connections that carry DNS.
#[derive(Debug)]
pub struct Streams {
    limits: StreamLimits,
    open: FairTable<Flow, Connection>,
    /// Entries of `open` that hold bytes.
    holding: FairTable<Flow, ()>,
    /// Ended within [`LINGER`].
    ended: FairTable<Flow, ()>,
    memory: usize,
    books: Books,
    /// Changes since the last [`Streams::take_notices`].
    notices: Vec<StreamNotice>,
}

impl Streams {
    /// Creates an empty table.
    pub fn new(limits: StreamLimits) -> Streams {
        Streams {
            open: FairTable::new(room(&limits, usize::MAX)),
            holding: FairTable::new(room(&limits, limits.total_bytes)),
            ended: FairTable::new(room(&limits, usize::MAX)),
            limits,
            memory: 0,
            books: Books::default(),
            notices: Vec::new(),
        }
    }

    /// Takes one segment, or a chunk of one, and appends the messages that it completes. Eviction may append
    /// messages of other connections too.
    pub fn segment(
        &mut self,
        time: Timestamp,
        flow: Flow,
        direction: Direction,
        segment: &TcpSegment,
        extent: Extent,
        out: &mut Vec<StreamMessage>,
    ) {
        if segment.rst {
            self.reset(time, flow, direction, segment, out);
            return;
        }
        if segment.syn {
            self.opened(time, flow, direction, segment, out);
        } else if self.ended.get(&flow).is_some() {
            let mut tally = self.books.tally(flow, direction, out);
            tally.received(segment.payload.len());
            tally.repeated(segment.payload.len() as u64);
            return;
        } else if self.open.get(&flow).is_none() && !segment.payload.is_empty() {
            self.insert(flow, Connection::unseen(time), out);
        }
        let Some(connection) = self.open.get_mut(&flow) else {
            return;
        };
        connection.last = connection.last.max(time);
        if !segment.payload.is_empty() || segment.fin {
            let mut tally = self.books.tally(flow, direction, out);
            tally.received(segment.payload.len());
            let half = connection.half(direction);
            half.accept(time, segment, extent, &mut tally);
            while half.pieces() > self.limits.out_of_order
                && half.give_up_hole(GivenUp::Full, &mut tally)
            {}
        }
        self.settle(flow, out);
    }

    /// Gives up gaps that waited long enough, and forgets connections without traffic.
    pub fn advance(&mut self, now: Timestamp, out: &mut Vec<StreamMessage>) {
        while self.ended.pop_due(now).is_some() {}
        while let Some((flow, mut connection)) = self.open.pop_due(now) {
            if connection.last.after(self.limits.idle) <= now {
                self.finish(flow, connection, out);
                continue;
            }
            for direction in [Direction::FromPod, Direction::ToPod] {
                let mut tally = self.books.tally(flow, direction, out);
                connection
                    .half(direction)
                    .advance(now, self.limits.gap_wait, &mut tally);
            }
            self.insert(flow, connection, out);
            self.settle(flow, out);
        }
    }

    /// Closes a connection that ended without a segment to show it.
    pub fn close(&mut self, now: Timestamp, flow: Flow, out: &mut Vec<StreamMessage>) {
        if let Some(connection) = self.open.remove(&flow) {
            self.finish(flow, connection, out);
            drop(self.ended.insert(flow, (), 0, now.after(LINGER)));
        }
    }

    /// Whether no connection is known.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.ended.is_empty()
    }

    /// Ends the input: delivers messages beyond gaps, counts incomplete ones.
    pub fn end(&mut self, out: &mut Vec<StreamMessage>) {
        while let Some((flow, connection)) = self.open.pop_oldest() {
            self.finish(flow, connection, out);
        }
    }

    /// Changes since the last call. Call it after every method that takes segments or advances time.
    pub fn take_notices(&mut self) -> Vec<StreamNotice> {
        std::mem::take(&mut self.notices)
    }

    /// Losses so far.
    pub fn losses(&self) -> &Losses {
        &self.books.losses
    }

    /// Totals so far.
    pub fn counts(&self) -> StreamCounts {
        self.books.counts
    }

    /// Bytes of memory held for payload, overhead included.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Takes a SYN: a new connection, unless it repeats the one that opened this direction.
    fn opened(
        &mut self,
        time: Timestamp,
        flow: Flow,
        direction: Direction,
        segment: &TcpSegment,
        out: &mut Vec<StreamMessage>,
    ) {
        self.ended.remove(&flow);
        if let Some(connection) = self.open.get_mut(&flow) {
            let half = connection.half(direction);
            if half.opened_by(segment.sequence) {
                return;
            }
            if half.is_unseen() {
                half.open(segment.sequence, time);
                return;
            }
        }
        if let Some(former) = self.open.remove(&flow) {
            let gap = self.finish(flow, former, out);
            self.ended_both(flow, false, gap);
        }
        let mut connection = Connection::unseen(time);
        connection.half(direction).open(segment.sequence, time);
        self.insert(flow, connection, out);
    }

    fn reset(
        &mut self,
        time: Timestamp,
        flow: Flow,
        direction: Direction,
        segment: &TcpSegment,
        out: &mut Vec<StreamMessage>,
    ) {
        let admitted = self
            .open
            .get_mut(&flow)
            .is_some_and(|connection| connection.half(direction).admits(segment.sequence));
        if admitted && let Some(connection) = self.open.remove(&flow) {
            let gap = self.finish(flow, connection, out);
            drop(self.ended.insert(flow, (), 0, time.after(LINGER)));
            self.ended_both(flow, true, gap);
        }
    }

    fn ended_both(&mut self, flow: Flow, reset: bool, gap: bool) {
        self.notices.push(StreamNotice {
            flow,
            direction: None,
            what: StreamChange::Ended { reset, gap },
        });
    }

    fn insert(&mut self, flow: Flow, connection: Connection, out: &mut Vec<StreamMessage>) {
        let deadline = connection.deadline(&self.limits);
        for (evicted, connection) in self.open.insert(flow, connection, 0, deadline) {
            let reason = "dns over tcp: connection table full";
            (self.books.losses).add_on(evicted.ifindex, Stage::Table, reason, 1);
            self.evicted(evicted, connection, out);
        }
    }

    /// An evicted connection continues unseen: answers to its open queries may still come there.
    fn evicted(&mut self, flow: Flow, connection: Connection, out: &mut Vec<StreamMessage>) {
        self.finish(flow, connection, out);
        self.notices.push(StreamNotice {
            flow,
            direction: None,
            what: StreamChange::Gap,
        });
    }

    /// Brings a changed connection and the table back within their limits.
    fn settle(&mut self, flow: Flow, out: &mut Vec<StreamMessage>) {
        let Some(connection) = self.open.get_mut(&flow) else {
            return;
        };
        while connection.held_memory() > self.limits.connection_bytes {
            let direction = if connection.from_pod.memory() >= connection.to_pod.memory() {
                Direction::FromPod
            } else {
                Direction::ToPod
            };
            let mut tally = self.books.tally(flow, direction, out);
            let half = connection.half(direction);
            if !half.give_up_hole(GivenUp::Full, &mut tally) && !half.give_up_message(&mut tally) {
                break;
            }
        }
        for direction in [Direction::FromPod, Direction::ToPod] {
            let half = connection.half(direction);
            let gap = half.new_gap().then_some(StreamChange::Gap);
            let end = half
                .newly_finished()
                .map(|gap| StreamChange::Ended { reset: false, gap });
            self.notices
                .extend(gap.into_iter().chain(end).map(|what| StreamNotice {
                    flow,
                    direction: Some(direction),
                    what,
                }));
        }
        let held = connection.held_memory();
        self.memory = self.memory - connection.memory + held;
        connection.memory = held;
        if connection.is_over() {
            let last = connection.last;
            self.close(last, flow, out);
            return;
        }
        let deadline = connection.deadline(&self.limits);
        self.open.touch(&flow, deadline);
        if held == 0 {
            self.holding.remove(&flow);
            return;
        }
        for (evicted, ()) in self.holding.insert(flow, (), held, deadline) {
            if let Some(connection) = self.open.remove(&evicted) {
                let reason = "dns over tcp: bytes full";
                (self.books.losses).add_on(evicted.ifindex, Stage::Table, reason, 1);
                self.evicted(evicted, connection, out);
            }
        }
    }

    /// Delivers what a connection removed from the table still holds. Returns whether bytes are missing.
    fn finish(
        &mut self,
        flow: Flow,
        mut connection: Connection,
        out: &mut Vec<StreamMessage>,
    ) -> bool {
        self.memory -= connection.memory;
        self.holding.remove(&flow);
        for direction in [Direction::FromPod, Direction::ToPod] {
            let mut tally = self.books.tally(flow, direction, out);
            connection.half(direction).finish(&mut tally);
        }
        connection.from_pod.has_gap() || connection.to_pod.has_gap()
    }
}

fn room(limits: &StreamLimits, bytes: usize) -> Room {
    Room {
        entries: limits.connections,
        bytes,
    }
}
