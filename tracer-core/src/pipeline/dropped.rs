//! Drops as events: whose packet it was.
//!
//! A dropped packet names addresses and no interface. Its pod is the one whose interface used that address last.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use foldhash::fast::RandomState;

use crate::correlate::Declared as _;
use crate::identity::Index;
use crate::model::event::{Body, Event};
use crate::model::flow::{Flow, Ifindex, Protocol, Role, SeenFlags};
use crate::model::observation::Observation;
use crate::model::signal::{PacketDrop, Tuple};
use crate::model::time::Timestamp;

/// Addresses kept. All are dropped when there are more: those in use come back with their next flow.
const MAX_ADDRESSES: usize = 4_096;

/// The interface behind each address that a pod of this node used lately.
#[derive(Debug, Default)]
pub(super) struct LocalAddresses(HashMap<IpAddr, Ifindex, RandomState>);

impl LocalAddresses {
    /// Learns from a flow's first packet.
    pub(super) fn learn(&mut self, observation: &Observation) {
        let first = observation
            .totals
            .is_none_or(|totals| totals.tx.packets + totals.rx.packets == 1);
        if first {
            if self.0.len() >= MAX_ADDRESSES {
                self.0.clear();
            }
            let flow = &observation.flow;
            self.0.insert(flow.pod.ip(), flow.ifindex);
        }
    }

    /// The interface is no longer traced.
    pub(super) fn forget(&mut self, ifindex: Ifindex) {
        self.0.retain(|_, known| *known != ifindex);
    }

    /// The event of a drop; `None` if it is ordinary, or neither end is a pod of this node. Of two pods it is the
    /// sender's.
    pub(super) fn event(&self, index: &Index, at: Timestamp, dropped: PacketDrop) -> Option<Event> {
        if is_ordinary(&dropped) {
            return None;
        }
        let Tuple { protocol, src, dst } = dropped.tuple;
        let flow = |ifindex: &Ifindex, pod: SocketAddr, peer| Flow {
            ifindex: *ifindex,
            protocol,
            pod,
            peer,
        };
        let from = self.0.get(&src.ip()).map(|ifindex| flow(ifindex, src, dst));
        let to = || self.0.get(&dst.ip()).map(|ifindex| flow(ifindex, dst, src));
        let flow = from.or_else(to)?;
        let role = role(index, at, &flow, &dropped);
        Some(Event {
            time: at,
            ends: Some(index.ends(at, &flow, role)),
            incomplete: false,
            body: Body::Drop(Box::new(dropped)),
        })
    }
}

/// Whether the packet had done its work: a reply of which ping's raw socket has a copy, or what is in the queue of a
/// socket that is closed.
fn is_ordinary(dropped: &PacketDrop) -> bool {
    let icmp = matches!(dropped.tuple.protocol, Protocol::Icmp | Protocol::Icmpv6);
    dropped.reason == "QUEUE_PURGE" || icmp && dropped.reason == "NO_SOCKET"
}

/// The pod's role: by a SYN, then by what is declared about the ports, then the lower port is the server's.
fn role(index: &Index, at: Timestamp, flow: &Flow, dropped: &PacketDrop) -> Role {
    let sender = flow.pod == dropped.tuple.src;
    let opens = dropped
        .tcp_flags
        .map(|flags| flags & (SeenFlags::SYN | SeenFlags::ACK));
    let of_sender = |client: bool| match client == sender {
        true => Role::Client,
        false => Role::Server,
    };
    if opens == Some(SeenFlags::SYN) {
        return of_sender(true);
    }
    if opens == Some(SeenFlags::SYN | SeenFlags::ACK) {
        return of_sender(false);
    }
    index.role(at, flow).unwrap_or(
        match flow.peer.port() < flow.pod.port() || flow.peer.port() == 0 {
            true => Role::Client,
            false => Role::Server,
        },
    )
}
