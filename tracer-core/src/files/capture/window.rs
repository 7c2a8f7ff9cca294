//! The part of the input that is in memory: what was read and not yet used.
//!
//! Grows with what was really read, not with what a length field claims, so a hostile length costs nothing.

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

    /// Where in the input the window starts.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// What is in memory.
    pub(super) fn data(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Reads until `count` bytes are in memory; false if the input ends before. Reads no further than it must, so the
    /// packets of a live pipe come as they are written.
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

    /// Is done with `count` bytes of what is in memory.
    pub(super) fn advance(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.offset += count as u64;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Passes over `count` bytes, however many; gives the number that were not there.
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

    /// Makes free space behind what is in memory.
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
