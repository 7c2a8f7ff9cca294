//! One connection as both nodes saw it: joins the events of several agents.
//!
//! Owns which event of the server's node belongs to which event of the client's ([`Join`], `find`), what both
//! together show (`decide`), and the line that draws it (`draw`). Pure: an event comes with its node and with
//! what is known about that node's clock.
//!
//! Every claim rests on an event. That something did not arrive is claimed only where the agent is known to have
//! watched that interface all the time and lost nothing ([`Watch`]); elsewhere that half is unknown.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::model::flow::Protocol;
use crate::model::time::Timestamp;

mod align;
mod decide;
mod draw;
mod drops;
mod find;
mod join;
mod sighting;
mod words;

pub use self::align::clocks;
pub use self::join::{Join, JoinLimits, Question};

/// How a node's clock differs from the reference, and how exactly that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// How far it is ahead.
    pub ahead_ns: i64,
    /// The maximum error of that.
    pub error: Duration,
}

impl Clock {
    /// A time of this clock on the reference clock.
    fn corrected(self, at: Timestamp) -> Timestamp {
        let behind = self.ahead_ns.unsigned_abs();
        Timestamp(match self.ahead_ns < 0 {
            true => at.0.saturating_add(behind),
            false => at.0.saturating_sub(behind),
        })
    }
}

/// Both directions of an address's interface were visible from one time to another. By the node's own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The pod's address.
    pub pod: IpAddr,
    /// Only packets of this protocol to and from this port of the pod; `None`: all.
    pub only: Option<(Protocol, u16)>,
    /// From this time on.
    pub from: Timestamp,
    /// Up to this time.
    pub until: Timestamp,
}

/// What the events of a node can show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// Interfaces that were watched.
    pub watched: Vec<Watch>,
    /// Dropped packets have events.
    pub sees_drops: bool,
}

/// A node's name.
pub type NodeName = Arc<str>;
