//! The pure core of Tracer: explains DNS and connection failures of Kubernetes pods from their packets.
//!
//! The crate opens no socket, reads no clock and starts no thread. Time is an argument, and one closed enum of inputs
//! drives everything, so a live run, a replayed capture, a test with a virtual clock and a fuzz target use the same code.
//! Only the feature `files` reads files.
//!
//! # Flow
//!
//! ```text
//!  record ──> observation ──> exchange, connection, ──> event ──> lookup ──> finding
//!             decode          echo run                  identity  lookup     diagnose
//!                             correlate
//! ```
//!
//! - A **record** ([`model::record`]) is a packet's first bytes with its time, interface and direction. It comes from the
//!   ring buffer of the probes or from a capture file.
//! - [`decode`] turns it into an **observation**: a DNS message, a TCP segment, an ICMP message or another packet.
//!   Malformed input is data: decoding returns what it understood plus the fault, and never panics.
//! - [`correlate`] combines observations into **exchanges** (a DNS query with its attempts and its answer or silence),
//!   **connections**, UDP flows and **echo runs** (pings). All protocol state lives there, in bounded tables.
//! - [`identity`] names both ends: the pod by its interface, the peer by its address at that time. Unknown is an answer
//!   with a reason.
//! - [`lookup`] folds the queries of one resolver call, over search path and record types, into one **lookup**.
//! - [`policy`] evaluates NetworkPolicies.
//! - [`diagnose`] derives **findings**: a cause, its evidence and its remedies, one rule per cause.
//! - [`explain`] combines objects, policies and events into the answer to "why can't this pod reach that?".
//! - [`pipeline`] composes these stages. [`view`] filters, redacts and formats their events; `files` (a feature) reads
//!   captures and inventories.
//!
//! # Invariants
//!
//! - Dependencies run one way, in the order of the list above; a test reads the sources and asserts it.
//! - Lost input is never evidence. Every loss is counted ([`model::loss`]), and no verdict rests on silence where packets
//!   may have been missed.
//! - Memory is bounded: every table has a limit, and eviction is counted.
//! - The same inputs give the same events, in the same order.
//!
//! # Example
//!
//! A query that stays without an answer:
//!
//! ```
//! use std::time::Duration;
//!
//! use tracer_core::model::event::Body;
//! use tracer_core::model::exchange::Outcome;
//! use tracer_core::model::flow::{Direction, Ifindex};
//! use tracer_core::model::loss::Missing;
//! use tracer_core::model::record::Record;
//! use tracer_core::model::time::Timestamp;
//! use tracer_core::pipeline::{Input, Pipeline, Settings};
//!
//! // IPv4 and UDP from 10.1.0.2 port 40000 to 10.96.0.10 port 53, and a query for the A record of "web.".
//! let bytes = [
//!     &[0x45, 0, 0, 49, 0, 1, 0, 0, 64, 17, 0, 0, 10, 1, 0, 2, 10, 96, 0, 10][..],
//!     &[0x9c, 0x40, 0, 53, 0, 29, 0, 0],
//!     &[0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0],
//!     b"\x03web\0\0\x01\0\x01",
//! ]
//! .concat();
//! let asked = Timestamp(1_000_000_000);
//! let record = Record {
//!     time: asked,
//!     ifindex: Ifindex(7),
//!     direction: Direction::FromPod,
//!     ethertype: 0x0800,
//!     wire_len: bytes.len() as u32,
//!     chunk_offset: 0,
//!     missing: Missing::default(),
//!     totals: None,
//!     sender_cgroup: 0,
//!     sender_process: None,
//!     bytes,
//! };
//!
//! let mut pipeline = Pipeline::new(Settings::default());
//! let mut events = Vec::new();
//! pipeline.step(Input::Record(record), &mut events);
//! pipeline.step(Input::Tick(asked.after(Duration::from_secs(7))), &mut events);
//!
//! let Body::Dns(exchange, _) = &events[0].body else {
//!     panic!("{events:?}")
//! };
//! assert_eq!(exchange.outcome, Outcome::Timeout);
//! assert_eq!(exchange.question.as_ref().unwrap().name.as_str(), "web.");
//! ```
//!
//! `examples/replay.rs` replays a capture with an inventory and prints its findings.
//!
//! # Where to start reading
//!
//! [`pipeline`] is the entry: [`pipeline::Input`] lists everything that can happen, and [`pipeline::Pipeline::step`]
//! handles it. Follow a record from there through the stages. To change a diagnosis, start at [`diagnose`]; to change what
//! users see, at [`view`].
#![forbid(unsafe_code)]

pub mod blind_spots;
pub mod correlate;
pub mod decode;
pub mod diagnose;
pub mod explain;
pub(crate) mod fair_table;
#[cfg(feature = "files")]
pub mod files;
pub mod identity;
pub mod lookup;
pub mod model;
pub mod path;
pub mod pipeline;
pub mod policy;
pub mod view;
