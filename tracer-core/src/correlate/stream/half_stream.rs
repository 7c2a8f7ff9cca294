//! One direction of a TCP connection: orders segments into a byte stream (RFC 9293 section 3.4).
//!
//! Owns the position in the stream, the pieces beyond a hole, and the time since when the hole waits. Never
//! interprets a byte: [`super::framing`] does.
//!
//! The first copy of a byte wins, delivered or held: differing content in a retransmission or overlap is
//! ignored. Receivers differ here, so no choice suits all; this one does not depend on the order of events
//! and never withdraws an emitted message.

use std::time::Duration;

use super::Extent;
use super::framing::{Framer, Run};
use super::pieces::{Content, Piece, Pieces};
use super::position::{ORIGIN, Position, Span, WINDOW, position};
use super::tally::{GivenUp, Tally};
use crate::model::observation::TcpSegment;
use crate::model::time::Timestamp;

#[derive(Clone, Copy, Debug)]
enum Given<'a> {
    Bytes(&'a [u8]),
    Missing,
}

/// The end of a direction, and when it became known.
#[derive(Clone, Copy, Debug)]
struct End {
    at: Position,
    known: Timestamp,
}

/// One direction's state.
#[derive(Debug)]
pub(super) struct HalfStream {
    /// The SYN's sequence number, if it was seen.
    initial: Option<u32>,
    /// The next byte in order; `None` before anything was seen.
    next: Option<Position>,
    end: Option<End>,
    finished: bool,
    /// The end was reported.
    end_reported: bool,
    /// Bytes are missing.
    gap: bool,
    /// Bytes were given up since the last [`HalfStream::new_gap`].
    new_gap: bool,
    /// Pieces beyond `next`; none begins at `next`.
    pieces: Pieces,
    /// When a packet last moved `next`.
    progressed: Timestamp,
    framer: Framer,
}

impl HalfStream {
    pub(super) fn unseen() -> HalfStream {
        HalfStream {
            initial: None,
            next: None,
            end: None,
            finished: false,
            end_reported: false,
            // Bytes before the first packet seen are missing.
            gap: true,
            new_gap: false,
            pieces: Pieces::default(),
            progressed: Timestamp::default(),
            framer: Framer::lost(),
        }
    }

    /// Whether no packet was seen.
    pub(super) fn is_unseen(&self) -> bool {
        self.next.is_none()
    }

    /// Whether a SYN with this sequence number opened it.
    pub(super) fn opened_by(&self, sequence: u32) -> bool {
        self.initial == Some(sequence)
    }

    /// Whether it has ended.
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether bytes are missing: lost, cut off, given up to make room, or sent before the first packet seen.
    pub(super) fn has_gap(&self) -> bool {
        self.gap
    }

    /// Whether bytes were given up since the last call.
    pub(super) fn new_gap(&mut self) -> bool {
        std::mem::take(&mut self.new_gap)
    }

    /// If it ended since the last call, whether bytes are missing.
    pub(super) fn newly_finished(&mut self) -> Option<bool> {
        if !self.finished || self.end_reported {
            return None;
        }
        self.end_reported = true;
        Some(self.gap)
    }

    /// Takes a SYN: what follows is the stream from its start.
    pub(super) fn open(&mut self, sequence: u32, time: Timestamp) {
        *self = HalfStream {
            initial: Some(sequence),
            next: Some(ORIGIN + u64::from(sequence) + 1),
            progressed: time,
            gap: false,
            framer: Framer::at_start(),
            ..HalfStream::unseen()
        };
    }

    /// Whether a segment with this sequence number can belong to the stream: only such a RST counts (RFC 9293
    /// section 3.5.3).
    pub(super) fn admits(&self, sequence: u32) -> bool {
        self.next
            .is_none_or(|next| position(sequence, next).abs_diff(next) <= WINDOW)
    }

    /// Takes a segment, or a chunk of one, that is neither a bare SYN nor a RST.
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
            *self = HalfStream::unseen();
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
        // A FIN before the current position belongs to another stream.
        if segment.fin && self.end.is_none() && self.next <= Some(full_stop) {
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

    /// Number of pieces that wait beyond a hole.
    pub(super) fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// Bytes of memory held.
    pub(super) fn memory(&self) -> usize {
        self.pieces.memory() + self.framer.memory()
    }

    /// Bytes of payload held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.pieces.payload() + self.framer.held()
    }

    /// Since when it has waited for a hole to be filled: bytes beyond it are known, and nothing has moved
    /// since.
    pub(super) fn waiting_since(&self) -> Option<Timestamp> {
        let (_, known) = self.beyond_hole()?;
        Some(known.max(self.progressed))
    }

    /// The first known position beyond the first hole, and since when it is known: a piece, or the end of the
    /// stream.
    fn beyond_hole(&self) -> Option<(Position, Timestamp)> {
        match self.pieces.first().map(|(at, piece)| (at, piece.time)) {
            Some(piece) => Some(piece),
            None if self.finished => None,
            None => self.end.map(|end| (end.at, end.known)),
        }
    }

    /// Gives up all holes that waited long enough.
    pub(super) fn advance(&mut self, now: Timestamp, wait: Duration, tally: &mut Tally<'_>) {
        while self
            .waiting_since()
            .is_some_and(|since| since.after(wait) <= now)
            && self.give_up_hole(GivenUp::Waited, tally)
        {}
    }

    /// Gives up the first hole and continues beyond it. Returns whether there was one.
    pub(super) fn give_up_hole(&mut self, why: GivenUp, tally: &mut Tally<'_>) -> bool {
        let (Some(next), Some((beyond, _))) = (self.next, self.beyond_hole()) else {
            return false;
        };
        self.skip(beyond.saturating_sub(next), why, tally);
        self.drain(tally);
        self.finish_if_over(tally);
        true
    }

    /// Gives up the message in progress. Returns whether that freed memory.
    pub(super) fn give_up_message(&mut self, tally: &mut Tally<'_>) -> bool {
        let freed = self.framer.give_up_message(tally);
        if freed {
            self.gap = true;
            self.new_gap = true;
            tally.full("dns over tcp: connection full");
        }
        freed
    }

    /// Ends the stream. Bytes beyond holes were sent, so their messages are still delivered.
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

    /// Drops everything held.
    fn discard(&mut self, tally: &mut Tally<'_>) {
        tally.dropped(std::mem::take(&mut self.pieces).payload());
        self.framer.end(tally);
    }

    /// Stores the part of `start..stop` that is not there yet.
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
                .next_from(at)
                .map_or(stop, |piece| piece.min(stop));
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
                self.pieces.hold(
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

    /// If the byte at this position is already there, the end of the covered range.
    fn covered_until(&self, at: Position) -> Option<Position> {
        if let Some(next) = self.next
            && at < next
        {
            return Some(next);
        }
        self.pieces.covered_until(at)
    }

    /// Delivers the pieces that are now in order.
    fn drain(&mut self, tally: &mut Tally<'_>) {
        while let Some(next) = self.next
            && let Some(piece) = self.pieces.take(next)
        {
            let after = Some(next + piece.length());
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
        self.gap = true;
        self.new_gap = true;
        self.framer.gap(missing, tally);
        self.next = self.next.map(|next| next + missing);
    }
}

fn offset(start: Position, at: Position) -> usize {
    usize::try_from(at - start).unwrap_or(usize::MAX)
}
