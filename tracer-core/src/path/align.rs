//! How far the clocks of several nodes differ, by the connections that two of them saw.
//!
//! Owns no time of its own. A SYN is at the server after it was at the client, and the SYN-ACK is at the client after it
//! was at the server; so each handshake bounds the difference of two clocks from both sides (as in NTP, RFC 5905).

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use super::{Clock, NodeName};
use crate::model::event::{Body, Event};
use crate::model::flow::Role;

/// Kernels stamp packets on several CPUs, whose clocks differ by less.
const STAMPING_NS: i128 = 1_000_000;
/// Client sockets that are compared. More do not make it more exact.
const MAX_SOCKETS: usize = 10_000;

/// A handshake at one end: when the SYN and the SYN-ACK were seen.
#[derive(Clone, Copy)]
struct Handshake {
    node: usize,
    role: Role,
    syn: i128,
    answer: i128,
}

/// How far one clock is ahead of another, at least and at most.
type Bounds = (i128, i128);

/// The clocks of the nodes that saw handshakes of each other, on that of the first node. A node whose clock is not known
/// is absent; the first one is always there.
pub fn clocks<'a>(
    events: impl IntoIterator<Item = (&'a NodeName, &'a Event)>,
) -> BTreeMap<NodeName, Clock> {
    let mut nodes: Vec<NodeName> = Vec::new();
    let mut sockets: HashMap<SocketAddr, Vec<Handshake>> = HashMap::new();
    for (node, event) in events {
        let number = nodes.iter().position(|known| known == node);
        let number = number.unwrap_or_else(|| {
            nodes.push(NodeName::clone(node));
            nodes.len() - 1
        });
        if let Some((client, handshake)) = handshake(number, event)
            && (sockets.len() < MAX_SOCKETS || sockets.contains_key(&client))
        {
            let seen = sockets.entry(client).or_default();
            // A connection has several events.
            let repeated = |one: &Handshake| {
                (one.node, one.role, one.syn) == (number, handshake.role, handshake.syn)
            };
            if seen.len() <= 2 && !seen.iter().any(repeated) {
                seen.push(handshake);
            }
        }
    }
    spread(&nodes, &differences(sockets.into_values()))
}

fn handshake(node: usize, event: &Event) -> Option<(SocketAddr, Handshake)> {
    let Body::Tcp(tcp) = &event.body else {
        return None;
    };
    let took = tcp.handshake?;
    // After a repeated SYN it is not known which of them was answered.
    if event.incomplete || tcp.evidence.picked_up || tcp.syn_retransmits > 0 {
        return None;
    }
    let client = match tcp.role {
        Role::Client => tcp.flow.pod,
        Role::Server => tcp.flow.peer,
    };
    let syn = i128::from(event.time.0);
    let answer = syn + i128::try_from(took.as_nanos()).ok()?;
    let handshake = Handshake {
        node,
        role: tcp.role,
        syn,
        answer,
    };
    Some((client, handshake))
}

/// For each pair of nodes, client's first, how far the server's clock is ahead. Handshakes that contradict each other
/// leave their pair without bounds: a port was used again, or a clock was set.
fn differences(sockets: impl Iterator<Item = Vec<Handshake>>) -> BTreeMap<(usize, usize), Bounds> {
    let mut all: BTreeMap<(usize, usize), Bounds> = BTreeMap::new();
    for seen in sockets {
        let (client, server) = match *seen {
            [one, other] if one.node != other.node => match (one.role, other.role) {
                (Role::Client, Role::Server) => (one, other),
                (Role::Server, Role::Client) => (other, one),
                _ => continue,
            },
            _ => continue,
        };
        let (least, most) = (
            server.answer - client.answer - STAMPING_NS,
            server.syn - client.syn + STAMPING_NS,
        );
        let known = all
            .entry((client.node, server.node))
            .or_insert((least, most));
        *known = (known.0.max(least), known.1.min(most));
    }
    all.retain(|_, (least, most)| least <= most);
    all
}

/// The clocks that can be reached from the first node's.
fn spread(
    nodes: &[NodeName],
    differences: &BTreeMap<(usize, usize), Bounds>,
) -> BTreeMap<NodeName, Clock> {
    let mut ahead: BTreeMap<usize, Bounds> = BTreeMap::from([(0, (0, 0))]);
    for _ in 0..nodes.len() {
        for (&(client, server), &(least, most)) in differences {
            match (ahead.get(&client).copied(), ahead.get(&server).copied()) {
                (Some(of_client), None) => {
                    ahead.insert(server, (of_client.0 + least, of_client.1 + most));
                }
                (None, Some(of_server)) => {
                    ahead.insert(client, (of_server.0 - most, of_server.1 - least));
                }
                _ => {}
            }
        }
    }
    let clock = |(least, most): Bounds| {
        let error = u64::try_from((most - least) / 2).unwrap_or(u64::MAX);
        Clock {
            ahead_ns: i64::try_from(i128::midpoint(least, most)).unwrap_or(i64::MAX),
            error: Duration::from_nanos(error),
        }
    };
    let named = |(number, bounds): (usize, Bounds)| {
        Some((NodeName::clone(nodes.get(number)?), clock(bounds)))
    };
    ahead.into_iter().filter_map(named).collect()
}
