//! A connection that the other end, or something on the path, refuses.

use crate::diagnose::attempt::{Attempt, Failure};
use crate::diagnose::case::Case;
use crate::diagnose::claim::Claim;
use crate::diagnose::command::{Kubectl, PodCommand};
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::{ConnectionFact, ObjectName, PortName};
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::route::{MAX_PROBED, Route};
use crate::diagnose::rule::Rule;
use crate::diagnose::{gone, missing, policies, services};
use crate::model::cluster::{Pod, Service};
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "connection-refused",
    severity: Severity::Error,
    finds: "a connection that is refused by a reset or an ICMP error",
    means: "A connection was refused. A reset means that no process listens on that port; an ICMP error means that something on \
            the path rejects it. A reset from the address of a Service comes from one of its endpoints: the node translates \
            the address.",
    looks_at: "TCP connections whose SYN was answered by a reset or an ICMP error; for a Service, the ports of its endpoints and \
               the ports that the pods' containers declare; NetworkPolicies.",
    cannot_know: "What the pods listen on: a declared port may be closed, and an undeclared one may be open. Which of several \
                  endpoints refused. Whether a firewall sent the reset.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let attempt = Attempt::from_case(case).filter(|attempt| attempt.protocol == "TCP")?;
    if attempt.failure == Failure::Silent || gone::owner(case).is_some() {
        return None;
    }
    let port = attempt.port;
    let ip = case.ends.peer.ip;
    let claim = attempt.claim(case).cure(Cure::Connects(ip, Some(port)));
    Some(
        match (case.service(), &case.ends.peer.pod, attempt.failure) {
            (Some(service), _, Failure::Reset) => reset_by_service(case, service, port, claim),
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
                missing::address_owner(case, claim).why(ConnectionFact::HostNotListening(port))
            }
            _ => rejected(case, claim),
        },
    )
}

fn reset_by_service(case: &Case<'_>, service: &Service, port: u16, claim: Claim) -> Claim {
    let index = case.index;
    let mut claim = claim
        .fix(Fix::CheckPods(service.into()))
        .why(ConnectionFact::ResetByEndpoint);
    let endpoints = ConnectionFact::ReadyEndpoints(services::ready_or_unknown(index, service));
    if !index.knows_endpoints() {
        return claim.why(endpoints);
    }
    let Some(route) = Route::from_case(case, "TCP", port) else {
        return claim.why(endpoints);
    };
    let backends = route.backends(case);
    let pods: Vec<&Pod> = backends
        .iter()
        .filter_map(|backend| index.pod_object(backend.endpoint.pod.as_ref()?))
        .collect();
    let mut targets: Vec<u16> = backends.iter().map(|backend| backend.port).collect();
    targets.dedup();
    if let [target] = *targets.as_slice() {
        claim = claim
            .because(Reason::NotListening(target))
            .why(ConnectionFact::TargetPort { port, target });
        claim = declared(claim, &pods, target);
    }
    claim = claim.why(endpoints);
    // Which endpoint refused is not visible.
    if backends.len() > 1 {
        claim = route.probes(case, claim);
    }
    for pod in pods.iter().take(MAX_PROBED) {
        claim = claim.command(Kubectl::Sockets(ObjectName::from(*pod)));
    }
    claim.command(Kubectl::TargetPorts(service.into()))
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
fn rejected(case: &Case<'_>, claim: Claim) -> Claim {
    let claim = missing::address_owner(case, claim).why(ConnectionFact::RejectedOnTheWay);
    let port = case.ends.peer.port.unwrap_or_default();
    let claim = match Route::from_case(case, "TCP", port) {
        Some(route) => route.probes(case, claim),
        None => claim.command(PodCommand::Ping(case.ends.peer.ip)),
    };
    policies::explain(case, claim, "TCP", port)
}
