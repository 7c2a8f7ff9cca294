//! Later chunks of a long TCP segment, matched to their first one.
//!
//! The probe cuts a segment of up to 64 KiB into records. Only the first has the headers; the others repeat
//! its time, interface and direction. Owns a short memory of first chunks that are incomplete. Never joins
//! payload: TCP reassembly does, and gets each chunk as a part of the segment.

use std::collections::VecDeque;

use tracer_common::CAPTURE_CLASSES;

use crate::model::flow::{Direction, Flow, Ifindex};
use crate::model::observation::{Observation, TcpSegment, What};
use crate::model::record::Record;
use crate::model::time::Timestamp;

/// All chunks but the last have this size, the largest of a record.
const CHUNK: u64 = {
    let [.., largest] = CAPTURE_CLASSES;
    largest as u64
};
/// The probe ends a segment's records here, whatever its length.
const MAX_SEGMENT: u64 = 64 << 10;
/// A CPU writes a segment's chunks one after another, so at most one segment per CPU is incomplete at any
/// time. A segment whose last chunk was lost stays until this many others have come.
const REMEMBERED: usize = 256;

/// A first chunk with others to follow.
#[derive(Clone, Debug)]
struct Begun {
    time: Timestamp,
    ifindex: Ifindex,
    direction: Direction,
    wire_len: u32,
    flow: Flow,
    /// The observation, without payload.
    segment: TcpSegment,
    /// Bytes from the network header to the payload.
    headers: u32,
    /// Earlier offsets are complete.
    next: u64,
}

/// Recent first chunks.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunks {
    begun: VecDeque<Begun>,
}

/// Whether more records follow for the same packet. For a capture file this is a guess that errs only where
/// the captured length equals a chunk's; the missing bytes are then awaited like a lost segment.
pub(super) fn goes_on(record: &Record) -> bool {
    let end = u64::from(record.chunk_offset) + record.bytes.len() as u64;
    record.bytes.len() as u64 == CHUNK && end < u64::from(record.wire_len).min(MAX_SEGMENT)
}

impl Chunks {
    /// Takes a segment's first record, decoded with `headers` bytes of headers, and remembers it if others
    /// follow.
    pub(super) fn begin(&mut self, record: &Record, observation: &Observation, headers: u32) {
        let What::Tcp(segment) = &observation.what else {
            return;
        };
        if !segment.dns || !goes_on(record) {
            return;
        }
        if self.begun.len() >= REMEMBERED {
            self.begun.pop_front();
        }
        self.begun.push_back(Begun {
            time: record.time,
            ifindex: record.ifindex,
            direction: record.direction,
            wire_len: record.wire_len,
            flow: observation.flow,
            segment: TcpSegment {
                payload: Vec::new(),
                cut: false,
                ..segment.clone()
            },
            headers,
            next: CHUNK,
        });
    }

    /// The part of its segment that a later chunk holds; `None` if its first chunk is unknown or ambiguous.
    pub(super) fn go_on(&mut self, record: &Record) -> Option<Observation> {
        let fits = |begun: &Begun| {
            begun.time == record.time
                && begun.ifindex == record.ifindex
                && begun.direction == record.direction
                && begun.wire_len == record.wire_len
                && begun.next <= u64::from(record.chunk_offset)
        };
        let mut all =
            (0..self.begun.len()).filter(|index| self.begun.get(*index).is_some_and(fits));
        let index = all.next()?;
        if all.next().is_some() {
            return None;
        }
        let begun = self.begun.get_mut(index)?;
        let payload_offset = record.chunk_offset.checked_sub(begun.headers)?;
        begun.next = u64::from(record.chunk_offset) + record.bytes.len() as u64;
        // Padding after the packet's own end is not part of the segment.
        let room = begun.segment.length.saturating_sub(payload_offset);
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let payload = record.bytes.get(..room).unwrap_or(&record.bytes).to_vec();
        let there = payload_offset as u64 + payload.len() as u64;
        let more = goes_on(record);
        let observation = Observation {
            time: record.time,
            flow: begun.flow,
            direction: record.direction,
            wire_len: record.wire_len,
            totals: record.totals,
            what: What::Tcp(TcpSegment {
                payload,
                payload_offset,
                cut: !more && there < u64::from(begun.segment.length),
                ..begun.segment.clone()
            }),
        };
        if !more {
            self.begun.remove(index);
        }
        Some(observation)
    }
}

#[cfg(test)]
mod tests;
