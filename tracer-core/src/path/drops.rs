//! Dropped packets of a connection, at either node.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::find::{self, Client, Found, bound, earlier};
use super::join::{Join, Node};
use super::sighting::Dropped;
use crate::model::flow::{Protocol, SeenFlags};
use crate::model::signal::{DropPlace, PacketDrop};
use crate::model::time::Timestamp;

/// A drop is reported this long after the packet was seen at most.
const DROP_DELAY: Duration = Duration::from_secs(2);

/// A dropped packet of the connection, and the node that dropped it.
pub(super) struct Drop<'a> {
    pub(super) node: &'a Arc<str>,
    pub(super) packet: &'a PacketDrop,
    at: Timestamp,
    /// The error of its time and the client's.
    error: Duration,
    /// Its client's address was translated, so it is probably this connection's.
    pub(super) probable: bool,
}

impl Drop<'_> {
    /// Whether the client's refusal came with it: what rejects a packet answers and drops it at once.
    pub(super) fn came_with_refusal(&self, client: &Client<'_>) -> bool {
        let last = client.seen.last;
        self.at.since(last).max(last.since(self.at)) <= self.error
    }
}

/// Whether it was dropped in a pod's network namespace.
pub(super) fn in_pod(drop: &Drop<'_>) -> bool {
    drop.packet.place == DropPlace::Pod
}

/// A drop of the request, at either end: the latest.
pub(super) fn request_drop<'a>(join: &'a Join, client: &Client<'_>) -> Option<Drop<'a>> {
    let own = client.key.pod;
    let asked = [Some(client.key.peer), client.endpoint.address];
    let mut latest: Option<Drop<'_>> = None;
    for (node, known) in join.nodes() {
        for address in asked.into_iter().flatten() {
            for dropped in in_time(known, address.ip(), client) {
                let tuple = dropped.packet.tuple;
                let same = tuple.protocol == client.key.protocol
                    && tuple.dst.port() == port(address, client.key.protocol);
                if !same || !opens(&dropped.packet) {
                    continue;
                }
                let elsewhere = node != client.node;
                let same_port = elsewhere && tuple.src.port() == own.port();
                let probable = tuple.src != own;
                if probable && (!same_port || is_client(join, tuple.src.ip())) {
                    continue;
                }
                // A certain one before a probable one.
                let order = |drop: &Drop<'_>| (!drop.probable, drop.at);
                let drop = from_record(node, dropped, client, probable);
                if latest.as_ref().is_none_or(|one| order(one) < order(&drop)) {
                    latest = Some(drop);
                }
            }
        }
    }
    match client.endpoint.address {
        Some(_) => latest,
        // The translation of a packet that its own node drops leaves no trace: then the sender decides.
        None => latest.or_else(|| untranslated(join, client)),
    }
}

/// A drop of a request from the client's port on its node, whatever its destination, if the client used the port for
/// nothing else meanwhile.
fn untranslated<'a>(join: &'a Join, client: &Client<'_>) -> Option<Drop<'a>> {
    let (own, protocol) = (client.key.pod, client.key.protocol);
    let (node, known) = join.nodes().find(|(node, _)| *node == client.node)?;
    if own.port() == 0 || find::is_shared(known, client) {
        return None;
    }
    let dropped = during(known.drops_from(own.ip()), client).find(|dropped| {
        let tuple = dropped.packet.tuple;
        tuple.protocol == protocol && tuple.src == own && opens(&dropped.packet)
    })?;
    Some(from_record(node, dropped, client, false))
}

fn from_record<'a>(
    node: &'a Arc<str>,
    dropped: &'a Dropped,
    client: &Client<'_>,
    probable: bool,
) -> Drop<'a> {
    Drop {
        node,
        packet: &dropped.packet,
        at: dropped.at,
        error: bound(client.seen.error, dropped.error),
        probable,
    }
}

/// Whether other packets of the two pods were dropped meanwhile. The kernel's probe skips drops of a pod that has many,
/// and a client's address may have been translated: one of them could be this connection's.
pub(super) fn others_dropped(join: &Join, client: &Client<'_>) -> bool {
    let server = client.endpoint.address.map(|address| address.ip());
    let pods = [Some(client.key.pod.ip()), server];
    join.nodes().any(|(_, node)| {
        let mut pods = pods.into_iter().flatten();
        pods.any(|pod| {
            let drops = node.drops_to(pod).chain(node.drops_from(pod));
            during(drops, client).next().is_some()
        })
    })
}

/// Whether a pod with this address was seen as a client, so that it is another one.
fn is_client(join: &Join, address: IpAddr) -> bool {
    join.nodes()
        .any(|(_, node)| node.at_pod(address).next().is_some())
}

/// A drop of the answer.
pub(super) fn answer_drop<'a>(
    join: &'a Join,
    client: &Client<'_>,
    found: Option<&Found<'_>>,
) -> Option<Drop<'a>> {
    let server = found.map(|found| found.key.pod);
    let to = [Some(client.key.pod), found.map(|found| found.key.peer)];
    for (node, known) in join.nodes() {
        for address in to.into_iter().flatten() {
            let is_answer = |dropped: &&Dropped| {
                let tuple = dropped.packet.tuple;
                tuple.protocol == client.key.protocol
                    && tuple.dst == address
                    && (Some(tuple.src) == server || tuple.src == client.key.peer)
            };
            if let Some(dropped) = in_time(known, address.ip(), client).find(is_answer) {
                return Some(from_record(node, dropped, client, false));
            }
        }
    }
    None
}

/// A ping's drop has no port at its destination.
fn port(address: SocketAddr, protocol: Protocol) -> u16 {
    match protocol {
        Protocol::Tcp | Protocol::Udp => address.port(),
        _ => 0,
    }
}

/// Whether the packet is a request: of a TCP connection, its SYN.
fn opens(packet: &PacketDrop) -> bool {
    packet
        .tcp_flags
        .is_none_or(|flags| flags & (SeenFlags::SYN | SeenFlags::ACK) == SeenFlags::SYN)
}

/// Drops to an address while the client sent.
fn in_time<'a>(
    node: &'a Node,
    to: IpAddr,
    client: &Client<'_>,
) -> impl Iterator<Item = &'a Dropped> {
    during(node.drops_to(to), client)
}

fn during<'a>(
    drops: impl Iterator<Item = &'a Dropped>,
    client: &Client<'_>,
) -> impl Iterator<Item = &'a Dropped> {
    let seen = client.seen;
    let (first, last, error) = (seen.first, seen.last, seen.error);
    drops.filter(move |dropped| {
        let bound = bound(error, dropped.error);
        dropped.at >= earlier(first, bound) && dropped.at <= last.after(bound).after(DROP_DELAY)
    })
}
