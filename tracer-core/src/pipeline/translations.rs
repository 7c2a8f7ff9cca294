//! What conntrack translates: the endpoint behind the Service address of a pod's flow, and the Service address that
//! a process of the node asked for.
//!
//! A translation is signalled with a time after which its entry was made, at most the interval between two
//! batches of records earlier. One address and port can be translated anew, so a flow gets the endpoint that
//! held when it began, and none where that is not certain: the signals of some time are missing, or two
//! translations came at once.
//!
//! The node's own packets are translated before the probes see them. So that its flows look like those of pods, their
//! packets get back the addresses and ports that the client used ([`Translations::restore`]). An entry is signalled
//! before the first packet, so all packets of a flow get the same.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::fair_table::{FairTable, Key, Room};
use crate::identity::Index;
use crate::model::connection::{TcpState, UdpState};
use crate::model::correlated::CorrelatedEvent;
use crate::model::event::Ends;
use crate::model::flow::{Flow, FlowSnapshot, Protocol, Role};
use crate::model::loss::{Losses, Stage};
use crate::model::observation::{Observation, What};
use crate::model::signal::{Translation, Tuple};
use crate::model::time::Timestamp;

/// Translations of all pods.
const ROOM: Room = Room {
    entries: 32_768,
    bytes: 8 << 20,
};
/// Translations of the node's own connections.
const OWN_ROOM: Room = Room {
    entries: 16_384,
    bytes: 4 << 20,
};
/// How long a translation is kept that no flow asks for, and after a flow's last event.
const SHORT: Duration = Duration::from_secs(300);
/// How long it is kept for a flow that continues.
const LONG: Duration = Duration::from_secs(12 * 3600);
/// A packet's record precedes its entry by less than this.
const SLACK: Duration = Duration::from_millis(1);
/// Interruptions that are remembered. A translation from before an older one is not used.
const MAX_GAPS: usize = 64;

/// Whose share of the table an entry takes: its pod's, or that of all clients that are no pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Client {
    Pod(IpAddr),
    Other,
}

/// A tuple. The client does not distinguish two of them.
#[derive(Debug)]
struct Original {
    tuple: Tuple,
    client: Client,
}

impl PartialEq for Original {
    fn eq(&self, other: &Original) -> bool {
        self.tuple == other.tuple
    }
}

impl Eq for Original {}

impl std::hash::Hash for Original {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.tuple.hash(state);
    }
}

impl Key for Original {
    type Owner = Client;

    fn owner(&self) -> Client {
        self.client
    }
}

/// What the node's devices show of a translated flow: the client's end as the endpoint sees it, and the endpoint.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Translated(Tuple);

impl Key for Translated {
    type Owner = ();

    fn owner(&self) {}
}

/// An endpoint, and from when on it holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    endpoint: SocketAddr,
    since: Timestamp,
    /// The interruptions before it.
    gaps: u64,
}

/// The translations of one tuple: the current one, and the one before.
#[derive(Debug)]
struct Entry {
    current: Held,
    earlier: Option<Held>,
}

/// The translations of this node.
#[derive(Debug)]
pub struct Translations {
    entries: FairTable<Original, Entry>,
    /// What the node's own processes asked for.
    own: FairTable<Translated, Tuple>,
    /// The beginnings of the latest interruptions.
    gaps: VecDeque<Timestamp>,
    /// All interruptions so far.
    gap_count: u64,
    losses: Losses,
}

impl Default for Translations {
    fn default() -> Translations {
        Translations {
            entries: FairTable::new(ROOM),
            own: FairTable::new(OWN_ROOM),
            gaps: VecDeque::new(),
            gap_count: 0,
            losses: Losses::default(),
        }
    }
}

impl Translations {
    /// Takes a new translation. Returns whether one of the node's own had to make room, so that the later packets of
    /// its flow look like another flow's.
    pub fn insert(&mut self, since: Timestamp, translation: &Translation, index: &Index) -> bool {
        while self.entries.pop_due(since).is_some() {}
        while self.own.pop_due(since).is_some() {}
        let tuple = translation.original;
        let ip = tuple.src.ip();
        let client = match index.may_be_pod(ip, since) {
            true => Client::Pod(ip),
            false => Client::Other,
        };
        let mut made_room = false;
        if !index.has_inventory() || index.is_address_of_node(ip, since) {
            let Translation { reply, .. } = translation;
            let shown = Translated(Tuple {
                protocol: reply.protocol,
                src: reply.dst,
                dst: reply.src,
            });
            self.own.remove(&shown);
            let evicted = self.own.insert(shown, tuple, 0, since.after(SHORT));
            made_room = !evicted.is_empty();
            self.losses
                .add(Stage::Table, "translation", evicted.len() as u64);
        }
        let key = Original { tuple, client };
        let current = Held {
            endpoint: translation.reply.src,
            since,
            gaps: self.gap_count,
        };
        let earlier = self.entries.remove(&key).map(|entry| entry.current);
        let entry = Entry { current, earlier };
        let evicted = self.entries.insert(key, entry, 0, since.after(SHORT));
        self.losses
            .add(Stage::Table, "translation", evicted.len() as u64);
        made_room
    }

