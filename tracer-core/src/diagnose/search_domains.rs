//! What became of a lookup in the search domains that are not the cluster's: those of the node's resolv.conf,
//! which the kubelet appends, and those of the pod's dnsConfig.
//!
//! A resolver tries them before the name itself. One of them that answers for every name, that answers
//! without a record, or that fails keeps some resolvers from ever asking for the name (docs/resolvers.md).

use std::time::Duration;

use super::case::Case;
use super::lookup_evidence::{AskedName, LookupEvidence, Search};
use super::names;
use crate::model::cluster::Service;
use crate::model::dns::{DnsName, RecordType};
use crate::model::exchange::Outcome;
use crate::model::lookup::Step;

/// A wait that a person notices.
const MIN_WAIT: Duration = Duration::from_millis(900);

/// How a search domain caught a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caught {
    /// It answered, with this data.
    Answered(Vec<String>),
    /// It answered that the name exists, without a record.
    Empty,
    /// It failed in this way.
    Failed(Outcome),
    /// It was the last one, has no such name, and no query followed.
    Ended,
    /// It did not answer, the application waited, and the resolver went on.
    Waited(Duration),
}

/// A name that a search domain caught.
#[derive(Debug)]
pub(super) struct Stray<'a> {
    /// The name asked for.
    pub asked: &'a str,
    /// The search domain.
    pub domain: DnsName,
    /// Where the domain comes from.
    pub origin: Origin,
    /// What happened there.
    pub caught: Caught,
}

/// Where a search domain comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The cluster's DNS settings.
    Cluster,
    /// The node's resolv.conf.
    Node,
    /// The pod's dnsConfig.
    Pod,
}

/// The search domain that decided a lookup although the name itself was not asked for.
pub(super) fn stray<'a>(case: &Case<'a>, lookup: &LookupEvidence<'a>) -> Option<Stray<'a>> {
    let AskedName {
        name: asked,
        search: Search::Searched,
    } = lookup.asked()?
    else {
        return None;
    };
    if lookup.begun_unnamed {
        return None;
    }
    let steps = &lookup.event.steps;
    let itself = DnsName::new(asked);
    let stray = |name: &DnsName, caught| {
        let domain = domain_behind(name, asked)?;
        Some(Stray {
            asked,
            origin: origin(case, lookup, &domain),
            domain,
            caught,
        })
    };
    let foreign = |name: &DnsName| {
        domain_behind(name, asked)
            .is_some_and(|domain| origin(case, lookup, &domain) != Origin::Cluster)
    };
    if lookup.event.outcome == Outcome::Answered {
        let found = |step: &&Step| step.outcome == Some(Outcome::Answered);
        let answered = steps.iter().find(found)?;
        if foreign(&answered.name) && !steps.iter().any(|step| step.name == itself) {
            return stray(&answered.name, Caught::Answered(answered.data.clone()));
        }
        let silent = |step: &&Step| step.outcome == Some(Outcome::Timeout) && foreign(&step.name);
        let silent = steps.iter().find(silent)?;
        let waited = lookup.event.waited;
        return (waited >= MIN_WAIT)
            .then(|| stray(&silent.name, Caught::Waited(waited)))
            .flatten();
    }
    if lookup.cut_short || steps.iter().any(|step| step.name == itself) {
        return None;
    }
    let last = steps.last()?;
    let outcome = outcome_of_last(steps, &last.name)?;
    let caught = match outcome {
        Outcome::Nxdomain => Caught::Ended,
        Outcome::Nodata => Caught::Empty,
        Outcome::Timeout if !others_answered(steps, &last.name) => return None,
        failed => Caught::Failed(failed),
    };
    // In the cluster's own domains, only the end of the search is strange.
    if !foreign(&last.name) && caught != Caught::Ended {
        return None;
    }
    stray(&last.name, caught)
}

/// The outcome of a candidate: of A where A was asked, as many names have no AAAA.
fn outcome_of_last(steps: &[Step], name: &DnsName) -> Option<Outcome> {
    let mut of_last = steps.iter().filter(|step| step.name == *name);
    let first = of_last.clone().next()?;
    let a = of_last.find(|step| step.qtype == RecordType::A);
    let step = a.unwrap_or(first);
    // Without A, an empty answer shows nothing.
    let shows = a.is_some() || step.outcome != Some(Outcome::Nodata);
    step.outcome.filter(|_| shows)
}

/// Whether the lookup's other candidates got answers: then the silence is the domain's.
fn others_answered(steps: &[Step], name: &DnsName) -> bool {
    let mut others = steps.iter().filter(|step| step.name != *name).peekable();
    others.peek().is_some() && others.all(|step| step.latency.is_some())
}

/// The search domain that follows the asked name.
pub(super) fn domain_behind(name: &DnsName, asked: &str) -> Option<DnsName> {
    domain_behind_str(name, asked).map(DnsName::new)
}

/// The same, without a trailing dot.
pub(super) fn domain_behind_str<'a>(name: &'a DnsName, asked: &str) -> Option<&'a str> {
    let rest = name.relative().strip_prefix(asked)?;
    rest.strip_prefix('.').filter(|domain| !domain.is_empty())
}

fn origin(case: &Case<'_>, lookup: &LookupEvidence<'_>, domain: &DnsName) -> Origin {
    let cluster = case.index.cluster_domain();
    if domain == cluster || domain.below(cluster).is_some() {
        return Origin::Cluster;
    }
    let of_pod = |resolver: &crate::identity::ResolverConfig| resolver.search.contains(domain);
    match lookup.resolver.as_deref().is_some_and(of_pod) {
        true => Origin::Pod,
        false => Origin::Node,
    }
}

/// The Service that the name means: as a full name, or in the namespace that it has or the pod's own.
pub(super) fn service_meant<'a>(case: &Case<'a>, asked: &str) -> Option<&'a Service> {
    let own = &case.pod()?.namespace;
    let asked = AskedName {
        name: asked,
        search: Search::Searched,
    };
    let domain = case.index.cluster_domain();
    names::meanings(asked, domain)
        .into_iter()
        .find_map(|meaning| {
            let namespace = meaning.namespace.unwrap_or(own);
            let service = case.index.service(namespace, meaning.service)?;
            let exists = meaning
                .host
                .is_none_or(|host| names::has_host(case.index, service, host));
            exists.then_some(service)
        })
}

/// Top-level domains that no organisation uses for names below its own search domain.
const GENERIC: [&str; 5] = ["com", "edu", "gov", "net", "org"];

/// Whether a name has the form of a public one: it ends in a public suffix of publicsuffix.org, with more in
/// front than `host.eu`, which can also be a host of the subdomain `eu`.
pub(super) fn looks_public(asked: &str) -> bool {
    let name = asked.as_bytes();
    let suffix = psl::suffix(name);
    let Some(suffix) = suffix.filter(|suffix| suffix.is_known()) else {
        return false;
    };
    let labels = asked.split('.').count();
    let of_suffix = suffix.as_bytes().split(|byte| *byte == b'.').count();
    let top = asked.rsplit('.').next().unwrap_or_default();
    labels > of_suffix && (GENERIC.contains(&top) || labels >= 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_name_has_more_than_a_host_and_a_short_suffix() {
        assert!(looks_public("example.com"));
        assert!(looks_public("api.example.io"));
        assert!(looks_public("www.shop.co.uk"));
        assert!(!looks_public("host.eu"));
        assert!(!looks_public("db.dev"));
        assert!(!looks_public("wiki"));
        assert!(!looks_public("web.shop"));
        assert!(!looks_public("com"));
        assert!(!looks_public("web.shop.svc.cluster.local"));
    }
}
