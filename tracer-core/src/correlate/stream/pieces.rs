//! The pieces of a stream beyond a hole, without overlap, by position.
//!
//! Owns their bytes and accounts for their memory. Never decides their fate.

use std::collections::BTreeMap;

use super::position::Position;
use crate::model::time::Timestamp;

/// Overhead of a piece: its place in the map.
const PLACE: usize = 64;

/// The content of a piece.
#[derive(Debug)]
pub(super) enum Content {
    /// Its bytes.
    Bytes(Vec<u8>),
    /// This many bytes, known to be absent from the capture.
    Missing(u64),
}

/// A part of a segment.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) time: Timestamp,
    /// Its first byte is the first of its segment.
    pub(super) starts: bool,
    pub(super) content: Content,
}

impl Piece {
    pub(super) fn length(&self) -> u64 {
        match &self.content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Missing(length) => *length,
        }
    }

    fn memory(&self) -> usize {
        match &self.content {
            Content::Bytes(bytes) => PLACE + bytes.capacity(),
            Content::Missing(_) => PLACE,
        }
    }
}

/// The pieces of one direction.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    by_position: BTreeMap<Position, Piece>,
    memory: usize,
}

impl Pieces {
    pub(super) fn len(&self) -> usize {
        self.by_position.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_position.is_empty()
    }

    /// Bytes of memory held.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    /// Bytes of payload held.
    pub(super) fn payload(&self) -> usize {
        let bytes = self.by_position.values().map(|piece| match &piece.content {
            Content::Bytes(bytes) => bytes.len(),
            Content::Missing(_) => 0,
        });
        bytes.sum()
    }

    /// The first piece.
    pub(super) fn first(&self) -> Option<(Position, &Piece)> {
        let (&at, piece) = self.by_position.first_key_value()?;
        Some((at, piece))
    }

    /// The start of the first piece at or after `at`.
    pub(super) fn next_from(&self, at: Position) -> Option<Position> {
        let (&next, _) = self.by_position.range(at..).next()?;
        Some(next)
    }

    /// The end of the piece that has the byte at this position.
    pub(super) fn covered_until(&self, at: Position) -> Option<Position> {
        let (&start, piece) = self.by_position.range(..=at).next_back()?;
        Some(start + piece.length()).filter(|&end| end > at)
    }

    /// Stores a piece. The caller has made sure that it overlaps no other.
    pub(super) fn hold(&mut self, at: Position, piece: Piece) {
        self.memory += piece.memory();
        self.by_position.insert(at, piece);
    }

    /// Removes the piece that begins at this position.
    pub(super) fn take(&mut self, at: Position) -> Option<Piece> {
        let piece = self.by_position.remove(&at)?;
        self.memory -= piece.memory();
        Some(piece)
    }
}
