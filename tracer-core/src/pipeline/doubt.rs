//! What the probes lost, by interface and in time: whether something that was seen may be only a part of what
//! happened.
//!
//! Losses arrive in band, as the count that each record carries ([`Missing`]), and in [`InterfaceLoss`]es. A
//! table that makes room counts as one: the entry's later packets look like those of an unknown flow. Every
//! question is about the time from some moment until now, so the latest loss of each kind is enough. Bounded by
//! the number of interfaces that lost something and by the levels of thinning.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tracer_common::{FlowKey, socket_hash};

use crate::model::flow::{Flow, Ifindex};
use crate::model::loss::{InterfaceLoss, Missing, Thinning};
use crate::model::record::Record;
use crate::model::time::Timestamp;

/// More than the probes can trace at once: a recording can have interfaces that came and went.
const MAX_INTERFACES: usize = 4_096;
/// The thinning falls one level in this time at most, so two records closer to each other show the highest
/// level between them.
const THINNING_STEP: Duration = Duration::from_secs(1);
/// The hash of a socket has this many bits.
const MAX_THINNING: Thinning = Thinning(32);

/// The losses of one interface.
#[derive(Clone, Debug, Default)]
struct Interface {
    /// In the latest record.
    missing: Missing,
    /// The time of the latest record.
    seen: Timestamp,
    /// The latest time at which records of any socket may have been lost.
    any: Option<Timestamp>,
    /// The latest time at which records were lost at each level of thinning.
    thinned: BTreeMap<Thinning, Timestamp>,
    /// The time of the latest packet whose flow the kernel could not count.
    uncounted: Option<Timestamp>,
}

impl Interface {
    fn lose(&mut self, until: Timestamp, thinning: Option<Thinning>) {
        let latest = match thinning {
            None => self.any.get_or_insert(until),
            Some(level) => (self.thinned)
                .entry(level.min(MAX_THINNING))
                .or_insert(until),
        };
        *latest = until.max(*latest);
    }

    /// The latest loss that can concern these sockets.
    fn latest(&self, sockets: Sockets<'_>) -> Option<Timestamp> {
        let kept = match sockets {
            Sockets::Any => Thinning(0),
            // Most interfaces are never thinned.
            Sockets::One(_) if self.thinned.is_empty() => Thinning(0),
            Sockets::One(flow) => passes(flow),
        };
        let thinned = self.thinned.iter().filter(|(level, _)| **level > kept);
        let thinned = thinned.map(|(_, until)| *until).max();
        self.any.max(thinned)
    }
}

/// The sockets that a question is about.
#[derive(Clone, Copy, Debug)]
pub enum Sockets<'a> {
    /// All sockets of the interface.
    Any,
    /// One conversation.
    One(&'a Flow),
}

/// All losses.
#[derive(Debug, Default)]
pub struct Doubt {
    /// Those that lost something.
    interfaces: BTreeMap<Ifindex, Interface>,
    /// Those of the node. Their flows are known by what the client asked for, which is not what the probes saw and
    /// thinned by.
    of_node: BTreeSet<Ifindex>,
    /// The latest loss of an interface for which there was no room.
    beyond: Option<Timestamp>,
    /// The input has the kernel's counters, so that a record without them shows a full flow table. Elsewhere
    /// every packet has a record.
    counters: bool,
}

impl Doubt {
    /// Takes in the count of a record, before the record itself.
    pub fn record(&mut self, record: &Record) {
        let Record {
            time,
            ifindex,
            missing,
            ..
        } = record;
        match record.totals {
            Some(_) => self.counters = true,
            None if self.counters => self.uncounted(*ifindex, *time),
            None => {}
        }
        if self.interfaces.is_empty() && missing.count == 0 {
            return;
        }
        match self.interfaces.get_mut(ifindex) {
            Some(known) => {
                if known.missing.count != missing.count {
                    let thinning = thinning(known.missing, *missing, time.since(known.seen));
                    known.lose(known.seen.max(*time), thinning);
                }
                known.missing = *missing;
                known.seen = known.seen.max(*time);
            }
            // The first loss of the interface, whose counts start at zero. What preceded it is not kept.
            None if missing.count != 0 => {
                if let Some(interface) = self.interface(*ifindex, *time) {
                    interface.lose(*time, None);
                    interface.missing = *missing;
                    interface.seen = *time;
                }
            }
            None => {}
        }
    }

