//! Results and losses of one direction.
//!
//! Every payload byte ends in exactly one place: delivered within a message, repeated, dropped, or still held.

use super::StreamMessage;
use crate::model::flow::{Direction, Flow};
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;

/// Totals over all streams: `received` equals `delivered + repeated + dropped` plus the bytes still held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamCounts {
    /// Payload bytes received.
    pub received: u64,
    /// Bytes delivered in messages, length prefixes included.
    pub delivered: u64,
    /// Repeated bytes (retransmitted, overlapping), and bytes after the end of their stream.
    pub repeated: u64,
    /// Bytes that became part of no message.
    pub dropped: u64,
    /// Messages delivered.
    pub messages: u64,
    /// Gaps given up.
    pub gaps: u64,
    /// Bytes missing in those gaps.
    pub missing: u64,
    /// Guessed starts that led to a message: after a gap, or in a stream not seen from its start.
    pub resynchronised: u64,
}

/// Why a gap was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GivenUp {
    /// It waited long enough.
    Waited,
    /// The stream is over.
    Ended,
    /// Later bytes take too much memory.
    Full,
    /// The capture holds only a part of the segment: the rest will not come.
    Cut,
}

/// The counts so far.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) counts: StreamCounts,
    pub(super) losses: Losses,
}

impl Books {
    /// The tally for one direction of one connection.
    pub(super) fn tally<'a>(
        &'a mut self,
        flow: Flow,
        direction: Direction,
        out: &'a mut Vec<StreamMessage>,
    ) -> Tally<'a> {
        Tally {
            flow,
            direction,
            out,
            counts: &mut self.counts,
            losses: &mut self.losses,
        }
    }
}

/// Collects one direction's output.
#[derive(Debug)]
pub(super) struct Tally<'a> {
    flow: Flow,
    direction: Direction,
    out: &'a mut Vec<StreamMessage>,
    counts: &'a mut StreamCounts,
    losses: &'a mut Losses,
}

impl Tally<'_> {
    pub(super) fn received(&mut self, bytes: usize) {
        self.counts.received += bytes as u64;
    }

    pub(super) fn repeated(&mut self, bytes: u64) {
        self.counts.repeated += bytes;
    }

    pub(super) fn dropped(&mut self, bytes: usize) {
        self.counts.dropped += bytes as u64;
    }

    pub(super) fn message(
        &mut self,
        bytes: Vec<u8>,
        began: Timestamp,
        completed: Timestamp,
        resynchronised: bool,
    ) {
        self.counts.messages += 1;
        self.counts.delivered += (bytes.len() + super::plausible::PREFIX) as u64;
        self.out.push(StreamMessage {
            flow: self.flow,
            direction: self.direction,
            bytes,
            began,
            completed,
            resynchronised,
        });
    }

    pub(super) fn resynchronised(&mut self) {
        self.counts.resynchronised += 1;
    }

    pub(super) fn gap(&mut self, bytes: u64, why: GivenUp) {
        self.counts.gaps += 1;
        self.counts.missing += bytes;
        match why {
            GivenUp::Waited | GivenUp::Ended => self.undecodable("dns over tcp: gap"),
            GivenUp::Cut => self.undecodable("dns over tcp: segment captured in part"),
            GivenUp::Full => self.full("dns over tcp: connection full"),
        }
    }

    /// Counts something that could not be decoded.
    pub(super) fn undecodable(&mut self, reason: &'static str) {
        self.losses.add(Stage::Decode, reason, 1);
    }

    /// Counts something that was evicted.
    pub(super) fn full(&mut self, reason: &'static str) {
        self.losses.add(Stage::Table, reason, 1);
    }
}
