//! Queries of lookups, rules and filters.

use super::*;

fn resolver_of(pod: Pod) -> Option<(Vec<String>, u8)> {
    let index = index(pods(vec![pod.clone()]));
    let identity = index.own(t(1.0), "10.1.0.1").map(|_| {
        index
            .between(t(1.0), "10.1.0.1", "10.1.0.2:53")
            .pod
            .identity
    });
    let identity = identity.unwrap().unwrap();
    let config = index.resolver(&identity)?;
    Some((
        config.search.iter().map(ToString::to_string).collect(),
        config.ndots,
    ))
}

fn with_dns(policy: DnsPolicy, searches: &[&str], ndots: Option<u8>) -> Pod {
    let searches = searches.iter().map(|domain| DnsName::new(domain)).collect();
    Pod {
        dns: PodDns {
            policy,
            nameservers: vec![],
            searches,
            ndots,
        },
        ..pod("shop/a", "10.1.0.1")
    }
}

#[test]
fn the_search_list_follows_the_dns_policy() {
    let cluster = [
        "shop.svc.cluster.local.",
        "svc.cluster.local.",
        "cluster.local.",
    ];
    let with = |extra: &[&str]| {
        cluster
            .iter()
            .chain(extra)
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        resolver_of(with_dns(DnsPolicy::ClusterFirst, &[], None)),
        Some((with(&[]), 5))
    );
    assert_eq!(
        resolver_of(with_dns(
            DnsPolicy::ClusterFirst,
            &["example.com", "svc.cluster.local"],
            Some(2)
        )),
        Some((with(&["example.com."]), 2))
    );
    assert_eq!(
        resolver_of(with_dns(DnsPolicy::None, &["example.com"], None)),
        Some((vec!["example.com.".to_owned()], 1))
    );
    assert_eq!(resolver_of(with_dns(DnsPolicy::Default, &[], None)), None);
}

#[test]
fn a_host_network_pod_uses_the_nodes_resolver_unless_its_dns_policy_overrides_it() {
    let of = |policy| {
        let pod = Pod {
            host_network: true,
            ..with_dns(policy, &[], None)
        };
        resolver::of_pod(&pod, &DnsName::new("cluster.local"))
    };
    assert_eq!(of(DnsPolicy::ClusterFirst), None);
    assert_eq!(of(DnsPolicy::ClusterFirstWithHostNet).unwrap().ndots, 5);
}

#[test]
fn a_missing_object_is_distinguished_from_an_unknown_kind() {
    let inventory = Inventory {
        services: vec![service("default/web", "", 80), service("shop/web", "", 80)],
        namespaces: vec!["default".into(), "empty".into()],
        ..Inventory::default()
    };
    let index = index(inventory);
    assert_eq!(index.has_namespace("empty"), Presence::Yes);
    assert_eq!(
        index.has_namespace("shop"),
        Presence::Yes,
        "it has a Service"
    );
    assert_eq!(index.has_namespace("nowhere"), Presence::No);
    assert_eq!(index.has_service("default", "web"), Presence::Yes);
    assert_eq!(index.has_service("empty", "web"), Presence::No);
    assert_eq!(index.has_pod("default", "a"), Presence::CannotTell);
    let namespaces: Vec<_> = index
        .services_named("web")
        .into_iter()
        .map(|svc| &*svc.namespace)
        .collect();
    assert_eq!(namespaces, ["default", "shop"]);
}
