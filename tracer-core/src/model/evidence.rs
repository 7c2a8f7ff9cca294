//! What the packets of a TCP connection or a UDP flow show beyond its state: the facts that the rules rest on.
//!
//! Filled by the correlators. Part of the facts need every segment of a connection, so only a capture file has
//! them; each field says what a live run can know. Everything here is what an end of the connection reacted to
//! (or did not), never what the capture may have lost.

use std::net::SocketAddr;
use std::time::Duration;

use super::flow::Direction;
use super::time::Timestamp;

/// Facts about a TCP connection. The default has none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TcpEvidence {
    /// Neither SYN nor SYN-ACK was seen: the connection is older than the input, and which end opened it was
    /// inferred.
    pub picked_up: bool,
    /// Time of the opener's latest SYN; `None` if no SYN was seen.
    pub last_syn: Option<Timestamp>,
    /// When it became known that the opener had given up its unanswered SYN: it withdrew it, opened another
    /// connection from the same port, or did not repeat the SYN when that was due.
    pub given_up: Option<Timestamp>,
    /// Time from the first SYN to a SYN-ACK that the opener reset, because it had given up. Such a connection
    /// was never established, and its `handshake` is `None`.
    pub late_answer: Option<Duration>,
    /// SYN-ACKs that repeat the first one although the opener sent no further SYN: the answerer got no
    /// acknowledgment, or discarded it because the program accepts too slowly. Also live.
    pub syn_ack_repeats: u32,
    /// Answers came from another address than the one that the pod connects to. Also live.
    pub reply_from: Option<OtherReply>,
    /// The reset that ended it; only in the state `reset`. Also live.
    pub reset: Option<Reset>,
    /// Sends of one end without any answer since, if there are any. Live from the flow counters, which count
    /// at least these packets.
    pub unanswered: Option<Unanswered>,
    /// A large segment that never arrived although smaller ones did. Captures only.
    pub large_lost: Option<LargeLost>,
    /// Payload was seen in these directions. Live inferred from the flow counters.
    pub payload: Payload,
}

impl TcpEvidence {
    /// Whether it holds something that a healthy connection does not show.
    pub fn is_notable(&self) -> bool {
        self.given_up.is_some()
            || self.late_answer.is_some()
            || self.syn_ack_repeats > 0
            || self.reply_from.is_some()
            || self.reset.is_some()
            || self.unanswered.is_some()
            || self.large_lost.is_some()
    }
}

/// Directions that carried payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// Sent by the pod.
    pub from_pod: bool,
    /// Sent to the pod.
    pub to_pod: bool,
}

/// Answers from an address that the pod did not ask: the endpoint's own instead of the Service's. They have
/// the acknowledgment number of the connection's packets, so they belong to it; the pod discards them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherReply {
    /// Their sender.
    pub from: SocketAddr,
    /// Number of such packets.
    pub packets: u32,
    /// How many of them the pod reset.
    pub resets: u32,
    /// Time of the first.
    pub first: Timestamp,
    /// Time of the latest.
    pub last: Timestamp,
    /// The first one is a SYN-ACK: the connection could not be established. Otherwise it was established, and
    /// its segments lost their translation later.
    pub syn_ack: bool,
}

/// The reset that ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Whether the pod or the other end sent it.
    pub sender: Direction,
    /// Time since the SYN-ACK, or since the first packet that was seen.
    pub age: Duration,
    /// The silence before it: before itself, or before the segment of the other end that it answers.
    pub idle: Duration,
    /// The latest payload before it was the other end's: the reset came instead of an answer. Live inferred
    /// from the flow counters, and `false` where they do not show it.
    pub answers_payload: bool,
    /// The opener had acknowledged the SYN-ACK. `false`: it reset the SYN-ACK, as some health checks do. Live
    /// inferred from the flow counters.
    pub completed: bool,
}

/// Sends without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// The end that sends.
    pub sender: Direction,
    /// TCP: segments with payload, FINs and keepalive probes. UDP: datagrams. At least this many if `counted`.
    pub packets: u64,
    /// How many of them are keepalive probes.
    pub probes: u64,
    /// Time of the first.
    pub since: Timestamp,
    /// Time of the latest.
    pub last: Timestamp,
    /// Time of the other end's latest packet; `None` if it never sent one.
    pub heard: Option<Timestamp>,
    /// How many segments the sending pod's kernel sent again meanwhile, at least; `None` if the kernel does not show it.
    /// Live only.
    pub retransmits: Option<u64>,
    /// Known from the flow counters rather than from the packets: `since` is the sweep after which nothing
    /// came back.
    pub counted: bool,
}

impl Unanswered {
    /// The time that the sends cover.
    pub fn span(&self) -> Duration {
        self.last.since(self.since)
    }
}

/// A large segment that did not arrive. Proven by its receiver: it acknowledges only what precedes the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LargeLost {
    /// The end that sends it.
    pub sender: Direction,
    /// Payload bytes of the segment, or of the hole in the stream where it was expected.
    pub bytes: u32,
    /// How often it was seen. 0: never, because it was lost before it reached the pod's interface, and smaller
    /// segments behind it arrived.
    pub seen: u32,
    /// Payload bytes of the largest segment of the same end that the other one acknowledged or, with `seen` 0,
    /// that reached the pod. 0 if none.
    pub largest_delivered: u32,
    /// Time of its first transmission, or of the first segment behind the hole.
    pub since: Timestamp,
    /// Time of the latest packet that shows it still missing.
    pub last: Timestamp,
}
