//! Kubernetes objects of the API, trimmed to the fields that the model keeps.
//!
//! Owns the translation, and the interning of repeated strings. Never reads a file or calls the API: objects
//! come from the inventory file and, in a cluster, from a watch. Names and domains must be printable, because
//! they end up on terminals.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::model::cluster::{
    ContainerPort, DnsPolicy, EndpointPort, EndpointSlice, NetworkPolicy, Node, Pod, PodDns,
    Service, ServiceCidr, ServiceKind, ServicePort, SliceEndpoint,
};
use crate::model::dns::DnsName;
use crate::model::identity::Workload;

/// Why a syntactically valid object is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// A field is missing without which the object is useless.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field has a value of the wrong form.
    #[error("{field}: {value:?} is not {expected}")]
    Invalid {
        /// The path of the field.
        field: &'static str,
        /// Its value, truncated for display.
        value: String,
        /// The expected form.
        expected: &'static str,
    },
}

impl ObjectError {
    fn invalid(field: &'static str, value: &str, expected: &'static str) -> ObjectError {
        ObjectError::Invalid {
            field,
            value: value.chars().take(64).collect(),
            expected,
        }
    }
}

/// The annotation on a static pod's mirror object with the UID that the kubelet uses for the pod.
pub const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
/// The number of interned strings from which unused ones are dropped.
const MIN_SWEEP: usize = 4096;

type Labels = Vec<(Arc<str>, Arc<str>)>;

/// Trims objects. Equal strings in all objects of one `Trimmer` share their storage. Unused strings are
/// dropped whenever the total has doubled, so that a watch can run indefinitely.
#[derive(Debug, Default)]
pub struct Trimmer {
    interned: HashSet<Arc<str>>,
    /// The number of strings in use at the last sweep.
    used: usize,
}

impl Trimmer {
    /// An empty trimmer.
    pub fn new() -> Trimmer {
        Trimmer::default()
    }

