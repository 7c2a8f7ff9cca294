//! What the kernel dropped of an attempt that failed.
//!
//! A drop explains a silence if the packet is of the same flow: same protocol and port of the pod, and towards the
//! peer or an endpoint behind it. It is then proven that these packets went no further.

use std::net::{IpAddr, SocketAddr};

use super::case::{Case, Symptom};
use super::claim::Claim;
use super::endpoint;
use super::fact::{DroppedPackets, PathFact};
use super::lookup_evidence::LookupEvidence;
use super::memory::{ExchangeEvidence, FlowDrops};
use super::route::Route;
use crate::model::exchange::{Outcome, Transport};
use crate::model::flow::{Flow, Protocol};
use crate::model::time::Timestamp;

/// What the kernel dropped of the TCP connection or UDP flow that a case is about.
pub(super) fn of_attempt<'a>(case: &Case<'a>) -> Option<&'a FlowDrops> {
    let flow = match case.symptom {
        Symptom::Tcp(connection) => connection.flow,
        Symptom::Udp(flow) => flow.flow,
        _ => return None,
    };
    let Flow {
        protocol,
        pod,
        peer,
        ..
    } = flow;
    of_flow(case, protocol, pod.port(), peer, case.first)
}

/// Adds what the kernel dropped of the queries and answers of a lookup.
pub(super) fn explain_lookup(case: &Case<'_>, claim: Claim, lookup: &LookupEvidence<'_>) -> Claim {
    let unanswered = lookup.exchanges().iter();
    let unanswered = unanswered.filter(|exchange| exchange.outcome == Outcome::Timeout);
    let dropped = unanswered.filter_map(|exchange| of_query(case, exchange));
    match dropped.max_by_key(|drops| drops.packets) {
        Some(drops) => explain(case, claim, drops),
        None => claim,
    }
}

/// Whether something decided to drop the packet, as the kernel's reason says: a rule, a program, a filter. Numbers are
/// those of subsystems, such as Open vSwitch, which drop by their flow tables.
pub(crate) fn is_deliberate(reason: &str) -> bool {
    let known = [
        "NETFILTER_DROP",
        "IP_RPFILTER",
        "TC_INGRESS",
        "TC_EGRESS",
        "XDP",
        "BPF_CGROUP_EGRESS",
        "SOCKET_FILTER",
        "XFRM_POLICY",
    ];
    known.contains(&reason) || reason.starts_with("0x")
}

/// Adds what was dropped of the attempt, if anything was.
pub(super) fn explain_attempt(case: &Case<'_>, claim: Claim) -> Claim {
    match of_attempt(case) {
        Some(drops) => explain(case, claim, drops),
        None => claim,
    }
}

/// What the kernel dropped of a query's socket since it was sent.
pub(super) fn of_query<'a>(case: &Case<'a>, exchange: &ExchangeEvidence) -> Option<&'a FlowDrops> {
    let protocol = match exchange.transport {
        Transport::Udp => Protocol::Udp,
        Transport::Tcp => Protocol::Tcp,
    };
    let port = exchange.from.port();
    of_flow(case, protocol, port, exchange.server, exchange.asked)
}

/// Adds what was dropped, where and why.
pub(super) fn explain(case: &Case<'_>, claim: Claim, drops: &FlowDrops) -> Claim {
    let dropped = DroppedPackets {
        drops: drops.clone(),
        node: case.pod().and_then(|pod| pod.node.clone()),
        peer: (drops.peer.ip() != case.ends.peer.ip).then_some(drops.peer),
    };
    let reason = drops.reason;
    claim
        .why(PathFact::Dropped(dropped))
        .why(PathFact::DropMeans(reason))
}

fn of_flow<'a>(
    case: &Case<'a>,
    protocol: Protocol,
    port: u16,
    peer: SocketAddr,
    since: Timestamp,
) -> Option<&'a FlowDrops> {
    let drops = case.own.drops.get(protocol, port)?;
    let same = drops.peer == peer || is_behind(case, protocol, peer.port(), drops.peer.ip());
    (same && drops.last >= since).then_some(drops)
}

/// Whether the address is an endpoint of the Service that the pod asks.
fn is_behind(case: &Case<'_>, protocol: Protocol, port: u16, endpoint: IpAddr) -> bool {
    let name = match protocol {
        Protocol::Tcp => "TCP",
        _ => "UDP",
    };
    let chosen = endpoint::chosen(case).is_some_and(|backend| backend.ip == endpoint);
    let backends = Route::from_case(case, name, port).map(|route| route.backends(case));
    chosen
        || backends
            .iter()
            .flatten()
            .any(|backend| backend.endpoint.ip == endpoint)
}
