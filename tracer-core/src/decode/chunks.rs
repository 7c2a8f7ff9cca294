//! Later chunks of a long TCP segment: what they belong to.
//!
//! The probe cuts a segment of up to 64 KiB into records; only the first has the headers, the others say when, where and
//! which way, as the first does. Owns a short memory of first chunks that others follow. Never joins payload: that is
//! TCP reassembly's task, which gets each chunk as a part of the segment.

use std::collections::VecDeque;

use tracer_common::CAPTURE_CLASSES;

use crate::model::flow::{Direction, Flow, Ifindex};
use crate::model::observation::{Observation, TcpSegment, What};
use crate::model::record::Record;
use crate::model::time::Timestamp;

/// All chunks but the last are as long as the largest size of a record.
const CHUNK: u64 = CAPTURE_CLASSES[CAPTURE_CLASSES.len() - 1] as u64;
/// The probe ends a segment's records here, whatever its length.
const MOST: u64 = 64 << 10;
/// A processor writes a segment's chunks one after another, so at any time at most one segment per processor is not
/// complete. Those whose last chunk was lost stay until so many others came.
const REMEMBERED: usize = 256;

/// A first chunk that others follow.
#[derive(Clone, Debug)]
struct Begun {
    time: Timestamp,
    ifindex: Ifindex,
    direction: Direction,
    wire_len: u32,
    flow: Flow,
    /// Without payload.
    segment: TcpSegment,
    /// Bytes from the network header to the payload.
    headers: u32,
    /// No chunk before this offset can still come.
    next: u64,
}

/// First chunks of a moment ago.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunks {
    begun: VecDeque<Begun>,
}

/// Whether more records follow this one for the same packet. From a capture file this is a guess that errs only where the
/// capture's length is exactly a chunk's; what is missing is then waited for like a lost segment.
pub(super) fn goes_on(record: &Record) -> bool {
    let end = u64::from(record.chunk_offset) + record.bytes.len() as u64;
    record.bytes.len() as u64 == CHUNK && end < u64::from(record.wire_len).min(MOST)
}

impl Chunks {
    /// A segment's first record, which has `headers` bytes of headers, was decoded: remembers it if others follow.
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

    /// The part of its segment that a later chunk is; `None` if its first chunk is not known, or two fit.
    pub(super) fn go_on(&mut self, record: &Record) -> Option<Observation> {
        let fits = |begun: &Begun| {
            begun.time == record.time
                && begun.ifindex == record.ifindex
                && begun.direction == record.direction
                && begun.wire_len == record.wire_len
                && begun.next <= u64::from(record.chunk_offset)
        };
        let mut all = (0..self.begun.len()).filter(|&index| fits(&self.begun[index]));
        let index = all.next()?;
        if all.next().is_some() {
            return None;
        }
        let begun = self.begun.get_mut(index)?;
        let payload_offset = record.chunk_offset.checked_sub(begun.headers)?;
        begun.next = u64::from(record.chunk_offset) + record.bytes.len() as u64;
        // Padding behind the packet's own end is none of the segment.
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
