//! Correlates observations into exchanges, connections and echo runs.
//!
//! Owns the state of every protocol, one file each: [`exchange`] (DNS), [`connection`] (TCP), [`udp`] and
//! [`echo`]. [`stream`] finds the DNS messages in TCP connections; [`icmp`] matches an ICMP error to what it
//! concerns. Never looks at a clock (time is an argument) and never knows a flow's identity. Every table is
//! bounded and its entries expire; evictions and undecided items are counted ([`Correlator::losses`]).

mod connection;
pub mod declared;
mod echo;
mod exchange;
mod flow_key;
mod icmp;
mod meter;
mod round_trip;
pub mod stream;
#[cfg(test)]
mod testing;
mod udp;

use std::net::IpAddr;

use crate::decode;
use crate::model::correlated::Correlated;
use crate::model::exchange::ConnectionEnd;
use crate::model::flow::{Direction, FlowSnapshot, Protocol, Role};
use crate::model::loss::{Losses, Stage};
use crate::model::observation::{Observation, TcpSegment, What};
use crate::model::settings::{Limits, Thresholds};
use crate::model::time::Timestamp;

pub use connection::half_seen::HalfSeen;
use connection::{Connections, opener};
pub use declared::Declared;
use echo::Echoes;
use exchange::{Exchanges, Seen};
use stream::{Extent, StreamChange, StreamMessage, StreamNotice, Streams};
use udp::UdpFlows;

/// All correlators.
#[derive(Debug)]
pub struct Correlator {
    exchanges: Exchanges,
    connections: Connections,
    streams: Streams,
    udp: UdpFlows,
    echoes: Echoes,
    losses: Losses,
}

impl Correlator {
    /// Creates a correlator without state.
    pub fn new(thresholds: Thresholds, limits: &Limits) -> Correlator {
        Correlator {
            exchanges: Exchanges::new(&thresholds, limits),
            connections: Connections::new(&thresholds, limits),
            streams: Streams::new(limits.streams.clone()),
            udp: UdpFlows::new(&thresholds, limits),
            echoes: Echoes::new(&thresholds, limits),
            losses: Losses::default(),
        }
    }

    /// Takes one observation. Time advances to it first, so that what time alone decides precedes what the packet
    /// shows, and a replay emits what a live run does.
    pub fn observe(&mut self, observation: Observation, out: &mut Vec<Correlated>) {
        self.observe_among(observation, &(), out);
    }

    /// Takes one observation where more is known about addresses than the packets show.
    pub fn observe_among(
        &mut self,
        observation: Observation,
        declared: &dyn Declared,
        out: &mut Vec<Correlated>,
    ) {
        self.advance(observation.time, out);
        let losses = &mut self.losses;
        match observation.what {
            // Multicast DNS (RFC 6762): a host with an answer sends it to all, from its own address.
            What::Dns(_) if is_group(observation.flow.peer.ip()) => {}
            What::Dns(message) => {
                let seen = Seen {
                    time: observation.time,
                    flow: observation.flow,
                    direction: observation.direction,
                    resynchronised: false,
                };
                self.exchanges.observe(&seen, *message, losses, out);
            }
            What::Tcp(ref segment) => self.tcp(&observation, segment, declared, out),
            What::Echo(ref message) => self.echoes.observe(&observation, message, losses, out),
            What::IcmpError(ref error) => {
                icmp::bind(
                    &observation,
                    error,
                    declared,
                    &mut self.exchanges,
                    &mut self.connections,
                    &mut self.udp,
                    &mut self.echoes,
                    out,
                );
            }
            What::Other if observation.flow.protocol == Protocol::Udp => {
                self.udp.observe(&observation, declared, losses, out);
            }
            // Other protocols, neighbour discovery and the like: no events.
            What::Other => {}
        }
        self.unconnected(out);
    }

    /// Takes a segment for its connection and, on a DNS port, for its stream.
    fn tcp(
        &mut self,
        observation: &Observation,
        segment: &TcpSegment,
        declared: &dyn Declared,
        out: &mut Vec<Correlated>,
    ) {
        if segment.dns {
            let Observation {
                time,
                flow,
                direction,
                ..
            } = *observation;
            if segment.syn && !segment.ack {
                self.exchanges.connecting(time, &flow, opener(direction));
            }
            let extent = Extent {
                length: segment.length,
                cut: segment.cut,
            };
            let mut messages = Vec::new();
            self.streams
                .segment(time, flow, direction, segment, extent, &mut messages);
            self.messages(messages, out);
            // The messages in a segment precede the end that it causes.
            self.stream_notices(out);
        }
        // Later chunks of a segment repeat its flags; the first one was counted.
        if segment.payload_offset == 0 {
            self.connections
                .observe(observation, segment, declared, &mut self.losses, out);
        }
    }

