//! A connection that the other end, or something on the path, refuses.

use std::sync::Arc;

use crate::diagnose::attempt::{Attempt, Failure};
use crate::diagnose::case::Case;
use crate::diagnose::claim::Claim;
use crate::diagnose::command::{Command, Kubectl, PodCommand};
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::{
    AddressHolder, ConnectionFact, IcmpMeaning, ObjectName, PathFact, PortName,
};
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::route::{Backend, Route};
use crate::diagnose::rule::Rule;
use crate::diagnose::{endpoint, filters, gone, holder, missing, policies, services, suspects};
use crate::model::cluster::{Kind, Pod, Service};
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "connection-refused",
    severity: Severity::Error,
    finds: "a connection that is refused by a RST or an ICMP error",
    means: "A connection was refused. A RST means that no process listens on that port; an ICMP error means that something on \
            the path rejects it, and says how. A RST from the address of a Service comes from one of its endpoints: the node \
            translates the address.",
    looks_at: "TCP connections whose SYN was answered by a RST or an ICMP error, and UDP packets to Services and pods that were \
               answered by an ICMP error; who sent the error; for a Service, the ports of \
               its endpoints and the ports that the pods' containers declare; the endpoint in the node's conntrack; \
               NetworkPolicies.",
    cannot_know: "What the pods listen on: a declared port may be closed, and an undeclared one may be open. Which of several \
                  endpoints refused, where conntrack is not read: each is offered to be tested. Whether a firewall sent the RST.",
    check,
};

/// The sockets of at most this many pods are offered to be looked at.
const MAX_LOOKED_INTO: usize = 2;

fn check(case: &Case<'_>) -> Option<Claim> {
    let attempt = Attempt::from_case(case)?;
    if attempt.failure == Failure::Silent || gone::owner(case).is_some() {
        return None;
    }
    let port = attempt.port;
    let peer = &case.ends.peer;
    let ip = peer.ip;
    let claim = attempt.claim(case);
    let claim = if attempt.protocol == "TCP" {
        claim.cure(Cure::Connects(ip, Some(port)))
    } else if case.service().is_some() || peer.pod.is_some() {
        let claim = claim.severity(Severity::Warning);
        claim.cure(Cure::Carries(ip, port))
    } else {
        // Outside of the cluster UDP packets find closed ports on purpose, as those of traceroute.
        return None;
    };
    Some(match (case.service(), &peer.pod, attempt.failure) {
        (Some(service), _, Failure::Reset) => reset_by_service(case, service, &attempt, claim),
        (None, Some(pod), Failure::Reset) => {
            let claim = claim
                .because(Reason::NotListening(port))
                .fix(Fix::CheckPod(ObjectName::from(&**pod)))
                .why(ConnectionFact::PodNotListening(port));
            let object = case.index.pod_object(pod);
            let claim = object
                .into_iter()
                .fold(claim, |claim, pod| declared(claim, &[pod], port));
            claim.command(Kubectl::Sockets(ObjectName::from(&**pod)))
        }
        (_, _, Failure::Reset) => {
            let claim = missing::address_owner(case, claim)
                .because(Reason::NotListening(port))
                .why(ConnectionFact::HostNotListening(port));
            match &peer.node {
                Some(node) => claim.command(Command::SocketsOnNode(Arc::clone(node), port)),
                None => claim.command(Kubectl::ConnectFromNewPod(ip, port)),
            }
        }
        _ => rejected(case, &attempt, claim),
    })
}

fn reset_by_service(case: &Case<'_>, service: &Service, attempt: &Attempt, claim: Claim) -> Claim {
    let index = case.index;
    let mut claim = claim.why(ConnectionFact::ResetByEndpoint);
    let endpoints = ConnectionFact::ReadyEndpoints(services::ready_or_unknown(index, service));
    if !index.knows_endpoints() {
        return claim.why(endpoints);
    }
    let backends = suspects::of_attempt(case, attempt);
    let backends = suspects::undeclared_first(case, backends);
    let mut targets: Vec<u16> = backends.iter().map(|backend| backend.port).collect();
    targets.sort_unstable();
    targets.dedup();
    if let [target] = *targets.as_slice() {
        claim = claim.because(match backends.len() {
            1 => Reason::NotListening(target),
            several => Reason::OneOfEndpoints(several),
        });
        claim = claim.why(ConnectionFact::TargetPort {
            port: attempt.port,
            target,
        });
        claim = undeclared(case, claim, &backends, target);
    }
    claim = claim.why(endpoints);
    claim.fix = suspects::fix(&backends).or(Some(Fix::CheckPods(service.into())));
    if let Some(route) = Route::from_case(case, attempt.protocol, attempt.port) {
        claim = endpoint::blame(case, &route, route.context(case, claim));
    }
    if backends.len() > 1 {
        claim = claim.why(ConnectionFact::WhichEndpoint(backends.len()));
    }
    claim = suspects::probe(claim, &backends);
    let pods = backends
        .iter()
        .filter_map(|backend| suspects::pod(case, backend));
    for pod in pods.take(MAX_LOOKED_INTO) {
        claim = claim.command(Kubectl::Sockets(ObjectName::from(pod)));
    }
    claim.command(Kubectl::TargetPorts(service.into()))
}

