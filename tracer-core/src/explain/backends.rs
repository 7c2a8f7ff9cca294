//! The addresses and ports that packets to the destination end at: the endpoints of a Service, a pod, or an
//! address.

use std::net::IpAddr;

use super::service::asked_port;
use super::target::{Reached, is_alias};
use super::{Input, Target};
use crate::diagnose::{party_of_identity, party_of_pod, target_port};
use crate::model::cluster::{Kind, Service, ServiceKind};
use crate::policy::Who;

/// A destination of packets.
#[derive(Debug)]
pub(super) struct Destination<'a> {
    /// Its name, or its address.
    pub name: String,
    pub ip: IpAddr,
    pub port: u16,
    /// `TCP` or `UDP`.
    pub protocol: &'static str,
    pub who: Who<'a>,
    /// The Service's address in front of it.
    pub through: Option<IpAddr>,
}

/// Where packets to the target end; empty without a port, or if it is unknown.
pub(super) fn of<'a>(input: &Input<'a>, reached: &Reached<'a>) -> Vec<Destination<'a>> {
    let Some(port) = reached.port else {
        return Vec::new();
    };
    if let Some(service) = reached.service.filter(|one| !is_alias(one)) {
        return of_service(input, service, reached);
    }
    let protocol = port.protocol();
    if let Some(pod) = reached.pod {
        let Some(ip) = pod.ips.first() else {
            return Vec::new();
        };
        return vec![Destination {
            name: format!("{}/{}", pod.namespace, pod.name),
            ip: *ip,
            port: port.number,
            protocol,
            who: party_of_pod(input.index, pod),
            through: None,
        }];
    }
    let Some(ip) = reached.ip else {
        return Vec::new();
    };
    vec![Destination {
        name: ip.to_string(),
        ip,
        port: port.number,
        protocol,
        who: holder(input, ip),
        through: None,
    }]
}

/// Who has an address that is no pod's and no Service's.
fn holder<'a>(input: &Input<'a>, ip: IpAddr) -> Who<'a> {
    let mut nodes = input.index.node_objects();
    if let Some(node) = nodes.find(|node| node.ips.contains(&ip)) {
        return Who::Node(Some(&node.name));
    }
    let knows_all = input.coverage.has(input.index, Kind::Pod, None)
        && input.index.knows_all_pods()
        && input.coverage.has(input.index, Kind::Node, None);
    match knows_all {
        true => Who::Outside,
        false => Who::Unknown,
    }
}

/// The ready endpoints of a Service; without one, all.
pub(super) fn of_service<'a>(
    input: &Input<'a>,
    service: &'a Service,
    reached: &Reached<'_>,
) -> Vec<Destination<'a>> {
    let Some(port) = asked_port(service, reached) else {
        return Vec::new();
    };
    let mut endpoints = input.index.endpoints(&service.namespace, &service.name);
    if endpoints.iter().any(|endpoint| endpoint.ready) {
        endpoints.retain(|endpoint| endpoint.ready);
    }
    let through = match (service.kind == ServiceKind::Headless, reached.service_ip) {
        (true, _) => None,
        (false, Some(ip)) => Some(ip),
        (false, None) => service.cluster_ips.first().copied(),
    };
    if let Some(through) = through {
        endpoints.retain(|endpoint| endpoint.ip.is_ipv4() == through.is_ipv4());
    }
    let is_pod_target = |endpoint: &crate::identity::Endpoint| match input.target {
        Some(Target::Pod(namespace, name, _)) => endpoint
            .pod
            .as_ref()
            .is_some_and(|pod| *pod.namespace == **namespace && *pod.name == **name),
        _ => true,
    };
    let destinations = endpoints
        .into_iter()
        .filter(is_pod_target)
        .filter_map(|endpoint| {
            let number = target_port(&endpoint, port)?;
            let who = match &endpoint.pod {
                Some(pod) => party_of_identity(input.index, pod),
                None if endpoint.node.is_some() => Who::UnknownPod,
                None => Who::Outside,
            };
            let pod = endpoint.pod.as_ref();
            Some(Destination {
                name: match pod {
                    Some(pod) => format!("{}/{}", pod.namespace, pod.name),
                    None => endpoint.ip.to_string(),
                },
                ip: endpoint.ip,
                port: number,
                protocol: match &*port.protocol {
                    "UDP" => "UDP",
                    "SCTP" => "SCTP",
                    _ => "TCP",
                },
                who,
                through,
            })
        });
    destinations.collect()
}
