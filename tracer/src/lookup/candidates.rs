//! What an application may have asked for, given the names that its resolver put on the wire.
//!
//! A resolver turns what it is asked into a list of candidates (resolv.conf(5)): a name with fewer dots than `ndots` goes
//! through the search list and is then tried as it is, any other name is tried as it is first; a name with a trailing dot
//! is its only candidate. The wire shows candidates, not what was asked: `a` and `a.ns.svc.cluster.local.` begin alike.

use crate::identity::ResolverConfig;
use crate::model::dns::DnsName;

/// One way to read the names on the wire: what was asked, and all candidates that it stands for, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What the application asked for, as it would have written it. A trailing dot says: as an absolute name.
    pub asked: String,
    /// The candidates, in the order in which a resolver tries them.
    pub candidates: Vec<DnsName>,
}

impl Reading {
    /// The name as it is and nothing else: it had a trailing dot, or the program does not use the search list (dig).
    fn absolute(name: &DnsName) -> Reading {
        Reading {
            asked: name.as_str().to_owned(),
            candidates: vec![name.clone()],
        }
    }

    /// A name that is searched for.
    fn searched(asked: &str, resolver: &ResolverConfig) -> Reading {
        let as_it_is = DnsName::new(asked);
        let mut candidates: Vec<DnsName> = resolver
            .search
            .iter()
            .map(|domain| join(asked, domain))
            .collect();
        let dots = asked.bytes().filter(|&byte| byte == b'.').count();
        if dots >= usize::from(resolver.ndots) {
            candidates.insert(0, as_it_is);
        } else {
            candidates.push(as_it_is);
        }
        Reading {
            asked: asked.to_owned(),
            candidates,
        }
    }
}

/// Every reading of a lookup that begins with a query for `name`.
///
/// Without a resolver configuration (an unknown pod) only the absolute one is left, and nothing can be said of it.
pub fn readings(name: &DnsName, resolver: Option<&ResolverConfig>) -> Vec<Reading> {
    let mut readings = vec![Reading::absolute(name)];
    let Some(resolver) = resolver else {
        return readings;
    };
    let heads = resolver
        .search
        .iter()
        .filter_map(|domain| name.below(domain));
    for asked in heads.chain([name.relative()]) {
        let reading = Reading::searched(asked, resolver);
        // With a search list of one candidate's length the two readings would be the same thing twice.
        let begins = reading.candidates.first() == Some(name) && reading.candidates.len() > 1;
        if begins && !readings.contains(&reading) {
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
        ResolverConfig { search, ndots: 5 }
    }

    fn asked(name: &str, resolver: Option<&ResolverConfig>) -> Vec<String> {
        readings(&DnsName::new(name), resolver)
            .into_iter()
            .map(|reading| reading.asked)
            .collect()
    }

    #[test]
    fn first_candidate_may_be_short_or_absolute() {
        assert_eq!(
            asked("web.default.svc.cluster.local", Some(&pod_in_default())),
            ["web.default.svc.cluster.local.", "web"]
        );
    }

    #[test]
    fn short_name_has_one_candidate_per_search_domain_and_the_bare_name_last() {
        let readings = readings(
            &DnsName::new("web.myns.default.svc.cluster.local"),
            Some(&pod_in_default()),
        );
        let candidates: Vec<&str> = readings[1].candidates.iter().map(DnsName::as_str).collect();
        assert_eq!(
            candidates,
            [
                "web.myns.default.svc.cluster.local.",
                "web.myns.svc.cluster.local.",
                "web.myns.cluster.local.",
                "web.myns."
            ]
        );
    }

    #[test]
    fn a_name_outside_the_search_list_with_few_dots_was_absolute() {
        assert_eq!(
            asked("example.com", Some(&pod_in_default())),
            ["example.com."]
        );
    }

    #[test]
    fn a_name_with_ndots_dots_is_tried_as_it_is_first() {
        assert_eq!(
            asked("a.b.c.d.e.f", Some(&pod_in_default())),
            ["a.b.c.d.e.f.", "a.b.c.d.e.f"]
        );
        let one_dot = ResolverConfig {
            ndots: 1,
            ..pod_in_default()
        };
        assert_eq!(
            asked("example.com", Some(&one_dot)),
            ["example.com.", "example.com"]
        );
    }

    #[test]
    fn an_unknown_pod_has_only_the_absolute_reading() {
        assert_eq!(
            asked("web.default.svc.cluster.local", None),
            ["web.default.svc.cluster.local."]
        );
    }
}
