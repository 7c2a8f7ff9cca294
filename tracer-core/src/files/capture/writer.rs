//! Writes records as pcapng, so that Wireshark and tshark can read them, pod names included.
//!
//! One raw IP interface per pod interface, nanosecond timestamps, two comments per packet: the caller's, for
//! people, and a [`note`](super::note), so that replay need not guess. Blocks are written whole. When the
//! What no packet shows is a [`signal`](super::signal) block of its own. When the
//! disk is full the file is truncated to its last complete packet, the error is returned once, and later
//! records are counted.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use tracer_common::CAPTURE_CLASSES;

use super::{FileError, new_file, signal};
use crate::model::flow::Ifindex;
use crate::model::record::Record;
use crate::model::signal::Signal;
use crate::model::time::Timestamp;

mod blocks;

/// Buffered bytes that trigger a write; [`Writer::flush`] also does.
const BUFFER_BYTES: usize = 256 * 1024;

/// The limit for interfaces, which come and go with pods; beyond it they share the last number.
const MAX_INTERFACES: u32 = 65_536;

/// Later records for which a record waits at most for the rest of its segment.
const MAX_WAITING: usize = 8;

/// The size of a long TCP segment's chunks; a shorter record is complete.
const CHUNK_BYTES: usize = CAPTURE_CLASSES[CAPTURE_CLASSES.len() - 1];

/// The output of a [`Writer`].
pub trait Output: Write {
    /// Truncates the output to `len` bytes, if possible.
    fn cut(&mut self, len: u64) -> io::Result<()>;
}

impl Output for File {
    fn cut(&mut self, len: u64) -> io::Result<()> {
        // Pipes and terminals cannot be truncated.
        if self.metadata()?.is_file() {
            self.set_len(len)
        } else {
            Ok(())
        }
    }
}

impl Output for Vec<u8> {
    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        Ok(())
    }
}

/// Counts of the records written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriterStats {
    /// Packets in the file, or buffered for it. The chunks of one segment are one packet.
    pub written: u64,
    /// Records and signals that are missing because writing failed.
    pub unwritten: u64,
    /// Chunks whose first chunk did not arrive shortly before, and records without an IP packet: they make no
    /// packet.
    pub unplaced: u64,
}

/// Writes a recording.
pub struct Writer<W> {
    file: String,
    output: W,
    /// Complete blocks that are not written yet.
    buffer: Vec<u8>,
    /// The end of each packet's block in `buffer`.
    ends: Vec<usize>,
    /// Signals in `buffer`.
    signals: u64,
    /// The length of the output.
    offset: u64,
    interfaces: HashMap<Ifindex, Interface>,
    described: u32,
    waiting: VecDeque<Waiting>,
    stats: WriterStats,
    failed: bool,
}

/// A writer to a file on a disk.
pub type FileWriter = Writer<File>;

#[derive(Debug)]
struct Interface {
    number: u32,
    name: String,
    /// In its latest record.
    lost: u16,
}

/// A record that may be the first chunk of a segment.
#[derive(Debug)]
struct Waiting {
    record: Record,
    stamp: Timestamp,
    comment: String,
    interface: u32,
    /// Records of its interface that were lost before it.
    lost: u16,
    /// The number of records that it combines.
    records: u64,
    /// It was here at the previous flush: its chunks should have arrived by now.
    seen: bool,
}

impl Writer<File> {
    /// Creates the file for its owner only, or replaces it.
    pub fn create(path: impl AsRef<Path>) -> Result<Writer<File>, FileError> {
        let file = path.as_ref().display().to_string();
        match new_file::create(path.as_ref()) {
            Ok(output) => Ok(Writer::new(file, output)),
            Err(source) => Err(FileError::Create { file, source }),
        }
    }
}

