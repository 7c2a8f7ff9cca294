//! Which sightings of two nodes are one connection.
//!
//! The client's address and port, the endpoint and the time decide; times count with the errors of both clocks. If
//! two sightings fit, none is taken. A client whose address was translated on its way is recognised by its port,
//! where its peer is no pod; that match is probable, not certain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::NodeName;
use super::join::{Join, Node, Question};
use super::sighting::{Sighting, SightingKey, pod_name};
use crate::model::flow::{Protocol, Role};
use crate::model::time::Timestamp;

/// A packet is at the other node within this time, or late enough to be taken for lost.
const TRANSIT: Duration = Duration::from_millis(500);
/// Losses are reported this long after they happened at most.
const REPORTED: Duration = Duration::from_secs(10);

/// The client's end of a connection.
pub(super) struct Client<'a> {
    pub(super) node: &'a NodeName,
    pub(super) key: &'a SightingKey,
    pub(super) seen: &'a Sighting,
    pub(super) endpoint: Endpoint,
}

/// Where the client's packets go.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// `None` for a Service whose translation is unknown.
    pub(super) address: Option<SocketAddr>,
    pub(super) node: Option<Arc<str>>,
    pub(super) name: Arc<str>,
    /// The client asked a Service.
    pub(super) translated: bool,
}

/// The server's end.
pub(super) enum Server<'a> {
    Found(Found<'a>),
    /// It was watched, and the request did not arrive.
    Absent,
    Unknown(Why),
}

/// The server's end, where it was seen.
pub(super) struct Found<'a> {
    pub(super) node: &'a NodeName,
    pub(super) key: &'a SightingKey,
    pub(super) seen: &'a Sighting,
    /// The client's address was translated on its way, so the match is probable only.
    pub(super) masqueraded: bool,
}

/// Why the server's half is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    NoEndpoint,
    NoAgent,
    NotWatched,
    Lost,
    Several,
    MaybeAs(SocketAddr),
}

/// The client's sighting that a question is about: the latest that fits.
pub(super) fn client<'a>(join: &'a Join, question: &Question) -> Option<Client<'a>> {
    let (node, known) = join.nodes().find(|(node, _)| **node == question.node)?;
    let fits = |(key, seen): &(&SightingKey, &Sighting)| {
        key.role == Role::Client
            && key.peer.ip() == question.server
            && question.port.is_none_or(|port| port == key.pod.port())
            && question
                .server_port
                .is_none_or(|port| port == key.peer.port())
            && key.started <= question.until
            && seen.last >= known.clock().corrected(question.from)
    };
    let (key, seen) =
        (known.at_pod(question.client).filter(fits)).max_by_key(|(key, _)| key.started)?;
    Some(Client {
        node,
        key,
        seen,
        endpoint: endpoint(key, seen)?,
    })
}

/// Where the client's packets go; `None` if that is outside the cluster.
fn endpoint(key: &SightingKey, seen: &Sighting) -> Option<Endpoint> {
    let peer = &seen.ends.peer;
    if let Some(backend) = &peer.backend {
        let port = backend.port.unwrap_or(key.peer.port());
        let pod = backend.pod.as_ref();
        return Some(Endpoint {
            address: Some(SocketAddr::new(backend.ip, port)),
            node: pod
                .and_then(|pod| pod.node.clone())
                .or(backend.node.clone()),
            name: pod.map_or_else(
                || backend.ip.to_string().into(),
                |pod| Arc::clone(&pod.name),
            ),
            translated: true,
        });
    }
    if let Some(pod) = &peer.pod {
        return Some(Endpoint {
            address: Some(key.peer),
            node: pod.node.clone().or_else(|| peer.node.clone()),
            name: Arc::clone(&pod.name),
            translated: false,
        });
    }
    let service = peer.service.as_ref()?;
    Some(Endpoint {
        address: None,
        node: None,
        name: format!("Service {}/{}", service.namespace, service.name).into(),
        translated: true,
    })
}

/// The time that two clocks and the way can put between two sightings of one packet.
pub(super) fn bound(one: Duration, other: Duration) -> Duration {
    one.saturating_add(other).saturating_add(TRANSIT)
}

/// How far a time is from the time in which the client sent.
fn gap(client: &Sighting, at: Timestamp) -> Duration {
    at.since(client.last).max(client.first.since(at))
}

fn is_near(client: &Sighting, server: &Sighting) -> bool {
    gap(client, server.first) <= bound(client.error, server.error)
}

