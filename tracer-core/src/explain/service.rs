//! The Service that the destination leads to: its addresses, the port, and the endpoints.

use std::net::IpAddr;

use serde::Serialize;

use super::Input;
use super::target::Reached;
use crate::diagnose::target_port;
use crate::identity::{Endpoint, Index};
use crate::model::cluster::{
    Kind, Phase, Pod, Service, ServiceKind, ServicePort, ServiceType, TrafficPolicy,
};

/// A Service.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceFacts {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `ClusterIP`, `headless`, `NodePort`, `LoadBalancer` or `ExternalName`.
    pub r#type: &'static str,
    /// Its ClusterIPs.
    pub cluster_ips: Vec<IpAddr>,
    /// Its external and LoadBalancer addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub external_ips: Vec<IpAddr>,
    /// The name that an ExternalName Service stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_name: Option<String>,
    /// Its ports.
    pub ports: Vec<PortFacts>,
    /// The port that was asked for, as `8080/TCP`; `None` if none was and it has several.
    pub asked_port: Option<String>,
    /// Whether it has that port.
    pub port_served: Option<bool>,
    /// Its endpoints; `None` if they are unknown.
    pub endpoints: Option<Vec<EndpointFacts>>,
    /// Ready endpoints.
    pub ready: usize,
    /// `internalTrafficPolicy` is Local: only endpoints of the pod's node serve the ClusterIP.
    pub internal_local: bool,
    /// `externalTrafficPolicy` is Local.
    pub external_local: bool,
    /// Session affinity, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity_secs: Option<u32>,
    /// The clients that its load balancer admits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source_ranges: Vec<String>,
    /// The pods that it selects, where it has no endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selects: Option<String>,
}

/// A port of a Service.
#[derive(Clone, Debug, Serialize)]
pub struct PortFacts {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its number.
    pub port: u16,
    /// TCP, UDP or SCTP.
    pub protocol: String,
    /// The pods' port as the manifest has it.
    pub target: String,
    /// How many of the ready endpoints have it; `None` if none is ready or known.
    pub endpoints: Option<usize>,
    /// It is the port that was asked for.
    pub asked: bool,
}

/// An endpoint.
#[derive(Clone, Debug, Serialize)]
pub struct EndpointFacts {
    /// Its address.
    pub ip: IpAddr,
    /// The port that the Service's port leads to; `None` if none was asked for, or if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Its node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// `ready`, `not-ready` or `terminating`.
    pub state: &'static str,
    /// It passes its readiness probe, even where it terminates: nodes use it while none is ready.
    pub serving: bool,
    /// Why it is not ready, as far as its pod shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// It is on the pod's node.
    pub same_node: bool,
    /// It is the pod itself.
    pub is_self: bool,
}

pub(super) fn explain(input: &Input<'_>, reached: &Reached<'_>) -> Option<ServiceFacts> {
    let service = reached.service?;
    let knows_endpoints =
        input
            .coverage
            .has(input.index, Kind::EndpointSlice, Some(&service.namespace))
            && input.index.knows_endpoints();
    let asked = asked_port(service, reached);
    let endpoints = knows_endpoints.then(|| endpoints(input, service, asked));
    let ready = endpoints
        .iter()
        .flatten()
        .filter(|one| one.state == "ready")
        .count();
    Some(ServiceFacts {
        namespace: service.namespace.to_string(),
        name: service.name.to_string(),
        r#type: type_of(service),
        cluster_ips: service.cluster_ips.clone(),
        external_ips: service.external_ips.clone(),
        external_name: match &service.kind {
            ServiceKind::ExternalName(name) => Some(name.relative().to_owned()),
            _ => None,
        },
        ports: ports(input.index, service, asked, knows_endpoints),
        asked_port: reached.port.map(|port| port.to_string()),
        port_served: reached.port.map(|_| asked.is_some()),
        ready,
        internal_local: service.internal_traffic == TrafficPolicy::Local,
        external_local: service.external_traffic == TrafficPolicy::Local,
        affinity_secs: service.affinity_secs,
        source_ranges: service
            .source_ranges
            .iter()
            .map(ToString::to_string)
            .collect(),
        selects: selects(input, service, endpoints.as_deref()),
        endpoints,
    })
}

/// The Service's port that was asked for.
pub(super) fn asked_port<'a>(
    service: &'a Service,
    reached: &Reached<'_>,
) -> Option<&'a ServicePort> {
    let asked = reached.port?;
    let mut ports = service.ports.iter();
    ports.find(|port| port.port == asked.number && *port.protocol == *asked.protocol())
}

