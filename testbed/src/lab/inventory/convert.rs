//! From Kubernetes objects to what the lab needs of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::Value;

use super::{Endpoint, Node, Pod, Program, Service, ServicePort};

pub(super) fn list(text: &str) -> Result<Vec<Value>> {
    let document: Value = serde_saphyr::from_str(text).context("not YAML")?;
    match document {
        Value::Object(mut fields) if fields.get("kind").is_some_and(|kind| kind == "List") => {
            match fields.remove("items") {
                Some(Value::Array(items)) => Ok(items),
                _ => bail!("a List without items"),
            }
        }
        object @ Value::Object(_) => Ok(vec![object]),
        _ => bail!("neither a List nor an object"),
    }
}

pub(super) fn typed<T: serde::de::DeserializeOwned>(object: &Value) -> Result<T> {
    Ok(serde_json::from_value(object.clone())?)
}

pub(super) fn node(node: &core::Node) -> Result<Node> {
    let name = node.metadata.name.clone().context("no name")?;
    let status = node.status.clone().unwrap_or_default();
    let internal: Vec<IpAddr> = status
        .addresses
        .iter()
        .flatten()
        .filter(|address| address.type_ == "InternalIP")
        .filter_map(|address| address.address.parse().ok())
        .collect();
    let (ipv4, ipv6) = families(&internal);
    let pod_ranges = node
        .spec
        .as_ref()
        .and_then(|spec| spec.pod_cidrs.clone())
        .unwrap_or_default();
    Ok(Node {
        name,
        ipv4: ipv4.context("no IPv4 InternalIP")?,
        ipv6,
        pod_ranges,
    })
}

pub(super) fn pod(pod: &core::Pod) -> Result<Option<Pod>> {
    let spec = pod.spec.as_ref().context("no spec")?;
    let status = pod.status.clone().unwrap_or_default();
    let over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let (Some(node), false, false) = (&spec.node_name, over, spec.host_network.unwrap_or(false))
    else {
        return Ok(None);
    };
    let addresses: Vec<IpAddr> = status
        .pod_ips
        .iter()
        .flatten()
        .map(|ip| ip.ip.as_str())
        .chain(status.pod_ip.as_deref())
        .filter_map(|ip| ip.parse().ok())
        .collect();
    let (Some(ipv4), ipv6) = families(&addresses) else {
        return Ok(None);
    };
    let uid = pod.metadata.uid.clone().context("no uid")?;
    let container_id = status
        .container_statuses
        .iter()
        .flatten()
        .find_map(|container| {
            container
                .container_id
                .as_deref()?
                .split_once("://")
                .map(|(_, id)| id.to_owned())
        })
        .unwrap_or_else(|| made_up_container_id(&uid));
    Ok(Some(Pod {
        namespace: pod.metadata.namespace.clone().context("no namespace")?,
        name: pod.metadata.name.clone().context("no name")?,
        node: node.clone(),
        ipv4,
        ipv6,
        container_id,
        cluster_dns: spec.dns_policy.as_deref() != Some("Default"),
        program: program(spec),
        uid,
    }))
}

/// A container id for a pod whose status names none: any 64 hexadecimal digits do.
fn made_up_container_id(uid: &str) -> String {
    let digits: String = uid.chars().filter(char::is_ascii_hexdigit).collect();
    digits
        .chars()
        .cycle()
        .take(if digits.is_empty() { 0 } else { 64 })
        .collect()
}

fn program(spec: &core::PodSpec) -> Program {
    let Some(container) = spec.containers.first() else {
        return Program::Idle;
    };
    let image = container.image.as_deref().unwrap_or_default();
    // "docker.io/library/nginx:1.23" is "nginx".
    let image = image.rsplit('/').next().unwrap_or_default();
    let image = image.split([':', '@']).next().unwrap_or_default();
    match image {
        "coredns" => Program::Dns,
        "nginx" | "httpd" => Program::Web(
            container
                .ports
                .iter()
                .flatten()
                .filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP")
                .filter_map(|port| u16::try_from(port.container_port).ok())
                .collect(),
        ),
        _ => Program::Idle,
    }
}

pub(super) fn join(service: &core::Service, slices: &[EndpointSlice]) -> Result<Service> {
    let namespace = service
        .metadata
        .namespace
        .clone()
        .context("a Service without a namespace")?;
    let name = service
        .metadata
        .name
        .clone()
        .context("a Service without a name")?;
    let spec = service
        .spec
        .clone()
        .with_context(|| format!("Service {namespace}/{name} has no spec"))?;
    let own: Vec<&EndpointSlice> = slices
        .iter()
        .filter(|slice| slice.metadata.namespace.as_ref() == Some(&namespace))
        .filter(|slice| {
            let labels = slice.metadata.labels.as_ref();
            labels.and_then(|labels| labels.get("kubernetes.io/service-name")) == Some(&name)
        })
        .collect();
    let published = spec.publish_not_ready_addresses.unwrap_or(false);
    // A slice that does not say so is ready (the API's own definition).
    let usable = |endpoint: &k8s_openapi::api::discovery::v1::Endpoint| {
        published
            || endpoint
                .conditions
                .as_ref()
                .and_then(|conditions| conditions.ready)
                .unwrap_or(true)
    };
    let endpoints = own
        .iter()
        .flat_map(|slice| slice.endpoints.iter().flatten())
        .filter(|endpoint| usable(endpoint))
        .filter_map(|endpoint| {
            let ip = endpoint.addresses.first()?.parse().ok()?;
            Some(Endpoint {
                ip,
                hostname: endpoint.hostname.clone(),
            })
        })
        .collect();
    let mut ports = Vec::new();
    for port in spec.ports.iter().flatten() {
        let port_name = port.name.clone().unwrap_or_default();
        let mut backends = Vec::new();
        for slice in &own {
            let Some(number) = slice
                .ports
                .iter()
                .flatten()
                .filter(|p| p.name.clone().unwrap_or_default() == port_name)
                .find_map(|p| u16::try_from(p.port?).ok())
            else {
                continue;
            };
            let addresses = slice
                .endpoints
                .iter()
                .flatten()
                .filter(|endpoint| usable(endpoint));
            backends.extend(
                addresses.filter_map(|e| Some((e.addresses.first()?.parse().ok()?, number))),
            );
        }
        ports.push(ServicePort {
            name: port_name,
            port: u16::try_from(port.port)
                .with_context(|| format!("Service {namespace}/{name}: port {}", port.port))?,
            protocol: port
                .protocol
                .as_deref()
                .unwrap_or("TCP")
                .to_ascii_lowercase(),
            backends,
        });
    }
    let cluster_ips = spec
        .cluster_ips
        .or_else(|| spec.cluster_ip.map(|ip| vec![ip]))
        .unwrap_or_default()
        .iter()
        .filter_map(|ip| ip.parse().ok())
        .collect();
    let external_name = (spec.type_.as_deref() == Some("ExternalName"))
        .then_some(spec.external_name)
        .flatten();
    Ok(Service {
        namespace,
        name,
        cluster_ips,
        external_name,
        ports,
        endpoints,
    })
}

fn families(addresses: &[IpAddr]) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
    let ipv4 = addresses.iter().find_map(|ip| {
        if let IpAddr::V4(ip) = ip {
            Some(*ip)
        } else {
            None
        }
    });
    let ipv6 = addresses.iter().find_map(|ip| {
        if let IpAddr::V6(ip) = ip {
            Some(*ip)
        } else {
            None
        }
    });
    (ipv4, ipv6)
}
