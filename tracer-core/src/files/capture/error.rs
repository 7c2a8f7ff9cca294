//! Errors of reading and writing capture files: the operation, the file, the position and the cause.

use std::io;

use crate::model::error_chain::error_chain;

/// An error of a capture file. An offset is where the block or packet starts; in a compressed file, after
/// decompression.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It could not be opened.
    #[error("cannot open the capture file {file}")]
    Open {
        /// The file's name as given.
        file: String,
        /// The cause.
        source: io::Error,
    },
    /// Reading failed part-way, or the compressed data is corrupt.
    #[error("cannot read {file} beyond byte {offset}")]
    Read {
        /// The file's name as given.
        file: String,
        /// How far it was read.
        offset: u64,
        /// The cause.
        source: io::Error,
    },
    /// It has no bytes at all.
    #[error("{file} is empty: not even a capture file's header")]
    Empty {
        /// The file's name as given.
        file: String,
    },
    /// It starts like no known format.
    #[error(
        "{file} is not a capture file (pcap or pcapng, also with gzip): {}",
        beginning(.start)
    )]
    NotACapture {
        /// The file's name as given.
        file: String,
        /// Its first bytes.
        start: Vec<u8>,
    },
    /// It ends within a packet or block. The packets before it were read.
    #[error(
        "{file} ends within the packet or block at byte {offset}: {have} of {need} bytes are there"
    )]
    CutShort {
        /// The file's name as given.
        file: String,
        /// Where the last packet or block starts.
        offset: u64,
        /// The number of its bytes that are present.
        have: u64,
        /// Its length.
        need: u64,
    },
    /// A packet or block claims a length that no capture has.
    #[error(
        "the packet or block at byte {offset} of {file} claims {length} bytes; the limit is {limit}"
    )]
    TooLong {
        /// The file's name as given.
        file: String,
        /// Where it starts.
        offset: u64,
        /// The claimed length.
        length: u64,
        /// The accepted maximum.
        limit: u64,
    },
    /// The structure is corrupt, and the start of the next packet is unknown.
    #[error("cannot continue at byte {offset} of {file}: {cause}")]
    Malformed {
        /// The file's name as given.
        file: String,
        /// Where the corrupt part starts.
        offset: u64,
        /// What is wrong.
        cause: Malformed,
    },
    /// It has packets of an unsupported link type. A pcapng file's other interfaces are still read.
    #[error(
        "{file} holds packets of link type {link_type}, described at byte {offset}; supported are Ethernet (1), raw IP \
         (12, 14, 101, 228, 229), BSD loopback (0, 108) and Linux cooked (113, 276)"
    )]
    LinkType {
        /// The file's name as given.
        file: String,
        /// Where the interface is described.
        offset: u64,
        /// A number from the registry at tcpdump.org/linktypes.html.
        link_type: u32,
    },
    /// It could not be created.
    #[error("cannot create the capture file {file}")]
    Create {
        /// The file's name as given.
        file: String,
        /// The cause.
        source: io::Error,
    },
    /// Writing failed and is not retried. The file is valid up to its last complete packet.
    #[error("cannot write to {file} beyond byte {offset}: recording stops after {written} packets")]
    Write {
        /// The file's name as given.
        file: String,
        /// The length of the complete part.
        offset: u64,
        /// The number of packets in it.
        written: u64,
        /// The cause.
        source: io::Error,
    },
}

/// What the first bytes of a file look like.
fn beginning(start: &[u8]) -> String {
    let printable = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    if !start.is_empty() && start.iter().all(printable) {
        let text = String::from_utf8_lossy(start);
        return format!("it looks like text and begins with {:?}", text.trim_end());
    }
    let bytes: Vec<String> = start.iter().map(|byte| format!("0x{byte:02x}")).collect();
    format!("it begins with the bytes {}", bytes.join(" "))
}

impl FileError {
    /// The error with its cause and its remedy, in one line.
    pub fn explained(&self) -> String {
        let chain = error_chain(self);
        match self.remedy() {
            Some(remedy) => format!("{chain}; {remedy}"),
            None => chain,
        }
    }

    /// What to do about it, or what is left of the file.
    fn remedy(&self) -> Option<&'static str> {
        Some(match self {
            FileError::Open { .. } | FileError::Create { .. } => return None,
            FileError::Read { .. } => "the packets before it are used",
            FileError::Empty { .. } => {
                "did the program that writes it start, and was it allowed to capture?"
            }
            FileError::NotACapture { .. } => {
                "write one with `tcpdump -w FILE`; Wireshark's `editcap FILE OTHER` converts other formats"
            }
            FileError::CutShort { .. } => {
                "it is still being written, or its writer was killed; the packets before it are used"
            }
            FileError::TooLong { .. } | FileError::Malformed { .. } => {
                "the file is corrupt there; the packets before it are used"
            }
            FileError::LinkType { .. } => "capture on a pod's interface, or with `tcpdump -i any`",
            FileError::Write { .. } => "the packets written so far can be read",
        })
    }
}

/// What is wrong with the structure of a capture file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A block's length is not a multiple of four, or is below the minimum.
    #[error("a block cannot be {0} bytes long")]
    BlockLength(u32),
    /// The length at a block's end differs from the one at its start.
    #[error("the block is {start} bytes long by its start and {end} by its end")]
    BlockEnd {
        /// The length at its start.
        start: u32,
        /// The length at its end.
        end: u32,
    },
    /// A section header has no byte-order mark.
    #[error("a section header with {0:#010x} for its byte-order mark")]
    ByteOrder(u32),
    /// A section header is unreadable.
    #[error("an unreadable section header")]
    SectionHeader,
    /// An interface description is unreadable: the numbers of later interfaces would be wrong.
    #[error("an unreadable interface description")]
    InterfaceDescription,
    /// There are more interfaces than in any real capture.
    #[error("more than {0} interfaces in one section")]
    Interfaces(usize),
}
