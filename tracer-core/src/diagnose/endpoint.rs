//! The endpoint behind a Service's address, where the node's conntrack shows it.
//!
//! Owns what a claim says about it: its name, its share of the failures, and that it is none any more. Where
//! conntrack is not read, nothing follows, and [`super::suspects`] lists what is possible.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::case::{Case, Symptom};
use super::claim::Claim;
use super::command::Command;
use super::fact::{EndpointPlace, EndpointShare, RouteFact, ServerFact, Who};
use super::headline::{Fix, Reason};
use super::memory::Use;
use super::route::{self, Route};
use super::{attempt::Attempt, server, services};
use crate::identity::Endpoint;
use crate::model::connection::{TcpState, UdpState};
use crate::model::event::Ends;
use crate::model::exchange::Outcome;
use crate::model::identity::Backend;

/// The endpoint of a case's flow.
pub(super) fn chosen<'a>(case: &Case<'a>) -> Option<&'a Backend> {
    case.ends.peer.backend.as_deref()
}

/// The ends of a finding. A lookup has no endpoint, since its queries can go to several; here it is that of the latest
/// one without an answer, so that this one can be followed.
pub(super) fn ends(case: &Case<'_>) -> Ends {
    let mut ends = case.ends.clone();
    if ends.peer.backend.is_none()
        && let Some(endpoint) = of_latest_silent(case)
    {
        ends.peer.backend = Some(Arc::new(case.index.backend(case.at, endpoint)));
    }
    ends
}

/// The endpoint that the latest unanswered query of a lookup went to.
fn of_latest_silent(case: &Case<'_>) -> Option<SocketAddr> {
    let Symptom::Lookup(lookup) = case.symptom else {
        return None;
    };
    let server = SocketAddr::new(case.ends.peer.ip, case.ends.peer.port?);
    let silent = (lookup.exchanges().iter())
        .filter(|exchange| exchange.server == server && exchange.outcome == Outcome::Timeout);
    let latest = silent.map(|exchange| exchange.asked).max()?;
    case.own.endpoints.failed_at((server, Use::Dns), latest)
}

/// The same, as one that the Service may lead to.
pub(super) fn as_route(case: &Case<'_>, route: &Route<'_>) -> Option<route::Backend> {
    let backend = chosen(case)?;
    let listed = route.endpoints(case.index);
    let listed = listed.into_iter().find(|one| one.ip == backend.ip);
    Some(route::Backend {
        endpoint: listed.unwrap_or_else(|| unlisted(backend)),
        port: backend.port?,
    })
}

fn unlisted(backend: &Backend) -> Endpoint {
    Endpoint {
        ip: backend.ip,
        ports: Vec::new(),
        ready: false,
        serving: false,
        terminating: false,
        pod: backend.pod.clone(),
        node: backend.node.clone(),
        zone: None,
        hostname: None,
    }
}

/// Blames the endpoint for a failed attempt, if the Service has several and its other family does not differ.
pub(super) fn blame(case: &Case<'_>, route: &Route<'_>, claim: Claim) -> Claim {
    let Some(backend) = chosen(case) else {
        return claim;
    };
    let vague = claim.because.as_ref().is_none_or(Reason::is_about_endpoint);
    if !vague || route.backends(case).len() < 2 {
        return claim;
    }
    let only = share(case, backend).is_some_and(|share| share.is_alone());
    let endpoint = who(backend);
    Claim {
        // In its place the fix names the endpoint, which is the last clause of a headline to be left out.
        because: None,
        fix: Some(Fix::CheckEndpoint { endpoint, only }),
        ..claim
    }
}

fn who(backend: &Backend) -> Who {
    match &backend.pod {
        Some(pod) => Who::Pod((&**pod).into()),
        None => Who::Address(backend.ip),
    }
}

/// Adds the endpoint of a connection or UDP flow to a claim about it.
pub(super) fn explain(case: &Case<'_>, mut claim: Claim) -> Claim {
    let flow = matches!(case.symptom, Symptom::Tcp(_) | Symptom::Udp(_));
    let Some(backend) = chosen(case).filter(|_| flow) else {
        return claim;
    };
    let mut facts = vec![RouteFact::Chosen(place(backend), backend.port)];
    facts.extend(share(case, backend).map(RouteFact::EndpointShare));
    if is_stale(case, backend) {
        facts.push(RouteFact::StaleEndpoint);
        if claim.because.as_ref().is_none_or(Reason::is_about_endpoint) {
            claim.because = None;
            claim.fix = Some(Fix::CheckStaleEndpoint(who(backend)));
        }
    }
    // Before the facts that it makes concrete.
    let facts = facts.into_iter().map(Into::into);
    claim.why.splice(0..0, facts);
    claim
}

