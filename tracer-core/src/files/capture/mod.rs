//! Capture files: reads pcap and pcapng, finds out which end of a packet is the pod, counts flows, writes
//! pcapng.
//!
//! A file, or the output of `tcpdump -w -`, thus becomes the same input to the pipeline as the live ring
//! buffer:
//!
//! ```text
//! file -> window -> pcap / pcapng -> link -> packet -> order -> fragments -> sides -> meter -> record
//! record, signal -> pcapng
//! ```
//!
//! The first line is [`Replay`], the second [`Writer`].
//!
//! The reader blocks, so it belongs on its own thread. It never seeks and keeps at most one block of the file
//! in memory. Invalid input is an error or a counted loss, never a panic. Never interprets a packet: that is
//! [`crate::decode`].

mod duplicates;
mod error;
mod fragments;
#[cfg(test)]
mod fragments_tests;
mod headers;
mod interfaces;
mod link;
mod meter;
#[cfg(test)]
mod meter_tests;
mod new_file;
mod note;
mod order;
mod packet;
mod pcap;
mod pcapng;
mod reader;
#[cfg(test)]
mod reader_tests;
mod replay;
mod roles;
mod sides;
#[cfg(test)]
mod sides_tests;
mod signal;
mod source;
mod stamps;
#[cfg(test)]
mod testing;
mod window;
mod writer;
#[cfg(test)]
mod writer_tests;

pub use self::error::{FileError, Malformed};
pub use self::headers::pod_address;
pub use self::interfaces::SYNTHETIC_INTERFACES;
pub use self::meter::Meter;
pub use self::packet::{LinkDirection, Origin, Packet, Recorded};
pub use self::reader::{Reader, ReaderStats, UNREADABLE_SIGNAL};
pub use self::replay::{Replay, ReplaySettings};
pub use self::sides::{Sides, SidesStats};
pub use self::writer::{FileWriter, Output, Writer, WriterStats};
