//! Connections with only one visible direction: evidence that the other is invisible on their interface.
//!
//! Where a CNI delivers with `bpf_redirect_peer`, a packet to the pod bypasses the host end's egress hook.
//! The pod reveals it: it acknowledges, or continues after, an unseen SYN-ACK. Collects evidence only; the
//! pipeline draws the conclusion.

use super::life::Connection;
use crate::model::flow::{Direction, Flow, FlowSnapshot, FlowTotals, Role, SeenFlags};
use crate::model::time::Timestamp;

/// A connection that progressed further than its visible packets allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfSeen {
    /// The connection's flow.
    pub flow: Flow,
    /// Time of its first SYN.
    pub started: Timestamp,
    /// The direction without a packet, although one must have passed.
    pub unseen: Direction,
    /// The kernel counted the connection. Without its counters, the missing packets may be lost records.
    pub counted: bool,
}

/// The evidence in `connection`, if its opener knows of an answer that was not seen.
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

/// The evidence in the counters alone, for a connection that is otherwise unknown because a filter may omit
/// its packets. An end that sent a SYN, with or without ACK, and then data or a FIN has received a reply in
/// between.
pub(super) fn counted(snapshot: &FlowSnapshot) -> Option<HalfSeen> {
    let FlowTotals { tx, rx } = snapshot.totals;
    let continued = |flags: u8| {
        flags & (SeenFlags::SYN | SeenFlags::ACK) == SeenFlags::SYN | SeenFlags::ACK
            && flags & (SeenFlags::PSH | SeenFlags::FIN) != 0
            && flags & SeenFlags::RST == 0
    };
    let unseen = match (tx.packets, rx.packets) {
        (1.., 0) if continued(snapshot.tcp_flags.tx) => Direction::ToPod,
        (0, 1..) if continued(snapshot.tcp_flags.rx) => Direction::FromPod,
        _ => return None,
    };
    Some(HalfSeen {
        flow: snapshot.flow,
        started: snapshot.first,
        unseen,
        counted: true,
    })
}

/// Whether the flags of both directions since the first SYN show an established connection: its SYN was
/// answered, or its opener acknowledges something (a SYN does not).
pub(super) fn established(role: Role, flags: SeenFlags) -> bool {
    let (opener, answerer) = match role {
        Role::Client => (flags.tx, flags.rx),
        Role::Server => (flags.rx, flags.tx),
    };
    let has = |flags: u8, wanted: u8| flags & wanted == wanted;
    // A RST may end a connection that never existed; its record decides.
    let reset = has(opener | answerer, SeenFlags::RST);
    !reset && (has(answerer, SeenFlags::SYN | SeenFlags::ACK) || has(opener, SeenFlags::ACK))
}
