//! Reads capture files packet by packet.
//!
//! pcap-parser parses the blocks, slice by slice: it is lenient with options that other writers get wrong,
//! has no unsafe code, and leaves buffering to the caller. So a truncated file, a hostile length and a read
//! error can be distinguished and located.

use std::io::{self, ErrorKind, Read};
use std::iter::FusedIterator;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::link::{Link, NotIp};
use super::pcap::Pcap;
use super::pcapng::PcapNg;
use super::source::{self, Counted, Input};
use super::window::Window;
use super::{FileError, LinkDirection, Malformed, Origin, Packet, note, signal};
use crate::model::loss::{Losses, Stage};
use crate::model::signal::Signal;
use crate::model::time::Timestamp;

/// The limit for signals without a packet between them: a recording begins with all translations of its node.
const MAX_SIGNALS: usize = 1 << 17;

/// The reason of the loss of a signal that a recording holds and that cannot be read.
pub const UNREADABLE_SIGNAL: &str = "recorded signal unreadable";

/// Counts of a reader's packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReaderStats {
    /// Packets in the file, of any kind.
    pub packets: u64,
    /// Packets that are neither IPv4 nor IPv6: ARP and the like.
    pub not_ip: u64,
}

/// Why a format's reader stopped; [`Reader`] adds the file's name and the offset.
#[derive(Debug)]
pub(super) enum Stop {
    Io(io::Error),
    CutShort {
        have: u64,
        need: u64,
    },
    TooLong {
        length: u64,
        limit: u64,
    },
    Malformed(Malformed),
    /// Not fatal in pcapng.
    LinkType(u32),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Io(error)
    }
}

impl From<Malformed> for Stop {
    fn from(cause: Malformed) -> Stop {
        Stop::Malformed(cause)
    }
}

/// A packet as stored in the file.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) time: Timestamp,
    pub(super) origin: Origin,
    pub(super) link: Link,
    pub(super) direction: Option<LinkDirection>,
    pub(super) wire_len: u32,
    pub(super) lost: LostBefore,
    pub(super) data: &'a [u8],
}

/// Packets that were lost before a frame, modulo 2^16.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LostBefore {
    pub(super) of_interface: u16,
    pub(super) of_file: u16,
}

/// Counts while reading.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) stats: ReaderStats,
    pub(super) losses: Losses,
    /// Signals that were read and not taken.
    signals: Vec<(Timestamp, Signal)>,
}

impl Tally {
    /// Keeps the signal that a block of this program's holds.
    pub(super) fn signal(&mut self, body: &[u8]) {
        match signal::read(body) {
            signal::Read::Signal(at, signal) if self.signals.len() < MAX_SIGNALS => {
                self.signals.push((at, signal));
            }
            signal::Read::Signal(..) => self.losses.add(Stage::Table, "recorded signal", 1),
            signal::Read::Unreadable => {
                self.losses.add(Stage::Decode, UNREADABLE_SIGNAL, 1);
            }
            signal::Read::Foreign => {}
        }
    }

    /// Counts a packet that was lost for `reason`.
    pub(super) fn lose(&mut self, reason: &'static str) {
        self.stats.packets += 1;
        self.losses.add(Stage::Decode, reason, 1);
    }

    /// Extracts the IP packet from a frame, if it has one.
    pub(super) fn packet<'a>(
        &mut self,
        frame: &Frame<'a>,
        comments: impl Iterator<Item = &'a [u8]>,
    ) -> Option<Packet> {
        // Some writers leave the original length at zero.
        let captured = u32::try_from(frame.data.len()).unwrap_or(u32::MAX);
        match frame.link.network(frame.data, frame.wire_len.max(captured)) {
            Ok(network) => {
                self.stats.packets += 1;
                let recorded = comments.filter_map(note::read).next();
                Some(Packet {
                    lost: match recorded {
                        Some(_) => frame.lost.of_interface,
                        None => frame.lost.of_file,
                    },
                    time: frame.time,
                    origin: Origin {
                        device: network.device,
                        ..frame.origin
                    },
                    direction: network.direction.or(frame.direction),
                    ethertype: network.ethertype,
                    wire_len: network.wire_len,
                    bytes: network.bytes.to_vec(),
                    recorded,
                })
            }
            Err(NotIp::Other) => {
                self.stats.packets += 1;
                self.stats.not_ip += 1;
                None
            }
            Err(NotIp::CutShort) => {
                self.lose("capture ends within the link header");
                None
            }
        }
    }
}

enum Format {
    /// Nothing has been read yet.
    Unknown,
    Pcap(Pcap),
    PcapNg(PcapNg),
    /// The input has ended.
    Over,
}

/// Reads pcap and pcapng, gzipped or not, in either byte order, from a file or a pipe.
///
/// An iterator of packets in the file's order. After a recoverable error it continues (one interface of an
/// unknown link type); after any other it ends. Blocks until the next packet is available.
pub struct Reader {
    file: String,
    input: Option<Input>,
    window: Window,
    format: Format,
    tally: Tally,
    position: Arc<AtomicU64>,
}

