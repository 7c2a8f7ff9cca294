//! Connections of which only one direction is seen: evidence that the other is not visible on their interface.
//!
//! Where a CNI delivers with `bpf_redirect_peer` a packet to the pod never passes the host end's egress hook. The pod
//! gives it away: it acknowledges, or goes on after, a SYN-ACK that was not seen. Owns no verdict; that is the pipeline's.

use super::life::Connection;
use crate::model::flow::{Flow, FlowTotals, Role, SeenFlags, Way};
use crate::model::time::Timestamp;

/// A connection that got further than what was seen of it allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfSeen {
    /// Which.
    pub flow: Flow,
    /// Its first SYN.
    pub started: Timestamp,
    /// Of this direction nothing was seen, though there must have been something.
    pub unseen: Way,
    /// The kernel counted it. Without its counters the missing packets can be records that were lost.
    pub counted: bool,
}

/// The evidence, if there is any: the one who opened `connection` knows of an answer, and none was seen.
pub(super) fn evidence(flow: Flow, connection: &Connection) -> Option<HalfSeen> {
    let FlowTotals { tx, rx } = connection.meter.totals();
    let (answers, unseen) = match connection.role {
        Role::Client => (rx.packets, Way::ToPod),
        Role::Server => (tx.packets, Way::FromPod),
    };
    (answers == 0).then(|| HalfSeen {
        flow,
        started: connection.started,
        unseen,
        counted: connection.meter.counted_by_kernel(),
    })
}

/// Whether flags of both directions since a connection's first SYN say that it is established: its SYN was answered, or
/// the one who opened it acknowledges something (a SYN does not).
pub(super) fn established(role: Role, flags: SeenFlags) -> bool {
    let (opener, answerer) = match role {
        Role::Client => (flags.tx, flags.rx),
        Role::Server => (flags.rx, flags.tx),
    };
    let has = |flags: u8, wanted: u8| flags & wanted == wanted;
    // A reset ends what may never have been: it is told when its record is there.
    let reset = has(opener | answerer, SeenFlags::RST);
    !reset && (has(answerer, SeenFlags::SYN | SeenFlags::ACK) || has(opener, SeenFlags::ACK))
}
