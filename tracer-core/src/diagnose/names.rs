//! What a name may mean in the cluster: which Service of which namespace, and which of its pods.
//!
//! The names that the cluster's DNS serves are laid down in the Kubernetes DNS-Based Service Discovery specification:
//! `service.namespace.svc.domain`, and `hostname.service.namespace.svc.domain` below a headless Service.

use crate::identity::{Index, ResolverConfig};
use crate::model::cluster::Service;
use crate::model::dns::DnsName;

use super::looked::{AskedName, How};

/// One way to read a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meaning<'a> {
    /// A pod of a headless Service.
    pub host: Option<&'a str>,
    /// The Service.
    pub service: &'a str,
    /// `None`: the pod's own.
    pub namespace: Option<&'a str>,
}

/// The ways to read a name, the likelier first. None for one that is no Service's whatever the cluster holds.
pub(super) fn meanings<'a>(asked: AskedName<'a>, cluster_domain: &DnsName) -> Vec<Meaning<'a>> {
    let (head, full) = match below(asked.name, cluster_domain) {
        Some(head) => (head, true),
        None => (asked.name, false),
    };
    if asked.how == How::Absolute && !full {
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
        // The namespace is missing: no name at all.
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

/// The Service that a name means to a pod of the namespace `own`: the Service itself, not one of its pods.
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

/// What stands before the cluster's domain.
pub(super) fn below<'a>(name: &'a str, cluster_domain: &DnsName) -> Option<&'a str> {
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

/// The shortest name under which a pod with this resolver configuration reaches a Service. Without a configuration, and
/// where no short one works with every resolver, the absolute one with its dot.
pub(super) fn shortest(
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
        // musl does not use the search list for a name with so many dots.
        .filter(|short| dots(short) < usize::from(resolver.ndots))
        .min_by_key(|short| short.len());
    short.unwrap_or(full.as_str()).to_owned()
}

/// The domain that a name outside of the cluster belongs to: what somebody registered below a public suffix, as the list of
/// publicsuffix.org has them (`shop.co.uk`); below a suffix that is not listed, the last two labels. A suffix is its own.
pub(super) fn registered(name: &DnsName) -> DnsName {
    match psl::domain_str(name.relative()) {
        Some(domain) => DnsName::new(domain),
        None => name.clone(),
    }
}

/// A name from the wire as a shell's word: whatever it holds, it is one.
pub(super) fn quoted(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if !name.is_empty() && name.bytes().all(plain) && !name.starts_with('-') {
        return name.to_owned();
    }
    format!("'{}'", name.replace('\'', r"'\''"))
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

    fn read(name: &str, how: How) -> Vec<(Option<&str>, &str, Option<&str>)> {
        let domain = DnsName::new("cluster.local");
        meanings(AskedName { name, how }, &domain)
            .into_iter()
            .map(|meaning| (meaning.host, meaning.service, meaning.namespace))
            .collect()
    }

    #[test]
    fn names_are_read_in_every_form_that_the_cluster_serves() {
        assert_eq!(read("web", How::Searched), [(None, "web", None)]);
        assert_eq!(
            read("web.myns", How::Searched),
            [(None, "web", Some("myns")), (Some("web"), "myns", None)]
        );
        assert_eq!(
            read("web.myns.svc", How::Searched),
            [(None, "web", Some("myns"))]
        );
        assert_eq!(
            read("web.myns.svc.cluster.local", How::Absolute),
            [(None, "web", Some("myns"))]
        );
        assert_eq!(
            read("db-0.db.myns", How::Searched),
            [(Some("db-0"), "db", Some("myns"))]
        );
        assert_eq!(
            read("db-0.db.myns.svc.cluster.local", How::Searched),
            [(Some("db-0"), "db", Some("myns"))]
        );
    }

    #[test]
    fn an_absolute_name_outside_the_cluster_is_no_services() {
        assert_eq!(read("web", How::Absolute), []);
        assert_eq!(read("web.myns", How::Absolute), []);
        assert_eq!(read("a.b.c.example.com", How::Searched), []);
    }

    #[test]
    fn a_name_from_the_wire_is_one_word_of_a_shell() {
        assert_eq!(quoted("web.prod"), "web.prod");
        assert_eq!(quoted("$(reboot).example"), "'$(reboot).example'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("-x"), "'-x'");
    }

    #[test]
    fn a_domain_is_what_was_registered_below_a_public_suffix() {
        let registered = |name| registered(&DnsName::new(name)).as_str().to_owned();
        assert_eq!(registered("a.b.example.com"), "example.com.");
        assert_eq!(registered("example.com"), "example.com.");
        assert_eq!(registered("api.shop.co.uk"), "shop.co.uk.");
        assert_eq!(registered("api.other.co.uk"), "other.co.uk.");
        assert_eq!(registered("www.bank.com.au"), "bank.com.au.");
        // A provider's customers are not one domain.
        assert_eq!(registered("eu.one.github.io"), "one.github.io.");
        // Nobody's public suffix.
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
