//! What arrived beyond a hole of a stream: pieces that do not overlap, by their position.
//!
//! Owns their bytes and knows what they cost. Never decides what becomes of them.

use std::collections::BTreeMap;

use super::position::Position;
use crate::model::time::Timestamp;

/// What a piece costs beside its bytes: its place in the map.
const PLACE: usize = 64;

/// What there is of a piece.
#[derive(Debug)]
pub(super) enum Content {
    /// Its bytes.
    Bytes(Vec<u8>),
    /// So many bytes that are known not to be in the capture.
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

    /// Where the first piece at or after `at` begins.
    pub(super) fn next_from(&self, at: Position) -> Option<Position> {
        let (&next, _) = self.by_position.range(at..).next()?;
        Some(next)
    }

    /// If a piece has the byte at this position: where that piece ends.
    pub(super) fn covered_until(&self, at: Position) -> Option<Position> {
        let (&start, piece) = self.by_position.range(..=at).next_back()?;
        Some(start + piece.length()).filter(|&end| end > at)
    }

    /// Keeps a piece. The caller has made sure that it overlaps no other.
    pub(super) fn hold(&mut self, at: Position, piece: Piece) {
        self.memory += piece.memory();
        self.by_position.insert(at, piece);
    }

    /// Takes out the piece that begins at this position.
    pub(super) fn take(&mut self, at: Position) -> Option<Piece> {
        let piece = self.by_position.remove(&at)?;
        self.memory -= piece.memory();
        Some(piece)
    }
}
