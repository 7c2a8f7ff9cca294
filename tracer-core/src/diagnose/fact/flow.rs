//! Facts about connections that are slow, break or stall, and about UDP flows.

use std::net::SocketAddr;
use std::time::Duration;

use super::AddressHolder;

#[derive(Clone, Debug)]
pub(in crate::diagnose) enum FlowFact {
    /// SYNs were lost on the way to one of the endpoints, or their answers on the way back.
    SynsLost,
    /// Why SYNs may be lost between two nodes.
    SynLossBetweenNodes,
    /// Why a node may drop them.
    SynLossOnNodes,
    /// SYNs to this many other destinations were lost just now.
    ConntrackFull(usize),
    /// The SYN-ACK came when the client had given up.
    AnsweredTooLate(Duration),
    /// The client gives up before the SYN is repeated.
    GivesUpEarly,
    /// The sender of the replies, and who it is.
    OtherSender(SocketAddr, AddressHolder),
    /// Why a reply is not translated: from the first packet on, or later.
    NotTranslatedCauses { at_once: bool },
    /// Why a connection is reset after its first data.
    ResetAfterDataCauses,
    /// Why a connection is reset when it is used after a pause.
    ResetAfterIdleCauses(Duration),
    /// The last answer came so long before.
    LastAnswer(Duration),
    /// The pod's kernel sent so many segments again, at least.
    SentAgain(u64),
    /// The connection was idle for so long before.
    SilentAfterIdle(Duration),
    /// Why sends get no answer.
    StallCauses(StallCause),
    /// Segments of this payload do not arrive, smaller ones do; 0: none was seen to arrive.
    LargestDelivered(u32),
    /// The flow had so many packets in each direction before.
    WasAnswered { sent: u64, received: u64 },
    /// A UDP flow may be kept at an endpoint that is gone.
    UdpEndpointGone,
    /// Its server may have stopped to answer.
    UdpServerSilent,
}

/// What a stalled connection shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::diagnose) enum StallCause {
    /// Data got no acknowledgment.
    Data,
    /// Keepalive probes got no acknowledgment.
    Keepalive,
    /// The SYN-ACK was repeated.
    SynAck,
}
