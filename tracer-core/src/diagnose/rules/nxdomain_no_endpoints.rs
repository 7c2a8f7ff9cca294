//! The name of a headless Service without a ready pod, or of a pod of it that is not ready: such names do not
//! exist.

use crate::diagnose::case::Case;
use crate::diagnose::claim::Claim;
use crate::diagnose::command::Setting;
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::{EndpointPlace, NameFact, ObjectName};
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::lookup_evidence::{AskedName, LookupEvidence};
use crate::diagnose::rule::Rule;
use crate::diagnose::{names, pods, services};
use crate::model::cluster::{Phase, Pod, Service, ServiceKind};
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "nxdomain-no-endpoints",
    severity: Severity::Error,
    finds: "the name of a headless Service without a ready pod, or of a pod of it that is not ready",
    means: "The name is that of a headless Service, and none of its pods is ready. The cluster's DNS answers with the addresses of \
            ready pods; without one, the name does not exist. The same is true of the name of one of its pods.",
    looks_at: "The candidates of a lookup, which all got NXDOMAIN; the Service, its EndpointSlices and its pods' status.",
    cannot_know: "Why a readiness probe fails. Without EndpointSlices, whether pods are ready.",
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
        let Some(host) = meaning.host else {
            return none_ready(case, lookup, asked, service);
        };
        return host_not_ready(case, lookup, asked, service, host);
    }
    None
}

/// The name of the Service.
fn none_ready(
    case: &Case<'_>,
    lookup: &LookupEvidence<'_>,
    asked: AskedName<'_>,
    service: &Service,
) -> Option<Claim> {
    let index = case.index;
    let claim = case
        .no_such_name_claim(lookup, asked.name)
        .because(Reason::HeadlessNotReady(service.into()))
        .fix(Fix::CheckPods(service.into()));
    if !index.knows_endpoints() {
        let unknown = NameFact::HeadlessReadinessUnknown(service.into());
        return Some(
            claim
                .why(unknown)
                .commands(services::inspect(index, service)),
        );
    }
    if !services::none_ready(index, service) {
        return None;
    }
    let why = services::why_none_ready(index, service);
    let mut claim = claim.why(NameFact::HeadlessNotReady(service.into(), why));
    for fact in services::unready_pods(index, service) {
        claim = claim.why(fact);
    }
    let claim = claim.commands(services::inspect(index, service));
    let claim = left_out(case, service, claim);
    Some(claim.cure(Cure::Ready(service.namespace.clone(), service.name.clone())))
}

/// The name of a pod of the Service.
fn host_not_ready(
    case: &Case<'_>,
    lookup: &LookupEvidence<'_>,
    asked: AskedName<'_>,
    service: &Service,
    host: &str,
) -> Option<Claim> {
    let index = case.index;
    let endpoints = index.endpoints(&service.namespace, &service.name);
    let mut endpoints = endpoints.iter();
    let endpoint = endpoints.find(|endpoint| endpoint.hostname.as_deref() == Some(host));
    let (pod, fact) = match endpoint {
        Some(endpoint) if endpoint.ready => return None,
        Some(endpoint) => (
            endpoint.pod.as_deref().map(ObjectName::from),
            NameFact::HostNotReady {
                host: host.to_owned(),
                service: service.into(),
                endpoint: EndpointPlace::from(endpoint),
            },
        ),
        // A pod of a StatefulSet has the hostname that it is called.
        None => {
            let mut selected = services::selected(index, service);
            let pod = selected.find(|pod| *pod.name == *host && is_unready(pod))?;
            (
                Some(ObjectName::from(pod)),
                NameFact::HostNoEndpoint {
                    host: host.to_owned(),
                    service: service.into(),
                },
            )
        }
    };
    let object = pod.as_ref().and_then(|pod| {
        let mut all = index.pods();
        all.find(|one| one.namespace == pod.namespace && one.name == pod.name)
    });
    let claim = case
        .no_such_name_claim(lookup, asked.name)
        .because(match &pod {
            Some(pod) => Reason::PodNotReady(pod.clone()),
            None => Reason::HeadlessNotReady(service.into()),
        })
        .fix(match &pod {
            Some(pod) => Fix::CheckPod(pod.clone()),
            None => Fix::CheckPods(service.into()),
        })
        .why(fact);
    let claim = match object.and_then(pods::state) {
        Some(state) => claim.why(state),
        None => claim,
    };
    let claim = claim.commands(services::inspect_pod(service, pod));
    Some(left_out(case, service, claim))
}

/// Whether the status of a pod shows that it is not ready.
fn is_unready(pod: &Pod) -> bool {
    pod.ready == Some(false) || pod.phase == Phase::Pending
}

/// Adds that the Service could publish pods that are not ready. Its own pods often need that.
fn left_out(case: &Case<'_>, service: &Service, claim: Claim) -> Claim {
    if service.publish_not_ready {
        return claim;
    }
    let claim = claim
        .why(NameFact::NotReadyLeftOut)
        .command(Setting::PublishNotReady);
    let own = case.pod().and_then(|pod| case.index.pod_object(pod));
    let is_peer = own.is_some_and(|pod| {
        pod.namespace == service.namespace
            && !service.selector.is_empty()
            && service
                .selector
                .iter()
                .all(|label| pod.labels.contains(label))
    });
    match is_peer {
        true => claim.fix(Fix::PublishNotReady),
        false => claim,
    }
}
