//! One direction of a TCP connection: segments in any order to bytes in order (RFC 9293 section 3.4).
//!
//! Owns the position in the sequence space, what arrived beyond a hole, and how long the hole is waited for. Never
//! interprets a byte: [`super::framing`] does.
//!
//! The first copy of a byte wins, whether it was passed on already or is still held: what a retransmission or an overlap
//! says differently is not looked at. Receivers differ there, so no choice is right for all; this one is the same whatever
//! the order of events, and what was told is never taken back.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Extent;
use super::framing::{Framer, Run};
use super::tally::{GivenUp, Tally};
use crate::model::observation::TcpSegment;
use crate::model::time::Timestamp;

/// Farther off than this is no retransmission and nothing that a window allows, but another connection of the same
/// addresses whose start was not seen. Linux lets windows grow to 6 MiB by default (`tcp_rmem`); a stray retransmission of a
/// former connection falls within by chance in less than one case of a hundred.
const WINDOW: u64 = 16 << 20;
/// What a held piece costs beside its bytes: its place in the map.
const PIECE_COST: usize = 64;
/// Positions are 64-bit numbers whose lower half is the sequence number. Starting here, they never fall below zero.
const ORIGIN: u64 = 1 << 32;

/// A position in the stream that does not wrap around.
type Position = u64;

#[derive(Debug)]
enum Content {
    Bytes(Vec<u8>),
    /// Known not to be in the capture.
    Missing(u64),
}

#[derive(Clone, Copy, Debug)]
enum Given<'a> {
    Bytes(&'a [u8]),
    Missing,
}

#[derive(Debug)]
struct Piece {
    time: Timestamp,
    starts: bool,
    content: Content,
}

impl Piece {
    fn length(&self) -> u64 {
        match &self.content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Missing(length) => *length,
        }
    }

    fn memory(&self) -> usize {
        match &self.content {
            Content::Bytes(bytes) => PIECE_COST + bytes.capacity(),
            Content::Missing(_) => PIECE_COST,
        }
    }
}

/// Where a direction ends, and when that became known.
#[derive(Clone, Copy, Debug)]
struct End {
    at: Position,
    known: Timestamp,
}

/// One direction's state.
#[derive(Debug)]
pub(super) struct Direction {
    /// The SYN's sequence number, if it was seen.
    initial: Option<u32>,
    /// The next byte in order; `None` before anything was seen.
    next: Option<Position>,
    end: Option<End>,
    finished: bool,
    /// What arrived beyond `next`: pieces that neither overlap nor begin at `next`.
    pieces: BTreeMap<Position, Piece>,
    pieces_memory: usize,
    /// When `next` was last moved by a packet.
    progressed: Timestamp,
    framer: Framer,
}

impl Direction {
    pub(super) fn unseen() -> Direction {
        Direction {
            initial: None,
            next: None,
            end: None,
            finished: false,
            pieces: BTreeMap::new(),
            pieces_memory: 0,
            progressed: Timestamp::default(),
            framer: Framer::lost(),
        }
    }

    /// Whether nothing was seen of it yet.
    pub(super) fn is_unseen(&self) -> bool {
        self.next.is_none()
    }

    /// Whether it was opened by a SYN of this sequence number.
    pub(super) fn opened_by(&self, sequence: u32) -> bool {
        self.initial == Some(sequence)
    }

    /// Whether it came to its end.
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// A SYN was seen: what follows it is the stream from its start.
    pub(super) fn open(&mut self, sequence: u32, time: Timestamp) {
        *self = Direction {
            initial: Some(sequence),
            next: Some(ORIGIN + u64::from(sequence) + 1),
            progressed: time,
            framer: Framer::at_start(),
            ..Direction::unseen()
        };
    }

    /// Whether a segment of this sequence number can belong to it: only such a RST counts (RFC 9293 section 3.5.3).
    pub(super) fn admits(&self, sequence: u32) -> bool {
        self.next
            .is_none_or(|next| position(sequence, next).abs_diff(next) <= WINDOW)
    }

