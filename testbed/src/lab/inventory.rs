//! The cluster that a lab rebuilds: Kubernetes objects as `kubectl get ... -o yaml` prints them, reduced to
//! what the lab needs. Owns parsing and nothing else; touches no network.

mod convert;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use serde::Serialize;
use serde_json::Value;

use convert::{join, list, node, pod, typed};

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
    /// The target of an ExternalName Service.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scenario_has_its_pods_on_their_nodes() {
        let inventory = Inventory::scenario().expect("it parses");
        let on = |node: &str| -> Vec<String> {
            let pods = inventory.pods.iter().filter(|pod| pod.node == node);
            pods.map(|pod| format!("{} {}", pod.full_name(), pod.ipv4))
                .collect()
        };
        // The table of the scenario, as text.
        assert_eq!(
            on("k8s-master"),
            [
                "default/nginx-ds-jfzxv 10.1.235.213",
                "kube-system/coredns-6f5f9b5d74-pf4ld 10.1.235.206",
                "myns/apache-ds-myns-9785z 10.1.235.214",
            ]
        );
        assert_eq!(
            on("k8s-worker03"),
            [
                "default/deb-ubuntu 10.1.39.193",
                "default/nginx-ds-v2qf5 10.1.39.194",
                "myns/apache-ds-myns-d4f2h 10.1.39.195",
            ]
        );
        assert_eq!((inventory.nodes.len(), inventory.pods.len()), (4, 10));
        assert_eq!(
            inventory.cluster_dns(),
            Some(IpAddr::from([10, 152, 183, 10]))
        );
    }

    #[test]
    fn an_endpoint_that_is_not_ready_is_no_backend() {
        let inventory = Inventory::scenario_with_near_misses().expect("it parses");
        let backends = |name: &str| -> Vec<usize> {
            let service = inventory
                .services
                .iter()
                .find(|service| service.name == name);
            let ports = &service.expect("a Service of that name").ports;
            ports.iter().map(|port| port.backends.len()).collect()
        };
        assert_eq!(backends("headless-not-ready"), [0]);
        assert_eq!(backends("no-endpoints"), [0]);
        assert_eq!(backends("headless-nginx"), [2]);
        assert_eq!(backends("kube-dns"), [1, 1, 1]);
    }

    #[test]
    fn an_inventory_read_back_is_the_same() {
        let inventory = Inventory::scenario_with_near_misses().expect("it parses");
        let again = Inventory::parse(&inventory.to_yaml().expect("it is written"));
        assert_eq!(again.expect("it parses").objects(), inventory.objects());
    }

    #[test]
    fn a_pod_on_a_node_that_is_not_there_is_named() {
        let mut objects = Inventory::scenario().expect("it parses").objects().to_vec();
        objects.retain(|object| object["metadata"]["name"] != "k8s-worker02");
        let error = Inventory::from_objects(objects)
            .expect_err("a node is missing")
            .to_string();
        assert_eq!(
            error,
            "Pod default/nginx-ds-pdl4d is on node k8s-worker02, which is not in the inventory"
        );
    }
}
