//! Drops as events: whose packet it was.
//!
//! A dropped packet names addresses and no interface. An address that the cluster gives to a pod belongs to that
//! pod's interface, whatever another pod sends from it. Another address belongs to the only interface that used it
//! lately.

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

/// Addresses kept of an interface, the latest ones. A pod has one of each family.
const MAX_ADDRESSES: usize = 16;

/// The addresses that each interface's pod used lately.
#[derive(Debug, Default)]
pub(super) struct LocalAddresses(HashMap<Ifindex, Vec<IpAddr>, RandomState>);

impl LocalAddresses {
    /// Learns from a flow's first packet.
    pub(super) fn learn(&mut self, observation: &Observation) {
        let first = observation
            .totals
            .is_none_or(|totals| totals.tx.packets + totals.rx.packets == 1);
        if !first {
            return;
        }
        let flow = &observation.flow;
        let known = self.0.entry(flow.ifindex).or_default();
        if !known.contains(&flow.pod.ip()) {
            if known.len() >= MAX_ADDRESSES {
                known.remove(0);
            }
            known.push(flow.pod.ip());
        }
    }

    /// The interface is no longer traced.
    pub(super) fn forget(&mut self, ifindex: Ifindex) {
        self.0.remove(&ifindex);
    }

    /// The interface of the pod with this address.
    fn interface(&self, index: &Index, at: Timestamp, ip: IpAddr) -> Option<Ifindex> {
        if let Some(interface) = index.interface_of_owner(ip, at) {
            return interface;
        }
        let mut users = self.0.iter().filter(|(_, known)| known.contains(&ip));
        match (users.next(), users.next()) {
            (Some((ifindex, _)), None) => Some(*ifindex),
            // Two pods use it, so whose packet it was stays unknown.
            _ => None,
        }
    }

    /// The event of a drop; `None` if it is not known that one end is a pod of this node. Of two pods it is the sender's.
    pub(super) fn event(&self, index: &Index, at: Timestamp, dropped: PacketDrop) -> Option<Event> {
        let Tuple { protocol, src, dst } = dropped.tuple;
        let flow = |ifindex: Ifindex, pod: SocketAddr, peer| Flow {
            ifindex,
            protocol,
            pod,
            peer,
        };
        let interface = |end: SocketAddr| self.interface(index, at, end.ip());
        let from = interface(src).map(|ifindex| flow(ifindex, src, dst));
        let to = || interface(dst).map(|ifindex| flow(ifindex, dst, src));
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
pub(super) fn is_ordinary(dropped: &PacketDrop) -> bool {
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
