//! Packets that are too big for their path: with ICMP errors that the pod ignores, or lost without any.

use std::net::IpAddr;
use std::time::Duration;

use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Break, Cause, Claim, Evidence, Summary};
use crate::diagnose::command::PodCommand;
use crate::diagnose::fact::{FlowFact, PathFact};
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::rule::Rule;
use crate::diagnose::{attempt, services};
use crate::model::connection::TcpConnection;
use crate::model::evidence::LargeLost;
use crate::model::finding::Severity;
use crate::model::flow::Direction;
use crate::model::observation::IcmpError;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "mtu-black-hole",
    severity: Severity::Warning,
    finds: "packets that are too big for their path, repeatedly",
    means: "Packets are too big for a link on their path: small ones pass, large ones never arrive, so connections open and then \
            hang. Either the pod gets ICMP errors that report it and ignores them, or the packets are lost without one.",
    looks_at: "ICMP \"fragmentation needed\" and \"packet too big\" errors that reach the pod about one destination: three within \
               a minute, more than a second apart, that quote what the pod sent. A single error is ordinary: this is how a host discovers a path's MTU. In \
               captures, a large TCP segment that the other end never acknowledges within three seconds, or that never arrives \
               at the pod, while smaller ones do.",
    cannot_know: "Which link it is. Live, the probes emit no data segments: without an ICMP error the loss is not visible. Nothing \
                  shows that the cause is gone: the finding is dropped when there is no new evidence.",
    check,
};

/// Several connections at once can cause more than one or two errors, but all of them within this time.
const MIN_SPAN: Duration = Duration::from_secs(1);
/// An ordinary loss is repaired sooner.
const MIN_LOST: Duration = Duration::from_secs(3);
/// A path that does not take so many bytes of payload takes no IPv4 packet of the least MTU either.
const MIN_LARGE: u32 = 536;
/// Sent so often, a segment is not lost by chance.
const MIN_SEEN: u32 = 3;

fn check(case: &Case<'_>) -> Option<Claim> {
    match case.symptom {
        Symptom::TooBig(..) => reported(case),
        Symptom::Tcp(connection) => silent(case, connection),
        _ => None,
    }
}

/// The errors reach the pod.
fn reported(case: &Case<'_>) -> Option<Claim> {
    let Symptom::TooBig(error, errors) = case.symptom else {
        return None;
    };
    let within = errors.last.since(errors.first);
    if errors.times < case.thresholds.too_big_errors || within < MIN_SPAN {
        return None;
    }
    let to = error.about.dst.ip();
    let summary = Summary::PacketsTooBig {
        to,
        times: errors.times,
        within,
    };
    let mut claim = Claim::new(Cause::Address(to), summary).why(PathFact::Mtu(error));
    if let Some(asked) = quotes_other(case, &error) {
        claim = claim.why(PathFact::QuotesOther(asked));
    }
    let claim = claim.why(PathFact::MtuCauses).command(PodCommand::ShowMtu);
    let size = error.mtu.and_then(|mtu| mtu.checked_sub(ping_headers(to)));
    let claim = match size {
        Some(size) => claim.command(PodCommand::PingSize { to, size }),
        None => claim,
    };
    let claim = match error.mtu {
        Some(mtu) => claim
            .because(Reason::PathMtu(mtu, error.from.ip()))
            .fix(Fix::LowerMtu(mtu)),
        None => claim,
    };
    Some(claim.evidence([Evidence::TooBig { error, to }]))
}

/// The Service's address that the pod connects to, if the error quotes an endpoint of that Service instead.
fn quotes_other(case: &Case<'_>, error: &IcmpError) -> Option<IpAddr> {
    let quoted = error.about.dst;
    let connected = &case.own.connected;
    if connected.at((quoted.ip(), quoted.port())).is_some() {
        return None;
    }
    services::with_endpoint(case.index, quoted.ip())
        .flat_map(|service| {
            let ports = service.ports.iter().map(|port| port.port);
            let ips = service.cluster_ips.iter().copied();
            ips.flat_map(move |ip| ports.clone().map(move |port| (ip, port)))
        })
        .find(|socket| connected.at(*socket).is_some())
        .map(|(ip, _)| ip)
}

/// No error reaches the pod.
fn silent(case: &Case<'_>, connection: &TcpConnection) -> Option<Claim> {
    let lost = connection.evidence.large_lost.filter(is_hole)?;
    let peer = connection.flow.peer;
    if was_reported(case, peer.ip()) {
        return None;
    }
    let from_pod = lost.sender == Direction::FromPod;
    let summary = Summary::LargeLost {
        destination: attempt::destination(case, peer.port()),
        from_pod,
        bytes: lost.bytes,
        span: lost.last.since(lost.since),
    };
    let claim = Claim::new(Cause::Address(peer.ip()), summary)
        .because(Reason::LargeSegmentsLost {
            bytes: lost.bytes,
            from_pod,
        })
        .fix(Fix::CheckMtu)
        .why(FlowFact::LargestDelivered(lost.largest_delivered))
        .why(PathFact::SilentMtuCauses)
        .command(PodCommand::ShowMtu)
        .evidence([Evidence::Broken {
            protocol: "TCP",
            from: connection.flow.pod,
            to: peer,
            end: Break::LargeLost {
                bytes: lost.bytes,
                seen: lost.seen,
                delivered: lost.largest_delivered,
            },
        }]);
    Some(pings(case, claim))
}

/// Whether ICMP errors about the destination, or about an endpoint of it, reached the pod.
fn was_reported(case: &Case<'_>, ip: IpAddr) -> bool {
    let service = case.service();
    let endpoints = service.map(|service| services::ready(case.index, service));
    let endpoints = endpoints.iter().flatten().map(|endpoint| endpoint.ip);
    let errors = &case.own.too_big;
    endpoints.chain([ip]).any(|ip| errors.has(ip))
}

fn is_hole(lost: &LargeLost) -> bool {
    lost.last.since(lost.since) >= MIN_LOST
        && lost.bytes >= MIN_LARGE
        && lost.bytes > lost.largest_delivered
        && (lost.seen == 0 || lost.seen >= MIN_SEEN)
}

/// Adds pings of three sizes: the smallest IPv6 MTU, the usual one of an overlay, and Ethernet's.
fn pings(case: &Case<'_>, claim: Claim) -> Claim {
    let endpoint = case
        .service()
        .and_then(|service| services::ready(case.index, service).into_iter().next());
    let to = match &endpoint {
        Some(endpoint) => endpoint.ip,
        // A Service's address does not answer.
        None if case.ends.peer.service.is_some() => return claim,
        None => case.ends.peer.ip,
    };
    [1280, 1450, 1500].into_iter().fold(claim, |claim, mtu| {
        claim.command(PodCommand::PingMtu {
            to,
            size: mtu - ping_headers(to),
            mtu,
        })
    })
}

/// The headers of a ping in bytes: IP without options, and ICMP.
fn ping_headers(to: IpAddr) -> u32 {
    match to {
        IpAddr::V4(_) => 20 + 8,
        IpAddr::V6(_) => 40 + 8,
    }
}

#[cfg(test)]
mod tests {
    use super::ping_headers;

    #[test]
    fn a_ping_of_the_mtu_leaves_room_for_its_headers() {
        assert_eq!(ping_headers([10, 1, 39, 193].into()), 28);
        assert_eq!(ping_headers([0xfd00, 0, 0, 0, 0, 0, 0, 1].into()), 48);
    }
}