fn type_of(service: &Service) -> &'static str {
    match (&service.kind, service.service_type) {
        (ServiceKind::Headless, _) => "headless",
        (ServiceKind::ExternalName(_), _) | (_, ServiceType::ExternalName) => "ExternalName",
        (_, ServiceType::ClusterIp) => "ClusterIP",
        (_, ServiceType::NodePort) => "NodePort",
        (_, ServiceType::LoadBalancer) => "LoadBalancer",
    }
}

fn ports(
    index: &Index,
    service: &Service,
    asked: Option<&ServicePort>,
    knows_endpoints: bool,
) -> Vec<PortFacts> {
    let endpoints = index.endpoints(&service.namespace, &service.name);
    let ready = || endpoints.iter().filter(|one| one.ready);
    let ports = service.ports.iter();
    ports
        .map(|port| PortFacts {
            name: port.name.as_ref().map(ToString::to_string),
            port: port.port,
            protocol: port.protocol.to_string(),
            target: match &port.target {
                Some(target) => target.to_string(),
                None => port.port.to_string(),
            },
            endpoints: (knows_endpoints && ready().next().is_some()).then(|| {
                ready()
                    .filter(|one| target_port(one, port).is_some())
                    .count()
            }),
            asked: asked == Some(port),
        })
        .collect()
}

fn endpoints(
    input: &Input<'_>,
    service: &Service,
    asked: Option<&ServicePort>,
) -> Vec<EndpointFacts> {
    let index = input.index;
    let own = input.subject.pod.as_ref();
    let node = own.and_then(|pod| pod.node.as_ref());
    let endpoints = index.endpoints(&service.namespace, &service.name);
    let facts = endpoints.iter().map(|endpoint| {
        let pod = endpoint.pod.as_ref();
        let object = pod.and_then(|pod| index.pod_object(pod));
        let is_self = pod.is_some_and(|pod| input.subject.is(pod));
        EndpointFacts {
            ip: endpoint.ip,
            port: asked.and_then(|port| target_port(endpoint, port)),
            pod: pod.map(|pod| format!("{}/{}", pod.namespace, pod.name)),
            node: endpoint.node.as_ref().map(ToString::to_string),
            state: state(endpoint),
            serving: endpoint.serving,
            because: object.filter(|_| !endpoint.ready).and_then(why_not_ready),
            same_node: node.is_some() && endpoint.node.as_ref() == node,
            is_self,
        }
    });
    facts.collect()
}

fn state(endpoint: &Endpoint) -> &'static str {
    match (endpoint.ready, endpoint.terminating) {
        (true, _) => "ready",
        (false, true) => "terminating",
        (false, false) => "not-ready",
    }
}

/// Why a pod is not ready, as far as its status shows.
pub(super) fn why_not_ready(pod: &Pod) -> Option<String> {
    let waiting = pod.containers.iter().find_map(|container| {
        let reason = container.waiting.as_ref()?;
        Some(format!("container {} waits: {reason}", container.name))
    });
    if waiting.is_some() {
        return waiting;
    }
    match pod.phase {
        Phase::Pending => return Some("the pod is Pending".to_owned()),
        Phase::Failed | Phase::Succeeded => return Some("the pod has ended".to_owned()),
        Phase::Running | Phase::Unknown => {}
    }
    let mut containers = pod.containers.iter();
    let unready = containers.find(|container| container.ready == Some(false))?;
    Some(format!("container {} is not ready", unready.name))
}

/// The pods that a Service without endpoints selects.
fn selects(
    input: &Input<'_>,
    service: &Service,
    endpoints: Option<&[EndpointFacts]>,
) -> Option<String> {
    let is_empty = endpoints.is_some_and(<[_]>::is_empty);
    if !is_empty || matches!(service.kind, ServiceKind::ExternalName(_)) {
        return None;
    }
    if service.selector.is_empty() {
        return Some("it has no selector, so its endpoints are managed by hand".to_owned());
    }
    let selector: Vec<String> = service
        .selector
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let selector = selector.join(",");
    let knows_pods = input
        .coverage
        .has(input.index, Kind::Pod, Some(&service.namespace))
        && input.index.knows_all_pods();
    if !knows_pods {
        return Some(format!("it selects pods with {selector}"));
    }
    let selected = input.index.pods().filter(|pod| {
        pod.namespace == service.namespace
            && service
                .selector
                .iter()
                .all(|label| pod.labels.contains(label))
    });
    let names: Vec<String> = selected.map(|pod| pod.name.to_string()).collect();
    Some(match names.len() {
        0 => format!(
            "no pod of {} has its labels ({selector})",
            service.namespace
        ),
        number => format!(
            "its labels ({selector}) select {}, which {} no endpoint",
            crate::model::units::count(number as u64, "pod"),
            if number == 1 { "is" } else { "are" }
        ),
    })
}