impl<W: Output> Writer<W> {
    /// Writes to any output; `name` is for messages. The header is written with the first flush.
    pub fn new(name: impl Into<String>, output: W) -> Writer<W> {
        let mut writer = Writer {
            file: name.into(),
            output,
            buffer: Vec::new(),
            ends: Vec::new(),
            signals: 0,
            offset: 0,
            interfaces: HashMap::new(),
            described: 0,
            waiting: VecDeque::new(),
            stats: WriterStats::default(),
            failed: false,
        };
        writer.buffer.extend(blocks::section());
        writer
    }

    /// Adds a record. `stamp` is its time in nanoseconds since the epoch (a live record has the kernel's
    /// time), `interface` the name of its interface, `comment` a text that names its pod.
    ///
    /// When writing fails the error is returned once; later records are only counted.
    pub fn write(
        &mut self,
        stamp: Timestamp,
        interface: &str,
        record: &Record,
        comment: &str,
    ) -> Result<(), FileError> {
        if self.failed {
            self.stats.unwritten += 1;
            return Ok(());
        }
        if record.chunk_offset != 0 {
            if !self.join(record) {
                self.stats.unplaced += 1;
            }
        } else if is_ip(record) {
            let interface = self.interface(record.ifindex, interface);
            let lost = self.lost_before(record);
            self.waiting.push_back(Waiting {
                record: record.clone(),
                stamp,
                comment: comment.to_owned(),
                interface,
                lost,
                records: 1,
                seen: false,
            });
        } else {
            self.stats.unplaced += 1;
        }
        self.settle(MAX_WAITING);
        if self.buffer.len() >= BUFFER_BYTES {
            self.write_out()?;
        }
        Ok(())
    }

    /// Adds a signal, whose time is as in [`Writer::write`]. Packets that wait for their chunks come after it.
    pub fn signal(&mut self, stamp: Timestamp, signal: &Signal) -> Result<(), FileError> {
        if self.failed {
            self.stats.unwritten += 1;
            return Ok(());
        }
        self.buffer.extend(signal::block(stamp, signal));
        self.signals += 1;
        if self.buffer.len() >= BUFFER_BYTES {
            self.write_out()?;
        }
        Ok(())
    }

    /// Writes the buffered packets. A segment whose chunks may still arrive is written with the next flush.
    pub fn flush(&mut self) -> Result<(), FileError> {
        while let Some(first) = self.waiting.pop_front() {
            if first.may_grow() && !first.seen {
                self.waiting.push_front(first);
                break;
            }
            self.packet(&first);
        }
        for waiting in &mut self.waiting {
            waiting.seen = true;
        }
        self.write_rest()
    }

    /// Writes the rest and returns the output.
    pub fn finish(mut self) -> (W, WriterStats, Result<(), FileError>) {
        self.settle(0);
        let result = self.write_rest();
        (self.output, self.stats, result)
    }

    fn write_rest(&mut self) -> Result<(), FileError> {
        if self.failed {
            Ok(())
        } else {
            self.write_out()
        }
    }

    /// Counts of the records written.
    pub fn stats(&self) -> WriterStats {
        self.stats
    }

    /// Appends a chunk to its segment, if that is still waiting.
    fn join(&mut self, chunk: &Record) -> bool {
        let first = self.waiting.iter_mut().find(|waiting| {
            let first = &waiting.record;
            first.ifindex == chunk.ifindex
                && first.direction == chunk.direction
                && first.time == chunk.time
                && usize::try_from(chunk.chunk_offset) == Ok(first.bytes.len())
        });
        match first {
            Some(first) => {
                first.record.bytes.extend_from_slice(&chunk.bytes);
                first.records += 1;
                true
            }
            None => false,
        }
    }

    /// Turns waiting records into blocks, in order, until only `leave` possibly incomplete ones remain.
    fn settle(&mut self, leave: usize) {
        while let Some(first) = self.waiting.front() {
            if self.waiting.len() <= leave && first.may_grow() {
                break;
            }
            if let Some(ready) = self.waiting.pop_front() {
                self.packet(&ready);
            }
        }
    }

