//! What an application may have asked for, given the names that its resolver put on the wire.
//!
//! A resolver turns the asked name into a list of candidates (resolv.conf(5)). A name with fewer dots than
//! `ndots` goes through the search list and is then tried as it is; any other name is first tried as it is
//! (musl tries nothing else); a name with a trailing dot is its own only candidate. The wire shows
//! candidates, not the asked name: `a` and `a.ns.svc.cluster.local.` begin alike.
//!
//! One part of the search list is in no object: the node's own domains, which the kubelet appends to the
//! cluster's. Their position is known, so a name that appears at that position reveals one of them.

use std::ops::Range;

use super::node_domains::SeenDomains;
use crate::identity::ResolverConfig;
use crate::model::dns::DnsName;
use crate::model::heap_bytes::HeapBytes;

/// The kubelet's `ndots` for a pod that uses the cluster's DNS.
const CLUSTER_NDOTS: u8 = 5;

/// One reading of the names on the wire: an asked name and all its candidates, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The name as the application wrote it; a trailing dot makes it absolute.
    pub asked: String,
    /// The candidates, in the order in which a resolver tries them.
    pub candidates: Vec<DnsName>,
    /// The candidates formed with a search domain of the node, as a range; empty if none is known. Others may
    /// follow at the same position.
    node: Option<Range<usize>>,
    /// Whether all domains of the node are known.
    pub complete: bool,
    /// The search list is inferred from the first name on the wire, not known.
    pub inferred: bool,
}

impl Reading {
    /// The name as it is and nothing else: it had a trailing dot, or the program does not use the search list
    /// (dig).
    fn absolute(name: &DnsName) -> Reading {
        Reading {
            asked: name.as_str().to_owned(),
            candidates: vec![name.clone()],
            node: None,
            complete: false,
            inferred: false,
        }
    }

    /// A name that goes through the search list.
    fn searched(asked: &str, resolver: &SearchList) -> Reading {
        let as_it_is = DnsName::new(asked);
        let mut candidates: Vec<DnsName> = resolver
            .domains
            .iter()
            .map(|domain| join(asked, domain))
            .collect();
        let mut node = resolver.node.clone();
        let dots = asked.bytes().filter(|&byte| byte == b'.').count();
        if dots >= usize::from(resolver.ndots) {
            candidates.insert(0, as_it_is);
            node = node.map(|node| node.start + 1..node.end + 1);
        } else if !candidates.contains(&as_it_is) {
            // With the root in the search list it is a candidate already.
            candidates.push(as_it_is);
        }
        Reading {
            asked: asked.to_owned(),
            candidates,
            node,
            complete: resolver.complete,
            inferred: false,
        }
    }

    /// A name that goes through the search list that the kubelet writes by default, where the pod's is
    /// unknown: `name` is its first candidate, with the namespace and the cluster's domain in it. Only a
    /// second candidate proves this reading.
    fn inferred(name: &DnsName) -> Option<Reading> {
        let (head, domain) = name.relative().rsplit_once(".svc.")?;
        let (asked, namespace) = head.rsplit_once('.')?;
        let search = [
            format!("{namespace}.svc.{domain}"),
            format!("svc.{domain}"),
            domain.to_owned(),
        ];
        let list = SearchList {
            domains: search.iter().map(|domain| DnsName::new(domain)).collect(),
            ndots: CLUSTER_NDOTS,
            node: None,
            complete: false,
        };
        let reading = Reading::searched(asked, &list);
        (reading.position(name) == Some(0)).then_some(Reading {
            inferred: true,
            ..reading
        })
    }

    /// The memory of its names, and their places in a listing, which grows by doubling.
    pub fn bytes(&self) -> usize {
        let places = 2 * 48 * self.candidates.len();
        size_of::<Reading>() + self.asked.heap_bytes() + self.candidates.heap_bytes() + places
    }

    /// The position of a candidate, if it comes after `current`.
    pub fn position_after(&self, current: &DnsName, name: &DnsName) -> Option<usize> {
        let here = self.position(current)?;
        let ahead = self
            .candidates
            .iter()
            .skip(here + 1)
            .position(|candidate| candidate == name)?;
        Some(here + 1 + ahead)
    }

    /// The position of a candidate.
    pub fn position(&self, name: &DnsName) -> Option<usize> {
        self.candidates
            .iter()
            .position(|candidate| candidate == name)
    }

    /// Whether an unknown search domain of the node may come next after this candidate.
    pub fn node_domain_may_follow(&self, current: &DnsName) -> bool {
        match (&self.node, self.position(current)) {
            // The node's domains may be the first of the list.
            (Some(node), Some(here)) => (node.start..=node.end).contains(&(here + 1)),
            _ => false,
        }
    }

