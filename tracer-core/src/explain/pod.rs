//! The pod: where it runs, its state, and its resolver.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use super::Input;
use crate::model::cluster::{DnsPolicy, Phase, Pod};

/// The pod that is explained.
#[derive(Clone, Debug, Serialize)]
pub struct PodFacts {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether its object is known.
    pub known: bool,
    /// How it was chosen, where a workload was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen: Option<String>,
    /// Its node.
    pub node: Option<String>,
    /// Its addresses.
    pub ips: Vec<IpAddr>,
    /// It shares its node's network.
    pub host_network: bool,
    /// Its phase.
    pub phase: Option<&'static str>,
    /// Whether it is ready.
    pub ready: Option<bool>,
    /// It is being deleted.
    pub terminating: bool,
    /// Its resolver; `None` if it is unknown.
    pub resolver: Option<ResolverFacts>,
    /// Its dnsPolicy.
    pub dns_policy: Option<&'static str>,
}

/// A pod's resolver, as its spec configures it.
#[derive(Clone, Debug, Serialize)]
pub struct ResolverFacts {
    /// Its search domains. Those of the node's resolv.conf are in no object.
    pub search: Vec<String>,
    /// A name with fewer dots goes through the search domains first.
    pub ndots: u8,
    /// The kubelet adds the search domains of the node's resolv.conf.
    pub node_domains: bool,
    /// The name servers of dnsConfig; the policy's own are not among them.
    pub nameservers: Vec<IpAddr>,
}

pub(super) fn explain(input: &Input<'_>) -> PodFacts {
    let subject = input.subject;
    let pod = subject.pod.as_ref();
    let identity = Arc::new(subject.identity());
    let resolver = pod.and_then(|pod| Some((pod, input.index.resolver(&identity)?)));
    PodFacts {
        namespace: subject.namespace.clone(),
        name: subject.name.clone(),
        known: pod.is_some(),
        chosen: subject.chosen.clone(),
        node: pod.and_then(|pod| pod.node.as_ref().map(ToString::to_string)),
        ips: pod.map(|pod| pod.ips.clone()).unwrap_or_default(),
        host_network: pod.is_some_and(|pod| pod.host_network),
        phase: pod.and_then(phase),
        ready: pod.and_then(|pod| pod.ready),
        terminating: pod.is_some_and(|pod| pod.terminating),
        resolver: resolver.map(|(pod, config)| ResolverFacts {
            search: config.search.iter().map(ToString::to_string).collect(),
            ndots: config.ndots,
            node_domains: config.node_domains.is_some(),
            nameservers: pod.dns.nameservers.clone(),
        }),
        dns_policy: pod.map(|pod| match pod.dns.policy {
            DnsPolicy::ClusterFirst => "ClusterFirst",
            DnsPolicy::ClusterFirstWithHostNet => "ClusterFirstWithHostNet",
            DnsPolicy::Default => "Default",
            DnsPolicy::None => "None",
        }),
    }
}

fn phase(pod: &Pod) -> Option<&'static str> {
    Some(match pod.phase {
        Phase::Unknown => return None,
        Phase::Pending => "Pending",
        Phase::Running => "Running",
        Phase::Succeeded => "Succeeded",
        Phase::Failed => "Failed",
    })
}
