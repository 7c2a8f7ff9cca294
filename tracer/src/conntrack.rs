//! Edge: what the node's conntrack knows. The endpoint behind each translated flow, and the table's counters.
//!
//! Two netlink sockets in the network namespace of the thread that opened them: one receives an event for every
//! new translated entry ([`translations`]), one asks for the counters ([`counters`]). The kernel sends the event
//! when the first packet leaves the node, so before any answer can come back. Nothing is written. Needs
//! CAP_NET_ADMIN; where conntrack is absent nothing is read, and nothing follows from that.

mod counters;
mod filter;
mod message;
mod socket;
mod translations;

use std::io;

pub use counters::CounterReader;
pub use translations::{Follower, Notice, State, Totals};

/// Why conntrack cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ConntrackError {
    /// A request or a socket failed.
    #[error("cannot {operation}: {source}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The kernel's answer has another form.
    #[error("the kernel's answer to a request for {what} cannot be read")]
    Answer {
        /// What was requested.
        what: &'static str,
    },
    /// The kernel sends no events.
    #[error("net.netfilter.nf_conntrack_events is 0 in this network namespace")]
    NoEvents,
}

/// Tries what [`Follower`] and [`CounterReader`] need, for `tracer check`.
pub fn probe() -> Result<(), ConntrackError> {
    translations::subscribe()?;
    CounterReader::open()?.read()?;
    Ok(())
}
