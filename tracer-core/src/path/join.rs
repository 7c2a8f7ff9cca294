//! The events of several nodes, bounded, and the question about one connection.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use super::sighting::{
    self, DropKey, Dropped, SAME_DESTINATION, SAME_PEER, SAME_POD, SAME_SOURCE, Sighting,
    SightingKey, drop_from_event,
};
use super::{Clock, NodeFacts, NodeName, decide, find};
use crate::fair_table::{FairTable, Room};
use crate::model::event::{Body, Event};
use crate::model::flow::{Ifindex, Protocol, Role};
use crate::model::loss::UNDECIDED_AT_END;
use crate::model::path::Path;
use crate::model::time::Timestamp;

/// Limits the search through the sightings of one address.
pub(super) const MAX_SEARCH: usize = 4_096;
/// Losses kept of a node. They are reported twice a second at most, so these cover minutes.
const MAX_LOSSES: usize = 1_024;
/// Memory of a sighting's names, estimated: they are shared between events.
const NAMES_BYTES: usize = 512;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct JoinLimits {
    /// Nodes.
    pub nodes: usize,
    /// Connections, flows, queries and pings of one node.
    pub sightings: usize,
    /// Dropped packets of one node.
    pub drops: usize,
}

impl Default for JoinLimits {
    fn default() -> JoinLimits {
        JoinLimits {
            nodes: 256,
            sightings: 20_000,
            drops: 4_000,
        }
    }
}

/// What one node's agent saw.
pub(super) struct Node {
    sightings: FairTable<SightingKey, Sighting, 2>,
    drops: FairTable<DropKey, Dropped, 2>,
    facts: NodeFacts,
    clock: Clock,
    /// When its agent reported losses, by the corrected clock.
    losses: VecDeque<Timestamp>,
    /// No loss before this one is known any more.
    losses_from: Option<Timestamp>,
}

impl Node {
    fn new(limits: &JoinLimits) -> Node {
        let room = |entries| Room {
            entries,
            bytes: usize::MAX,
        };
        Node {
            sightings: FairTable::new(room(limits.sightings)),
            drops: FairTable::new(room(limits.drops)),
            facts: NodeFacts::default(),
            clock: Clock::default(),
            losses: VecDeque::new(),
            losses_from: None,
        }
    }

    /// Sightings at this pod address.
    pub(super) fn at_pod(&self, pod: IpAddr) -> impl Iterator<Item = (&SightingKey, &Sighting)> {
        let any = SocketAddr::new(pod, 0);
        self.group(SAME_POD, any, any)
            .filter(move |(key, _)| key.pod.ip() == pod)
    }

    /// Sightings with this peer address.
    pub(super) fn with_peer(
        &self,
        peer: IpAddr,
    ) -> impl Iterator<Item = (&SightingKey, &Sighting)> {
        let any = SocketAddr::new(peer, 0);
        self.group(SAME_PEER, any, any)
            .filter(move |(key, _)| key.peer.ip() == peer)
    }

    fn group(
        &self,
        group: usize,
        pod: SocketAddr,
        peer: SocketAddr,
    ) -> impl Iterator<Item = (&SightingKey, &Sighting)> {
        let key = SightingKey {
            ifindex: Ifindex(0),
            role: Role::Client,
            protocol: Protocol::Tcp,
            pod,
            peer,
            started: Timestamp(0),
        };
        self.sightings.group(group, &key).take(MAX_SEARCH)
    }

    /// Dropped packets to this address, the latest first.
    pub(super) fn drops_to(&self, dst: IpAddr) -> impl Iterator<Item = &Dropped> {
        self.drops(SAME_DESTINATION, dst)
            .filter(move |dropped| dropped.packet.tuple.dst.ip() == dst)
    }

    /// Dropped packets from this address, the latest first.
    pub(super) fn drops_from(&self, src: IpAddr) -> impl Iterator<Item = &Dropped> {
        self.drops(SAME_SOURCE, src)
            .filter(move |dropped| dropped.packet.tuple.src.ip() == src)
    }

    fn drops(&self, group: usize, address: IpAddr) -> impl Iterator<Item = &Dropped> {
        let any = SocketAddr::new(address, 0);
        let key = DropKey {
            ifindex: Ifindex(0),
            src: any,
            dst: any,
            started: Timestamp(0),
        };
        let same = self.drops.group(group, &key).take(MAX_SEARCH);
        same.map(|(_, dropped)| dropped)
    }

    /// Whether both directions of this address's interface were visible in this time.
    pub(super) fn has_watched(
        &self,
        (protocol, pod): (Protocol, SocketAddr),
        from: Timestamp,
        until: Timestamp,
    ) -> bool {
        self.facts.watched.iter().any(|watch| {
            let error = self.clock.error;
            watch.pod == pod.ip()
                && (watch.only).is_none_or(|only| only == (protocol, pod.port()))
                && self.clock.corrected(watch.from).after(error) <= from
                && until.after(error) <= self.clock.corrected(watch.until)
        })
    }

