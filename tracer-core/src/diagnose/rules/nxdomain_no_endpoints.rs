//! The name of a headless Service without a ready pod, or of a pod of it that is not ready: such names do not
//! exist.

use crate::diagnose::case::Case;
use crate::diagnose::claim::Claim;
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::{EndpointPlace, NameFact};
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::names;
use crate::diagnose::rule::Rule;
use crate::diagnose::services;
use crate::model::cluster::{Service, ServiceKind};
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "nxdomain-no-endpoints",
    severity: Severity::Error,
    finds: "the name of a headless Service without a ready pod, or of a pod of it that is not ready",
    means: "The name is that of a headless Service, and none of its pods is ready. The cluster's DNS answers with the addresses of \
            ready pods; without one, the name does not exist. The same is true of the name of one of its pods.",
    looks_at: "The candidates of a lookup, which all got NXDOMAIN; the Service and its EndpointSlices.",
    cannot_know: "Why the pods are not ready: Tracer does not read their conditions. Without EndpointSlices, whether they are.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let (lookup, asked) = case.no_such_name()?;
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
        let fact = match meaning.host {
            Some(host) => host_not_ready(case, service, host)?,
            None if !index.knows_endpoints() => NameFact::HeadlessReadinessUnknown(service.into()),
            None if services::none_ready(index, service) => {
                NameFact::HeadlessNotReady(service.into(), services::why_none_ready(index, service))
            }
            None => return None,
        };
        let claim = case
            .no_such_name_claim(lookup, asked.name)
            .because(Reason::HeadlessNotReady(service.into()))
            .fix(Fix::CheckPods(service.into()))
            .why(fact)
            .commands(services::inspect(index, service));
        return Some(if meaning.host.is_none() && index.knows_endpoints() {
            claim.cure(Cure::Ready(service.namespace.clone(), service.name.clone()))
        } else {
            claim
        });
    }
    None
}

/// The pod with this hostname, if it is an endpoint that is not ready.
fn host_not_ready(case: &Case<'_>, service: &Service, host: &str) -> Option<NameFact> {
    let endpoints = case.index.endpoints(&service.namespace, &service.name);
    let endpoint = endpoints
        .iter()
        .find(|endpoint| endpoint.hostname.as_deref() == Some(host))?;
    (!endpoint.ready).then(|| NameFact::HostNotReady {
        host: host.to_owned(),
        service: service.into(),
        endpoint: EndpointPlace::from(endpoint),
    })
}
