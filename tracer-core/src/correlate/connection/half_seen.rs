//! Connections with only one visible direction: evidence that packets to the pod are invisible on their interface.
//!
//! Where a CNI delivers with `bpf_redirect_peer`, a packet to the pod bypasses the host end's egress hook.
//! The pod reveals it: it acknowledges, or continues after, an unseen SYN-ACK. Rests on what the pod sent and
//! on nothing that others sent to it: they can send whatever they like to a pod that ignores it. Collects
//! evidence only; the pipeline draws the conclusion.

use super::life::Connection;
use crate::model::flow::{Flow, FlowSnapshot, Role, SeenFlags};
use crate::model::time::Timestamp;

/// A connection of the pod that progressed further than its visible packets allow: at least one to the pod was
/// not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfSeen {
    /// The connection's flow.
    pub flow: Flow,
    /// Time of its first SYN.
    pub started: Timestamp,
    /// The kernel counted the connection. Without its counters, the missing packets may be lost records.
    pub counted: bool,
}

/// The evidence in `connection`, if the pod opened it and knows of an answer that was not seen.
pub(super) fn evidence(flow: Flow, connection: &Connection) -> Option<HalfSeen> {
    let answers = connection.meter.totals().rx.packets;
    (connection.role == Role::Client && answers == 0).then(|| HalfSeen {
        flow,
        started: connection.started,
        counted: connection.meter.counted_by_kernel(),
    })
}

/// The evidence in the counters alone, for a connection that is otherwise unknown because a filter may omit
/// its packets. A pod that sent a SYN, with or without ACK, and then data or a FIN has received a reply in
/// between.
pub(super) fn counted(snapshot: &FlowSnapshot) -> Option<HalfSeen> {
    let flags = snapshot.tcp_flags.tx;
    let continued = flags & (SeenFlags::SYN | SeenFlags::ACK) == SeenFlags::SYN | SeenFlags::ACK
        && flags & (SeenFlags::PSH | SeenFlags::FIN) != 0
        && flags & SeenFlags::RST == 0;
    let totals = snapshot.totals;
    (continued && totals.tx.packets > 0 && totals.rx.packets == 0).then_some(HalfSeen {
        flow: snapshot.flow,
        started: snapshot.first,
        counted: true,
    })
}

/// Whether the flags of both directions since the first SYN show an established connection: the pod answered
/// the SYN, or acknowledges something (a SYN does not). What only the peer sent is no evidence.
pub(super) fn established(role: Role, flags: SeenFlags) -> bool {
    let has = |flags: u8, wanted: u8| flags & wanted == wanted;
    // A RST may end a connection that never existed; its record decides.
    let reset = has(flags.tx | flags.rx, SeenFlags::RST);
    !reset
        && match role {
            Role::Client => has(flags.tx, SeenFlags::ACK),
            Role::Server => {
                has(flags.tx, SeenFlags::SYN | SeenFlags::ACK) && has(flags.rx, SeenFlags::ACK)
            }
        }
}
