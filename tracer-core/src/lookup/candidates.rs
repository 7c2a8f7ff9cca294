//! What an application may have asked for, given the names that its resolver put on the wire.
//!
//! A resolver turns what it is asked into a list of candidates (resolv.conf(5)): a name with fewer dots than `ndots` goes
//! through the search list and is then tried as it is, any other name is tried as it is first (and musl tries nothing
//! else); a name with a trailing dot is its only candidate. The wire shows candidates, not what was asked: `a` and
//! `a.ns.svc.cluster.local.` begin alike.
//!
//! One part of the search list is in no object: the node's own domains, which the kubelet puts behind the cluster's. Where
//! they stand is known, so a name that comes in their place tells one of them.

use std::ops::Range;

use super::node_domains::Seen;
use crate::identity::ResolverConfig;
use crate::model::dns::DnsName;

/// One way to read the names on the wire: what was asked, and all candidates that it stands for, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What the application asked for, as it would have written it. A trailing dot says: as an absolute name.
    pub asked: String,
    /// The candidates, in the order in which a resolver tries them.
    pub candidates: Vec<DnsName>,
    /// Which of them have a domain of the node's behind what was asked; empty where none is known. There may be others, in
    /// the same place.
    node: Option<Range<usize>>,
    /// The node is known to have no others.
    pub complete: bool,
}

impl Reading {
    /// The name as it is and nothing else: it had a trailing dot, or the program does not use the search list (dig).
    fn absolute(name: &DnsName) -> Reading {
        Reading {
            asked: name.as_str().to_owned(),
            candidates: vec![name.clone()],
            node: None,
            complete: false,
        }
    }

    /// A name that is searched for.
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
            // With the root on the search list it was tried already.
            candidates.push(as_it_is);
        }
        Reading {
            asked: asked.to_owned(),
            candidates,
            node,
            complete: resolver.complete,
        }
    }

    /// Where a name stands after another one.
    pub fn position_after(&self, current: &DnsName, name: &DnsName) -> Option<usize> {
        let here = self.position(current)?;
        let ahead = self
            .candidates
            .iter()
            .skip(here + 1)
            .position(|candidate| candidate == name)?;
        Some(here + 1 + ahead)
    }

    /// Where a name stands.
    pub fn position(&self, name: &DnsName) -> Option<usize> {
        self.candidates
            .iter()
            .position(|candidate| candidate == name)
    }

    /// Whether a domain of the node's that is not known may come next after this candidate.
    pub fn node_domain_may_follow(&self, current: &DnsName) -> bool {
        match (&self.node, self.position(current)) {
            // There may be no domain of the cluster's before them.
            (Some(node), Some(here)) => (node.start..=node.end).contains(&(here + 1)),
            _ => false,
        }
    }

    /// The domain that a name has behind what was asked.
    pub fn domain_of(&self, name: &DnsName) -> Option<DnsName> {
        let head = DnsName::new(&self.asked);
        let rest = name.as_str().strip_prefix(head.relative())?;
        let domain = rest.strip_prefix('.').filter(|domain| !domain.is_empty())?;
        Some(DnsName::new(domain))
    }

    /// After `current` the resolver asked for `name`, which has a domain of the node's.
    pub fn insert_after(&mut self, current: &DnsName, name: &DnsName) {
        if let (Some(here), Some(node)) = (self.position(current), &mut self.node) {
            self.candidates.insert(here + 1, name.clone());
            node.end += 1;
        }
    }

    /// What these names, asked for in this order, show of the node's domains.
    pub fn seen(&self, names: &[&DnsName]) -> Option<Seen> {
        let node = self.node.as_ref()?;
        let positions = || names.iter().filter_map(|name| self.position(name));
        // The candidate just before them was asked for, so none of them was passed over before anybody looked.
        let before = node.start.checked_sub(1)?;
        positions().find(|position| *position == before)?;
        let of_node = names.iter().filter(|name| {
            self.position(name)
                .is_some_and(|place| node.contains(&place))
        });
        Some(Seen {
            domains: of_node.filter_map(|name| self.domain_of(name)).collect(),
            complete: positions().any(|position| position >= node.end),
        })
    }
}

/// A search list with what is known of the node's domains in their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchList {
    /// Search domains, in order.
    domains: Vec<DnsName>,
    ndots: u8,
    /// Which of them are the node's.
    node: Option<Range<usize>>,
    complete: bool,
}

impl SearchList {
    /// A pod's, with its node's domains; `complete` says that there are no others.
    pub fn new(resolver: &ResolverConfig, node_domains: &[DnsName], complete: bool) -> SearchList {
        let mut domains = resolver.search.clone();
        let node = resolver.node_domains.map(|place| {
            let place = place.min(domains.len());
            // What is on the list twice is asked once: the kubelet leaves the second out.
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
}

/// Every reading of a lookup that begins with a query for `name`; with `cut`, of one whose first candidates may have been
/// asked for before anybody looked.
///
/// Without a search list (an unknown pod) only the absolute one is left, and nothing can be said of it.
pub fn readings(name: &DnsName, list: Option<&SearchList>, cut: bool) -> Vec<Reading> {
    let mut readings = vec![Reading::absolute(name)];
    let Some(list) = list else {
        return readings;
    };
    let heads = list.domains.iter().filter_map(|domain| name.below(domain));
    for asked in heads.chain([name.relative()]) {
        let reading = Reading::searched(asked, list);
        let fits = match reading.position(name) {
            Some(0) => true,
            Some(_) => cut,
            None => false,
        };
        // With a search list of one candidate's length the two readings would be the same thing twice.
        if fits && reading.candidates.len() > 1 && !readings.contains(&reading) {
            readings.push(reading);
        }
    }
    readings
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
    fn first_candidate_may_be_short_or_absolute() {
        let list = list(&pod_in_default());
        assert_eq!(
            asked("web.default.svc.cluster.local", Some(&list), false),
            ["web.default.svc.cluster.local.", "web"]
        );
    }

    #[test]
    fn short_name_has_one_candidate_per_search_domain_and_the_bare_name_last() {
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
    fn the_nodes_domains_stand_behind_the_clusters_and_before_those_of_the_pod() {
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
    fn the_root_on_the_search_list_is_the_name_as_it_is() {
        let mut resolver = pod_in_default();
        resolver.search.push(DnsName::new("."));
        let reading = Reading::searched("web", &list(&resolver));
        assert_eq!(candidates(&reading)[2..], ["web.cluster.local.", "web."]);
    }

    #[test]
    fn a_name_outside_the_search_list_with_few_dots_was_absolute() {
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
    fn what_may_have_begun_earlier_may_be_any_candidate() {
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
    fn an_unknown_pod_has_only_the_absolute_reading() {
        assert_eq!(
            asked("web.default.svc.cluster.local", None, true),
            ["web.default.svc.cluster.local."]
        );
    }
}