/// Adds the ports that the containers declare: of all endpoints, or the endpoints that declare others.
fn undeclared(case: &Case<'_>, claim: Claim, backends: &[Backend], target: u16) -> Claim {
    let pods = |backends: &mut dyn Iterator<Item = &Backend>| -> Vec<&Pod> {
        backends
            .filter_map(|backend| suspects::pod(case, backend))
            .collect()
    };
    let others = pods(
        &mut backends
            .iter()
            .filter(|backend| suspects::declares_others(case, backend)),
    );
    if others.is_empty() || others.len() == backends.len() {
        return declared(claim, &pods(&mut backends.iter()), target);
    }
    claim.why(ConnectionFact::UndeclaredBy {
        pods: others.into_iter().map(ObjectName::from).collect(),
        target,
    })
}

/// Adds the ports that the containers declare, if the target is none of them.
fn declared(claim: Claim, pods: &[&Pod], target: u16) -> Claim {
    let mut declared: Vec<PortName> = Vec::new();
    for port in pods.iter().flat_map(|pod| &pod.ports) {
        if port.port == target && &*port.protocol == "TCP" {
            return claim;
        }
        let name = PortName {
            port: port.port,
            protocol: port.protocol.clone(),
        };
        if !declared.contains(&name) {
            declared.push(name);
        }
    }
    if declared.is_empty() {
        return claim;
    }
    claim.why(ConnectionFact::DeclaredPorts { declared, target })
}

/// Rejected by an ICMP error.
fn rejected(case: &Case<'_>, attempt: &Attempt, claim: Claim) -> Claim {
    let Failure::Rejected(error) = attempt.failure else {
        return claim;
    };
    let ip = case.ends.peer.ip;
    let sender = error.from.ip();
    let meaning = IcmpMeaning::from(&error);
    let from = holder::of(case, sender);
    let mut claim = missing::address_owner(case, claim)
        .why(PathFact::IcmpMeans(meaning, attempt.protocol))
        .why(PathFact::IcmpSender(sender, from.clone()));
    if meaning == IcmpMeaning::TimeExceeded {
        claim = claim
            .because(Reason::RoutingLoop)
            .fix(Fix::CheckRoutes)
            .command(PodCommand::Trace(ip));
    }
    let by_filter = filters::sent(&error);
    if by_filter {
        claim = filters::explain(case, claim, &error);
    }
    let Some(service) = case.service() else {
        if case.ends.peer.pod.is_none() && case.ends.peer.node.is_none() {
            claim = unowned(case, claim).command(Kubectl::PodWithAddress(ip));
        }
        if meaning == IcmpMeaning::Port
            && let Some(pod) = &case.ends.peer.pod
        {
            claim = claim.command(Kubectl::DescribePod((&**pod).into()));
        }
        let claim = claim.command(Command::RouteOnNode(ip));
        return policies::explain(case, claim, attempt.protocol, attempt.port);
    };
    let endpoints = ConnectionFact::ReadyEndpoints(services::ready_or_unknown(case.index, service));
    claim = claim.why(endpoints);
    let mut backends = suspects::of_attempt(case, attempt);
    if backends.len() > 1
        && let AddressHolder::Pod(pod) = from
        && backends.iter().any(|backend| backend.endpoint.ip == sender)
    {
        claim = claim.why(ConnectionFact::EndpointRejects(pod));
        backends.retain(|backend| backend.endpoint.ip == sender);
    }
    let ended = suspects::without_pod(case, &backends);
    let gone = !by_filter && (!ended.is_empty() || meaning == IcmpMeaning::Host);
    if gone {
        claim = claim
            .because(Reason::ForwardedToGone)
            .fix(Fix::CheckEndpoints(service.into()))
            .why(match ended.is_empty() {
                true => ConnectionFact::ForwardedToGone,
                false => ConnectionFact::EndpointsEnded(ended),
            });
    }
    if claim.fix.is_none() {
        claim.fix = suspects::fix(&backends);
    }
    if attempt.protocol == "TCP" {
        claim = suspects::probe(claim, &backends);
    }
    if !by_filter {
        claim = claim.command(Kubectl::EndpointSlices(service.into()));
    }
    policies::explain(case, claim, attempt.protocol, attempt.port)
}

/// Adds that no object has the address, if the inventory has every kind that could.
fn unowned(case: &Case<'_>, claim: Claim) -> Claim {
    let mut kinds = [Kind::Pod, Kind::Service, Kind::Node].into_iter();
    if !kinds.all(|kind| case.index.knows(kind)) {
        return claim;
    }
    let claim = claim.why(ConnectionFact::AddressUnused);
    match claim.because {
        None => claim.because(Reason::NobodyHasAddress),
        Some(_) => claim,
    }
}
