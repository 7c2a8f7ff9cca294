//! A Service's name was looked up where the Service is not.

use crate::diagnose::case::Case;
use crate::diagnose::claim::{Claim, Cure};
use crate::diagnose::looked::Looked;
use crate::diagnose::names::{self, Meaning};
use crate::diagnose::rule::Rule;
use crate::diagnose::services;
use crate::diagnose::words;
use crate::model::cluster::{Service, ServiceKind};
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "nxdomain-other-namespace",
    severity: Severity::Error,
    finds: "a Service is looked up where it is not: it is in another namespace",
    means: "A pod looked up the name of a Service that exists, but in another namespace than the one that the name leads to: \
            a short name leads to the pod's own namespace, name.namespace to that one.",
    looks_at: "The candidates of a lookup, which all got NXDOMAIN, and the Services of the inventory.",
    cannot_know: "Whether the application meant that Service. Without an inventory, or for a pod that is not in it, whether \
                  there is one.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let (looked, asked) = case.no_such_name()?;
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
            return Some(claim(case, looked, asked.name, meaning, &elsewhere));
        }
    }
    None
}

fn claim(
    case: &Case<'_>,
    looked: &Looked<'_>,
    asked: &str,
    meaning: Meaning<'_>,
    elsewhere: &[&Service],
) -> Claim {
    let domain = case.index.cluster_domain();
    let resolver = looked.resolver.as_ref();
    let mut claim = case.looked_up(looked, asked).why(looked.tried());
    if let Some(namespace) = meaning.namespace {
        claim = claim.why(format!(
            "There is no Service {namespace}/{}.",
            meaning.service
        ));
    }
    let mut first = None;
    for service in elsewhere {
        let name = names::shortest(meaning.host, service, resolver, domain);
        claim = claim
            .why(sentence(case, service, meaning))
            .remedy(name.clone())
            .cure(Cure::Found(names::full(meaning.host, service, domain)));
        first.get_or_insert(name);
    }
    if let Some(name) = first {
        claim = claim.remedy(case.in_pod(&format!("getent hosts {name}")));
    }
    claim
}

fn sentence(case: &Case<'_>, service: &Service, meaning: Meaning<'_>) -> String {
    let own = case
        .pod()
        .is_some_and(|pod| pod.namespace == service.namespace);
    let place = if own {
        "in the pod's own namespace"
    } else {
        "in another namespace than the pod"
    };
    let pod = meaning
        .host
        .map(|host| format!(" and has a pod {host}"))
        .unwrap_or_default();
    let mut sentence = format!(
        "Service {}{} exists{pod}, {place}.",
        words::name_of(service),
        words::kind_of(service)
    );
    let unready =
        service.kind == ServiceKind::Headless && services::none_ready(case.index, service);
    if unready {
        sentence.push_str(
            " None of its pods is ready, so its name does not exist either until one is.",
        );
    }
    sentence
}