    /// The domain that follows the asked name in this name.
    pub fn domain_of(&self, name: &DnsName) -> Option<DnsName> {
        let head = DnsName::new(&self.asked);
        let rest = name.as_str().strip_prefix(head.relative())?;
        let domain = rest.strip_prefix('.').filter(|domain| !domain.is_empty())?;
        Some(DnsName::new(domain))
    }

    /// After `current` the resolver asked for `name`, which has an unknown search domain of the node.
    pub fn insert_after(&mut self, current: &DnsName, name: &DnsName) {
        if let (Some(here), Some(node)) = (self.position(current), &mut self.node) {
            self.candidates.insert(here + 1, name.clone());
            node.end += 1;
        }
    }

    /// The node's search domains that these names, in the order asked, show.
    pub fn seen(&self, names: &[&DnsName]) -> Option<SeenDomains> {
        let node = self.node.as_ref()?;
        let positions = || names.iter().filter_map(|name| self.position(name));
        // The candidate just before them was asked for, so none of them was asked before the input began.
        let before = node.start.checked_sub(1)?;
        positions().find(|position| *position == before)?;
        let of_node = names.iter().filter(|name| {
            self.position(name)
                .is_some_and(|place| node.contains(&place))
        });
        Some(SeenDomains {
            domains: of_node.filter_map(|name| self.domain_of(name)).collect(),
            complete: positions().any(|position| position >= node.end),
        })
    }
}

/// A search list with the node's known domains at their position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchList {
    /// Search domains, in order.
    domains: Vec<DnsName>,
    ndots: u8,
    /// The range of the node's domains.
    node: Option<Range<usize>>,
    complete: bool,
}

impl SearchList {
    /// A pod's search list with its node's domains; with `complete` the node has no others.
    pub fn new(resolver: &ResolverConfig, node_domains: &[DnsName], complete: bool) -> SearchList {
        let mut domains = resolver.search.clone();
        let node = resolver.node_domains.map(|place| {
            let place = place.min(domains.len());
            // The kubelet drops the second of two equal domains.
            let new: Vec<DnsName> = node_domains
                .iter()
                .filter(|domain| !domains.contains(domain))
                .cloned()
                .collect();
            let node = place..place + new.len();
            domains.splice(place..place, new);
            node
        });
        SearchList {
            domains,
            ndots: resolver.ndots,
            node,
            complete,
        }
    }

    /// Whether this name is the first candidate for an asked name.
    fn tries_first(&self, asked: &str, name: &DnsName) -> bool {
        let dots = asked.bytes().filter(|&byte| byte == b'.').count();
        match self.domains.first() {
            Some(domain) if dots < usize::from(self.ndots) && domain.as_str() != "." => {
                name.below(domain) == Some(asked)
            }
            _ => name.relative() == asked,
        }
    }
}

/// Every reading of a lookup that begins with a query for `name`. With `cut`, its first candidates may have
/// been asked for before the input began.
///
/// Without a search list (an unknown pod) the absolute reading proves nothing; the candidates that follow may
/// show the kubelet's default list.
pub fn readings(name: &DnsName, list: Option<&SearchList>, cut: bool) -> Vec<Reading> {
    let mut readings = vec![Reading::absolute(name)];
    let Some(list) = list else {
        readings.extend(Reading::inferred(name));
        return readings;
    };
    let heads = list.domains.iter().filter_map(|domain| name.below(domain));
    for asked in heads.chain([name.relative()]) {
        if !cut && !list.tries_first(asked, name) {
            continue;
        }
        let reading = Reading::searched(asked, list);
        let fits = match reading.position(name) {
            Some(0) => true,
            Some(_) => cut,
            None => false,
        };
        // For a list with a single candidate the two readings would be identical.
        if fits && reading.candidates.len() > 1 && !readings.contains(&reading) {
            readings.push(reading);
        }
    }
    readings
}

/// The names that a resolver tries for a name as an application writes it, in order.
pub fn candidates(asked: &str, list: &SearchList) -> Vec<DnsName> {
    match asked.ends_with('.') {
        true => Reading::absolute(&DnsName::new(asked)).candidates,
        false => Reading::searched(asked, list).candidates,
    }
}