    /// Whether records of this time may have been lost.
    pub(super) fn has_lost(&self, from: Timestamp, until: Timestamp) -> bool {
        let forgotten = self.losses_from.is_some_and(|known| from < known);
        forgotten
            || (self.losses.iter()).any(|at| {
                at.after(self.clock.error) >= from && *at <= until.after(self.clock.error)
            })
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    /// Whether a drop of this pod's packets would have been seen: drops are, and the agent knew the address by a
    /// packet of it. Those of the node's own packets are not.
    pub(super) fn sees_drops_of(&self, pod: IpAddr) -> bool {
        let reports = self.facts.sees_drops || !self.drops.is_empty();
        let mut seen = self.at_pod(pod).map(|(_, seen)| &seen.ends.pod);
        reports && seen.any(|end| !end.at_uplink)
    }

    /// Keeps what an event shows. Returns how many made room, whose absence is no evidence from then on.
    fn take(&mut self, event: &Event, clock: Clock) -> u64 {
        let never = Timestamp(u64::MAX);
        let evicted: Vec<Timestamp> = if let Some((key, seen)) = sighting::from_event(event, clock)
        {
            let mut keys = key.alike().into_iter();
            let known = keys.find(|known| self.sightings.get(known).is_some());
            let key = known.unwrap_or(key);
            let evicted = self.sightings.insert(key, seen, NAMES_BYTES, never);
            evicted.iter().map(|(_, seen)| seen.last).collect()
        } else if let Some((key, dropped)) = drop_from_event(event, clock) {
            let evicted = self.drops.insert(key, dropped, 0, never);
            evicted.iter().map(|(_, dropped)| dropped.at).collect()
        } else {
            return 0;
        };
        self.losses_from = self.losses_from.max(evicted.iter().max().copied());
        evicted.len() as u64
    }

    fn lost(&mut self, at: Timestamp) {
        self.losses.push_back(at);
        if self.losses.len() > MAX_LOSSES {
            self.losses_from = self.losses.pop_front();
        }
    }
}

/// Which connection a path is asked for, as its client's node saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The client's node.
    pub node: NodeName,
    /// The client's address.
    pub client: IpAddr,
    /// The client's port, if the protocol has ports.
    pub port: Option<u16>,
    /// The address that the client asks: a Service's or a pod's.
    pub server: IpAddr,
    /// Its port.
    pub server_port: Option<u16>,
    /// The connection was in progress at some time from here, by the node's own clock.
    pub from: Timestamp,
    /// To here.
    pub until: Timestamp,
}

impl Question {
    /// About the connection of an event; for a finding, about the attempt that it shows. `None` for events that
    /// have no path: those of a server, and those about the tracer.
    pub fn about(node: &NodeName, event: &Event) -> Option<Question> {
        let ends = event
            .ends
            .as_ref()
            .filter(|ends| ends.role == Role::Client)?;
        let (from, until) = match &event.body {
            Body::Finding(finding) => (finding.first, finding.last.max(event.time)),
            Body::Tcp(_) | Body::Udp(_) | Body::Dns(..) | Body::Echo(_) => (event.time, event.time),
            _ => return None,
        };
        Some(Question {
            node: NodeName::clone(node),
            client: ends.pod.ip,
            port: ends.pod.port,
            server: ends.peer.ip,
            server_port: ends.peer.port,
            from,
            until,
        })
    }
}

/// The events of several nodes.
///
/// Bounded by nodes, and at each node by sightings and drops, where the interface that holds most makes room.
pub struct Join {
    limits: JoinLimits,
    nodes: BTreeMap<NodeName, Node>,
    lost: u64,
}

impl Default for Join {
    fn default() -> Join {
        Join::new(JoinLimits::default())
    }
}

impl Join {
    /// Without events.
    pub fn new(limits: JoinLimits) -> Join {
        Join {
            limits,
            nodes: BTreeMap::new(),
            lost: 0,
        }
    }

    /// Takes an event of a node.
    pub fn feed(&mut self, node: &NodeName, event: &Event, clock: Clock) {
        let Some(known) = self.node(node) else { return };
        known.clock = clock;
        if let Body::Lost(loss) = &event.body {
            if loss.reason != UNDECIDED_AT_END {
                known.lost(clock.corrected(event.time));
            }
            return;
        }
        self.lost += known.take(event, clock);
    }

    /// Takes what a node's agent is known to have watched.
    pub fn know(&mut self, node: &NodeName, facts: NodeFacts, clock: Clock) {
        if let Some(known) = self.node(node) {
            known.facts = facts;
            known.clock = clock;
        }
    }

    /// Events of this node were lost before they came here, some time before `until`.
    pub fn lost(&mut self, node: &NodeName, until: Timestamp) {
        if let Some(known) = self.node(node) {
            let until = known.clock.corrected(until);
            known.losses_from = known.losses_from.max(Some(until));
        }
    }

    /// Events that made room for others, or came from too many nodes.
    pub fn forgotten(&self) -> u64 {
        self.lost
    }

    /// The path of a connection, if its client's node saw it.
    pub fn path(&self, question: &Question) -> Option<Path> {
        let client = find::client(self, question)?;
        let server = find::server(self, &client);
        Some(decide::path(self, &client, &server))
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = (&NodeName, &Node)> {
        self.nodes.iter()
    }

    pub(super) fn known(&self, node: &str) -> Option<&Node> {
        self.nodes.get(node)
    }

    fn node(&mut self, name: &NodeName) -> Option<&mut Node> {
        if !self.nodes.contains_key(name) && self.nodes.len() >= self.limits.nodes {
            self.lost += 1;
            return None;
        }
        let limits = &self.limits;
        let node = self.nodes.entry(NodeName::clone(name));
        Some(node.or_insert_with(|| Node::new(limits)))
    }
}
