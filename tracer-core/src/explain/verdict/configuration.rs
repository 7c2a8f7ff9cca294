//! Facts of the objects that prevent it: the pod, the name, the Service, the policies.

use super::{Next, Parts};
use crate::explain::PodFacts;
use crate::explain::alias::{AliasFacts, LeadsTo};
use crate::explain::command::{describe, service as get_service, slices};
use crate::explain::policies::{PolicyFacts, Ruling};
use crate::explain::resolution::InInventory;
use crate::explain::service::{EndpointFacts, ServiceFacts};

/// The first that applies, in the order in which a connection would meet them.
pub(super) fn fact(parts: &Parts<'_, '_>) -> Option<Fact> {
    pod_does_not_run(parts)
        .or_else(|| no_such_name(parts))
        .or_else(|| alias_leads_nowhere(parts))
        .or_else(|| of_service(parts))
}

/// The sentence, what to do, and the kinds of attempts whose success contradicts it.
pub(super) type Fact = (String, Next, &'static [&'static str]);

const TRAFFIC: &[&str] = &["tcp", "udp"];
const LOOKUPS: &[&str] = &["lookup"];
const ANY: &[&str] = &["lookup", "tcp", "udp", "ping"];

fn pod_does_not_run(parts: &Parts<'_, '_>) -> Option<Fact> {
    let phase = parts.pod.phase.filter(|phase| *phase != "Running")?;
    let PodFacts {
        namespace, name, ..
    } = parts.pod;
    Some((
        format!("{namespace}/{name} does not run: its phase is {phase}"),
        Next::run("see why", describe("pod", namespace, name)),
        ANY,
    ))
}

fn no_such_name(parts: &Parts<'_, '_>) -> Option<Fact> {
    let resolution = parts.resolution.filter(|one| one.winner.is_none())?;
    let asked = &resolution.asked;
    let own = parts.input.subject.full_name();
    let unready = resolution.candidates.iter().find_map(|candidate| {
        let service = candidate.service.as_ref();
        service
            .filter(|_| candidate.inventory == InInventory::Absent)
            .map(|service| (candidate, service))
    });
    if let Some((candidate, (namespace, name))) = unready {
        return Some((
            format!("{asked} does not resolve in {own}: {}", candidate.because),
            Next::run("see its endpoints", slices(namespace, name)),
            LOOKUPS,
        ));
    }
    if let Some(meant) = resolution.instead.first() {
        let service = &meant.service;
        return Some((
            format!("{asked} leads to no Service from {own}; {service} is in another namespace"),
            Next::new(format!("use {}", meant.name)),
            LOOKUPS,
        ));
    }
    resolution.none_exists.then(|| {
        (
            format!("{asked} does not resolve in {own}: none of the names that it tries exists"),
            Next::run("look for the name that is meant", "kubectl get services -A"),
            LOOKUPS,
        )
    })
}

/// An ExternalName Service whose target cannot be right.
fn alias_leads_nowhere(parts: &Parts<'_, '_>) -> Option<Fact> {
    let alias = parts.reached.aliases.last()?;
    let AliasFacts {
        namespace,
        name,
        stands_for,
        because,
        ..
    } = alias;
    let service = format!("ExternalName Service {namespace}/{name}");
    let correct = || {
        Next::run(
            format!("correct the externalName of {namespace}/{name}"),
            get_service(namespace, name),
        )
    };
    let (says, next) = match (alias.leads_to, &alias.instead) {
        (LeadsTo::Absent | LeadsTo::Loop, _) => (
            format!("{service} stands for {stands_for}, which leads nowhere: {because}"),
            correct(),
        ),
        (LeadsTo::Address, _) => (
            format!("{service} stands for {stands_for}: {because}"),
            Next::run(
                "use a Service without selector and an EndpointSlice with the address",
                get_service(namespace, name),
            ),
        ),
        (LeadsTo::Outside, Some(instead)) => (
            format!(
                "{service} stands for {stands_for}, a name outside of the cluster; possible cause, if {instead} is \
                 meant: no search domain is added"
            ),
            Next::new(format!(
                "use {instead} as its externalName, if that is meant"
            )),
        ),
        _ => return None,
    };
    Some((says, next, ANY))
}