    /// Takes a segment, or a chunk of one, that is neither SYN alone nor RST.
    pub(super) fn accept(
        &mut self,
        time: Timestamp,
        segment: &TcpSegment,
        extent: Extent,
        tally: &mut Tally<'_>,
    ) {
        let captured = segment.payload.len() as u64;
        if self.finished {
            tally.repeated(captured);
            return;
        }
        let mut span = Span::of(segment, extent, self.next.unwrap_or(ORIGIN));
        if let Some(next) = self.next
            && span.start.abs_diff(next) > WINDOW
        {
            if captured == 0 {
                return;
            }
            tally.undecodable("dns over tcp: sequence number out of window");
            self.discard(tally);
            *self = Direction::unseen();
            span = Span::of(segment, extent, ORIGIN);
        }
        let Span {
            start,
            stop,
            full_stop,
        } = span;
        let next = *self.next.get_or_insert(start);

        let starts = segment.payload_offset == 0;
        self.place(
            start,
            stop,
            Given::Bytes(&segment.payload),
            time,
            starts,
            tally,
        );
        if extent.cut {
            self.place(stop, full_stop, Given::Missing, time, false, tally);
        }
        if segment.fin && self.end.is_none() {
            self.end = Some(End {
                at: full_stop,
                known: time,
            });
        }
        if self.next != Some(next) {
            self.progressed = self.progressed.max(time);
        }
        self.finish_if_over(tally);
    }

    /// How many pieces wait beyond a hole.
    pub(super) fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// Bytes of memory held.
    pub(super) fn memory(&self) -> usize {
        self.pieces_memory + self.framer.memory()
    }