    /// Gives a packet of the node the addresses and ports that its client used.
    pub fn restore(&mut self, observation: &mut Observation, index: &Index) {
        let now = observation.time;
        if self.own.is_empty() || !index.is_flow_of_node(&observation.flow, now) {
            return;
        }
        if let What::IcmpError(error) = &mut observation.what {
            let about = &mut error.about;
            let shown = (about.protocol, about.src, about.dst);
            if let Some(original) = self.original(shown, now) {
                (about.src, about.dst) = (original.src, original.dst);
            }
        }
        self.restore_flow(&mut observation.flow, now);
    }

    /// Gives the node's counters the addresses and ports that the clients used.
    pub fn restore_all(&mut self, snapshots: &mut [FlowSnapshot], index: &Index, now: Timestamp) {
        if self.own.is_empty() {
            return;
        }
        for FlowSnapshot { flow, .. } in snapshots {
            if index.is_flow_of_node(flow, now) {
                self.restore_flow(flow, now);
            }
        }
    }

    fn restore_flow(&mut self, flow: &mut Flow, now: Timestamp) {
        if let Some(original) = self.original((flow.protocol, flow.pod, flow.peer), now) {
            (flow.pod, flow.peer) = (original.src, original.dst);
        }
    }

    fn original(
        &mut self,
        (protocol, src, dst): (Protocol, SocketAddr, SocketAddr),
        now: Timestamp,
    ) -> Option<Tuple> {
        let shown = Translated(Tuple { protocol, src, dst });
        let original = *self.own.get(&shown)?;
        self.own.touch(&shown, now.after(LONG));
        Some(original)
    }

    /// Notes that signals may be missing from a time on.
    pub fn interrupted(&mut self, from: Timestamp) {
        self.gap_count += 1;
        // The same ports may have been used for another address meanwhile.
        self.own = FairTable::new(OWN_ROOM);
        self.gaps.push_back(from);
        if self.gaps.len() > MAX_GAPS {
            self.gaps.pop_front();
        }
    }

    /// Adds the endpoint behind the peer's address to the ends of a flow that began at `began`, for an event
    /// that is emitted `now`.
    pub fn name(
        &mut self,
        index: &Index,
        (now, began): (Timestamp, Timestamp),
        (flow, event): (&Flow, &CorrelatedEvent),
        ends: &mut Ends,
    ) {
        let ported = matches!(flow.protocol, Protocol::Tcp | Protocol::Udp);
        if ends.role != Role::Client
            || !ported
            || self.entries.is_empty()
            || ends.peer.pod.is_some()
        {
            return;
        }
        let keep = if continues(event) { LONG } else { SHORT };
        let endpoint = self.endpoint(began, flow, now.after(keep));
        let backend = endpoint.map(|endpoint| index.backend(began, endpoint));
        ends.peer.backend = backend.map(Arc::new);
    }

    /// Translations removed to make room.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    fn endpoint(&mut self, began: Timestamp, flow: &Flow, until: Timestamp) -> Option<SocketAddr> {
        let tuple = Tuple {
            protocol: flow.protocol,
            src: flow.pod,
            dst: flow.peer,
        };
        // Only the tuple identifies an entry.
        let client = Client::Other;
        let key = Original { tuple, client };
        let entry = self.entries.get(&key)?;
        let held = entry.at(began, flow.protocol)?;
        let endpoint = self.certain(held, began).then_some(held.endpoint);
        self.entries.touch(&key, until);
        endpoint
    }

    /// Whether no later translation can have been missed before the flow began.
    fn certain(&self, held: Held, began: Timestamp) -> bool {
        // The interruptions after it; the first one decides.
        let after = self.gap_count.saturating_sub(held.gaps);
        if after == 0 {
            return true;
        }
        let first = usize::try_from(after)
            .ok()
            .and_then(|after| self.gaps.len().checked_sub(after))
            .and_then(|index| self.gaps.get(index));
        first.is_some_and(|from| began < *from)
    }
}

impl Entry {
    /// The translation that held when a flow began.
    fn at(&self, began: Timestamp, protocol: Protocol) -> Option<Held> {
        let holds = |held: &Held| began.after(SLACK) >= held.since;
        let Entry { current, earlier } = self;
        let changed = earlier.filter(|earlier| earlier.endpoint != current.endpoint);
        if holds(current) {
            // Both came with one batch.
            let at_once = changed.is_some_and(|earlier| earlier.since == current.since);
            return (!at_once).then_some(*current);
        }
        // The packets of a UDP flow may have gone to both.
        let one = changed.is_none() || protocol == Protocol::Tcp;
        earlier.filter(holds).filter(|_| one)
    }
}

/// Whether later events of the same flow can follow.
pub fn continues(event: &CorrelatedEvent) -> bool {
    match event {
        CorrelatedEvent::Tcp(connection) | CorrelatedEvent::TcpProgress(connection) => matches!(
            connection.state,
            TcpState::Opening | TcpState::Established | TcpState::Idle
        ),
        CorrelatedEvent::Udp(flow) | CorrelatedEvent::UdpProgress(flow) => {
            flow.state == UdpState::Open
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
