//! The possible meanings of a name in the cluster: a Service of a namespace, or a pod of it.
//!
//! The Kubernetes DNS-Based Service Discovery specification defines the names that the cluster's DNS serves:
//! `service.namespace.svc.domain`, and `hostname.service.namespace.svc.domain` below a headless Service.

use crate::identity::{Index, ResolverConfig};
use crate::model::cluster::Service;
use crate::model::dns::DnsName;

use super::lookup_evidence::{AskedName, Search};

/// Names that programs ask for and mostly go without, by how they begin: gRPC's service config (gRFC A2) and its load
/// balancers, the domains to browse (RFC 6763, section 11).
const MOSTLY_ABSENT: [&str; 7] = [
    "_grpc_config.",
    "_grpclb._tcp.",
    "b._dns-sd._udp.",
    "db._dns-sd._udp.",
    "r._dns-sd._udp.",
    "dr._dns-sd._udp.",
    "lb._dns-sd._udp.",
];

/// Whether no failure follows if that name does not exist. Most addresses have no name, either: programs that write logs
/// ask for it all the same.
pub(super) fn is_mostly_absent(name: &str) -> bool {
    name.ends_with(".arpa") || MOSTLY_ABSENT.iter().any(|begin| name.starts_with(begin))
}

/// One possible meaning of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meaning<'a> {
    /// The hostname of a pod of a headless Service.
    pub host: Option<&'a str>,
    /// The Service.
    pub service: &'a str,
    /// `None`: the pod's own namespace.
    pub namespace: Option<&'a str>,
}

/// The possible meanings of a name, the likeliest first. Empty if the name cannot be a Service's.
pub(super) fn meanings<'a>(asked: AskedName<'a>, cluster_domain: &DnsName) -> Vec<Meaning<'a>> {
    let (head, full) = match below(asked.name, cluster_domain) {
        Some(head) => (head, true),
        None => (asked.name, false),
    };
    if asked.search == Search::Absolute && !full {
        return Vec::new();
    }
    let meaning = |host, service, namespace| Meaning {
        host,
        service,
        namespace,
    };
    let labels: Vec<&str> = head.split('.').collect();
    match (labels.as_slice(), full) {
        ([service, namespace, "svc"], _) => vec![meaning(None, service, Some(namespace))],
        ([host, service, namespace, "svc"], _) => {
            vec![meaning(Some(host), service, Some(namespace))]
        }
        // Without a namespace this is not a name.
        ([_, "svc"], false) => Vec::new(),
        ([service], false) => vec![meaning(None, service, None)],
        ([first, second], false) => vec![
            meaning(None, first, Some(second)),
            meaning(Some(first), second, None),
        ],
        ([host, service, namespace], false) => vec![meaning(Some(host), service, Some(namespace))],
        _ => Vec::new(),
    }
}

/// The Service that a name means to a pod of the namespace `own`. Names of a Service's pods do not count.
pub(super) fn service<'a>(
    index: &'a Index,
    asked: AskedName<'_>,
    own: &str,
) -> Option<&'a Service> {
    meanings(asked, index.cluster_domain())
        .into_iter()
        .filter(|meaning| meaning.host.is_none())
        .find_map(|meaning| index.service(meaning.namespace.unwrap_or(own), meaning.service))
}

/// The part of a name before the cluster's domain.
pub(crate) fn below<'a>(name: &'a str, cluster_domain: &DnsName) -> Option<&'a str> {
    let head = name.strip_suffix(cluster_domain.relative())?;
    head.strip_suffix('.').filter(|head| !head.is_empty())
}

/// The absolute name of a Service, or of one of its pods.
pub(super) fn full(host: Option<&str>, service: &Service, cluster_domain: &DnsName) -> DnsName {
    let host = host.map(|host| format!("{host}.")).unwrap_or_default();
    DnsName::new(&format!(
        "{host}{}.{}.svc.{cluster_domain}",
        service.name, service.namespace
    ))
}

/// The shortest name by which a pod with this resolver configuration reaches a Service. The absolute name
/// with its trailing dot if there is no configuration, or if no shorter name works with every resolver.
pub(crate) fn shortest(
    host: Option<&str>,
    service: &Service,
    resolver: Option<&ResolverConfig>,
    cluster_domain: &DnsName,
) -> String {
    let full = full(host, service, cluster_domain);
    let Some(resolver) = resolver else {
        return full.as_str().to_owned();
    };
    let short = resolver
        .search
        .iter()
        .filter_map(|domain| full.below(domain))
        // musl does not use the search list for a name with `ndots` dots or more.
        .filter(|short| dots(short) < usize::from(resolver.ndots))
        .min_by_key(|short| short.len());
    short.unwrap_or(full.as_str()).to_owned()
}