    /// Bytes of payload held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let pieces = self.pieces.values().map(|piece| match &piece.content {
            Content::Bytes(bytes) => bytes.len(),
            Content::Missing(_) => 0,
        });
        pieces.sum::<usize>() + self.framer.held()
    }

    /// Since when it has been waiting for a hole to be filled: what lies beyond is there, and nothing moved since.
    pub(super) fn waiting_since(&self) -> Option<Timestamp> {
        let (_, known) = self.beyond_hole()?;
        Some(known.max(self.progressed))
    }

    /// What is known to lie beyond the first hole, and since when: a piece, or the end of the stream.
    fn beyond_hole(&self) -> Option<(Position, Timestamp)> {
        let piece = self.pieces.first_key_value();
        match piece.map(|(&at, piece)| (at, piece.time)) {
            Some(piece) => Some(piece),
            None if self.finished => None,
            None => self.end.map(|end| (end.at, end.known)),
        }
    }

    /// Gives up all holes that were waited for long enough.
    pub(super) fn advance(&mut self, now: Timestamp, wait: Duration, tally: &mut Tally<'_>) {
        while self
            .waiting_since()
            .is_some_and(|since| since.after(wait) <= now)
            && self.give_up_hole(GivenUp::Waited, tally)
        {}
    }

    /// Gives up the first hole and goes on with what lies beyond. Whether there was one.
    pub(super) fn give_up_hole(&mut self, why: GivenUp, tally: &mut Tally<'_>) -> bool {
        let (Some(next), Some((beyond, _))) = (self.next, self.beyond_hole()) else {
            return false;
        };
        self.skip(beyond.saturating_sub(next), why, tally);
        self.drain(tally);
        self.finish_if_over(tally);
        true
    }

    /// Gives up the message that is being collected. Whether that freed anything.
    pub(super) fn give_up_message(&mut self, tally: &mut Tally<'_>) -> bool {
        let freed = self.framer.give_up_message(tally);
        if freed {
            tally.full("dns over tcp: connection full");
        }
        freed
    }

    /// Nothing more will come. What lies beyond holes was sent, so it is still told.
    pub(super) fn finish(&mut self, tally: &mut Tally<'_>) {
        while !self.pieces.is_empty() && self.give_up_hole(GivenUp::Ended, tally) {}
        self.discard(tally);
        self.finished = true;
    }

    fn finish_if_over(&mut self, tally: &mut Tally<'_>) {
        if self.end.is_some_and(|end| self.next >= Some(end.at)) {
            self.discard(tally);
            self.finished = true;
        }
    }

    /// Lets go of all that is held.
    fn discard(&mut self, tally: &mut Tally<'_>) {
        for piece in std::mem::take(&mut self.pieces).into_values() {
            if let Content::Bytes(bytes) = piece.content {
                tally.dropped(bytes.len());
            }
        }
        self.pieces_memory = 0;
        self.framer.end(tally);
    }

    /// Takes of `start..stop` what is not there yet.
    fn place(
        &mut self,
        start: Position,
        stop: Position,
        given: Given<'_>,
        time: Timestamp,
        starts: bool,
        tally: &mut Tally<'_>,
    ) {
        let mut at = start;
        while at < stop {
            if let Some(covered) = self.covered_until(at) {
                let covered = covered.min(stop);
                if let Given::Bytes(_) = given {
                    tally.repeated(covered - at);
                }
                at = covered;
                continue;
            }
            let until = self
                .pieces
                .range(at..)
                .next()
                .map_or(stop, |(&piece, _)| piece.min(stop));
            let content = match given {
                Given::Bytes(bytes) => {
                    let part = bytes.get(offset(start, at)..offset(start, until));
                    Given::Bytes(part.unwrap_or_default())
                }
                Given::Missing => Given::Missing,
            };
            let starts = starts && at == start;
            if self.next == Some(at) {
                match content {
                    Given::Bytes(bytes) => {
                        self.framer.feed(
                            Run {
                                bytes,
                                time,
                                starts,
                            },
                            tally,
                        );
                        self.next = Some(until);
                    }
                    Given::Missing => self.skip(until - at, GivenUp::Cut, tally),
                }
                self.drain(tally);
            } else {
                let content = match content {
                    Given::Bytes(bytes) => Content::Bytes(bytes.to_vec()),
                    Given::Missing => Content::Missing(until - at),
                };
                self.hold(
                    at,
                    Piece {
                        time,
                        starts,
                        content,
                    },
                );
            }
            at = until;
        }
    }

    /// If the byte at this position is there already: up to where that is so.
    fn covered_until(&self, at: Position) -> Option<Position> {
        if let Some(next) = self.next
            && at < next
        {
            return Some(next);
        }
        let (&piece_at, piece) = self.pieces.range(..=at).next_back()?;
        Some(piece_at + piece.length()).filter(|&end| end > at)
    }

    fn hold(&mut self, at: Position, piece: Piece) {
        self.pieces_memory += piece.memory();
        self.pieces.insert(at, piece);
    }

    /// Passes on what has come to be in order.
    fn drain(&mut self, tally: &mut Tally<'_>) {
        while let Some(entry) = self.pieces.first_entry()
            && self.next == Some(*entry.key())
        {
            let piece = entry.remove();
            self.pieces_memory -= piece.memory();
            let after = self.next.map(|next| next + piece.length());
            match piece.content {
                Content::Bytes(bytes) => {
                    let run = Run {
                        bytes: &bytes,
                        time: piece.time,
                        starts: piece.starts,
                    };
                    self.framer.feed(run, tally);
                    self.next = after;
                }
                Content::Missing(length) => self.skip(length, GivenUp::Cut, tally),
            }
        }
    }

    fn skip(&mut self, missing: u64, why: GivenUp, tally: &mut Tally<'_>) {
        tally.gap(missing, why);
        self.framer.gap(missing, tally);
        self.next = self.next.map(|next| next + missing);
    }
}

/// What a segment, or a chunk of one, has of the stream.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// Its first byte.
    start: Position,
    /// After its last captured byte.
    stop: Position,
    /// After the whole segment's last byte.
    full_stop: Position,
}

impl Span {
    fn of(segment: &TcpSegment, extent: Extent, near: Position) -> Span {
        // A SYN takes the sequence number before its data.
        let first = position(segment.sequence, near) + u64::from(segment.syn);
        let start = first + u64::from(segment.payload_offset);
        let stop = start + segment.payload.len() as u64;
        let announced = first + u64::from(extent.length);
        Span {
            start,
            stop,
            full_stop: stop.max(announced.min(start + WINDOW)),
        }
    }
}

/// The position nearest to `near` that has this sequence number.
fn position(sequence: u32, near: Position) -> Position {
    let ahead = sequence.wrapping_sub(near as u32).cast_signed();
    near.saturating_add_signed(i64::from(ahead))
}

fn offset(start: Position, at: Position) -> usize {
    usize::try_from(at - start).unwrap_or(usize::MAX)
}
