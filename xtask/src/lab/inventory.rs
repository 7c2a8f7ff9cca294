//! The cluster that a lab rebuilds: Kubernetes objects as `kubectl get ... -o yaml` prints them, reduced to what the lab
//! needs. Owns parsing and nothing else; touches no network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use serde::Serialize;
use serde_json::Value;

/// The scenario's cluster.
const SCENARIO: &str = include_str!("../../lab/inventory.yaml");
/// Services that go wrong, to add to it.
const NEAR_MISSES: &str = include_str!("../../lab/near-misses.yaml");

/// A cluster to rebuild.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// The objects as they were read, to be written again for the tracer.
    objects: Vec<Value>,
    /// Nodes.
    pub nodes: Vec<Node>,
    /// Names of the namespaces.
    pub namespaces: Vec<String>,
    /// Pods with an address of their own that are bound to a node and not over.
    pub pods: Vec<Pod>,
    /// Services.
    pub services: Vec<Service>,
    /// The IPv4 ranges that Service addresses are given out of, as CIDRs.
    pub service_ranges: Vec<String>,
}

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its address on the switch.
    pub ipv4: Ipv4Addr,
    /// Its IPv6 address on the switch.
    pub ipv6: Option<Ipv6Addr>,
    /// The ranges that its pods' addresses come from, as CIDRs.
    pub pod_ranges: Vec<String>,
}

/// What a pod does in the lab, concluded from its first container's image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// The cluster's DNS server.
    Dns,
    /// A web server on each of its TCP container ports.
    Web(Vec<u16>),
    /// Sleeps.
    Idle,
}

/// A pod.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The node it runs on.
    pub node: String,
    /// Its address.
    pub ipv4: Ipv4Addr,
    /// Its IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// The first container's id: 64 hexadecimal digits.
    pub container_id: String,
    /// Whether its resolver is the cluster's (`ClusterFirst`) or the node's (`Default`).
    pub cluster_dns: bool,
    /// What it runs.
    pub program: Program,
}

impl Pod {
    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// A Service and what is behind it.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its cluster addresses; none for a headless Service.
    pub cluster_ips: Vec<IpAddr>,
    /// The name it stands for, of an ExternalName Service.
    pub external_name: Option<String>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// The addresses that its slices list, ready ones and, where the Service publishes them, the others.
    pub endpoints: Vec<Endpoint>,
}

/// A port of a Service.
#[derive(Clone, Debug)]
pub struct ServicePort {
    /// Its name; empty where it has none.
    pub name: String,
    /// The port that clients use.
    pub port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// The ready endpoints: address and the port there.
    pub backends: Vec<(IpAddr, u16)>,
}

/// An address behind a Service.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The address.
    pub ip: IpAddr,
    /// Its host name, of a StatefulSet's pod.
    pub hostname: Option<String>,
}

impl Inventory {
    /// The scenario's cluster.
    pub fn scenario() -> Result<Inventory> {
        Inventory::parse(SCENARIO).context("the lab's own inventory")
    }

    /// The scenario's cluster and, besides, Services that go wrong each in its way.
    pub fn scenario_with_near_misses() -> Result<Inventory> {
        let mut objects = list(SCENARIO).context("the lab's own inventory")?;
        objects.extend(list(NEAR_MISSES).context("the lab's own near misses")?);
        Inventory::from_objects(objects)
    }

