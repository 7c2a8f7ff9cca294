//! A run of ICMP echo requests and their replies: what `ping` does.

use std::time::Duration;

use super::flow::{Flow, Role};
use super::observation::IcmpError;
use super::time::Timestamp;

/// Whether a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EchoState {
    /// It goes on; totals so far.
    Running,
    /// No request for a while, or the end of the input.
    Done,
}

/// Round-trip times in the four figures of iputils' ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtt {
    /// Least.
    pub min: Duration,
    /// Mean.
    pub avg: Duration,
    /// Greatest.
    pub max: Duration,
    /// Standard deviation (population), as iputils' ping prints it under this name.
    pub mdev: Duration,
}

/// A run of echo requests of one identifier from one address to one other.
#[derive(Clone, Debug, PartialEq)]
pub struct Echo {
    /// Which flow; the pod's port is the identifier.
    pub flow: Flow,
    /// Whether the pod pings or is pinged.
    pub role: Role,
    /// The identifier.
    pub id: u16,
    /// Requests.
    pub sent: u64,
    /// Requests that were answered.
    pub received: u64,
    /// Replies beyond the first to a request.
    pub duplicates: u64,
    /// Requests answered by an ICMP error.
    pub errors: u64,
    /// The latest of those errors.
    pub last_error: Option<IcmpError>,
    /// How many round trips `rtt` rests on.
    pub samples: u64,
    /// Round-trip times; `None` without a sample.
    pub rtt: Option<Rtt>,
    /// The latest request, reply or error.
    pub last: Timestamp,
    /// Whether it goes on.
    pub state: EchoState,
}

impl Echo {
    /// The part of the requests that was not answered, 0 to 1.
    pub fn loss(&self) -> f64 {
        if self.sent == 0 {
            return 0.0;
        }
        // Counts of a ping run are far below 2^52, where f64 is exact.
        (self.sent.saturating_sub(self.received)) as f64 / self.sent as f64
    }
}
