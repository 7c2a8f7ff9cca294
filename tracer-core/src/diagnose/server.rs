//! The DNS server of a case, or of one query of it.

use std::net::IpAddr;
use std::sync::Arc;

use super::case::Case;
use super::claim::{Claim, Evidence};
use super::command::{Kubectl, PodCommand};
use super::cure::Cure;
use super::fact::{CachePod, EndpointPlace, ObjectName, Server, ServerFact, ServerKind, Upstream};
use super::lookup_evidence::LookupEvidence;
use super::{endpoint, missing, services};
use crate::identity::Endpoint;
use crate::model::cluster::{Pod, Service};
use crate::model::dns::DnsName;

/// At most this many endpoints of a server are asked one by one.
const MAX_ENDPOINTS: usize = 4;
/// The labels `k8s-app` of NodeLocal DNSCache: of its manifest, and of kubespray.
const CACHE_LABELS: [&str; 3] = ["node-local-dns", "nodelocaldns", "nodelocaldns-second"];

/// The server that was asked last.
pub(super) fn named(case: &Case<'_>) -> Server {
    at(case, case.ends.peer.ip)
}

/// The server with this address.
pub(super) fn at(case: &Case<'_>, ip: IpAddr) -> Server {
    let kind = match object(case, ip) {
        Some(object) => ServerKind::Object(object),
        None if is_link_local(ip) && !is_metadata(ip) => ServerKind::NodeCache {
            named: cache_pod(case).is_some(),
        },
        None => match node(case, ip) {
            Some(node) => ServerKind::Node(node),
            None => ServerKind::Other,
        },
    };
    Server { kind, ip }
}

/// The Service or pod with this address.
fn object(case: &Case<'_>, ip: IpAddr) -> Option<ObjectName> {
    let peer = &case.ends.peer;
    if ip == peer.ip {
        return match (&peer.service, &peer.pod) {
            (Some(service), _) => Some(ObjectName::from(&**service)),
            (None, Some(pod)) => Some(ObjectName::from(&**pod)),
            (None, None) => None,
        };
    }
    service_at(case, ip)
        .map(ObjectName::from)
        .or_else(|| pod_at(case, ip).map(ObjectName::from))
}

/// The Service with this ClusterIP.
pub(super) fn service_at<'a>(case: &Case<'a>, ip: IpAddr) -> Option<&'a Service> {
    if ip == case.ends.peer.ip {
        return case.service();
    }
    let mut services = case.index.services();
    services.find(|service| service.cluster_ips.contains(&ip))
}

/// The running pod with this address.
fn pod_at<'a>(case: &Case<'a>, ip: IpAddr) -> Option<&'a Pod> {
    let mut pods = case.index.pods();
    pods.find(|pod| !pod.host_network && !pod.terminated && pod.ips.contains(&ip))
}

/// The pod with this address, and its node, as far as they are known.
pub(super) fn place(case: &Case<'_>, ip: IpAddr) -> EndpointPlace {
    let pod = pod_at(case, ip);
    EndpointPlace {
        ip,
        pod: pod.map(ObjectName::from),
        node: pod.and_then(|pod| pod.node.clone()),
    }
}

/// The node with this address.
fn node(case: &Case<'_>, ip: IpAddr) -> Option<Arc<str>> {
    let peer = &case.ends.peer;
    if ip == peer.ip && peer.pod.is_none() {
        return peer.node.clone();
    }
    let mut nodes = case.index.node_objects();
    let node = nodes.find(|node| node.ips.contains(&ip))?;
    Some(Arc::clone(&node.name))
}

/// Whether an address means the sender's own node.
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// Whether it is an address that cloud providers use for their own services, DNS among them.
fn is_metadata(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.octets()[..3] == [169, 254, 169])
}

/// The pod of NodeLocal DNSCache on the node of the case's pod.
fn cache_pod<'a>(case: &Case<'a>) -> Option<&'a Pod> {
    let node = case.pod()?.node.as_deref()?;
    let labelled = |pod: &Pod| {
        let mut labels = pod.labels.iter();
        labels.any(|(key, value)| &**key == "k8s-app" && CACHE_LABELS.contains(&&**value))
    };
    let named = |pod: &Pod| CACHE_LABELS.iter().any(|name| pod.name.starts_with(name));
    let mut pods = case
        .index
        .pods()
        .filter(|pod| pod.host_network && !pod.terminated && pod.node.as_deref() == Some(node));
    pods.find(|pod| labelled(pod) || named(pod))
}

/// Whether the server with this address is a cache, or another resolver, on a node.
pub(super) fn is_on_node(case: &Case<'_>, ip: IpAddr) -> bool {
    matches!(
        at(case, ip).kind,
        ServerKind::NodeCache { .. } | ServerKind::Node(_)
    )
}

/// Adds what the server is: a Service with its endpoints, a cache on the node, and how to look.
pub(super) fn endpoints(case: &Case<'_>, claim: Claim, ip: IpAddr) -> Claim {
    let index = case.index;
    let Some(service) = service_at(case, ip) else {
        let claim = on_node(case, claim, ip);
        return match is_on_node(case, ip) {
            true => claim,
            false => missing::address_owner(case, claim),
        };
    };
    let name = ObjectName::from(service);
    let ip = case.ends.peer.ip;
    if !services::none_ready_for(index, service, ip) {
        let ready = services::ready_or_unknown(index, service);
        return logs(case, claim.why(ServerFact::IsService(name, ready)), ip);
    }
    let why = services::why_none_ready_for(index, service, ip);
    claim
        .why(ServerFact::NoReadyEndpoint(name, why))
        .commands(services::inspect(index, service))
        .cure(Cure::Ready(service.namespace.clone(), service.name.clone()))
}