fn of_service(parts: &Parts<'_, '_>) -> Option<Fact> {
    let service = parts.service.filter(|one| one.r#type != "ExternalName")?;
    let name = format!("Service {}/{}", service.namespace, service.name);
    if service.port_served == Some(false) && service.r#type != "headless" {
        let ports: Vec<String> = service
            .ports
            .iter()
            .map(|port| format!("{}/{}", port.port, port.protocol))
            .collect();
        let asked = service.asked_port.as_deref().unwrap_or_default();
        let serves = match ports.is_empty() {
            true => "no port".to_owned(),
            false => format!("only {}", ports.join(", ")),
        };
        let next = match &ports[..] {
            [one] => Next::new(format!("use port {one}")),
            _ => Next::run(
                "use a port that it has",
                get_service(&service.namespace, &service.name),
            ),
        };
        return Some((
            format!("{name} does not serve {asked}: it serves {serves}"),
            next,
            TRAFFIC,
        ));
    }
    let endpoints = service.endpoints.as_ref()?;
    // Without a ready one, nodes use those that serve while they terminate.
    let usable = |one: &EndpointFacts| one.state == "ready" || one.serving;
    if !endpoints.iter().any(usable) {
        return Some(no_endpoint(service, &name));
    }
    let without = service
        .ports
        .iter()
        .find(|port| port.asked && port.endpoints == Some(0));
    if let Some(port) = without {
        return Some((
            format!(
                "no ready endpoint of {name} has the target port {} of its port {}/{}",
                port.target, port.port, port.protocol
            ),
            Next::run(
                "compare it with the names of the containers' ports",
                slices(&service.namespace, &service.name),
            ),
            TRAFFIC,
        ));
    }
    let node = parts.pod.node.as_ref()?;
    let here = |one: &EndpointFacts| one.same_node && one.state == "ready";
    let by_cluster_ip = parts
        .reached
        .service_ip
        .is_none_or(|ip| service.cluster_ips.contains(&ip));
    let local = service.internal_local && by_cluster_ip && service.r#type != "headless";
    if local && !endpoints.iter().any(here) {
        return Some((
            format!(
                "{name} has internalTrafficPolicy Local and no ready endpoint on {node}, the pod's node"
            ),
            Next::new(format!(
                "run an endpoint on {node}, or set internalTrafficPolicy: Cluster"
            )),
            TRAFFIC,
        ));
    }
    None
}

fn no_endpoint(service: &ServiceFacts, name: &str) -> Fact {
    let endpoints = service.endpoints.iter().flatten();
    let reason = endpoints
        .clone()
        .find_map(|one| Some((one.pod.as_ref()?, one.because.as_ref()?)));
    let why = match (reason, &service.selects) {
        (Some((pod, because)), _) => format!(": {pod}: {because}"),
        (None, Some(selects)) => format!(": {selects}"),
        (None, None) => String::new(),
    };
    let pod = endpoints.filter_map(|one| one.pod.as_ref()).next();
    let next = match pod.and_then(|pod| pod.split_once('/')) {
        Some((namespace, pod)) => {
            Next::run("see why it is not ready", describe("pod", namespace, pod))
        }
        None => Next::run(
            "compare its selector with the labels of pods",
            get_service(&service.namespace, &service.name),
        ),
    };
    (format!("{name} has no ready endpoint{why}"), next, TRAFFIC)
}

/// Policies deny all destinations. One that is allowed may be the one that is used.
pub(super) fn denied(parts: &Parts<'_, '_>) -> Option<Fact> {
    let (dns, contradicted_by, denial) = [(false, TRAFFIC), (true, LOOKUPS)]
        .into_iter()
        .find_map(|(dns, kinds)| Some((dns, kinds, denial(parts, dns)?)))?;
    let Denial { first, policy } = denial;
    let (namespace, name) = policy.split_once('/')?;
    let port = first.port.as_deref().unwrap_or_default();
    let what = match (dns, first.direction) {
        (true, _) => format!(
            "no NetworkPolicy of {} allows its queries to {} ({port})",
            first.of, first.with
        ),
        (false, "egress") => format!(
            "no NetworkPolicy of {} allows it to connect to {} at {port}",
            first.of, first.with
        ),
        (false, _) => format!(
            "no NetworkPolicy of {} allows {} at {port}",
            first.of, first.with
        ),
    };
    Some((
        format!(
            "{what}: {policy} selects it; possible cause, if the network plugin enforces policies"
        ),
        Next::run(
            format!("allow it in {policy}, if it should be"),
            describe("networkpolicy", namespace, name),
        ),
        contradicted_by,
    ))
}

/// What policies deny: every destination, in one direction.
pub(super) struct Denial<'p> {
    first: &'p PolicyFacts,
    /// A policy that selects the pod, as `namespace/name`.
    pub policy: &'p str,
}

/// Whether policies deny all destinations of the target, or all endpoints of the pod's DNS server.
pub(super) fn denial<'p>(parts: &Parts<'p, '_>, dns: bool) -> Option<Denial<'p>> {
    let of = || parts.policies.iter().filter(|one| one.dns == dns);
    let first = of().find(|one| one.ruling == Ruling::Denied)?;
    let same = |one: &&PolicyFacts| one.direction == first.direction;
    // The facts about the DNS server are denials alone.
    let all = dns || of().filter(same).all(|one| one.ruling == Ruling::Denied);
    let policy = first.selecting.first().filter(|_| all)?;
    Some(Denial { first, policy })
}
