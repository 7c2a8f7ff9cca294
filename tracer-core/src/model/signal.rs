//! What the kernel says about a packet or a flow, and no packet shows: translations, drops, counters of
//! conntrack. Each source is missing on some nodes; then there is no signal, and nothing follows from that.

use std::net::SocketAddr;
use std::sync::Arc;

use super::cluster::ContainerCgroup;
use super::flow::{Ifindex, Protocol};

/// One message of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Conntrack translates a flow.
    Translated(Translation),
    /// From this time on every new translation is signalled, or (`false`) some may be missing.
    TranslationsComplete(bool),
    /// The kernel dropped a packet.
    Dropped(PacketDrop),
    /// From this time on dropped packets are signalled, or (`false`) they cannot be seen.
    DropsSeen(bool),
    /// Conntrack's counters changed.
    Conntrack(ConntrackCounters),
    /// A cgroup is of a container. In recordings; a live run has
    /// [`ClusterChange::Containers`](super::cluster::ClusterChange::Containers).
    Container(ContainerCgroup),
    /// An interface is the node's own, or (`true`) its `lo`. In recordings; a live run has
    /// [`ClusterChange::NodeInterface`](super::cluster::ClusterChange::NodeInterface) and
    /// [`ClusterChange::Loopback`](super::cluster::ClusterChange::Loopback).
    NodeInterface(Ifindex, bool),
}

/// A packet's ends, as on the wire at that place. For ICMP echo the source's port is the identifier and the
/// destination's is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Transport.
    pub protocol: Protocol,
    /// Source.
    pub src: SocketAddr,
    /// Destination.
    pub dst: SocketAddr,
}

/// A conntrack entry whose reply does not mirror its original direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The flow as its client sends it.
    pub original: Tuple,
    /// The answers as the server sends them: from the endpoint, to the client's translated address.
    pub reply: Tuple,
}

/// A packet that the kernel of this node dropped (tracepoint `skb:kfree_skb`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketDrop {
    /// The packet's ends where it was dropped, after translation or before it.
    pub tuple: Tuple,
    /// The packet's TCP flags, if it is TCP.
    pub tcp_flags: Option<u8>,
    /// The kernel's reason, without its prefix: `NETFILTER_DROP` (enum `skb_drop_reason`).
    pub reason: &'static str,
    /// The kernel function that dropped it, where symbols can be read.
    pub function: Option<Arc<str>>,
    /// Whose network namespace the packet was in.
    pub place: DropPlace,
    /// The device that it was on, by name.
    pub device: Option<Arc<str>>,
    /// Drops before it, of packets of the same address and since the latest signal about that, that have none of their
    /// own.
    pub unreported: u64,
}

/// Whose network namespace a packet was dropped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropPlace {
    /// The node's.
    Node,
    /// A pod's.
    Pod,
    /// It could not be read.
    Unknown,
}

/// Conntrack's counters of this node, since they exist (`struct ip_conntrack_stat`), and its fill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConntrackCounters {
    /// Entries.
    pub entries: u64,
    /// The maximum number of entries (`nf_conntrack_max`); 0 if unknown.
    pub max: u64,
    /// Entries that could not be inserted: another packet had inserted the same reply tuple.
    pub insert_failed: u64,
    /// Packets dropped, the table being full among other reasons.
    pub drop: u64,
    /// Entries removed early to make room in a full table.
    pub early_drop: u64,
}
