//! The DNS server of a case.

use super::case::Case;
use super::claim::Claim;
use super::command::Kubectl;
use super::cure::Cure;
use super::fact::{ObjectName, Server, ServerFact};
use super::{missing, services};

/// The server's address and the object that has it.
pub(super) fn named(case: &Case<'_>) -> Server {
    let peer = &case.ends.peer;
    let object = match (&peer.service, &peer.pod) {
        (Some(service), _) => Some(ObjectName::from(&**service)),
        (None, Some(pod)) => Some(ObjectName::from(&**pod)),
        (None, None) => None,
    };
    Server {
        object,
        ip: peer.ip,
    }
}

/// If the server is a Service: adds whether it has ready endpoints, how to look, and the cure.
pub(super) fn endpoints(case: &Case<'_>, claim: Claim) -> Claim {
    let index = case.index;
    let Some(service) = case.service() else {
        return missing::address_owner(case, claim);
    };
    let name = ObjectName::from(service);
    let ip = case.ends.peer.ip;
    if !services::none_ready_for(index, service, ip) {
        let ready = services::ready_or_unknown(index, service);
        return logs(case, claim.why(ServerFact::IsService(name, ready)));
    }
    let why = services::why_none_ready_for(index, service, ip);
    claim
        .why(ServerFact::NoReadyEndpoint(name, why))
        .commands(services::inspect(index, service))
        .cure(Cure::Ready(service.namespace.clone(), service.name.clone()))
}

/// Whether the pod is a DNS server itself, behind a Service: then it forwards the questions of others.
pub(super) fn is_one(case: &Case<'_>) -> bool {
    let object = case.pod().and_then(|pod| case.index.pod_object(pod));
    let services = object.map(|pod| services::selecting(case.index, pod));
    let mut ports = services.iter().flatten().flat_map(|service| &service.ports);
    ports.any(|port| case.dns_ports.contains(&port.port))
}

/// Whether the server is known to run in the cluster.
pub(super) fn in_cluster(case: &Case<'_>) -> bool {
    case.service().is_some() || case.ends.peer.pod.is_some()
}

/// Adds how to read the server's logs, unless it is known to be outside of the cluster.
pub(super) fn logs(case: &Case<'_>, claim: Claim) -> Claim {
    match (case.service(), &case.ends.peer.pod) {
        (Some(service), _) if !service.selector.is_empty() => claim.command(Kubectl::SelectedLogs(
            service.namespace.clone(),
            services::selector(service),
        )),
        (_, Some(pod)) => claim.command(Kubectl::PodLogs(ObjectName::from(&**pod))),
        _ if case.index.has_inventory() => claim,
        _ => claim.command(Kubectl::ClusterDnsLogs),
    }
}
