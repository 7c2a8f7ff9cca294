//! Pods.

use std::net::IpAddr;
use std::sync::Arc;

use crate::model::dns::DnsName;
use crate::model::identity::Workload;

/// A Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// UID.
    pub uid: Arc<str>,
    /// A static pod's UID in its cgroup path, which the kubelet chose. The API object is only a mirror with
    /// another UID (annotation kubernetes.io/config.mirror).
    pub static_uid: Option<Arc<str>>,
    /// The node it is scheduled to.
    pub node: Option<Arc<str>>,
    /// Addresses (`status.podIPs`); for a hostNetwork pod, the node's.
    pub ips: Vec<IpAddr>,
    /// It shares the node's network, so its address does not identify it.
    pub host_network: bool,
    /// Its controller.
    pub workload: Option<Workload>,
    /// `status.phase`.
    pub phase: Phase,
    /// `Succeeded` or `Failed`: another pod may have its address now.
    pub terminated: bool,
    /// It is being deleted (`deletionTimestamp`). It may serve during its grace period, but another pod with
    /// its address owns that address.
    pub terminating: bool,
    /// Its condition `Ready`; `None` if the status does not have it.
    pub ready: Option<bool>,
    /// The resolver's configuration, from dnsPolicy and dnsConfig.
    pub dns: PodDns,
    /// Labels, for selectors.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
    /// Its containers, and the init containers that keep running beside them (sidecars).
    pub containers: Vec<Container>,
    /// It has debug containers besides.
    pub ephemeral_containers: bool,
    /// Ports declared by its containers. Declaring is optional: an undeclared port may be open.
    pub ports: Vec<ContainerPort>,
}

/// `status.phase` of a Pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Missing or not reported by its node.
    #[default]
    Unknown,
    /// Its containers do not run yet.
    Pending,
    /// At least one container runs, starts or restarts.
    Running,
    /// All containers ended with success.
    Succeeded,
    /// All containers ended, one without success.
    Failed,
}

/// A container of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Name.
    pub name: Arc<str>,
    /// Its id, without the runtime's name, if the status has it.
    pub id: Option<Arc<str>>,
    /// Image, as in the manifest. Shows whether a shell can be expected in it.
    pub image: Arc<str>,
    /// Whether it passes its readiness probe; `None` if the status does not list it.
    pub ready: Option<bool>,
    /// The reason why it waits (`CrashLoopBackOff`, `ImagePullBackOff`, ...).
    pub waiting: Option<Arc<str>>,
}

/// A port declared by a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerPort {
    /// Its name, which a Service's target port may use.
    pub name: Option<Arc<str>>,
    /// TCP, UDP or SCTP.
    pub protocol: Arc<str>,
    /// Number.
    pub port: u16,
}

/// The pod's resolv.conf, as far as its spec defines it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodDns {
    /// dnsPolicy.
    pub policy: DnsPolicy,
    /// Name servers of dnsConfig.
    pub nameservers: Vec<IpAddr>,
    /// Search domains of dnsConfig, which follow the policy's own.
    pub searches: Vec<DnsName>,
    /// `ndots` of dnsConfig.
    pub ndots: Option<u8>,
}

/// dnsPolicy of a Pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DnsPolicy {
    /// The cluster's DNS. This is the default, unlike the policy named `Default`.
    #[default]
    ClusterFirst,
    /// The cluster's DNS also for a hostNetwork pod.
    ClusterFirstWithHostNet,
    /// The node's resolv.conf.
    Default,
    /// dnsConfig alone.
    None,
}
