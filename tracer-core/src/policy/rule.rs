//! Whether a rule allows a connection: its ports and its peers.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Connection, Doubt, Party, PodView, Who};
use crate::model::cluster::{NetworkPolicy, Peer, PolicyPort, PolicyRule, PortSpec};

/// Whether something matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    Yes,
    Maybe(Doubt),
    No,
}

impl Match {
    fn new(matches: bool) -> Match {
        if matches { Match::Yes } else { Match::No }
    }

    /// Whether one of two matches.
    pub fn or(self, other: Match) -> Match {
        match (self, other) {
            (Match::Yes, _) | (_, Match::Yes) => Match::Yes,
            (Match::Maybe(doubt), _) | (_, Match::Maybe(doubt)) => Match::Maybe(doubt),
            (Match::No, Match::No) => Match::No,
        }
    }

    /// Whether both match.
    fn and(self, other: Match) -> Match {
        match (self, other) {
            (Match::No, _) | (_, Match::No) => Match::No,
            (Match::Maybe(doubt), _) | (_, Match::Maybe(doubt)) => Match::Maybe(doubt),
            (Match::Yes, Match::Yes) => Match::Yes,
        }
    }
}

/// Whether a rule of this policy allows the connection with this peer.
pub(super) fn allows(
    rule: &PolicyRule,
    policy: &NetworkPolicy,
    other: &Party<'_>,
    connection: &Connection<'_>,
) -> Match {
    let through = connection.through.filter(|_| other.ip == connection.to.ip);
    let peers = rule
        .peers
        .iter()
        .map(|one| peer(one, policy, other, through));
    let peers = match rule.peers.is_empty() {
        true => Match::Yes,
        false => peers.fold(Match::No, Match::or),
    };
    let ports = rule.ports.iter().map(|one| port(one, connection));
    let ports = match rule.ports.is_empty() {
        true => Match::Yes,
        false => ports.fold(Match::No, Match::or),
    };
    peers.and(ports)
}

fn peer(peer: &Peer, policy: &NetworkPolicy, other: &Party<'_>, through: Option<IpAddr>) -> Match {
    match peer {
        Peer::Block { cidr, except } => block(cidr, except, other, through),
        Peer::Pods { pods, namespaces } => match &other.who {
            Who::Pod(pod) => {
                let labels = pods.as_ref().is_none_or(|pods| pods.selects(pod.labels));
                let namespace = match namespaces {
                    None => Match::new(*policy.namespace == *pod.namespace),
                    Some(selector) if selector.is_empty() => Match::Yes,
                    Some(selector) => match pod.namespace_labels {
                        Some(labels) => Match::new(selector.selects(labels)),
                        None => Match::Maybe(Doubt::NamespaceLabels),
                    },
                };
                Match::new(labels).and(namespace)
            }
            Who::Node(_) => Match::Maybe(Doubt::HostNetwork),
            Who::UnknownPod | Who::Unknown => Match::Maybe(Doubt::UnknownPod),
            Who::Outside => Match::No,
        },
    }
}

/// An ipBlock is meant for addresses outside of the cluster. It holds them for certain.
fn block(cidr: &IpNet, except: &[IpNet], other: &Party<'_>, through: Option<IpAddr>) -> Match {
    let holds = |ip: IpAddr| cidr.contains(&ip) && !except.iter().any(|range| range.contains(&ip));
    match (&other.who, through) {
        (Who::Outside | Who::Node(_) | Who::Unknown, None) => Match::new(holds(other.ip)),
        _ if holds(other.ip) || through.is_some_and(holds) => Match::Maybe(Doubt::BlockOfCluster),
        _ => Match::No,
    }
}

fn port(port: &PolicyPort, connection: &Connection<'_>) -> Match {
    if !matches!(connection.protocol, "TCP" | "UDP" | "SCTP") {
        return Match::Maybe(Doubt::Protocol);
    }
    if *port.protocol != *connection.protocol {
        return Match::No;
    }
    match &port.port {
        PortSpec::Any => Match::Yes,
        PortSpec::Range(first, last) => Match::new((*first..=*last).contains(&connection.port)),
        PortSpec::Named(name) => match &connection.to.who {
            Who::Pod(pod) => Match::new(declares(pod, name, connection)),
            Who::UnknownPod | Who::Unknown => Match::Maybe(Doubt::UnknownPod),
            Who::Node(_) => Match::Maybe(Doubt::HostNetwork),
            // Only pods have names for ports.
            Who::Outside => Match::No,
        },
    }
}

fn declares(pod: &PodView<'_>, name: &str, connection: &Connection<'_>) -> bool {
    pod.ports.iter().any(|port| {
        port.name.as_deref() == Some(name)
            && *port.protocol == *connection.protocol
            && port.port == connection.port
    })
}
