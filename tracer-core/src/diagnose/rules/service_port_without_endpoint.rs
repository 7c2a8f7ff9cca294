//! A port of a Service that leads to no port of its endpoints.

use std::sync::Arc;

use crate::diagnose::attempt::Attempt;
use crate::diagnose::case::Case;
use crate::diagnose::claim::Claim;
use crate::diagnose::command::Kubectl;
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::{DeclaredPort, MissingTarget, PortName, RouteFact};
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::route::Route;
use crate::diagnose::rule::Rule;
use crate::diagnose::services;
use crate::identity::Endpoint;
use crate::model::cluster::{ContainerPort, ServicePort};
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "service-port-without-endpoint",
    severity: Severity::Error,
    finds: "a port of a Service that none of its endpoints has",
    means: "The Service has the port and ready endpoints, and its EndpointSlices do not have the port: its targetPort is a name \
            that no container of its pods declares, or the slices were made by hand. The node has nowhere to forward to, and \
            rejects or drops the packets.",
    looks_at: "TCP connections that were unanswered, refused or rejected, and UDP packets that were unanswered or rejected; the \
               Service's ports, the ports of its EndpointSlices, and those that the pods' containers declare.",
    cannot_know: "Which port was meant.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let attempt = Attempt::from_case(case)?;
    let route = Route::from_case(case, attempt.protocol, attempt.port)?;
    let (service, port) = (route.service, route.port?);
    let mut ready = route.endpoints(case.index);
    ready.retain(|endpoint| endpoint.ready);
    if ready.is_empty() || !route.backends(case).is_empty() {
        return None;
    }
    let missing = missing(case, &ready, port)?;
    let (reason, fix) = match &missing {
        MissingTarget::Undeclared { name, .. } => (
            Reason::TargetPortUndeclared(name.clone()),
            Fix::NameTargetPort(name.clone()),
        ),
        MissingTarget::Unlisted => (Reason::PortUnlisted, Fix::ListPort),
    };
    let mut claim = attempt
        .claim(case)
        .because(reason)
        .fix(fix)
        .why(RouteFact::PortWithoutEndpoint {
            port: PortName::from(port),
            missing,
        })
        .command(Kubectl::TargetPorts(service.into()));
    if !service.selector.is_empty() {
        claim = claim.command(Kubectl::ContainerPorts(
            service.namespace.clone(),
            services::selector(service),
        ));
    }
    let claim = claim.command(Kubectl::EndpointSlices(service.into()));
    Some(match attempt.protocol {
        "TCP" => claim.cure(Cure::Connects(case.ends.peer.ip, Some(attempt.port))),
        _ => claim,
    })
}

/// Why no endpoint has the port. `None` if a pod declares the target port: then the slices are about to get it.
fn missing(case: &Case<'_>, ready: &[Endpoint], port: &ServicePort) -> Option<MissingTarget> {
    let Some(name) = port.target.as_ref().filter(|target| is_name(target)) else {
        return Some(MissingTarget::Unlisted);
    };
    let pods = ready
        .iter()
        .filter_map(|endpoint| case.index.pod_object(endpoint.pod.as_ref()?));
    let ports: Vec<&ContainerPort> = pods.flat_map(|pod| &pod.ports).collect();
    let is_it =
        |one: &&&ContainerPort| one.name.as_ref() == Some(name) && one.protocol == port.protocol;
    if ports.iter().any(|one| is_it(&one)) {
        return None;
    }
    let mut declared: Vec<DeclaredPort> = Vec::new();
    for one in ports {
        let one = DeclaredPort {
            name: one.name.clone(),
            port: PortName {
                port: one.port,
                protocol: one.protocol.clone(),
            },
        };
        if !declared.contains(&one) {
            declared.push(one);
        }
    }
    Some(MissingTarget::Undeclared {
        name: name.clone(),
        declared,
    })
}

fn is_name(target: &Arc<str>) -> bool {
    target.parse::<u16>().is_err()
}