    fn packet(&mut self, ready: &Waiting) {
        let block = blocks::packet(
            ready.interface,
            ready.stamp,
            &ready.record,
            ready.lost,
            &ready.comment,
        );
        self.buffer.extend(block);
        self.ends.push(self.buffer.len());
        self.stats.written += 1;
    }

    /// The interface's number in the file. Describes the interface if it is new or its name has changed.
    fn interface(&mut self, ifindex: Ifindex, name: &str) -> u32 {
        let name = blocks::clip(name);
        if let Some(known) = self.interfaces.get(&ifindex)
            && (known.name == name || self.described == MAX_INTERFACES)
        {
            return known.number;
        }
        if self.described == MAX_INTERFACES {
            return MAX_INTERFACES - 1;
        }
        self.buffer.extend(blocks::interface(name));
        let number = self.described;
        self.described += 1;
        let lost = self.interfaces.get(&ifindex).map_or(0, |known| known.lost);
        self.interfaces.insert(
            ifindex,
            Interface {
                number,
                name: name.to_owned(),
                lost,
            },
        );
        number
    }

    /// Records of its interface that were lost since the previous one. Counts start at zero.
    fn lost_before(&mut self, record: &Record) -> u16 {
        let Some(interface) = self.interfaces.get_mut(&record.ifindex) else {
            return 0;
        };
        let count = record.missing.count;
        count.wrapping_sub(std::mem::replace(&mut interface.lost, count))
    }

    fn write_out(&mut self) -> Result<(), FileError> {
        let mut done = 0;
        let mut failure = None;
        while done < self.buffer.len() {
            match self.output.write(&self.buffer[done..]) {
                Ok(0) => failure = Some(ErrorKind::WriteZero.into()),
                Ok(count) => done += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => failure = Some(error),
            }
            if failure.is_some() {
                break;
            }
        }
        let failure = match failure {
            None => self.output.flush().err(),
            some => some,
        };
        let Some(source) = failure else {
            self.offset += self.buffer.len() as u64;
            self.buffer.clear();
            self.ends.clear();
            self.signals = 0;
            return Ok(());
        };
        Err(self.give_up(done, source))
    }

    /// Truncates the output to the last packet that was written completely.
    fn give_up(&mut self, done: usize, source: io::Error) -> FileError {
        let whole = self.ends.iter().filter(|&&end| end <= done).count();
        let kept = whole
            .checked_sub(1)
            .and_then(|last| self.ends.get(last))
            .copied()
            .unwrap_or(0);
        self.offset += kept as u64;
        // If that fails too, the file ends within a packet; readers stop there and report it.
        let _ = self.output.cut(self.offset);
        let lost = (self.ends.len() - whole) as u64;
        self.stats.written -= lost;
        // At most this many signals.
        self.stats.unwritten += lost + self.signals;
        self.stats.unwritten += self
            .waiting
            .iter()
            .map(|waiting| waiting.records)
            .sum::<u64>();
        self.waiting.clear();
        self.buffer = Vec::new();
        self.ends = Vec::new();
        self.failed = true;
        FileError::Write {
            file: self.file.clone(),
            offset: self.offset,
            written: self.stats.written,
            source,
        }
    }
}

impl Waiting {
    /// Whether another chunk may belong to it.
    fn may_grow(&self) -> bool {
        let len = self.record.bytes.len();
        len >= CHUNK_BYTES
            && len.is_multiple_of(CHUNK_BYTES)
            && u32::try_from(len).is_ok_and(|len| len < self.record.wire_len)
    }
}

/// Whether the bytes match the EtherType, which a raw IP interface cannot record.
fn is_ip(record: &Record) -> bool {
    let version = record.bytes.first().map(|first| first >> 4);
    matches!(
        (record.ethertype, version),
        (0x0800, Some(4)) | (0x86dd, Some(6))
    )
}
