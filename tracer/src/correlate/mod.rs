//! Observations to exchanges, connections and echo runs.
//!
//! Owns the state of every protocol, one file each: [`exchange`] (DNS), [`connection`] (TCP), [`udp`], [`echo`]; [`icmp`]
//! finds out what an ICMP error is about. Never looks at a clock (time is an argument), never knows whose flow it is.
//! Every table is bounded and expires; what made room or stayed undecided is counted ([`Correlator::losses`]). The
//! design's table "When an event is emitted" is the specification of what comes out and when.

mod connection;
mod echo;
mod exchange;
mod icmp;
mod meter;
mod round_trip;
pub mod stream;
mod table;
#[cfg(test)]
mod testing;
mod udp;

use crate::model::correlated::Correlated;
use crate::model::flow::{FlowSnapshot, Protocol};
use crate::model::loss::Losses;
use crate::model::observation::{Observation, What};
use crate::model::settings::{Limits, Thresholds};
use crate::model::time::Timestamp;

use connection::Connections;
use echo::Echoes;
use exchange::Exchanges;
use udp::UdpFlows;

/// All correlators.
#[derive(Debug)]
pub struct Correlator {
    exchanges: Exchanges,
    connections: Connections,
    udp: UdpFlows,
    echoes: Echoes,
    losses: Losses,
}

impl Correlator {
    /// With nothing seen yet.
    pub fn new(thresholds: Thresholds, limits: &Limits) -> Correlator {
        Correlator {
            exchanges: Exchanges::new(&thresholds, limits),
            connections: Connections::new(&thresholds, limits),
            udp: UdpFlows::new(&thresholds, limits),
            echoes: Echoes::new(&thresholds, limits),
            losses: Losses::default(),
        }
    }

    /// Takes one observation in. Time passes to the observation's first: what was due before is told before.
    pub fn observe(&mut self, observation: Observation, out: &mut Vec<Correlated>) {
        self.advance(observation.time, out);
        let losses = &mut self.losses;
        match &observation.what {
            What::Dns(message) => self.exchanges.observe(&observation, message, losses, out),
            // On a DNS port the segment carries its payload: reassembled, it is messages for `exchanges`.
            What::Tcp(segment) => self.connections.observe(&observation, segment, losses, out),
            What::Echo(message) => self.echoes.observe(&observation, message, losses, out),
            What::IcmpError(error) => {
                icmp::bind(
                    &observation,
                    error,
                    &mut self.exchanges,
                    &mut self.connections,
                    &mut self.udp,
                    &mut self.echoes,
                    out,
                );
            }
            What::Other if observation.flow.protocol == Protocol::Udp => {
                self.udp.observe(&observation, losses, out);
            }
            // Protocols without connections, neighbour discovery and the like: nothing that the design tells.
            What::Other => {}
        }
    }

    /// Takes a sweep of the kernel's flow counters in: all flows that had a packet since the sweep before.
    pub fn counters(
        &mut self,
        now: Timestamp,
        snapshots: &[FlowSnapshot],
        out: &mut Vec<Correlated>,
    ) {
        for snapshot in snapshots {
            match snapshot.flow.protocol {
                Protocol::Tcp => self.connections.count(snapshot),
                Protocol::Udp => self.udp.count(snapshot),
                Protocol::Icmp | Protocol::Icmpv6 | Protocol::Other(_) => {}
            }
        }
        self.udp.swept(now);
        self.advance(now, out);
    }

    /// Tells what became true by the passing of time alone.
    pub fn advance(&mut self, now: Timestamp, out: &mut Vec<Correlated>) {
        self.exchanges.advance(now, out);
        self.connections.advance(now, out);
        self.udp.advance(now, out);
        self.echoes.advance(now, out);
    }

    /// The input ended: tells what the design's table says about that moment.
    pub fn end(&mut self, now: Timestamp, out: &mut Vec<Correlated>) {
        self.advance(now, out);
        self.exchanges.end(&mut self.losses);
        self.connections.end(out);
        self.udp.end(out);
        self.echoes.end(out);
    }

    /// What was lost or left undecided so far.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}

#[cfg(test)]
mod captures;
#[cfg(test)]
mod robustness;