    /// Takes in losses that were counted otherwise.
    pub fn lost(&mut self, loss: &InterfaceLoss) {
        let InterfaceLoss {
            ifindex,
            until,
            count,
            thinning,
            ..
        } = *loss;
        if count > 0
            && let Some(interface) = self.interface(ifindex, until)
        {
            interface.lose(until, thinning);
        }
    }

    /// What is known about an interface was incomplete until this time.
    pub fn incomplete(&mut self, ifindex: Ifindex, until: Timestamp) {
        if let Some(interface) = self.interface(ifindex, until) {
            interface.lose(until, None);
        }
    }

    /// The node's own sockets are behind this interface.
    pub fn is_of_node(&mut self, ifindex: Ifindex) {
        self.of_node.insert(ifindex);
    }

    /// What is known about the node's own traffic was incomplete until this time.
    pub fn incomplete_of_node(&mut self, until: Timestamp) {
        for ifindex in self.of_node.clone() {
            self.incomplete(ifindex, until);
        }
    }

    /// A packet's flow has no entry in the kernel's table: its further packets leave no trace.
    fn uncounted(&mut self, ifindex: Ifindex, at: Timestamp) {
        if let Some(interface) = self.interface(ifindex, at) {
            interface.uncounted = interface.uncounted.max(Some(at));
        }
    }

    fn interface(&mut self, ifindex: Ifindex, until: Timestamp) -> Option<&mut Interface> {
        let full = self.interfaces.len() >= MAX_INTERFACES;
        if full && !self.interfaces.contains_key(&ifindex) {
            self.beyond = self.beyond.max(Some(until));
            return None;
        }
        Some(self.interfaces.entry(ifindex).or_default())
    }

    /// The interface is gone; its index may be reused.
    pub fn forget(&mut self, ifindex: Ifindex) {
        self.interfaces.remove(&ifindex);
        self.of_node.remove(&ifindex);
    }

    /// Whether the kernel may have failed to count a flow of this interface since that time.
    pub fn uncounted_since(&self, from: Timestamp, ifindex: Ifindex) -> bool {
        let uncounted = match self.interfaces.get(&ifindex) {
            Some(interface) => interface.uncounted,
            None => self.beyond,
        };
        uncounted.is_some_and(|latest| latest >= from)
    }

    /// Whether a record of any interface may have been lost since that time.
    pub fn anywhere_since(&self, from: Timestamp) -> bool {
        let interfaces = self.interfaces.values();
        let latest = interfaces.filter_map(|interface| interface.latest(Sockets::Any));
        latest.max().max(self.beyond) >= Some(from)
    }

    /// Whether a record of these sockets may have been lost since that time.
    pub fn since(&self, from: Timestamp, ifindex: Ifindex, sockets: Sockets<'_>) -> bool {
        if self.interfaces.is_empty() {
            return false;
        }
        let sockets = match self.of_node.contains(&ifindex) {
            true => Sockets::Any,
            false => sockets,
        };
        let latest = match self.interfaces.get(&ifindex) {
            Some(interface) => interface.latest(sockets),
            None => self.beyond,
        };
        latest.is_some_and(|latest| latest >= from)
    }
}

/// Which records can be missing between two records that are `apart`: those that this level drops, or any.
fn thinning(before: Missing, after: Missing, apart: Duration) -> Option<Thinning> {
    // A rise can be the answer to a full ring buffer, which loses records of any socket.
    let rose = after.thinning > before.thinning;
    (apart < THINNING_STEP && !rose && before.thinning > Thinning(0)).then_some(before.thinning)
}

/// The highest level of thinning that keeps a conversation.
fn passes(flow: &Flow) -> Thinning {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    let hash = socket_hash(&FlowKey {
        pod_addr_be: octets(flow.pod.ip()),
        peer_addr_be: octets(flow.peer.ip()),
        ifindex: flow.ifindex.0,
        pod_port: flow.pod.port(),
        peer_port: flow.peer.port(),
        protocol: flow.protocol.number(),
        zero: [0; 3],
    });
    Thinning(u8::try_from(hash.trailing_zeros()).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests;
