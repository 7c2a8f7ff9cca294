//! Edge: loads the probes, attaches them to pod interfaces and reads their ring buffer.
//!
//! [`Capture`] is the whole interface. It runs two threads: one follows the kernel's link messages and
//! attaches ([`manager`]), one reads the ring buffer ([`ring`]). Both work in the network namespace of the
//! thread that called [`Capture::start`]. This module interprets no packet; `tracer_core::decode` does.
//! Apart from it, [`TaskCgroups`] lists the cgroups of processes.

mod attach;
mod attach_thread;
mod batch;
mod btf;
mod clock;
mod counters;
mod drops;
mod error;
mod flow_table;
mod globals;
mod handle;
mod interfaces;
mod listing;
mod lock;
mod losses;
mod manager;
mod missed_runs;
mod netlink;
mod node_flows;
mod offsets;
mod only_processes;
mod probes;
mod processes;
mod retransmits;
mod ring;
mod sweeper;
mod symbols;
mod tables;
mod tasks;
mod traced;

use std::os::unix::fs::MetadataExt as _;
use std::{fs, io};

use tracer_core::model::loss::InterfaceLoss;
use tracer_core::model::record::Record;
use tracer_core::model::signal::PacketDrop;
use tracer_core::model::time::Timestamp;

pub use attach::Hook;
pub use clock::Clock;
pub use counters::KernelStats;
pub use drops::drop_reasons;
pub use error::{AttachError, CaptureError};
pub use handle::Capture;
pub use interfaces::{LinkOf, TracedLink};
pub use listing::traced_interfaces;
pub use only_processes::OnlyProcesses;
pub use probes::TOOLCHAIN;
pub use processes::socket_processes;
pub use retransmits::retransmissions;
pub use tasks::TaskCgroups;
pub use traced::{InterfaceEvent, InterfaceStatus};

/// A message from the capture to its owner.
#[derive(Debug)]
pub enum CaptureMessage {
    /// Records in ring-buffer order. Records of an interface can precede its [`InterfaceEvent::Attached`].
    Records(Vec<Record>),
    /// The kernel dropped a packet. In ring-buffer order with the records.
    Drop(Timestamp, PacketDrop),
    /// Records that the kernel lost. It precedes every [`CaptureMessage::ReadUntil`] with a later time.
    Lost(Vec<InterfaceLoss>),
    /// Every record from before this time has been sent, and every loss from before it reported.
    ReadUntil(Timestamp),
    /// An interface was attached, has gone, or cannot be traced.
    Interface(InterfaceEvent),
}

/// The inode number of a namespace, by which the kernel knows it.
fn inode(namespace: &str) -> io::Result<u32> {
    u32::try_from(fs::metadata(namespace)?.ino()).map_err(io::Error::other)
}
