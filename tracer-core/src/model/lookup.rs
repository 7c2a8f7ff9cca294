//! A lookup: what one resolver call of an application did, search path and record types folded into one.

use std::time::Duration;

use super::dns::{DnsName, RecordType};
use super::edns::ExtendedError;
use super::exchange::Outcome;
use super::time::Timestamp;

/// One question of a lookup: a candidate and a type. Asking it again, of the same server or of another one, over UDP or
/// over TCP, is another attempt at it and no other step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The candidate.
    pub name: DnsName,
    /// The type asked for.
    pub qtype: RecordType,
    /// How it ended; `None` while it is open.
    pub outcome: Option<Outcome>,
    /// First query to the answer that counts.
    pub latency: Option<Duration>,
    /// Queries sent for it, to all servers together.
    pub attempts: u32,
    /// The data of its answers of the type asked for (addresses, mostly).
    pub data: Vec<String>,
    /// Why the server says it answered as it did.
    pub errors: Vec<ExtendedError>,
    /// When it was asked.
    pub asked: Timestamp,
}

/// What one resolver call did.
#[derive(Clone, Debug, PartialEq)]
pub struct Lookup {
    /// What the application asked for, as it wrote it, if the wire tells; `None` while several are possible.
    pub asked: Option<String>,
    /// The types asked for, in order of first appearance.
    pub qtypes: Vec<RecordType>,
    /// The outcome as the application saw it.
    pub outcome: Outcome,
    /// Queries sent, retransmissions included.
    pub queries: u32,
    /// First query to last answer.
    pub duration: Duration,
    /// Each query.
    pub steps: Vec<Step>,
}

/// Where an exchange stands in its lookup ("lookup" of the JSON contract).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What the application asked for; `None` while the wire cannot tell.
    pub asked: Option<String>,
    /// Which candidate this is, from 1.
    pub candidate: u32,
    /// How many candidates there can be, with the search domains of the node's own resolv.conf as far as queries have shown
    /// them; `None` while the wire cannot tell.
    pub of: Option<u32>,
}