    /// Decodes DNS messages from streams.
    fn messages(&mut self, messages: Vec<StreamMessage>, out: &mut Vec<Correlated>) {
        for message in messages {
            let Some(decoded) = decode::dns_message(&message.bytes) else {
                self.losses
                    .add(Stage::Decode, "dns over tcp: not a dns message", 1);
                continue;
            };
            let seen = Seen {
                time: if decoded.response {
                    message.completed
                } else {
                    message.began
                },
                flow: message.flow,
                direction: message.direction,
                resynchronised: message.resynchronised,
            };
            self.exchanges
                .observe(&seen, decoded, &mut self.losses, out);
        }
    }

    /// Passes changes of streams to the exchanges: a direction that ended carries no more answers.
    fn stream_notices(&mut self, out: &mut Vec<Correlated>) {
        for StreamNotice {
            flow,
            direction,
            what,
        } in self.streams.take_notices()
        {
            let roles: &[Role] = match direction {
                Some(Direction::ToPod) => &[Role::Client],
                Some(Direction::FromPod) => &[Role::Server],
                None => &[Role::Client, Role::Server],
            };
            for &role in roles {
                match what {
                    StreamChange::Gap => self.exchanges.doubt(&flow, role),
                    StreamChange::Ended { reset, gap } => {
                        let end = if reset {
                            ConnectionEnd::Reset
                        } else {
                            ConnectionEnd::Closed
                        };
                        self.exchanges
                            .disconnected(&flow, role, end, gap, &mut self.losses, out);
                    }
                }
            }
        }
    }

    /// Passes connections that ended to the exchanges: a truncated answer may wait for a query on them.
    fn unconnected(&mut self, out: &mut Vec<Correlated>) {
        for end in self.connections.take_ends() {
            self.exchanges
                .unconnected(&end.flow, end.role, end.end, end.icmp, out);
        }
    }

    /// Takes a sweep of the kernel's flow counters: all flows with a packet since the previous sweep.
    pub fn counters(
        &mut self,
        now: Timestamp,
        snapshots: &[FlowSnapshot],
        out: &mut Vec<Correlated>,
    ) {
        for snapshot in snapshots {
            match snapshot.flow.protocol {
                Protocol::Tcp => self.connections.count(snapshot, out),
                Protocol::Udp => self.udp.count(snapshot, out),
                Protocol::Icmp | Protocol::Icmpv6 => self.echoes.count(snapshot),
                Protocol::Other(_) => {}
            }
        }
        self.udp.swept(now);
        self.echoes.swept(now);
        self.advance(now, out);
    }

    /// Emits what time alone decides.
    pub fn advance(&mut self, now: Timestamp, out: &mut Vec<Correlated>) {
        // A message that waited for a gap may answer an open query.
        if !self.streams.is_empty() {
            let mut messages = Vec::new();
            self.streams.advance(now, &mut messages);
            self.messages(messages, out);
            self.stream_notices(out);
        }
        self.connections.advance(now, &mut self.losses, out);
        self.unconnected(out);
        self.exchanges.advance(now, &mut self.losses, out);
        self.udp.advance(now, &mut self.losses, out);
        self.echoes.advance(now, &mut self.losses, out);
    }

    /// Ends the input: emits or counts everything that is still open.
    pub fn end(&mut self, now: Timestamp, out: &mut Vec<Correlated>) {
        self.advance(now, out);
        let mut messages = Vec::new();
        self.streams.end(&mut messages);
        self.messages(messages, out);
        self.exchanges.end(&mut self.losses, out);
        self.connections.end(now, out);
        self.udp.end(out);
        self.echoes.end(out);
    }

    /// Evidence of invisible directions since the last call.
    pub fn take_half_seen(&mut self) -> Vec<HalfSeen> {
        self.connections.take_half_seen()
    }

    /// Losses and undecided items so far.
    pub fn losses(&self) -> Losses {
        let mut losses = self.losses.clone();
        losses.merge(self.streams.losses());
        losses
    }
}

/// Whether an address stands for several hosts, so that none answers from it.
fn is_group(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_multicast() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_multicast(),
    }
}

#[cfg(test)]
mod captures;
#[cfg(test)]
mod robustness;
