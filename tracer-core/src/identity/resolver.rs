//! A pod's resolver configuration: the resolv.conf that the kubelet writes for its spec.

use crate::model::cluster::{DnsPolicy, Pod};
use crate::model::dns::DnsName;

/// The kubelet's `ndots` for a pod that uses the cluster's DNS.
const CLUSTER_NDOTS: u8 = 5;
/// A resolver's `ndots` where resolv.conf does not set it (resolv.conf(5)).
const RESOLVER_NDOTS: u8 = 1;

/// A pod's resolver configuration, as in its resolv.conf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverConfig {
    /// Search domains, in order.
    pub search: Vec<DnsName>,
    /// A name with fewer dots goes through the search list before it is tried as it is.
    pub ndots: u8,
    /// Position in `search` where the search domains of the node's own resolv.conf belong. The kubelet
    /// appends them to the cluster's, and no object shows them. `None` where it adds none.
    pub node_domains: Option<usize>,
}

/// The configuration of a pod; `None` where the node's resolv.conf applies, which no object shows.
pub(super) fn of_pod(pod: &Pod, cluster_domain: &DnsName) -> Option<ResolverConfig> {
    let (mut config, default_ndots) = match pod.dns.policy {
        DnsPolicy::Default => return None,
        // The kubelet falls back to the node's resolv.conf for these pods.
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

/// The default configuration in a namespace, for a pod whose spec is unknown. It lacks the node's own search
/// domains, which the kubelet appends.
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
