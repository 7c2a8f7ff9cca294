//! Why a capture file cannot be read or written: what was done, to which file, where in it, why.

use std::io;

/// An offset is where the block or packet starts; of a compressed file, after unpacking.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It could not be opened.
    #[error("cannot open the capture file {file}")]
    Open {
        /// As it was given.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// Reading failed half way, or the compressed data is broken.
    #[error("cannot read {file} beyond byte {offset}")]
    Read {
        /// As it was given.
        file: String,
        /// How far it was read.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// It has no byte at all.
    #[error("{file} is empty: not even a capture file's header")]
    Empty {
        /// As it was given.
        file: String,
    },
    /// It starts like nothing known.
    #[error(
        "{file} is not a capture file: it starts with {start:02x?}, which is neither pcap nor pcapng (nor gzip of either)"
    )]
    NotACapture {
        /// As it was given.
        file: String,
        /// Its first bytes.
        start: Vec<u8>,
    },
    /// It ends within a packet or block. What came before was read.
    #[error(
        "{file} ends within the packet or block at byte {offset}: {have} of {need} bytes are there"
    )]
    CutShort {
        /// As it was given.
        file: String,
        /// Where the last packet or block starts.
        offset: u64,
        /// Its bytes that are there.
        have: u64,
        /// Its length.
        need: u64,
    },
    /// A packet or block claims a length that no capture has.
    #[error(
        "the packet or block at byte {offset} of {file} claims {length} bytes; the limit is {limit}"
    )]
    TooLong {
        /// As it was given.
        file: String,
        /// Where it starts.
        offset: u64,
        /// What it claims.
        length: u64,
        /// What is accepted.
        limit: u64,
    },
    /// The structure is broken, and nothing tells where the next packet starts.
    #[error("cannot go on at byte {offset} of {file}: {cause}")]
    Malformed {
        /// As it was given.
        file: String,
        /// Where the broken part starts.
        offset: u64,
        /// What is wrong.
        cause: Malformed,
    },
    /// Packets of a link type that is not supported. Other interfaces of a pcapng file are read on.
    #[error(
        "{file} holds packets of link type {link_type}, described at byte {offset}; supported are Ethernet (1), raw IP \
         (12, 14, 101, 228, 229), BSD loopback (0, 108) and Linux cooked (113, 276)"
    )]
    LinkType {
        /// As it was given.
        file: String,
        /// Where the interface is described.
        offset: u64,
        /// A number of the registry at tcpdump.org/linktypes.html.
        link_type: u32,
    },
    /// It could not be created.
    #[error("cannot create the capture file {file}")]
    Create {
        /// As it was given.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// Writing failed, and is not tried again. The file is whole up to its last complete packet.
    #[error("cannot write to {file} beyond byte {offset}: recording stops after {written} packets")]
    Write {
        /// As it was given.
        file: String,
        /// The length of what is complete.
        offset: u64,
        /// How many records it holds.
        written: u64,
        /// Why.
        source: io::Error,
    },
}

impl FileError {
    /// The error with its cause and with what to do about it, in one line.
    pub fn explained(&self) -> String {
        let mut said = self.to_string();
        if let Some(cause) = std::error::Error::source(self) {
            said += &format!(": {cause}");
        }
        let advice = match self {
            FileError::Open { .. } => return said,
            FileError::Read { .. } => "what came before is used",
            FileError::Empty { .. } => {
                "did the program that writes it start, and was it allowed to capture?"
            }
            FileError::NotACapture { .. } => {
                "write one with `tcpdump -w FILE`; Wireshark's `editcap FILE OTHER` converts other formats"
            }
            FileError::CutShort { .. } => {
                "it is still being written, or its writer was killed; what came before is used"
            }
            FileError::TooLong { .. } | FileError::Malformed { .. } => {
                "the file is damaged there; what came before is used"
            }
            FileError::LinkType { .. } => "capture on a pod's interface, or with `tcpdump -i any`",
            FileError::Create { .. } => return said,
            FileError::Write { .. } => "what was written can be read",
        };
        said += "; ";
        said += advice;
        said
    }
}

/// What is wrong with the structure of a capture file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A block's length is not a multiple of four, or less than the least block's.
    #[error("a block cannot be {0} bytes long")]
    BlockLength(u32),
    /// The length at a block's end is not the one at its start.
    #[error("the block is {start} bytes long by its start and {end} by its end")]
    BlockEnd {
        /// At its start.
        start: u32,
        /// At its end.
        end: u32,
    },
    /// A section header without a byte-order mark.
    #[error("a section header with {0:#010x} for its byte-order mark")]
    ByteOrder(u32),
    /// A section header that makes no sense.
    #[error("an unreadable section header")]
    SectionHeader,
    /// An interface description that makes no sense: the numbers of later interfaces would be wrong.
    #[error("an unreadable interface description")]
    InterfaceDescription,
    /// More interfaces than any capture has.
    #[error("more than {0} interfaces in one section")]
    Interfaces(usize),
}