fn join(head: &str, domain: &DnsName) -> DnsName {
    if domain.as_str() == "." {
        DnsName::new(head)
    } else {
        DnsName::new(&format!("{head}.{domain}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod_in_default() -> ResolverConfig {
        let search = [
            "default.svc.cluster.local",
            "svc.cluster.local",
            "cluster.local",
        ]
        .map(DnsName::new)
        .to_vec();
        ResolverConfig {
            search,
            ndots: 5,
            node_domains: Some(3),
        }
    }

    fn list(resolver: &ResolverConfig) -> SearchList {
        SearchList::new(resolver, &[], false)
    }

    fn asked(name: &str, list: Option<&SearchList>, cut: bool) -> Vec<String> {
        readings(&DnsName::new(name), list, cut)
            .into_iter()
            .map(|reading| reading.asked)
            .collect()
    }

    fn candidates(reading: &Reading) -> Vec<&str> {
        reading.candidates.iter().map(DnsName::as_str).collect()
    }

    #[test]
    fn the_first_candidate_has_a_short_and_an_absolute_reading() {
        let list = list(&pod_in_default());
        assert_eq!(
            asked("web.default.svc.cluster.local", Some(&list), false),
            ["web.default.svc.cluster.local.", "web"]
        );
    }

    #[test]
    fn a_short_name_has_a_candidate_per_search_domain_and_then_itself() {
        let list = list(&pod_in_default());
        let name = DnsName::new("web.myns.default.svc.cluster.local");
        let readings = readings(&name, Some(&list), false);
        assert_eq!(
            candidates(&readings[1]),
            [
                "web.myns.default.svc.cluster.local.",
                "web.myns.svc.cluster.local.",
                "web.myns.cluster.local.",
                "web.myns."
            ]
        );
    }

    #[test]
    fn node_domains_come_after_cluster_domains_and_before_pod_domains() {
        let mut resolver = pod_in_default();
        resolver.search.push(DnsName::new("pod.test"));
        let node = [DnsName::new("node.test"), DnsName::new("cluster.local")];
        let open = SearchList::new(&resolver, &node, false);
        let name = DnsName::new("web.default.svc.cluster.local");
        let readings = readings(&name, Some(&open), false);
        assert_eq!(
            candidates(&readings[1])[2..],
            [
                "web.cluster.local.",
                "web.node.test.",
                "web.pod.test.",
                "web."
            ]
        );
        let may_follow = |name: &str| readings[1].node_domain_may_follow(&DnsName::new(name));
        assert!(may_follow("web.cluster.local") && may_follow("web.node.test"));
        assert!(!may_follow("web.svc.cluster.local") && !may_follow("web.pod.test"));
    }

    #[test]
    fn the_root_in_the_search_list_gives_the_name_as_it_is() {
        let mut resolver = pod_in_default();
        resolver.search.push(DnsName::new("."));
        let reading = Reading::searched("web", &list(&resolver));
        assert_eq!(candidates(&reading)[2..], ["web.cluster.local.", "web."]);
    }

    #[test]
    fn a_name_with_few_dots_outside_the_search_list_is_absolute() {
        let list = list(&pod_in_default());
        assert_eq!(asked("example.com", Some(&list), false), ["example.com."]);
    }

    #[test]
    fn a_name_with_ndots_dots_is_tried_as_it_is_first() {
        assert_eq!(
            asked("a.b.c.d.e.f", Some(&list(&pod_in_default())), false),
            ["a.b.c.d.e.f.", "a.b.c.d.e.f"]
        );
        let one_dot = ResolverConfig {
            ndots: 1,
            ..pod_in_default()
        };
        assert_eq!(
            asked("example.com", Some(&list(&one_dot)), false),
            ["example.com.", "example.com"]
        );
    }

    #[test]
    fn a_lookup_that_may_have_begun_earlier_can_start_at_any_candidate() {
        let list = list(&pod_in_default());
        assert_eq!(
            asked("web.svc.cluster.local", Some(&list), true),
            [
                "web.svc.cluster.local.",
                "web",
                "web.svc",
                "web.svc.cluster.local"
            ]
        );
        assert_eq!(
            asked("example.com", Some(&list), true),
            ["example.com.", "example.com"]
        );
    }

    #[test]
    fn for_an_unknown_pod_the_default_search_list_is_a_possible_reading() {
        assert_eq!(
            asked("web.default.svc.cluster.local", None, true),
            ["web.default.svc.cluster.local.", "web"]
        );
        let name = DnsName::new("web.shop.default.svc.k8s.test");
        let readings = readings(&name, None, false);
        assert_eq!(
            candidates(&readings[1]),
            [
                "web.shop.default.svc.k8s.test.",
                "web.shop.svc.k8s.test.",
                "web.shop.k8s.test.",
                "web.shop."
            ]
        );
        for absolute in ["www.example.com", "web.svc.cluster.local", "a.svc."] {
            assert_eq!(asked(absolute, None, false).len(), 1, "{absolute}");
        }
    }
}
