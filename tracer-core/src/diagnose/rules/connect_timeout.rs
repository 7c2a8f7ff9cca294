//! A connection without an answer.

use std::net::SocketAddr;

use crate::diagnose::attempt::{Attempt, Failure, Late};
use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::Claim;
use crate::diagnose::command::{Command, Kubectl, PodCommand};
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::{ConnectionFact, FlowFact, Others, PathFact, RouteFact, Who};
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::route::{self, Backend, Route};
use crate::diagnose::rule::Rule;
use crate::diagnose::{
    drops, endpoint, filters, gone, holder, missing, policies, services, suspects,
};
use crate::model::cluster::Kind;
use crate::model::connection::TcpState;
use crate::model::finding::Severity;
use crate::model::flow::Flow;
use crate::model::observation::IcmpError;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "connect-timeout",
    severity: Severity::Error,
    finds: "a connection without an answer",
    means: "A connection got no answer within seven seconds, not even a refusal, or only when the client had given up: something \
            on the path drops the packets, or no host has the address.",
    looks_at: "TCP connections whose SYNs were not answered, or too late; three connections to one destination that the client \
               gave up earlier; the owner of the address and its node; the endpoint in the node's conntrack; NetworkPolicies \
               that select either end, and whether they allow it; whether other pods of this node connected to it in the last five minutes. The rule is silent where \
               packets to the pod are not visible.",
    cannot_know: "Where the packets were lost, and, where conntrack is not read, which endpoint of a Service did not answer: each \
                  is offered to be tested. Whether the network plugin enforces NetworkPolicies. What pods of other nodes reach.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let attempt = silent(case)?;
    if gone::owner(case).is_some() {
        return None;
    }
    let peer = case.ends.peer.ip;
    let mut claim = attempt
        .claim(case)
        .cure(Cure::Connects(peer, Some(attempt.port)));
    if let Failure::Late(late) = attempt.failure {
        claim = claim.why(FlowFact::AnsweredTooLate(late.after()));
    }
    if matches!(case.symptom, Symptom::Tcp(connection) if connection.state == TcpState::Undecided) {
        claim = claim.why(FlowFact::GivesUpEarly);
    }
    let claim = address(case, claim, &attempt)
        .why(ConnectionFact::ReachedByOthers(others(case, attempt.port)));
    let claim = drops::explain_attempt(case, claim);
    let claim = conntrack(case, claim, &attempt);
    let claim = policies::explain(case, claim, "TCP", attempt.port);
    Some(missing::address_owner(case, claim))
}

/// The attempt, if it got no answer or one that came after the timeout.
fn silent(case: &Case<'_>) -> Option<Attempt> {
    if let Some((attempt, late)) = Attempt::late(case) {
        let too_late = case.was_counted() || matches!(late, Late::TooLate(_));
        return too_late.then_some(attempt);
    }
    let attempt = Attempt::from_case(case)?;
    (attempt.protocol == "TCP" && attempt.failure == Failure::Silent).then_some(attempt)
}

/// The ICMP error about the connection that quotes an endpoint instead of the Service.
fn stray_error(case: &Case<'_>) -> Option<IcmpError> {
    let Symptom::Tcp(connection) = case.symptom else {
        return None;
    };
    let Flow { pod, peer, .. } = connection.flow;
    let error = case.own.stray_errors.get(pod.port())?;
    (error.about.dst != peer).then_some(error)
}

