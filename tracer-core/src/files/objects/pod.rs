//! Trims Pods.

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{MIRROR_ANNOTATION, ObjectError, Trimmer, address, domain, port_number};
use crate::model::cluster::{Container, ContainerPort, DnsPolicy, Phase, Pod, PodDns};
use crate::model::identity::Workload;

impl Trimmer {
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
        let ephemeral = spec.ephemeral_containers.as_ref();
        let ephemeral_containers = ephemeral.is_some_and(|containers| !containers.is_empty());
        let (containers, ports) = self.containers(
            spec.containers,
            spec.init_containers,
            &[
                status.container_statuses.unwrap_or_default(),
                status.init_container_statuses.unwrap_or_default(),
            ]
            .concat(),
        )?;
        let phase = match status.phase.as_deref() {
            Some("Pending") => Phase::Pending,
            Some("Running") => Phase::Running,
            Some("Succeeded") => Phase::Succeeded,
            Some("Failed") => Phase::Failed,
            _ => Phase::Unknown,
        };
        let conditions = status.conditions.unwrap_or_default();
        let ready = conditions
            .iter()
            .find(|condition| condition.type_ == "Ready");
        let ready = ready.map(|condition| condition.status == "True");
        let node = spec.node_name.as_deref().filter(|node| !node.is_empty());
        // Objects live long, and the spare capacity of their vectors would be a fifth of all memory.
        ips.shrink_to_fit();
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
            phase,
            terminated: matches!(phase, Phase::Succeeded | Phase::Failed),
            terminating,
            ready,
            dns: pod_dns(
                spec.dns_policy.as_deref(),
                spec.dns_config.unwrap_or_default(),
            )?,
            labels,
            containers,
            ephemeral_containers,
            ports,
        })
    }

    /// Containers and sidecars with their status, and the ports that they declare.
    fn containers(
        &mut self,
        containers: Vec<core::Container>,
        init_containers: Option<Vec<core::Container>>,
        statuses: &[core::ContainerStatus],
    ) -> Result<(Vec<Container>, Vec<ContainerPort>), ObjectError> {
        let sidecars = init_containers
            .into_iter()
            .flatten()
            .filter(|container| container.restart_policy.as_deref() == Some("Always"));
        let (mut kept, mut ports) = (Vec::new(), Vec::new());
        for container in containers.into_iter().chain(sidecars) {
            let status = statuses.iter().find(|status| status.name == container.name);
            let waiting = status
                .and_then(|status| status.state.as_ref()?.waiting.as_ref()?.reason.as_deref())
                .filter(|reason| !reason.is_empty());
            kept.push(Container {
                name: self.word("spec.containers.name", &container.name)?,
                id: status
                    .and_then(|status| status.container_id.as_deref())
                    .map(|id| {
                        // `containerd://<id>`
                        self.intern(id.rsplit('/').next().unwrap_or_default())
                    }),
                // Not required: a template may leave it to an admission webhook.
                image: self.intern(container.image.as_deref().unwrap_or_default()),
                ready: status.map(|status| status.ready),
                waiting: waiting
                    .map(|reason| self.word("status.containerStatuses.state", reason))
                    .transpose()?,
            });
            for port in container.ports.into_iter().flatten() {
                ports.push(ContainerPort {
                    name: self.port_name(port.name),
                    protocol: self.intern(port.protocol.as_deref().unwrap_or("TCP")),
                    port: port_number("spec.containers.ports.containerPort", port.container_port)?,
                });
            }
        }
        kept.shrink_to_fit();
        ports.shrink_to_fit();
        Ok((kept, ports))
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
