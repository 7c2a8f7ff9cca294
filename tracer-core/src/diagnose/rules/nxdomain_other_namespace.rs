//! The name of a Service, looked up in a namespace that does not have it.

use std::sync::Arc;

use crate::diagnose::case::Case;
use crate::diagnose::claim::Claim;
use crate::diagnose::command::{Command, PodCommand};
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::{NameFact, Place};
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::lookup_evidence::LookupEvidence;
use crate::diagnose::names::{self, Meaning};
use crate::diagnose::rule::Rule;
use crate::diagnose::services;
use crate::model::cluster::{Service, ServiceKind};
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "nxdomain-other-namespace",
    severity: Severity::Error,
    finds: "a Service that exists in another namespace than the one looked up",
    means: "A pod looked up the name of a Service that exists in another namespace. A short name refers to the pod's own \
            namespace, name.namespace to the one given.",
    looks_at: "The candidates of a lookup, which all got NXDOMAIN, and the Services of the inventory.",
    cannot_know: "Whether the application meant that Service. Without an inventory, or for a pod that is not in it, whether \
                  such a Service exists.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let (lookup, asked) = case.no_such_name()?;
    let domain = case.index.cluster_domain();
    let own = case.pod()?.namespace.as_ref();
    for meaning in names::meanings(asked, domain) {
        let namespace = meaning.namespace.unwrap_or(own);
        if case.index.service(namespace, meaning.service).is_some() {
            return None;
        }
        let mut elsewhere = case.index.services_named(meaning.service);
        if let Some(host) = meaning.host {
            elsewhere.retain(|service| names::has_host(case.index, service, host));
        }
        if !elsewhere.is_empty() {
            return Some(claim(case, lookup, asked.name, meaning, &elsewhere));
        }
    }
    None
}

fn claim(
    case: &Case<'_>,
    lookup: &LookupEvidence<'_>,
    asked: &str,
    meaning: Meaning<'_>,
    elsewhere: &[&Service],
) -> Claim {
    let domain = case.index.cluster_domain();
    let resolver = lookup.resolver.as_deref();
    let mut claim = case
        .no_such_name_claim(lookup, asked)
        .why(NameFact::Tried(lookup.tried()));
    if let Some(namespace) = meaning.namespace {
        claim = claim.why(NameFact::NoServiceIn {
            namespace: namespace.to_owned(),
            service: meaning.service.to_owned(),
        });
    }
    for service in elsewhere {
        let name = names::shortest(meaning.host, service, resolver, domain);
        claim = claim
            .why(service_elsewhere(case, service, meaning))
            .command(Command::UseName(name))
            .cure(Cure::Found(names::full(meaning.host, service, domain)));
    }
    let mut namespaces: Vec<_> = elsewhere
        .iter()
        .map(|service| Arc::clone(&service.namespace))
        .collect();
    namespaces.dedup();
    let claim = claim.because(Reason::InNamespaces(namespaces));
    match claim.name_to_use().map(str::to_owned) {
        Some(name) => claim
            .fix(Fix::UseName(name.clone()))
            .command(PodCommand::Getent(name)),
        None => claim,
    }
}

fn service_elsewhere(case: &Case<'_>, service: &Service, meaning: Meaning<'_>) -> NameFact {
    let own = case
        .pod()
        .is_some_and(|pod| pod.namespace == service.namespace);
    NameFact::ServiceElsewhere {
        service: service.into(),
        kind: service.kind.clone(),
        host: meaning.host.map(str::to_owned),
        place: if own {
            Place::OwnNamespace
        } else {
            Place::OtherNamespace
        },
        unready: service.kind == ServiceKind::Headless && services::none_ready(case.index, service),
    }
}