fn place(backend: &Backend) -> EndpointPlace {
    EndpointPlace {
        ip: backend.ip,
        pod: backend.pod.as_deref().map(Into::into),
        node: backend.node.clone(),
    }
}

/// How the pod's attempts at this endpoint and at the others went, if this one failed.
fn share(case: &Case<'_>, backend: &Backend) -> Option<EndpointShare> {
    let (what, failed) = match case.symptom {
        Symptom::Tcp(connection) => (
            Use::Tcp,
            matches!(connection.state, TcpState::Refused(_) | TcpState::Timeout),
        ),
        Symptom::Udp(flow) => (
            Use::Udp,
            matches!(flow.state, UdpState::Unanswered | UdpState::IcmpError),
        ),
        _ => return None,
    };
    let peer = &case.ends.peer;
    let service = SocketAddr::new(peer.ip, peer.port?);
    let endpoint = SocketAddr::new(backend.ip, backend.port?);
    let (own, others, count) = case.own.endpoints.outcomes((service, what), endpoint);
    // One attempt is no share.
    (failed && own.failures > 0 && own.attempts + others.attempts > 1).then_some(EndpointShare {
        own,
        others,
        count,
    })
}

/// Whether the Service no longer leads to it, as far as its EndpointSlices show.
fn is_stale(case: &Case<'_>, backend: &Backend) -> bool {
    let Some((protocol, port)) = port_of(case) else {
        return false;
    };
    let Some(route) = Route::from_case(case, protocol, port) else {
        return false;
    };
    let leads_here =
        |one: &route::Backend| one.endpoint.ip == backend.ip && Some(one.port) == backend.port;
    case.index.knows_endpoints()
        && route.port.is_some()
        && !route.backends(case).iter().any(leads_here)
}

fn port_of(case: &Case<'_>) -> Option<(&'static str, u16)> {
    if let Some(attempt) = Attempt::from_case(case) {
        return Some((attempt.protocol, attempt.port));
    }
    match case.symptom {
        Symptom::Tcp(connection) => Some(("TCP", connection.flow.peer.port())),
        Symptom::Udp(flow) => Some(("UDP", flow.flow.peer.port())),
        _ => None,
    }
}

/// The endpoints of a DNS server that left queries of the case unanswered.
pub(super) fn silent_servers(case: &Case<'_>, ip: IpAddr) -> Vec<SocketAddr> {
    let port = case.ends.peer.port.unwrap_or_default();
    let service = (SocketAddr::new(ip, port), Use::Dns);
    case.own.endpoints.failed_since(service, case.first)
}

/// Adds these endpoints to a claim about the server.
pub(super) fn explain_server(case: &Case<'_>, claim: Claim, ip: IpAddr) -> Claim {
    let port = case.ends.peer.port.unwrap_or_default();
    let service = (SocketAddr::new(ip, port), Use::Dns);
    let ready = server::service_at(case, ip).map(|service| services::ready(case.index, service));
    let is_stale = |endpoint: IpAddr| {
        let listed = |ready: &Vec<Endpoint>| ready.iter().any(|one| one.ip == endpoint);
        case.index.knows_endpoints() && ready.as_ref().is_some_and(|ready| !listed(ready))
    };
    let silent = silent_servers(case, ip);
    let claim = match silent[..] {
        [only] if is_stale(only.ip()) => Claim {
            fix: Some(Fix::CheckStaleEndpoint(Who::Address(only.ip()))),
            ..claim.command(Command::ConntrackFlows(ip, port))
        },
        _ => claim,
    };
    silent.into_iter().fold(claim, |claim, endpoint| {
        let (own, others, count) = case.own.endpoints.outcomes(service, endpoint);
        let claim = claim.why(ServerFact::SilentEndpoint(
            server::place(case, endpoint.ip()),
            EndpointShare { own, others, count },
        ));
        match is_stale(endpoint.ip()) {
            true => claim.why(RouteFact::StaleEndpoint),
            false => claim,
        }
    })
}