/// If the server is on a node: adds what it is, and how to read its logs.
pub(super) fn on_node(case: &Case<'_>, claim: Claim, ip: IpAddr) -> Claim {
    match at(case, ip).kind {
        ServerKind::NodeCache { .. } => {
            let pod = cache_pod(case);
            let cache = pod.and_then(|pod| {
                Some(CachePod {
                    name: ObjectName::from(pod),
                    node: pod.node.clone()?,
                    ready: pod.ready,
                })
            });
            let claim = claim.why(ServerFact::IsNodeCache(cache));
            match pod {
                Some(pod) if pod.ready == Some(false) => {
                    claim.command(Kubectl::DescribePod(pod.into()))
                }
                Some(pod) => claim.command(Kubectl::PodLogs(pod.into())),
                None => claim,
            }
        }
        ServerKind::Node(node) => claim.why(ServerFact::IsOnNode(node)),
        ServerKind::Object(_) | ServerKind::Other => claim,
    }
}

/// Adds how often the server answered this pod otherwise. `own`: answers within the attempt itself.
pub(super) fn answered_pod(case: &Case<'_>, claim: Claim, ip: IpAddr, own: u64) -> Claim {
    match case.own.answers.count(ip) {
        Some((answers, within)) if answers > own => claim.why(ServerFact::AnsweredPod {
            answers: answers - own,
            within,
        }),
        Some(_) => claim,
        None => claim.why(ServerFact::NeverAnsweredPod),
    }
}

/// Adds a query to each endpoint that may be the one that fails, those on other nodes first: a failure that
/// comes and goes is often one endpoint, or the way to it.
pub(super) fn ask_each(case: &Case<'_>, claim: Claim, ip: IpAddr, name: &DnsName) -> Claim {
    let service = service_at(case, ip).or_else(|| {
        // A cache asks the cluster's DNS.
        is_on_node(case, ip).then(|| cluster_dns(case)).flatten()
    });
    let Some(service) = service else {
        return claim;
    };
    let own = case.pod().and_then(|pod| pod.node.as_ref());
    let mut endpoints = services::ready(case.index, service);
    let silent = endpoint::silent_servers(case, ip);
    let is_silent = |one: &Endpoint| silent.iter().any(|silent| silent.ip() == one.ip);
    endpoints.sort_by_key(|one| (!is_silent(one), one.node.as_ref() == own));
    endpoints
        .iter()
        .take(MAX_ENDPOINTS)
        .fold(claim, |claim, endpoint| {
            claim.command(PodCommand::NslookupEndpoint {
                name: name.clone(),
                server: EndpointPlace::from(endpoint),
            })
        })
}

/// Adds the query once more, to the server and to each endpoint that may be the one that fails.
pub(super) fn ask_again(case: &Case<'_>, claim: Claim, ip: IpAddr, name: &DnsName) -> Claim {
    let claim = ask_each(case, claim, ip, name);
    claim.command(PodCommand::NslookupAgain {
        name: name.clone(),
        server: ip,
    })
}

/// The Service of the cluster's DNS: by the label that every distribution sets, or by its usual name.
pub(super) fn cluster_dns<'a>(case: &Case<'a>) -> Option<&'a Service> {
    let serves_dns = |service: &&Service| {
        let mut ports = service.ports.iter();
        ports.any(|port| case.dns_ports.contains(&port.port))
    };
    let labelled = |service: &Service| {
        let mut selector = service.selector.iter();
        selector.any(|(key, value)| &**key == "k8s-app" && &**value == "kube-dns")
    };
    let usual = |service: &Service| matches!(&*service.name, "kube-dns" | "coredns");
    let mut services: Vec<&Service> = case
        .index
        .services()
        .filter(serves_dns)
        .filter(|service| labelled(service) || usual(service))
        .collect();
    // NodeLocal DNSCache adds a second Service for its upstream, with the same selector.
    services.sort_by_key(|service| !usual(service));
    services.first().copied()
}

/// Adds what the server's pod asked another server for one of the lookup's queries, if that is known and failed.
pub(super) fn upstream(claim: Claim, lookup: &LookupEvidence<'_>) -> Claim {
    let mut exchanges = lookup.exchanges().iter().rev();
    let found = exchanges.find_map(|exchange| Some((exchange, exchange.upstream.as_deref()?)));
    let Some((exchange, asked)) = found else {
        return claim;
    };
    let asked = Upstream {
        by: ObjectName::from(&*asked.by),
        to: asked.to.ip(),
        name: exchange.name.clone(),
        qtype: exchange.qtype,
        outcome: asked.outcome,
        after: asked.after,
    };
    claim
        .why(ServerFact::AskedUpstream(asked.clone()))
        .evidence([Evidence::Upstream(asked)])
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
pub(super) fn logs(case: &Case<'_>, claim: Claim, ip: IpAddr) -> Claim {
    match (service_at(case, ip), pod_at(case, ip)) {
        (Some(service), _) if !service.selector.is_empty() => claim.command(Kubectl::SelectedLogs(
            service.namespace.clone(),
            services::selector(service),
        )),
        (_, Some(pod)) => claim.command(Kubectl::PodLogs(ObjectName::from(pod))),
        _ if case.index.has_inventory() => claim,
        _ => claim.command(Kubectl::ClusterDnsLogs),
    }
}
