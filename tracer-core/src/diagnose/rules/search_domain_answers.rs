//! A search domain of the node caught a name that exists elsewhere.

use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Cause, Claim, Summary};
use crate::diagnose::command::{Command, PodCommand, Setting};
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::NameFact;
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::names;
use crate::diagnose::rule::Rule;
use crate::diagnose::search_domains::{self, Caught, Origin, Stray};
use crate::model::cluster::Service;
use crate::model::dns::DnsName;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "search-domain-answers",
    severity: Severity::Error,
    finds: "a search domain of the node's resolv.conf answers, or fails, for names that exist elsewhere",
    means: "A name went through the search list, and a search domain that is not the cluster's ended the search: it has a wildcard and \
            answered with a foreign address, it answered without a record, or it failed. The name itself was not asked for. \
            Resolvers differ: musl stops at any answer but NXDOMAIN, glibc and Go at a record. A search that ended after the search \
            domains without a query for the name itself counts too.",
    looks_at: "The candidates of a lookup: the search domain of the last one, its answer, and that no query was for the name itself; \
               the Services of the inventory; names that pods of this node found; whether the name has a public suffix. Names \
               that a search domain has for itself (host, host.eu) are not reported.",
    cannot_know: "What the application meant. The node's resolv.conf, beyond what queries show of it.",
    check,
};

/// With fewer dots than this, `service.namespace` would not be searched for any more.
const MIN_NDOTS: usize = 2;

fn check(case: &Case<'_>) -> Option<Claim> {
    let Symptom::Lookup(lookup) = case.symptom else {
        return None;
    };
    let stray = search_domains::stray(case, lookup)?;
    let asked = stray.asked;
    let service = search_domains::service_meant(case, asked);
    let domain = case.index.cluster_domain();
    let full = names::below(asked, domain).is_some();
    let exists = case.memory.pods.found(&DnsName::new(asked));
    let elsewhere = service.is_some() || exists || search_domains::looks_public(asked);
    let applies = match &stray.caught {
        Caught::Answered(_) | Caught::Empty => elsewhere,
        Caught::Failed(_) | Caught::Waited(_) => service.is_some() || asked.contains('.'),
        // BusyBox' nslookup, and glibc with no-tld-query, never ask for a name without a dot. A Service that
        // a search domain of the cluster should have found is another matter.
        Caught::Ended => asked.contains('.') && (full || service.is_none()) && tried_all(lookup),
    };
    if !applies {
        return None;
    }
    let summary = Summary::SearchDomain {
        asked: asked.to_owned(),
        domain: stray.domain.clone(),
        caught: stray.caught.clone(),
    };
    let harmless =
        service.is_none() && matches!(stray.caught, Caught::Answered(_) | Caught::Waited(_));
    let claim = Claim::new(Cause::SearchDomain(stray.domain.clone()), summary)
        .severity(match harmless {
            true => Severity::Warning,
            false => Severity::Error,
        })
        .evidence(lookup.evidence())
        .cure(Cure::FoundBySearch(asked.to_owned()));
    let claim = match stray.caught {
        Caught::Waited(_) => claim,
        _ => claim.why(NameFact::NotAsked(asked.to_owned())),
    };
    let claim = match service {
        Some(service) => claim.why(NameFact::ServiceExists {
            service: service.into(),
            name: names::full(None, service, domain),
        }),
        None if exists => claim.why(NameFact::FoundByPods(DnsName::new(asked))),
        None => claim,
    };
    Some(remedies(case, claim, &stray, service, lookup))
}

/// Whether all search domains that the pod's spec shows were tried.
fn tried_all(lookup: &crate::diagnose::lookup_evidence::LookupEvidence<'_>) -> bool {
    let names = lookup.names();
    let tried = |domain: &DnsName| names.iter().any(|name| name.below(domain).is_some());
    lookup
        .resolver
        .as_ref()
        .is_some_and(|resolver| !resolver.search.is_empty() && resolver.search.iter().all(tried))
}

fn remedies(
    case: &Case<'_>,
    claim: Claim,
    stray: &Stray<'_>,
    service: Option<&Service>,
    lookup: &crate::diagnose::lookup_evidence::LookupEvidence<'_>,
) -> Claim {
    let asked = stray.asked;
    let domain = case.index.cluster_domain();
    let name = match service {
        Some(service) => {
            let short = names::shortest(None, service, lookup.resolver.as_deref(), domain);
            // Unless that is what the search domain caught.
            match short == asked {
                true => names::full(None, service, domain).as_str().to_owned(),
                false => short,
            }
        }
        None => format!("{asked}."),
    };
    let claim = match &stray.caught {
        Caught::Ended => claim
            .because(Reason::NotAsked)
            .why(NameFact::SearchEndCauses)
            .fix(Fix::UseName(name.clone())),
        _ => {
            let claim = match service {
                Some(service) => claim.because(Reason::ServiceMeant(service.into())),
                None => claim.because(Reason::NotAsked),
            };
            claim
                .why(NameFact::SearchDomainFrom {
                    domain: stray.domain.clone(),
                    origin: stray.origin,
                })
                .fix(Fix::RemoveSearchDomain(name.clone()))
        }
    };
    let claim = claim
        .command(Command::UseName(name))
        .command(PodCommand::ShowResolvConf);
    let claim = match &stray.caught {
        Caught::Answered(_) | Caught::Empty => {
            claim.command(PodCommand::NslookupWildcard(stray.domain.clone()))
        }
        _ => claim,
    };
    let dots = asked.bytes().filter(|&byte| byte == b'.').count();
    match dots >= MIN_NDOTS && stray.origin != Origin::Cluster {
        true => claim.command(Setting::Ndots(dots)),
        false => claim,
    }
}
