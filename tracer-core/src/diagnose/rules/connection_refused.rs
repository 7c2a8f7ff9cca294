//! Somebody is there and does not want the connection.

use crate::diagnose::attempt::{Attempt, Failure, target};
use crate::diagnose::case::Case;
use crate::diagnose::claim::{Claim, Cure};
use crate::diagnose::rule::Rule;
use crate::diagnose::{gone, missing, policies, services, words};
use crate::model::cluster::{Pod, Service};
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "connection-refused",
    severity: Severity::Error,
    finds: "a connection that is refused by a reset or an ICMP error",
    means: "A connection was refused: a reset says that nobody listens on that port, an ICMP error that something on the way \
            rejects it. A reset that bears the address of a Service comes from one of its endpoints: the address was translated.",
    looks_at: "TCP connections whose SYN was answered by a reset or an ICMP error; of a Service the ports of its endpoints, and the \
               ports that the pods' containers declare; NetworkPolicies.",
    cannot_know: "What the pods listen on: a declared port may be closed and one that is not declared may be open. Which of several \
                  endpoints refused. Whether a firewall sent the reset.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let attempt = Attempt::of(case).filter(|attempt| attempt.protocol == "TCP")?;
    if attempt.failure == Failure::Silent || gone::owner(case).is_some() {
        return None;
    }
    let claim = attempt
        .claim(case, &target(case, attempt.port))
        .cure(Cure::Connects(case.ends.peer.ip, Some(attempt.port)));
    let peer = &case.ends.peer;
    Some(match (case.service(), &peer.pod, attempt.failure) {
        (Some(service), _, Failure::Reset) => of_service(case, service, attempt.port, claim),
        (None, Some(pod), Failure::Reset) => {
            let claim = claim.why(format!(
                "Nobody listens on port {} of the pod, or the pod resets connections.",
                attempt.port
            ));
            let object = case.index.pod_object(pod);
            let claim = object
                .into_iter()
                .fold(claim, |claim, pod| declared(claim, &[pod], attempt.port));
            claim.remedy(format!(
                "kubectl -n {} exec {} -- ss -ltn   # what it listens on, if its image has ss",
                pod.namespace, pod.name
            ))
        }
        (_, _, Failure::Reset) => missing::who(case, again(case, attempt.port, claim)).why(format!(
            "The host is there, and nobody listens on port {}, or a firewall resets connections.",
            attempt.port
        )),
        _ => rejected(case, again(case, attempt.port, claim)),
    })
}

fn of_service(case: &Case<'_>, service: &Service, port: u16, claim: Claim) -> Claim {
    let index = case.index;
    let mut claim = claim.why("The reset bears the Service's address but comes from one of its endpoints: the node translates addresses both ways.");
    let ready = services::ready(index, service);
    if !index.knows_endpoints() {
        return claim.why(services::ready_sentence(index, service));
    }
    let targets = services::targets(&ready, service, port);
    let pods: Vec<&Pod> = ready
        .iter()
        .filter_map(|endpoint| index.pod_object(endpoint.pod.as_ref()?))
        .collect();
    if let [target] = targets.as_slice() {
        claim = claim.why(format!(
            "Port {port} of the Service leads to port {target} of its pods, and the one that was chosen does not listen there."
        ));
        claim = declared(claim, &pods, *target);
    }
    claim = claim.why(services::ready_sentence(index, service));
    if let Some(pod) = pods.first() {
        claim = claim.remedy(format!(
            "kubectl -n {} exec {} -- ss -ltn   # what it listens on, if its image has ss",
            pod.namespace, pod.name
        ));
    }
    claim.remedy(format!(
        "kubectl -n {} get service {} -o jsonpath='{{.spec.ports}}{{\"\\n\"}}'   # its targetPort",
        service.namespace, service.name
    ))
}

/// What the containers declare, where it is something else.
fn declared(claim: Claim, pods: &[&Pod], target: u16) -> Claim {
    let mut declared: Vec<String> = Vec::new();
    for port in pods.iter().flat_map(|pod| &pod.ports) {
        if port.port == target && &*port.protocol == "TCP" {
            return claim;
        }
        let name = format!("{}/{}", port.port, port.protocol);
        if !declared.contains(&name) {
            declared.push(name);
        }
    }
    if declared.is_empty() {
        return claim;
    }
    claim.why(format!(
        "The pod's containers declare {}, not {target}: possibly the port is meant to be that.",
        words::list(&declared)
    ))
}

/// By an ICMP error.
fn rejected(case: &Case<'_>, claim: Claim) -> Claim {
    let claim = missing::who(case, claim)
        .why("Something on the way rejects it. Possible causes: a firewall or NetworkPolicy that rejects, no route, or a node that does not know the endpoints yet.");
    policies::possible(case, claim)
}

/// Whether it is still so.
fn again(case: &Case<'_>, port: u16, claim: Claim) -> Claim {
    claim.remedy(case.in_pod(&words::try_tcp(case.ends.peer.ip, port, None)))
}
