//! A run of ICMP echo requests and their replies: one `ping`.

use std::time::Duration;

use super::flow::{Flow, Role};
use super::observation::IcmpError;
use super::time::Timestamp;

/// The state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EchoState {
    /// The run continues; totals so far.
    Running,
    /// No request for a while, or the end of the input.
    Done,
    /// Records of it were lost, or a full table removed it: totals so far may be too low, and nothing is known
    /// about the loss. It may continue.
    Undecided,
}

/// Round-trip times in the four figures of iputils' ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtt {
    /// Minimum.
    pub min: Duration,
    /// Mean.
    pub avg: Duration,
    /// Maximum.
    pub max: Duration,
    /// Population standard deviation, as iputils' ping prints it under this name.
    pub mdev: Duration,
}

/// A run of echo requests with one identifier from one address to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Echo {
    /// The flow; the pod's port is the identifier.
    pub flow: Flow,
    /// Whether the pod pings or is pinged.
    pub role: Role,
    /// The identifier.
    pub id: u16,
    /// Requests.
    pub sent: u64,
    /// Answered requests.
    pub received: u64,
    /// Replies after the first to the same request.
    pub duplicates: u64,
    /// Requests answered by an ICMP error.
    pub errors: u64,
    /// The latest of those errors.
    pub last_error: Option<IcmpError>,
    /// Number of round trips behind `rtt`.
    pub samples: u64,
    /// Round-trip times; `None` without a sample.
    pub rtt: Option<Rtt>,
    /// Time of the latest request, reply or error.
    pub last: Timestamp,
    /// The state of the run.
    pub state: EchoState,
}

impl Echo {
    /// The unanswered share of the requests, 0 to 1; `None` if it is not known.
    pub fn loss(&self) -> Option<f64> {
        if self.state == EchoState::Undecided {
            return None;
        }
        if self.sent == 0 {
            return Some(0.0);
        }
        // Ping counts are far below 2^52, where f64 is exact.
        Some((self.sent.saturating_sub(self.received)) as f64 / self.sent as f64)
    }
}