    /// Reads an inventory file.
    pub fn read(path: &Path) -> Result<Inventory> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Inventory::parse(&text).with_context(|| format!("cannot use {}", path.display()))
    }

    /// Parses a List of objects.
    pub fn parse(text: &str) -> Result<Inventory> {
        Inventory::from_objects(list(text)?)
    }

    /// Takes objects as they are.
    pub fn from_objects(objects: Vec<Value>) -> Result<Inventory> {
        let mut inventory = Inventory::default();
        let mut services = Vec::new();
        let mut slices: Vec<EndpointSlice> = Vec::new();
        for object in &objects {
            let kind = object["kind"].as_str().unwrap_or_default();
            let what = || {
                format!(
                    "{kind} {}",
                    object["metadata"]["name"]
                        .as_str()
                        .unwrap_or("without a name")
                )
            };
            match kind {
                "Node" => inventory
                    .nodes
                    .push(node(&typed(object).with_context(what)?).with_context(what)?),
                "Namespace" => inventory
                    .namespaces
                    .extend(typed::<core::Namespace>(object)?.metadata.name),
                "Pod" => inventory
                    .pods
                    .extend(pod(&typed(object).with_context(what)?).with_context(what)?),
                "Service" => services.push(typed::<core::Service>(object).with_context(what)?),
                "EndpointSlice" => slices.push(typed(object).with_context(what)?),
                "ServiceCIDR" => {
                    let range: ServiceCIDR = typed(object).with_context(what)?;
                    let ranges = range.spec.unwrap_or_default().cidrs.unwrap_or_default();
                    inventory
                        .service_ranges
                        .extend(ranges.into_iter().filter(|range| !range.contains(':')));
                }
                _ => {}
            }
        }
        for service in services {
            inventory.services.push(join(&service, &slices)?);
        }
        for pod in &inventory.pods {
            ensure!(
                inventory.nodes.iter().any(|node| node.name == pod.node),
                "Pod {} is on node {}, which is not in the inventory",
                pod.full_name(),
                pod.node
            );
        }
        inventory.objects = objects;
        Ok(inventory)
    }

    /// The objects as they were read.
    pub fn objects(&self) -> &[Value] {
        &self.objects
    }

    /// The inventory as YAML, for `tracer --inventory`.
    pub fn to_yaml(&self) -> Result<String> {
        #[derive(Serialize)]
        struct List<'a> {
            #[serde(rename = "apiVersion")]
            api_version: &'a str,
            kind: &'a str,
            items: &'a [Value],
        }
        Ok(serde_saphyr::to_string(&List {
            api_version: "v1",
            kind: "List",
            items: &self.objects,
        })?)
    }

    /// The pod of that name: `namespace/name`, or a name that only one namespace has.
    pub fn pod(&self, name: &str) -> Result<&Pod> {
        let mut found = self
            .pods
            .iter()
            .filter(|pod| pod.name == name || pod.full_name() == name);
        match (found.next(), found.next()) {
            (Some(pod), None) => Ok(pod),
            (Some(_), Some(_)) => bail!("several namespaces have a pod {name}: say NAMESPACE/NAME"),
            (None, _) => {
                let names: Vec<_> = self.pods.iter().map(Pod::full_name).collect();
                bail!("no pod {name} in the lab; there are {}", names.join(", "))
            }
        }
    }

    /// The node of that name.
    pub fn node(&self, name: &str) -> Result<&Node> {
        self.nodes
            .iter()
            .find(|node| node.name == name)
            .with_context(|| {
                let names: Vec<_> = self.nodes.iter().map(|node| node.name.as_str()).collect();
                format!("no node {name} in the lab; there are {}", names.join(", "))
            })
    }

    /// The address that pods ask for names: the Service in front of the DNS pods.
    pub fn cluster_dns(&self) -> Option<IpAddr> {
        let service = self
            .services
            .iter()
            .find(|s| s.namespace == "kube-system" && s.name == "kube-dns")?;
        service.cluster_ips.first().copied()
    }
}

fn list(text: &str) -> Result<Vec<Value>> {
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

fn typed<T: serde::de::DeserializeOwned>(object: &Value) -> Result<T> {
    Ok(serde_json::from_value(object.clone())?)
}

fn node(node: &core::Node) -> Result<Node> {
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

fn pod(pod: &core::Pod) -> Result<Option<Pod>> {
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

fn join(service: &core::Service, slices: &[EndpointSlice]) -> Result<Service> {
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
