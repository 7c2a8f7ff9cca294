//! The part of the input that is in memory: bytes that were read and not yet consumed.
//!
//! Grows with the bytes actually read, not with what a length field claims, so that a hostile length costs
//! nothing.

use std::io::{self, ErrorKind, Read};

use super::source::Input;

const CHUNK_BYTES: usize = 64 * 1024;

/// A view of the input that only moves forward.
pub(super) struct Window {
    input: Input,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    offset: u64,
}

impl Window {
    pub(super) fn new(input: Input) -> Window {
        Window {
            input,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            offset: 0,
        }
    }

    /// The window's start in the input.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes in memory.
    pub(super) fn data(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Reads until `count` bytes are in memory; false if the input ends first. Reads no further than needed,
    /// so that the packets of a live pipe arrive as they are written.
    pub(super) fn want(&mut self, count: usize) -> io::Result<bool> {
        while self.end - self.start < count {
            if self.end == self.buffer.len() {
                self.make_room();
            }
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(read) => self.end += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Consumes `count` bytes.
    pub(super) fn advance(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.offset += count as u64;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Skips any number of bytes; returns how many were missing.
    pub(super) fn skip(&mut self, mut count: u64) -> io::Result<u64> {
        while count > 0 {
            if self.start == self.end && !self.want(1)? {
                break;
            }
            let here = (self.end - self.start) as u64;
            let step = usize::try_from(count.min(here)).unwrap_or(usize::MAX);
            self.advance(step);
            count -= step as u64;
        }
        Ok(count)
    }

    /// Makes free space at the end of the buffer.
    fn make_room(&mut self) {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        } else {
            let len = (self.buffer.len() * 2).max(CHUNK_BYTES);
            self.buffer.resize(len, 0);
        }
    }
}
