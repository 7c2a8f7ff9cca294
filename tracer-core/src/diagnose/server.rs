//! What can be said of the DNS server that a case is about.

use super::case::Case;
use super::claim::{Claim, Cure};
use super::{missing, services, words};

/// `kube-system/kube-dns (10.152.183.10)`.
pub(super) fn name(case: &Case<'_>) -> String {
    let peer = &case.ends.peer;
    match (&peer.service, &peer.pod) {
        (Some(service), _) => format!("{}/{} ({})", service.namespace, service.name, peer.ip),
        (None, Some(pod)) => format!("{}/{} ({})", pod.namespace, pod.name, peer.ip),
        (None, None) => peer.ip.to_string(),
    }
}

/// Adds whether it has ready endpoints, where it is a Service, and how to look; and what would show that it has again.
pub(super) fn endpoints(case: &Case<'_>, claim: Claim) -> Claim {
    let index = case.index;
    let Some(service) = case.service() else {
        return missing::who(case, claim);
    };
    let name = words::name_of(service);
    if !services::none_ready(index, service) {
        let claim = claim.why(format!(
            "The DNS server is Service {name}. {}",
            services::ready_sentence(index, service)
        ));
        return logs(case, claim);
    }
    let claim = claim.why(format!(
        "Service {name} has no ready endpoint. {}",
        services::why_none_ready(index, service)
    ));
    let looks = services::look_why_none_ready(index, service);
    looks
        .into_iter()
        .fold(claim, Claim::remedy)
        .cure(Cure::Ready(service.namespace.clone(), service.name.clone()))
}

/// Whether the pod is a DNS server itself, by a Service in front of it: then it passes on what others asked for.
pub(super) fn is_one(case: &Case<'_>) -> bool {
    let object = case.pod().and_then(|pod| case.index.pod_object(pod));
    let services = object.map(|pod| services::selecting(case.index, pod));
    let mut ports = services.iter().flatten().flat_map(|service| &service.ports);
    ports.any(|port| case.dns_ports.contains(&port.port))
}

/// Whether the server runs in the cluster, as far as is known.
pub(super) fn in_cluster(case: &Case<'_>) -> bool {
    case.service().is_some() || case.ends.peer.pod.is_some()
}

/// Adds how to read what the server says itself; nothing for one that is known to be outside of the cluster.
pub(super) fn logs(case: &Case<'_>, claim: Claim) -> Claim {
    match (case.service(), &case.ends.peer.pod) {
        (Some(service), _) if !service.selector.is_empty() => claim.remedy(format!(
            "kubectl -n {} logs -l {} --tail=50 --prefix",
            service.namespace,
            services::selector(service)
        )),
        (_, Some(pod)) => claim.remedy(format!(
            "kubectl -n {} logs {} --tail=50",
            pod.namespace, pod.name
        )),
        _ if case.index.has_inventory() => claim,
        _ => claim.remedy(
            "kubectl -n kube-system logs -l k8s-app=kube-dns --tail=50 --prefix   # if it is the cluster's DNS",
        ),
    }
}