    /// Trims a Pod.
    pub fn pod(&mut self, pod: core::Pod) -> Result<Pod, ObjectError> {
        let (namespace, name) = self.namespaced(&pod.metadata)?;
        let uid = pod
            .metadata
            .uid
            .as_deref()
            .ok_or(ObjectError::Missing("metadata.uid"))?;
        let uid = self.word("metadata.uid", uid)?;
        let static_uid = pod
            .metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(MIRROR_ANNOTATION));
        let static_uid = static_uid
            .map(|uid| self.word("metadata.annotations", uid))
            .transpose()?;
        let workload = self.workload(&pod.metadata)?;
        let terminating = pod.metadata.deletion_timestamp.is_some();
        let labels = self.labels(pod.metadata.labels);
        let spec = pod.spec.unwrap_or_default();
        let status = pod.status.unwrap_or_default();
        let mut ips = Vec::new();
        for listed in status
            .pod_ips
            .iter()
            .flatten()
            .map(|listed| &listed.ip)
            .chain(&status.pod_ip)
        {
            let ip = address("status.podIPs", listed)?;
            if !ips.contains(&ip) {
                ips.push(ip);
            }
        }
        let mut ports = Vec::new();
        for port in spec
            .containers
            .into_iter()
            .flat_map(|container| container.ports)
            .flatten()
        {
            ports.push(ContainerPort {
                name: self.port_name(port.name),
                protocol: self.intern(port.protocol.as_deref().unwrap_or("TCP")),
                port: port_number("spec.containers.ports.containerPort", port.container_port)?,
            });
        }
        let node = spec.node_name.as_deref().filter(|node| !node.is_empty());
        // Objects live long, and the spare capacity of their vectors would be a fifth of all memory.
        ips.shrink_to_fit();
        ports.shrink_to_fit();
        Ok(Pod {
            namespace,
            name,
            uid,
            static_uid,
            node: node
                .map(|node| self.word("spec.nodeName", node))
                .transpose()?,
            ips,
            host_network: spec.host_network == Some(true),
            workload,
            terminated: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            terminating,
            dns: pod_dns(
                spec.dns_policy.as_deref(),
                spec.dns_config.unwrap_or_default(),
            )?,
            labels,
            ports,
        })
    }

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
        let kind = if spec.type_.as_deref() == Some("ExternalName") {
            let target = spec
                .external_name
                .as_deref()
                .ok_or(ObjectError::Missing("spec.externalName"))?;
            ServiceKind::ExternalName(domain("spec.externalName", target)?)
        } else if headless {
            ServiceKind::Headless
        } else {
            ServiceKind::ClusterIp
        };
        let balancer = service
            .status
            .and_then(|status| status.load_balancer)
            .and_then(|balancer| balancer.ingress);
        let mut external_ips = Vec::new();
        for listed in spec.external_ips.iter().flatten() {
            external_ips.push(address("spec.externalIPs", listed)?);
        }
        for listed in balancer
            .iter()
            .flatten()
            .filter_map(|ingress| ingress.ip.as_deref())
        {
            let ip = address("status.loadBalancer.ingress", listed)?;
            if !external_ips.contains(&ip) {
                external_ips.push(ip);
            }
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
            });
        }
        cluster_ips.shrink_to_fit();
        external_ips.shrink_to_fit();
        ports.shrink_to_fit();
        Ok(Service {
            namespace,
            name,
            cluster_ips,
            external_ips,
            kind,
            ports,
            selector: self.labels(spec.selector),
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
        let addresses_are_names = slice.address_type == "FQDN";
        let mut endpoints = Vec::new();
        for endpoint in slice.endpoints.into_iter().flatten() {
            let mut ips = Vec::new();
            if !addresses_are_names {
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
            endpoints.push(SliceEndpoint {
                ips,
                // API reference: unknown is to be treated as ready.
                ready: endpoint
                    .conditions
                    .and_then(|conditions| conditions.ready)
                    .unwrap_or(true),
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
            endpoints,
            ports,
        })
    }

    /// Trims a Node.
    pub fn node(&mut self, node: core::Node) -> Result<Node, ObjectError> {
        let name = self.name(&node.metadata)?;
        let mut ips = Vec::new();
        for listed in node
            .status
            .and_then(|status| status.addresses)
            .into_iter()
            .flatten()
        {
            if matches!(listed.type_.as_str(), "InternalIP" | "ExternalIP") {
                ips.push(address("status.addresses", &listed.address)?);
            }
        }
        Ok(Node { name, ips })
    }

    /// The name of a Namespace.
    pub fn namespace(&mut self, namespace: &core::Namespace) -> Result<Arc<str>, ObjectError> {
        self.name(&namespace.metadata)
    }

    /// Trims a NetworkPolicy.
    pub fn policy(
        &mut self,
        policy: networking::NetworkPolicy,
    ) -> Result<NetworkPolicy, ObjectError> {
        let (namespace, name) = self.namespaced(&policy.metadata)?;
        let spec = policy.spec.unwrap_or_default();
        let governs = |direction: &str, rules: bool| match &spec.policy_types {
            Some(types) => types.iter().any(|listed| listed == direction),
            // The API's default: always ingress, and egress if there are egress rules.
            None => rules,
        };
        let (ingress, egress) = (
            governs("Ingress", true),
            governs("Egress", spec.egress.is_some()),
        );
        let selector = spec.pod_selector.unwrap_or_default();
        Ok(NetworkPolicy {
            namespace,
            name,
            selector: self.labels(selector.match_labels),
            expressions: selector
                .match_expressions
                .is_some_and(|expressions| !expressions.is_empty()),
            ingress,
            egress,
        })
    }

    /// Trims a ServiceCIDR.
    pub fn service_cidr(
        &mut self,
        range: networking::ServiceCIDR,
    ) -> Result<ServiceCidr, ObjectError> {
        let name = self.name(&range.metadata)?;
        let mut cidrs = Vec::new();
        for listed in range.spec.and_then(|spec| spec.cidrs).into_iter().flatten() {
            let cidr: Result<IpNet, _> = listed.parse();
            cidrs.push(
                cidr.map_err(|_| ObjectError::invalid("spec.cidrs", &listed, "an address range"))?,
            );
        }
        Ok(ServiceCidr { name, cidrs })
    }

    /// A port's name; in the API an only port has an empty name.
    fn port_name(&mut self, name: Option<String>) -> Option<Arc<str>> {
        name.filter(|name| !name.is_empty())
            .map(|name| self.intern(&name))
    }

    fn name(&mut self, metadata: &ObjectMeta) -> Result<Arc<str>, ObjectError> {
        let name = metadata
            .name
            .as_deref()
            .ok_or(ObjectError::Missing("metadata.name"))?;
        self.word("metadata.name", name)
    }

    fn namespaced(&mut self, metadata: &ObjectMeta) -> Result<(Arc<str>, Arc<str>), ObjectError> {
        let name = self.name(metadata)?;
        let namespace = metadata
            .namespace
            .as_deref()
            .ok_or(ObjectError::Missing("metadata.namespace"))?;
        Ok((self.word("metadata.namespace", namespace)?, name))
    }

    fn workload(&mut self, metadata: &ObjectMeta) -> Result<Option<Workload>, ObjectError> {
        let mut owners = metadata.owner_references.iter().flatten();
        let Some(owner) = owners.find(|owner| owner.controller == Some(true)) else {
            return Ok(None);
        };
        // A static pod's mirror belongs to its node, which is not a workload.
        if owner.kind == "Node" {
            return Ok(None);
        }
        let (mut kind, mut name) = (owner.kind.as_str(), owner.name.as_str());
        if kind == "ReplicaSet" {
            // A Deployment names its ReplicaSets after itself and the hash, which is also a label of their
            // pods.
            let hash = metadata
                .labels
                .as_ref()
                .and_then(|all| all.get("pod-template-hash"));
            let deployment = hash
                .and_then(|hash| name.strip_suffix(hash.as_str()))
                .and_then(|head| head.strip_suffix('-'));
            if let Some(deployment) = deployment.filter(|deployment| !deployment.is_empty()) {
                (kind, name) = ("Deployment", deployment);
            }
        }
        let field = "metadata.ownerReferences";
        Ok(Some(Workload {
            kind: self.word(field, kind)?,
            name: self.word(field, name)?,
        }))
    }

    fn labels(&mut self, labels: Option<BTreeMap<String, String>>) -> Labels {
        labels
            .into_iter()
            .flatten()
            .map(|(key, value)| (self.intern(&key), self.intern(&value)))
            .collect()
    }

    fn word(&mut self, field: &'static str, value: &str) -> Result<Arc<str>, ObjectError> {
        if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ObjectError::invalid(field, value, "a name"));
        }
        Ok(self.intern(value))
    }

    fn intern(&mut self, value: &str) -> Arc<str> {
        if let Some(known) = self.interned.get(value) {
            return known.clone();
        }
        if self.interned.len() >= MIN_SWEEP.max(2 * self.used) {
            self.interned.retain(|known| Arc::strong_count(known) > 1);
            self.interned.shrink_to_fit();
            self.used = self.interned.len();
        }
        let new: Arc<str> = value.into();
        self.interned.insert(new.clone());
        new
    }
}

