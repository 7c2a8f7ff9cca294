//! Trims Services and EndpointSlices.

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{ObjectError, Trimmer, address, domain, port_number, range};
use crate::model::cluster::{
    AddressType, BalancerAddress, EndpointPort, EndpointSlice, Service, ServiceKind, ServicePort,
    ServiceType, SliceEndpoint, TrafficPolicy,
};

/// The API's default of `sessionAffinityConfig.clientIP.timeoutSeconds`.
const DEFAULT_AFFINITY_SECS: u32 = 10_800;

impl Trimmer {
    /// Trims a Service.
    pub fn service(&mut self, service: core::Service) -> Result<Service, ObjectError> {
        let (namespace, name) = self.namespaced(&service.metadata)?;
        let spec = service.spec.unwrap_or_default();
        let mut cluster_ips = Vec::new();
        let mut headless = false;
        for listed in spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip) {
            match listed.as_str() {
                // Not allocated yet, or ExternalName.
                "" => {}
                "None" => headless = true,
                listed => {
                    let ip = address("spec.clusterIPs", listed)?;
                    if !cluster_ips.contains(&ip) {
                        cluster_ips.push(ip);
                    }
                }
            }
        }
        let service_type = match spec.type_.as_deref() {
            Some("NodePort") => ServiceType::NodePort,
            Some("LoadBalancer") => ServiceType::LoadBalancer,
            Some("ExternalName") => ServiceType::ExternalName,
            _ => ServiceType::ClusterIp,
        };
        let kind = if spec.type_.as_deref() == Some("ExternalName") {
            // Without a target it is an object that the API server refuses, but not one that hides the rest.
            let target = spec.external_name.as_deref().unwrap_or(".");
            let target = if target.is_empty() { "." } else { target };
            ServiceKind::ExternalName(domain("spec.externalName", target)?)
        } else if headless {
            ServiceKind::Headless
        } else {
            ServiceKind::ClusterIp
        };
        let ingress = service
            .status
            .and_then(|status| status.load_balancer)
            .and_then(|balancer| balancer.ingress);
        let mut external_ips = Vec::new();
        for listed in spec.external_ips.iter().flatten() {
            external_ips.push(address("spec.externalIPs", listed)?);
        }
        let mut balancer = Vec::new();
        for listed in ingress.iter().flatten() {
            // Some load balancers have a name instead.
            let Some(ip) = &listed.ip else { continue };
            let ip = address("status.loadBalancer.ingress", ip)?;
            if !external_ips.contains(&ip) {
                external_ips.push(ip);
            }
            balancer.push(BalancerAddress {
                ip,
                proxied: listed.ip_mode.as_deref() == Some("Proxy"),
            });
        }
        let mut source_ranges = Vec::new();
        for listed in spec.load_balancer_source_ranges.iter().flatten() {
            // The API server accepts spaces around them.
            source_ranges.push(range("spec.loadBalancerSourceRanges", listed.trim())?);
        }
        let mut ports = Vec::new();
        for port in spec.ports.into_iter().flatten() {
            ports.push(ServicePort {
                name: self.port_name(port.name),
                protocol: self.intern(port.protocol.as_deref().unwrap_or("TCP")),
                port: port_number("spec.ports.port", port.port)?,
                target: match port.target_port {
                    None => None,
                    Some(IntOrString::Int(number)) => Some(self.intern(&number.to_string())),
                    Some(IntOrString::String(name)) => Some(self.intern(&name)),
                },
                node_port: port
                    .node_port
                    .filter(|port| *port != 0)
                    .map(|port| port_number("spec.ports.nodePort", port))
                    .transpose()?,
            });
        }
        cluster_ips.shrink_to_fit();
        external_ips.shrink_to_fit();
        balancer.shrink_to_fit();
        ports.shrink_to_fit();
        Ok(Service {
            namespace,
            name,
            cluster_ips,
            external_ips,
            balancer,
            source_ranges,
            kind,
            service_type,
            ports,
            selector: self.labels(spec.selector),
            internal_traffic: traffic_policy(spec.internal_traffic_policy.as_deref()),
            external_traffic: traffic_policy(spec.external_traffic_policy.as_deref()),
            publish_not_ready: spec.publish_not_ready_addresses == Some(true),
            affinity_secs: (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
                let config = spec.session_affinity_config;
                let seconds = config.and_then(|config| config.client_ip?.timeout_seconds);
                seconds
                    .and_then(|seconds| u32::try_from(seconds).ok())
                    .unwrap_or(DEFAULT_AFFINITY_SECS)
            }),
        })
    }

    /// Trims an EndpointSlice.
    pub fn slice(&mut self, slice: discovery::EndpointSlice) -> Result<EndpointSlice, ObjectError> {
        let (namespace, name) = self.namespaced(&slice.metadata)?;
        let service = slice
            .metadata
            .labels
            .as_ref()
            .and_then(|all| all.get("kubernetes.io/service-name"));
        let service = service
            .map(|service| self.word("metadata.labels", service))
            .transpose()?;
        let address_type = match slice.address_type.as_str() {
            "IPv6" => AddressType::Ipv6,
            "FQDN" => AddressType::Fqdn,
            _ => AddressType::Ipv4,
        };
        let mut endpoints = Vec::new();
        for endpoint in slice.endpoints.into_iter().flatten() {
            let mut ips = Vec::new();
            if address_type != AddressType::Fqdn {
                for listed in &endpoint.addresses {
                    ips.push(address("endpoints.addresses", listed)?);
                }
            }
            ips.shrink_to_fit();
            let target = endpoint
                .target_ref
                .filter(|target| target.kind.as_deref() == Some("Pod"));
            let (pod, pod_uid) = target
                .map(|target| (target.name, target.uid))
                .unwrap_or_default();
            let conditions = endpoint.conditions.unwrap_or_default();
            // API reference: unknown is to be treated as ready, as serving, and as not terminating. Before
            // `serving` existed, `ready` was all there was to know.
            let ready = conditions.ready.unwrap_or(true);
            endpoints.push(SliceEndpoint {
                ips,
                ready,
                serving: conditions.serving.unwrap_or(ready),
                terminating: conditions.terminating == Some(true),
                pod: pod
                    .map(|pod| self.word("endpoints.targetRef.name", &pod))
                    .transpose()?,
                pod_uid: pod_uid
                    .map(|uid| self.word("endpoints.targetRef.uid", &uid))
                    .transpose()?,
                node: endpoint
                    .node_name
                    .map(|node| self.word("endpoints.nodeName", &node))
                    .transpose()?,
                zone: endpoint
                    .zone
                    .map(|zone| self.word("endpoints.zone", &zone))
                    .transpose()?,
                hostname: endpoint
                    .hostname
                    .map(|name| self.word("endpoints.hostname", &name))
                    .transpose()?,
            });
        }
        let mut ports = Vec::new();
        for port in slice.ports.into_iter().flatten() {
            ports.push(EndpointPort {
                name: self.port_name(port.name),
                protocol: self.intern(port.protocol.as_deref().unwrap_or("TCP")),
                port: port
                    .port
                    .map(|number| port_number("ports.port", number))
                    .transpose()?,
            });
        }
        endpoints.shrink_to_fit();
        ports.shrink_to_fit();
        Ok(EndpointSlice {
            namespace,
            name,
            service,
            address_type,
            endpoints,
            ports,
        })
    }
}

fn traffic_policy(value: Option<&str>) -> TrafficPolicy {
    match value {
        Some("Local") => TrafficPolicy::Local,
        _ => TrafficPolicy::Cluster,
    }
}