/// Adds the owner of the address, and where it is.
fn address(case: &Case<'_>, claim: Claim, attempt: &Attempt) -> Claim {
    let peer = &case.ends.peer;
    if let Some(service) = case.service() {
        let mut backends = suspects::of_attempt(case, attempt);
        let endpoints = services::ready_or_unknown(case.index, service);
        let mut claim = claim.why(ConnectionFact::ReadyEndpoints(endpoints));
        if let Some(error) = stray_error(case) {
            let (sender, quoted) = (error.from.ip(), error.about.dst.ip());
            claim = claim
                .why(PathFact::StrayError(error))
                .why(PathFact::IcmpMeans((&error).into(), attempt.protocol))
                .why(PathFact::IcmpSender(sender, holder::of(case, sender)));
            backends.retain(|backend| backend.endpoint.ip == quoted);
            if backends.is_empty() {
                claim = claim.command(Kubectl::PodWithAddress(quoted));
            }
        } else if backends.len() > 1 {
            claim = claim.why(ConnectionFact::WhichEndpoint(backends.len()));
        }
        claim.fix = suspects::fix(&backends);
        if let Some(error) = stray_error(case).filter(filters::sent) {
            claim = filters::explain(case, claim, &error);
        }
        let Some(route) = Route::from_case(case, attempt.protocol, attempt.port) else {
            return claim;
        };
        claim = endpoint::blame(case, &route, claim);
        let all = route.backends(case);
        let own = |backend: &Backend| route::is_own(case, &backend.endpoint);
        let unknown = endpoint::chosen(case).is_none();
        let possible = unknown && all.len() > 1 && case.record.fits_one_of(all.len());
        if possible && all.iter().any(own) {
            claim = claim.why(RouteFact::OneEndpointIsSelf(all.len()));
        }
        claim = suspects::syn_loss(claim, &backends);
        return route.context(case, claim);
    }
    if peer.pod.is_some() {
        let own = case.pod().and_then(|pod| pod.node.clone());
        let nodes = match (own, peer.node.clone()) {
            (Some(own), Some(node)) if own == node => ConnectionFact::SameNode(node),
            (Some(own), Some(node)) => ConnectionFact::TwoNodes(own, node),
            _ => ConnectionFact::NodesUnknown,
        };
        return claim.why(nodes).command(PodCommand::Ping(peer.ip));
    }
    let mut ranges = case
        .index
        .service_cidrs()
        .iter()
        .flat_map(|range| &range.cidrs);
    match (ranges.find(|range| range.contains(&peer.ip)), &peer.node) {
        (Some(range), _) => claim
            .because(Reason::NoServiceHasAddress)
            .why(ConnectionFact::InServiceRange(*range))
            .command(Kubectl::ServiceWithAddress(peer.ip)),
        (None, Some(_)) => claim.command(PodCommand::Ping(peer.ip)),
        (None, None) if knows_all_owners(case) => claim
            .because(Reason::NobodyHasAddress)
            .why(ConnectionFact::AddressUnused)
            .command(Kubectl::PodWithAddress(peer.ip)),
        (None, None) => claim.command(Kubectl::ConnectFromNewPod(peer.ip, attempt.port)),
    }
}

/// Adds that connections to other destinations fail alike, unless the counters of conntrack show that it is not the cause.
pub(super) fn conntrack(case: &Case<'_>, claim: Claim, attempt: &Attempt) -> Claim {
    let peer = SocketAddr::new(case.ends.peer.ip, attempt.port);
    let memory = case.memory;
    if memory.conntrack.had_room((case.first, case.last)) {
        return claim;
    }
    match memory.lost_syns.elsewhere(case.first, peer, &memory.pods) {
        0 => claim,
        others => {
            let mut claim = claim
                .because(Reason::SynsLost { elsewhere: true })
                .why(FlowFact::ConntrackFull(others));
            // Before the probes, of which there can be many.
            claim.commands.insert(0, Command::ConntrackTable);
            claim.fix(Fix::CheckConntrack)
        }
    }
}

/// Whether the inventory has every kind of object that can own an address.
fn knows_all_owners(case: &Case<'_>) -> bool {
    let kinds = [Kind::Pod, Kind::Service, Kind::Node];
    kinds.into_iter().all(|kind| case.index.knows(kind))
}

/// Whether another pod connected to it.
fn others(case: &Case<'_>, port: u16) -> Others {
    let peer = (case.ends.peer.ip, port);
    match case.memory.pods.connected_by_another(peer, case.owner) {
        Some(contact) if contact.at > case.at => Others::Meanwhile(Who::from(contact.pod)),
        Some(contact) => Others::Before(Who::from(contact.pod), case.at.since(contact.at)),
        None => Others::None,
    }
}
