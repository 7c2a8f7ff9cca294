//! Connections of which only one direction is seen: evidence that the other is not visible on their interface.
//!
//! Where a CNI delivers with `bpf_redirect_peer` a packet to the pod never passes the host end's egress hook. The pod
//! gives it away: it acknowledges, or goes on after, a SYN-ACK that was not seen. Owns no verdict; that is the pipeline's.

use super::life::Connection;
use crate::model::flow::{Direction, Flow, FlowSnapshot, FlowTotals, Role, SeenFlags};
use crate::model::time::Timestamp;

/// A connection that got further than what was seen of it allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfSeen {
    /// Which.
    pub flow: Flow,
    /// Its first SYN.
    pub started: Timestamp,
    /// Of this direction nothing was seen, though there must have been something.
    pub unseen: Direction,
    /// The kernel counted it. Without its counters the missing packets can be records that were lost.
    pub counted: bool,
}

/// The evidence, if there is any: the one who opened `connection` knows of an answer, and none was seen.
pub(super) fn evidence(flow: Flow, connection: &Connection) -> Option<HalfSeen> {
    let FlowTotals { tx, rx } = connection.meter.totals();
    let (answers, unseen) = match connection.role {
        Role::Client => (rx.packets, Direction::ToPod),
        Role::Server => (tx.packets, Direction::FromPod),
    };
    (answers == 0).then(|| HalfSeen {
        flow,
        started: connection.started,
        unseen,
        counted: connection.meter.counted_by_kernel(),
    })
}

/// The evidence of the counters alone, where nothing else is known of a connection: its packets can be left out by a filter.
/// Whoever sent a SYN, with or without ACK, and then data or a FIN has heard of the other in between.
pub(super) fn counted(snapshot: &FlowSnapshot) -> Option<HalfSeen> {
    let FlowTotals { tx, rx } = snapshot.totals;
    let went_on = |flags: u8| {
        flags & (SeenFlags::SYN | SeenFlags::ACK) == SeenFlags::SYN | SeenFlags::ACK
            && flags & (SeenFlags::PSH | SeenFlags::FIN) != 0
            && flags & SeenFlags::RST == 0
    };
    let unseen = match (tx.packets, rx.packets) {
        (1.., 0) if went_on(snapshot.tcp_flags.tx) => Direction::ToPod,
        (0, 1..) if went_on(snapshot.tcp_flags.rx) => Direction::FromPod,
        _ => return None,
    };
    Some(HalfSeen {
        flow: snapshot.flow,
        started: snapshot.first,
        unseen,
        counted: true,
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