impl Reader {
    /// Opens a file, or standard input for `-`. The first read happens with the first packet.
    pub fn open(path: impl AsRef<Path>) -> Result<Reader, FileError> {
        let (file, input) = source::open(path.as_ref())?;
        Ok(Reader::start(file, input))
    }

    /// Reads from any source; `name` is for messages.
    pub fn new(name: impl Into<String>, input: impl Read + Send + 'static) -> Reader {
        Reader::start(name.into(), Box::new(input))
    }

    fn start(file: String, input: Input) -> Reader {
        let position = Arc::new(AtomicU64::new(0));
        let input = Counted::new(input, Arc::clone(&position));
        Reader {
            file,
            input: Some(Box::new(input)),
            window: Window::new(Box::new(io::empty())),
            format: Format::Unknown,
            tally: Tally::default(),
            position,
        }
    }

    /// How many bytes of the input were read, before decompression.
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// Whether packets may be out of order, because several interfaces were captured at once.
    pub(super) fn interleaved(&self) -> bool {
        matches!(&self.format, Format::PcapNg(pcapng) if pcapng.interfaces() > 1)
    }

    /// Whether the input has ended.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.format, Format::Over)
    }

    /// Counts of the packets read.
    pub fn stats(&self) -> ReaderStats {
        self.tally.stats
    }

    /// Signals of a recording that were read since the last call.
    pub fn take_signals(&mut self) -> Vec<(Timestamp, Signal)> {
        std::mem::take(&mut self.tally.signals)
    }

    /// Packets and signals that could not be read, by reason.
    pub fn losses(&self) -> &Losses {
        &self.tally.losses
    }

    /// Determines the format.
    fn recognize(&mut self) -> Result<Format, FileError> {
        if let Some(input) = self.input.take() {
            let input = source::unpack(input).map_err(|error| self.stop(Stop::Io(error), 0))?;
            self.window = Window::new(input);
        }
        let known = self
            .window
            .want(4)
            .map_err(|error| self.stop(Stop::Io(error), 0))?;
        let start = self.window.data();
        if start.is_empty() {
            return Err(FileError::Empty {
                file: self.file.clone(),
            });
        }
        if known && PcapNg::is_one(start) {
            return Ok(Format::PcapNg(PcapNg::default()));
        }
        if known && Pcap::is_one(start) {
            let pcap = Pcap::open(&mut self.window);
            return pcap.map(Format::Pcap).map_err(|stop| self.stop(stop, 0));
        }
        Err(FileError::NotACapture {
            file: self.file.clone(),
            start: start.iter().copied().take(16).collect(),
        })
    }

    fn stop(&self, stop: Stop, offset: u64) -> FileError {
        let file = self.file.clone();
        match stop {
            // Truncated compressed data.
            Stop::Io(source) if source.kind() == ErrorKind::UnexpectedEof => {
                let have = self.window.data().len() as u64;
                FileError::CutShort {
                    file,
                    offset,
                    have,
                    need: have + 1,
                }
            }
            Stop::Io(source) => FileError::Read {
                file,
                offset: self.window.offset() + self.window.data().len() as u64,
                source,
            },
            Stop::CutShort { have, need } => FileError::CutShort {
                file,
                offset,
                have,
                need,
            },
            Stop::TooLong { length, limit } => FileError::TooLong {
                file,
                offset,
                length,
                limit,
            },
            Stop::Malformed(cause) => FileError::Malformed {
                file,
                offset,
                cause,
            },
            Stop::LinkType(link_type) => FileError::LinkType {
                file,
                offset,
                link_type,
            },
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Packet, FileError>;

    fn next(&mut self) -> Option<Result<Packet, FileError>> {
        loop {
            let offset = self.window.offset();
            let step = match &mut self.format {
                Format::Over => return None,
                Format::Unknown => {
                    match self.recognize() {
                        Ok(format) => self.format = format,
                        Err(error) => {
                            self.format = Format::Over;
                            return Some(Err(error));
                        }
                    }
                    continue;
                }
                Format::Pcap(pcap) => pcap.next(&mut self.window, &mut self.tally),
                Format::PcapNg(pcapng) => pcapng.next(&mut self.window, &mut self.tally),
            };
            match step {
                Ok(Step::Packet(packet)) => return Some(Ok(packet)),
                Ok(Step::Nothing) => {}
                Ok(Step::End) => self.format = Format::Over,
                Err(stop) => {
                    if !matches!(
                        (&stop, &self.format),
                        (Stop::LinkType(_), Format::PcapNg(_))
                    ) {
                        self.format = Format::Over;
                    }
                    return Some(Err(self.stop(stop, offset)));
                }
            }
        }
    }
}

impl FusedIterator for Reader {}

/// The result of reading one block of a file.
#[derive(Debug)]
pub(super) enum Step {
    Packet(Packet),
    /// The block has no IP packet.
    Nothing,
    /// The file ends here, between two blocks.
    End,
}