/// The server's sighting of a client's connection.
pub(super) fn server<'a>(join: &'a Join, client: &Client<'a>) -> Server<'a> {
    let mut exact = Vec::new();
    let mut by_port = Vec::new();
    let mut other = None;
    for (node, known) in join.nodes() {
        for (key, seen) in candidates(known, client).filter(|(_, seen)| is_near(client.seen, seen))
        {
            let masqueraded = !is_same_client(client.key, key);
            let found = Found {
                node,
                key,
                seen,
                masqueraded,
            };
            if !masqueraded {
                exact.push(found);
            } else if key.peer.port() == client.key.pod.port() {
                by_port.push(found);
            } else {
                other = Some(key.peer);
            }
        }
    }
    if exact.is_empty() {
        exact = by_port;
    }
    match (exact.pop(), exact.is_empty(), other) {
        (Some(found), true, _) if !has_rival(join, client, &found) => Server::Found(found),
        (Some(_), ..) => Server::Unknown(Why::Several),
        (None, _, Some(peer)) => Server::Unknown(Why::MaybeAs(peer)),
        (None, _, None) => absent(join, client),
    }
}

/// Sightings at the endpoint that can be the client's connection. Another pod's is not.
fn candidates<'a>(
    node: &'a Node,
    client: &Client<'_>,
) -> Box<dyn Iterator<Item = (&'a SightingKey, &'a Sighting)> + 'a> {
    let own = *client.key;
    let served = move |key: &SightingKey| key.role == Role::Server && key.protocol == own.protocol;
    match client.endpoint.address {
        Some(address) => Box::new(node.at_pod(address.ip()).filter(move |(key, seen)| {
            let translated = seen.ends.peer.pod.is_none();
            served(key)
                && (has_no_ports(own.protocol) || key.pod.port() == address.port())
                && (is_same_client(&own, key) || translated)
        })),
        None => Box::new(
            node.with_peer(own.pod.ip())
                .filter(move |(key, _)| served(key) && is_same_client(&own, key)),
        ),
    }
}

fn has_no_ports(protocol: Protocol) -> bool {
    !matches!(protocol, Protocol::Tcp | Protocol::Udp)
}

/// Whether the server's peer is the client. A ping has an identifier instead of ports.
fn is_same_client(client: &SightingKey, server: &SightingKey) -> bool {
    match has_no_ports(client.protocol) {
        true => client.pod.ip() == server.peer.ip() && client.pod.port() == server.pod.port(),
        false => client.pod == server.peer,
    }
}

/// Whether the server's sighting fits another connection of the client's socket too.
fn has_rival(join: &Join, client: &Client<'_>, found: &Found<'_>) -> bool {
    let Some(node) = join.known(client.node) else {
        return false;
    };
    node.at_pod(client.key.pod.ip()).any(|(key, seen)| {
        let same_socket = key.role == Role::Client
            && key.protocol == client.key.protocol
            && key.pod == client.key.pod
            && key != client.key;
        let same_server = key.peer == client.key.peer || client.endpoint.address.is_none();
        same_socket && same_server && is_near(seen, found.seen)
    })
}

/// Whether the client used this port for another connection meanwhile.
pub(super) fn is_shared(node: &Node, client: &Client<'_>) -> bool {
    node.at_pod(client.key.pod.ip()).any(|(key, seen)| {
        key.protocol == client.key.protocol
            && key.pod == client.key.pod
            && key.peer != client.key.peer
            && is_near(seen, client.seen)
    })
}

/// Whether the server's half may be claimed to be empty.
fn absent<'a>(join: &'a Join, client: &Client<'a>) -> Server<'a> {
    let Some(address) = client.endpoint.address else {
        return Server::Unknown(Why::NoEndpoint);
    };
    let seen = client.seen;
    let end = (client.key.protocol, address);
    let watches = |(_, node): &(&NodeName, &Node)| node.has_watched(end, seen.first, seen.last);
    let node = match &client.endpoint.node {
        Some(name) => join.known(name),
        None => join.nodes().find(watches).map(|(_, node)| node),
    };
    let Some(node) = node else {
        return Server::Unknown(Why::NoAgent);
    };
    if node.may_lack(seen) {
        return Server::Unknown(Why::Lost);
    }
    match node.has_watched(end, seen.first, seen.last) {
        true => Server::Absent,
        false => Server::Unknown(Why::NotWatched),
    }
}

pub(super) fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp(at.0.saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
}

impl Node {
    /// Whether events from the time of this sighting may be missing.
    pub(super) fn may_lack(&self, seen: &Sighting) -> bool {
        self.has_lost(earlier(seen.first, TRANSIT), seen.last.after(REPORTED))
    }
}

/// The name of a client's pod.
pub(super) fn client_name(client: &Client<'_>) -> Arc<str> {
    pod_name(&client.seen.ends)
}
