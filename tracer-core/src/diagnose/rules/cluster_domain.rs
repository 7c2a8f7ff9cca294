//! The cluster's domain is another one than the settings say.

use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Cause, Claim, Summary};
use crate::diagnose::fact::NameFact;
use crate::diagnose::headline::Fix;
use crate::diagnose::rule::Rule;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "cluster-domain",
    severity: Severity::Info,
    finds: "the cluster's DNS domain is not the one that the settings have",
    means: "The cluster's DNS answered the name of a Service in another domain with that Service's own address. Names are read \
            with that domain from then on.",
    looks_at: "Authoritative answers of a DNS Service in kube-system for SERVICE.NAMESPACE.svc.DOMAIN with the ClusterIP of that Service, until one domain is confirmed. Emitted \
               once, for the lookup that showed it.",
    cannot_know: "The domain of a cluster whose inventory is unknown, or whose pods ask for no Service.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let Symptom::Lookup(lookup) = case.symptom else {
        return None;
    };
    let (configured, seen) = case.index.replaced_domain()?;
    if !(case.first..=case.last).contains(&seen) {
        return None;
    }
    let domain = case.index.cluster_domain();
    let summary = Summary::OtherClusterDomain {
        domain: domain.clone(),
        configured: configured.clone(),
    };
    let claim = Claim::new(Cause::Zone(domain.clone()), summary)
        .about_workload("cluster".to_owned())
        .fix(Fix::SetClusterDomain(domain.clone()))
        .why(NameFact::DomainShownByAnswer)
        .evidence(lookup.evidence());
    Some(claim)
}
