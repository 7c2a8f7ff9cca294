//! The name of a headless Service without a ready pod, or of a pod of one that is not ready: it does not exist.

use crate::diagnose::case::Case;
use crate::diagnose::claim::{Claim, Cure};
use crate::diagnose::names;
use crate::diagnose::rule::Rule;
use crate::diagnose::services;
use crate::diagnose::words;
use crate::model::cluster::{Service, ServiceKind};
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "nxdomain-no-endpoints",
    severity: Severity::Error,
    finds: "the name of a headless Service, or of a pod of it, that is not ready",
    means: "The name is that of a headless Service, and none of its pods is ready. The cluster's DNS gives the addresses of ready \
            pods, and where there is none the name does not exist. The same holds for the name of one pod of it.",
    looks_at: "The candidates of a lookup, which all got NXDOMAIN; the Service and its EndpointSlices.",
    cannot_know: "Why the pods are not ready: their conditions are not in the inventory that it reads. Without EndpointSlices, \
                  whether they are.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let (looked, asked) = case.no_such_name()?;
    let own = case.pod()?.namespace.as_ref();
    let index = case.index;
    for meaning in names::meanings(asked, index.cluster_domain()) {
        let namespace = meaning.namespace.unwrap_or(own);
        let Some(service) = index.service(namespace, meaning.service) else {
            continue;
        };
        if service.kind != ServiceKind::Headless {
            continue;
        }
        let why = match meaning.host {
            Some(host) => host_sentence(case, service, host)?,
            None if !index.knows_endpoints() => format!(
                "Service {} is headless, so its name exists only while one of its pods is ready. Whether one is, is not known: the inventory holds no EndpointSlices.",
                words::name_of(service)
            ),
            None if services::none_ready(index, service) => format!(
                "Service {} is headless, so its name exists only while one of its pods is ready. {}",
                words::name_of(service),
                services::why_none_ready(index, service)
            ),
            None => return None,
        };
        let mut claim = case.looked_up(looked, asked.name).why(why);
        for command in services::look_why_none_ready(index, service) {
            claim = claim.remedy(command);
        }
        if meaning.host.is_none() && index.knows_endpoints() {
            let Service {
                namespace, name, ..
            } = service.clone();
            claim = claim.cure(Cure::Ready(namespace, name));
        }
        return Some(claim);
    }
    None
}

/// Of a pod that is an endpoint and not ready.
fn host_sentence(case: &Case<'_>, service: &Service, host: &str) -> Option<String> {
    let endpoints = case.index.endpoints(&service.namespace, &service.name);
    let endpoint = endpoints
        .iter()
        .find(|endpoint| endpoint.hostname.as_deref() == Some(host))?;
    (!endpoint.ready).then(|| {
        format!(
            "It is the pod {host} of the headless Service {}, which is not ready: {}. The name exists only while the pod is ready.",
            words::name_of(service),
            words::endpoint(endpoint)
        )
    })
}