/// The domain whose servers answer for a name, without a trailing dot: the cluster's, or the registered domain.
pub(super) fn domain<'a>(name: &'a DnsName, cluster: &'a DnsName) -> &'a str {
    match below(name.relative(), cluster) {
        Some(_) => cluster.relative(),
        None => registered_str(name),
    }
}

/// The registered domain of a name outside of the cluster: one label below a public suffix of
/// publicsuffix.org (`shop.co.uk`), or the last two labels if no suffix is listed. A public suffix is its own
/// domain.
pub(super) fn registered(name: &DnsName) -> DnsName {
    DnsName::new(registered_str(name))
}

fn registered_str(name: &DnsName) -> &str {
    psl::domain_str(name.relative()).unwrap_or(name.relative())
}

/// Whether one of a Service's endpoints has this hostname.
pub(super) fn has_host(index: &Index, service: &Service, host: &str) -> bool {
    index
        .endpoints(&service.namespace, &service.name)
        .iter()
        .any(|endpoint| endpoint.hostname.as_deref() == Some(host))
}

fn dots(name: &str) -> usize {
    name.bytes().filter(|&byte| byte == b'.').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, search: Search) -> Vec<(Option<&str>, &str, Option<&str>)> {
        let domain = DnsName::new("cluster.local");
        meanings(AskedName { name, search }, &domain)
            .into_iter()
            .map(|meaning| (meaning.host, meaning.service, meaning.namespace))
            .collect()
    }

    #[test]
    fn every_form_of_a_service_name_is_understood() {
        assert_eq!(read("web", Search::Searched), [(None, "web", None)]);
        assert_eq!(
            read("web.myns", Search::Searched),
            [(None, "web", Some("myns")), (Some("web"), "myns", None)]
        );
        assert_eq!(
            read("web.myns.svc", Search::Searched),
            [(None, "web", Some("myns"))]
        );
        assert_eq!(
            read("web.myns.svc.cluster.local", Search::Absolute),
            [(None, "web", Some("myns"))]
        );
        assert_eq!(
            read("db-0.db.myns", Search::Searched),
            [(Some("db-0"), "db", Some("myns"))]
        );
        assert_eq!(
            read("db-0.db.myns.svc.cluster.local", Search::Searched),
            [(Some("db-0"), "db", Some("myns"))]
        );
    }

    #[test]
    fn an_absolute_name_outside_the_cluster_means_no_service() {
        assert_eq!(read("web", Search::Absolute), []);
        assert_eq!(read("web.myns", Search::Absolute), []);
        assert_eq!(read("a.b.c.example.com", Search::Searched), []);
    }

    #[test]
    fn a_registered_domain_is_one_label_below_a_public_suffix() {
        let registered = |name| registered(&DnsName::new(name)).as_str().to_owned();
        assert_eq!(registered("a.b.example.com"), "example.com.");
        assert_eq!(registered("example.com"), "example.com.");
        assert_eq!(registered("api.shop.co.uk"), "shop.co.uk.");
        assert_eq!(registered("api.other.co.uk"), "other.co.uk.");
        assert_eq!(registered("www.bank.com.au"), "bank.com.au.");
        // Each customer of a provider has a domain.
        assert_eq!(registered("eu.one.github.io"), "one.github.io.");
        // No public suffix.
        assert_eq!(registered("db.corp.internal"), "corp.internal.");
        assert_eq!(registered("com"), "com.");
        assert_eq!(registered("co.uk"), "co.uk.");
        assert_eq!(registered("."), ".");
    }

    #[test]
    fn the_shortest_name_depends_on_the_search_list_and_on_ndots() {
        let domain = DnsName::new("cluster.local");
        let service = Service {
            namespace: "myns".into(),
            name: "web".into(),
            ..Service::default()
        };
        let resolver = |search: &[&str], ndots| ResolverConfig {
            search: search.iter().map(|domain| DnsName::new(domain)).collect(),
            ndots,
            node_domains: None,
        };
        let shortest = |config: Option<&ResolverConfig>| shortest(None, &service, config, &domain);
        let default = [
            "default.svc.cluster.local",
            "svc.cluster.local",
            "cluster.local",
        ];
        let own = [
            "myns.svc.cluster.local",
            "svc.cluster.local",
            "cluster.local",
        ];
        assert_eq!(shortest(Some(&resolver(&default, 5))), "web.myns");
        assert_eq!(shortest(Some(&resolver(&own, 5))), "web");
        assert_eq!(
            shortest(Some(&resolver(&default, 1))),
            "web.myns.svc.cluster.local."
        );
        assert_eq!(
            shortest(Some(&resolver(&["cluster.local"], 5))),
            "web.myns.svc"
        );
        assert_eq!(
            shortest(Some(&resolver(&[], 5))),
            "web.myns.svc.cluster.local."
        );
        assert_eq!(shortest(None), "web.myns.svc.cluster.local.");
    }
}
