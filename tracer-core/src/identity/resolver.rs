//! A pod's resolver configuration: what the kubelet wrote into its resolv.conf, as far as its spec tells.

use crate::model::cluster::{DnsPolicy, Pod};
use crate::model::dns::DnsName;

/// What the kubelet writes for a pod that uses the cluster's DNS.
const CLUSTER_NDOTS: u8 = 5;
/// What a resolver takes where resolv.conf has no such option (resolv.conf(5)).
const RESOLVER_NDOTS: u8 = 1;

/// How a pod's resolver is configured, as its resolv.conf would say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverConfig {
    /// Search domains, in order.
    pub search: Vec<DnsName>,
    /// A name with fewer dots goes through the search list first.
    pub ndots: u8,
    /// Before which of them stand the search domains of the node's own resolv.conf, which the kubelet puts behind the
    /// cluster's and no object tells; `None` where it adds none.
    pub node_domains: Option<usize>,
}

/// That of a pod; `None` where the node's resolv.conf decides, which no object shows.
pub(super) fn of_pod(pod: &Pod, cluster_domain: &DnsName) -> Option<ResolverConfig> {
    let (mut config, default_ndots) = match pod.dns.policy {
        DnsPolicy::Default => return None,
        // The kubelet falls back to the node's for these.
        DnsPolicy::ClusterFirst if pod.host_network => return None,
        DnsPolicy::ClusterFirst | DnsPolicy::ClusterFirstWithHostNet => {
            (of_namespace(&pod.namespace, cluster_domain), CLUSTER_NDOTS)
        }
        DnsPolicy::None => (
            ResolverConfig {
                search: Vec::new(),
                ndots: RESOLVER_NDOTS,
                node_domains: None,
            },
            RESOLVER_NDOTS,
        ),
    };
    for domain in &pod.dns.searches {
        if !config.search.contains(domain) {
            config.search.push(domain.clone());
        }
    }
    config.ndots = pod.dns.ndots.unwrap_or(default_ndots);
    Some(config)
}

/// That of a pod of which nothing but its namespace is known. The node's own search domains, which the kubelet appends, are
/// not in it.
pub(super) fn of_namespace(namespace: &str, cluster_domain: &DnsName) -> ResolverConfig {
    let domain = cluster_domain.as_str();
    let search = vec![
        DnsName::new(&format!("{namespace}.svc.{domain}")),
        DnsName::new(&format!("svc.{domain}")),
        cluster_domain.clone(),
    ];
    ResolverConfig {
        node_domains: Some(search.len()),
        search,
        ndots: CLUSTER_NDOTS,
    }
}
