//! A lookup: one resolver call of an application, with its search path and record types folded into one.

use std::time::Duration;

use super::dns::{DnsName, RecordType};
use super::edns::ExtendedError;
use super::exchange::Outcome;
use super::time::Timestamp;

/// One question of a lookup: a candidate and a type. Asking it again, of any server and over any transport,
/// is another attempt of the same step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The candidate.
    pub name: DnsName,
    /// The queried type.
    pub qtype: RecordType,
    /// Its outcome; `None` while it is open.
    pub outcome: Option<Outcome>,
    /// Time from the first query to the deciding answer.
    pub latency: Option<Duration>,
    /// Queries sent, over all servers.
    pub attempts: u32,
    /// Data of the answers of the queried type, mostly addresses.
    pub data: Vec<String>,
    /// The server's reasons for its answer (RFC 8914).
    pub errors: Vec<ExtendedError>,
    /// Time of the first query.
    pub asked: Timestamp,
}

/// One resolver call.
#[derive(Clone, Debug, PartialEq)]
pub struct Lookup {
    /// The name as the application wrote it; `None` while several are possible.
    pub asked: Option<String>,
    /// The queried types, in order of first appearance.
    pub qtypes: Vec<RecordType>,
    /// The outcome for the application.
    pub outcome: Outcome,
    /// Queries sent, retransmissions included.
    pub queries: u32,
    /// Time from the first query to the last answer.
    pub duration: Duration,
    /// Its steps.
    pub steps: Vec<Step>,
}

/// An exchange's place in its lookup (JSON field "lookup").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The name that the application asked for; `None` if the wire does not determine it.
    pub asked: Option<String>,
    /// The candidate's number, from 1.
    pub candidate: u32,
    /// Number of possible candidates, including search domains of the node's resolv.conf that queries have
    /// shown so far; `None` if the wire does not determine it.
    pub of: Option<u32>,
}
