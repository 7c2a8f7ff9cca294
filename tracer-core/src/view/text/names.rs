//! The names of both ends.

use std::net::IpAddr;

use crate::model::event::Ends;
use crate::model::flow::Role;
use crate::model::identity::{PeerEnd, PodEnd};

/// `namespace/name`, or the address of an unknown pod.
pub(super) fn pod(end: &PodEnd) -> String {
    match &end.identity {
        Ok(pod) => format!("{}/{}", pod.namespace, pod.name),
        Err(_) => end.ip.to_string(),
    }
}

/// The Service, pod, node or name behind an address, else the address; with the port if there is one.
pub(super) fn peer_with_port(end: &PeerEnd) -> String {
    let port = end.port.map(|port| format!(":{port}")).unwrap_or_default();
    match known(end) {
        Some((name, shows_address)) if shows_address => {
            format!("{name} ({}{port})", bracketed(end.ip, !port.is_empty()))
        }
        Some((name, _)) => format!("{name}{port}"),
        None => format!("{}{port}", bracketed(end.ip, !port.is_empty())),
    }
}

/// Like [`peer_with_port`], without the port.
pub(super) fn peer(end: &PeerEnd) -> String {
    match known(end) {
        Some((name, true)) => format!("{name} ({})", end.ip),
        Some((name, false)) => name,
        None => end.ip.to_string(),
    }
}

/// The peer's name, and whether to show the address too: a name that the pod resolved need not identify the
/// peer.
fn known(end: &PeerEnd) -> Option<(String, bool)> {
    if let Some(service) = &end.service {
        // At a node's address the port is the node's, not the Service's.
        let by_node_port = end.node.is_some();
        return Some((
            format!("{}/{}", service.namespace, service.name),
            by_node_port,
        ));
    }
    if let Some(pod) = end.any_pod() {
        return Some((format!("{}/{}", pod.namespace, pod.name), false));
    }
    if let Some(node) = &end.node {
        return Some((format!("node {node}"), false));
    }
    end.names
        .first()
        .map(|name| (name.relative().to_owned(), true))
}

/// An address; IPv6 in brackets if a port follows.
pub(super) fn bracketed(ip: IpAddr, with_port: bool) -> String {
    match ip {
        IpAddr::V6(v6) if with_port => format!("[{v6}]"),
        ip => ip.to_string(),
    }
}

/// The mark of a flow's line.
pub(super) fn arrow(ends: Option<&Ends>) -> &'static str {
    match ends.map(|ends| ends.role) {
        Some(Role::Server) => "←",
        _ => "→",
    }
}