fn pod_dns(policy: Option<&str>, config: core::PodDNSConfig) -> Result<PodDns, ObjectError> {
    let policy = match policy {
        None | Some("" | "ClusterFirst") => DnsPolicy::ClusterFirst,
        Some("ClusterFirstWithHostNet") => DnsPolicy::ClusterFirstWithHostNet,
        Some("Default") => DnsPolicy::Default,
        Some("None") => DnsPolicy::None,
        Some(other) => {
            return Err(ObjectError::invalid(
                "spec.dnsPolicy",
                other,
                "a DNS policy",
            ));
        }
    };
    let mut nameservers = Vec::new();
    for listed in config.nameservers.iter().flatten() {
        nameservers.push(address("spec.dnsConfig.nameservers", listed)?);
    }
    let mut searches = Vec::new();
    for listed in config.searches.iter().flatten() {
        searches.push(domain("spec.dnsConfig.searches", listed)?);
    }
    let ndots = config
        .options
        .iter()
        .flatten()
        .find(|option| option.name.as_deref() == Some("ndots"));
    let ndots = ndots.and_then(|option| option.value.as_deref());
    let ndots = ndots.map(|value| {
        let number: Result<u32, _> = value.parse();
        // resolv.conf(5): values above 15 are silently capped.
        number.map(|number| number.min(15) as u8).map_err(|_| {
            ObjectError::invalid("spec.dnsConfig.options", value, "a number for ndots")
        })
    });
    Ok(PodDns {
        policy,
        nameservers,
        searches,
        ndots: ndots.transpose()?,
    })
}

fn address(field: &'static str, value: &str) -> Result<IpAddr, ObjectError> {
    value
        .parse()
        .map_err(|_| ObjectError::invalid(field, value, "an IP address"))
}

fn port_number(field: &'static str, value: i32) -> Result<u16, ObjectError> {
    u16::try_from(value)
        .map_err(|_| ObjectError::invalid(field, &value.to_string(), "a port number"))
}

fn domain(field: &'static str, value: &str) -> Result<DnsName, ObjectError> {
    // "." is a common way to disable the search path.
    let printable = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic());
    if printable {
        Ok(DnsName::new(value))
    } else {
        Err(ObjectError::invalid(field, value, "a domain name"))
    }
}
