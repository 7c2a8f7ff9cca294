//! Whether the cluster's DNS has a name, by the Kubernetes DNS specification and the objects.

use std::net::IpAddr;

use super::InInventory;
use crate::diagnose::below_domain;
use crate::explain::Coverage;
use crate::identity::{Index, Presence};
use crate::model::cluster::{Kind, Service, ServiceKind};
use crate::model::dns::DnsName;
use crate::model::units::count;

/// Whether it exists, what that rests on, and the Service that it names.
pub(in crate::explain) type Known<'a> = (InInventory, String, Option<&'a Service>);

/// Whether the cluster's DNS has a name, by the Kubernetes DNS specification.
pub(in crate::explain) fn lookup<'a>(
    index: &'a Index,
    coverage: &Coverage,
    name: &DnsName,
) -> Known<'a> {
    let domain = index.cluster_domain();
    let Some(head) = below_domain(name.relative(), domain) else {
        return (
            InInventory::Outside,
            "outside of the cluster".to_owned(),
            None,
        );
    };
    let labels: Vec<&str> = head.split('.').collect();
    let (host, service, namespace) = match labels.as_slice() {
        [service, namespace, "svc"] => (None, service, namespace),
        // The port and protocol of an SRV record.
        [port, protocol, service, namespace, "svc"]
            if port.starts_with('_') && protocol.starts_with('_') =>
        {
            (None, service, namespace)
        }
        [host, service, namespace, "svc"] => (Some(*host), service, namespace),
        [_, _, "pod"] => {
            let because = "an address as a name; the cluster's DNS may serve it".to_owned();
            return (InInventory::Unknown, because, None);
        }
        _ => {
            let because = "no Service's name has this form".to_owned();
            return (InInventory::Absent, because, None);
        }
    };
    let Some(found) = index.service(namespace, service) else {
        return missing(index, coverage, namespace, service);
    };
    match host {
        None => of_service(index, found),
        Some(host) => of_host(index, found, host),
    }
}

fn missing<'a>(index: &Index, coverage: &Coverage, namespace: &str, service: &str) -> Known<'a> {
    let known =
        coverage.has(index, Kind::Service, Some(namespace)) && index.services().next().is_some();
    if !known {
        let because = format!("Services of {namespace} are not listed");
        return (InInventory::Unknown, because, None);
    }
    let no_namespace = index.has_namespace(namespace) == Presence::No
        && coverage.has(index, Kind::Namespace, None);
    let because = match no_namespace {
        true => format!("no namespace {namespace}"),
        false => format!("no Service {service} in {namespace}"),
    };
    (InInventory::Absent, because, None)
}

fn of_service<'a>(index: &Index, service: &'a Service) -> Known<'a> {
    let named = format!("Service {}/{}", service.namespace, service.name);
    let because = match &service.kind {
        ServiceKind::ClusterIp => {
            let ips: Vec<String> = service.cluster_ips.iter().map(IpAddr::to_string).collect();
            format!("{named}, ClusterIP {}", ips.join(", "))
        }
        ServiceKind::ExternalName(target) => format!("{named}, ExternalName {}", target.relative()),
        ServiceKind::Headless => return headless(index, service, &named),
    };
    (InInventory::Exists, because, Some(service))
}

/// A headless Service's name has the addresses of its ready endpoints; without one it does not exist.
fn headless<'a>(index: &Index, service: &'a Service, named: &str) -> Known<'a> {
    if !index.knows_endpoints() {
        let because = format!("headless {named}; its endpoints are not listed");
        return (InInventory::Unknown, because, Some(service));
    }
    let endpoints = index.endpoints(&service.namespace, &service.name);
    let served = endpoints
        .iter()
        .filter(|one| one.ready || service.publish_not_ready)
        .count();
    match served {
        0 => {
            let because = format!("headless {named} has no ready endpoint");
            (InInventory::Absent, because, Some(service))
        }
        served => {
            let because = format!("headless {named}, {}", count(served as u64, "endpoint"));
            (InInventory::Exists, because, Some(service))
        }
    }
}

/// A pod's name below a Service: its endpoint's hostname, or its address with dashes.
fn of_host<'a>(index: &Index, service: &'a Service, host: &str) -> Known<'a> {
    let named = format!("Service {}/{}", service.namespace, service.name);
    if !index.knows_endpoints() {
        let because = format!("{named}; its endpoints are not listed");
        return (InInventory::Unknown, because, Some(service));
    }
    let endpoints = index.endpoints(&service.namespace, &service.name);
    let found = endpoints.iter().find(|one| {
        let dashed = one.ip.to_string().replace(['.', ':'], "-");
        one.hostname.as_deref() == Some(host) || (one.hostname.is_none() && dashed == host)
    });
    match found {
        Some(one) if one.ready || service.publish_not_ready => (
            InInventory::Exists,
            format!("endpoint {} of {named}", one.ip),
            Some(service),
        ),
        Some(one) => {
            let because = format!("endpoint {} of {named} is not ready", one.ip);
            (InInventory::Absent, because, Some(service))
        }
        None => {
            let because = format!("no endpoint of {named} has the hostname {host}");
            (InInventory::Absent, because, Some(service))
        }
    }
}
