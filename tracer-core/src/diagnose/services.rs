//! A Service's endpoints: which are ready, and why none is.

use std::net::IpAddr;

use super::command::{Command, Kubectl};
use super::fact::{EndpointPlace, Lacking, NotReady, ObjectName, PodFact, Ready, Selector};
use super::{missing, pods};
use crate::identity::{Endpoint, Index};
use crate::model::cluster::{Kind, Pod, Service};

/// At most this many pods are explained.
const MAX_EXPLAINED: usize = 3;

/// The ready endpoints of a Service, each once.
pub(super) fn ready(index: &Index, service: &Service) -> Vec<Endpoint> {
    let mut endpoints = index.endpoints(&service.namespace, &service.name);
    endpoints.retain(|endpoint| endpoint.ready);
    endpoints
}

/// Whether the inventory shows that no endpoint is ready.
pub(super) fn none_ready(index: &Index, service: &Service) -> bool {
    index.knows_endpoints() && ready(index, service).is_empty()
}

/// Whether the inventory shows that no endpoint of this address's family is ready.
pub(super) fn none_ready_for(index: &Index, service: &Service, ip: IpAddr) -> bool {
    let mut ready = ready(index, service).into_iter();
    index.knows_endpoints() && !ready.any(|endpoint| endpoint.ip.is_ipv4() == ip.is_ipv4())
}

/// Why none is, as far as the inventory shows.
pub(super) fn why_none_ready_for(index: &Index, service: &Service, ip: IpAddr) -> NotReady {
    match ready(index, service).len() {
        0 => why_none_ready(index, service),
        ready => NotReady::OtherFamily {
            v4: ip.is_ipv4(),
            ready,
        },
    }
}

/// The ready endpoints of a Service, for a fact.
pub(super) fn ready_or_unknown(index: &Index, service: &Service) -> Ready {
    if index.knows_endpoints() {
        Ready::Endpoints(
            ready(index, service)
                .iter()
                .map(EndpointPlace::from)
                .collect(),
        )
    } else {
        Ready::Unknown(missing::lacking(index, Kind::EndpointSlice, None))
    }
}

/// Why a Service has no ready endpoint, as far as the inventory shows.
pub(super) fn why_none_ready(index: &Index, service: &Service) -> NotReady {
    let endpoints = index.endpoints(&service.namespace, &service.name);
    if !endpoints.is_empty() {
        let places = endpoints.iter().map(EndpointPlace::from).collect();
        return match endpoints.iter().all(|endpoint| endpoint.terminating) {
            true => NotReady::Terminating(places),
            false => NotReady::Unready(places),
        };
    }
    if service.selector.is_empty() {
        return NotReady::NoSelector;
    }
    if !index.knows_all_pods() {
        let lacking = match index.pods().next() {
            None => missing::lacking(index, Kind::Pod, None),
            Some(_) => Lacking::OtherNodes,
        };
        return NotReady::PodsUnknown(selector(service), lacking);
    }
    let selected = selected(index, service).map(ObjectName::from).collect();
    NotReady::Selects(selector(service), selected)
}

/// Commands that show why no endpoint is ready.
pub(super) fn inspect(index: &Index, service: &Service) -> Vec<Command> {
    let endpoints = index.endpoints(&service.namespace, &service.name);
    let mut unready = endpoints.iter().filter(|endpoint| !endpoint.ready);
    let pod = unready.find_map(|endpoint| endpoint.pod.as_deref());
    inspect_pod(service, pod.map(ObjectName::from))
}

/// Commands that show why this pod of a Service is not ready; `None`: why the Service has no pod.
pub(super) fn inspect_pod(service: &Service, pod: Option<ObjectName>) -> Vec<Command> {
    let namespace = &service.namespace;
    if service.selector.is_empty() {
        let slices = Kubectl::EndpointSlices(service.into());
        let pod = pod.map(Kubectl::DescribePod);
        return [slices].into_iter().chain(pod).map(Command::from).collect();
    }
    vec![
        Kubectl::SelectedPods(namespace.clone(), selector(service)).into(),
        match pod {
            Some(pod) => Kubectl::DescribePod(pod),
            None => Kubectl::PodLabels(namespace.clone()),
        }
        .into(),
    ]
}

/// Why the pods of a Service are not ready, as far as their status shows; a few of them.
pub(super) fn unready_pods(index: &Index, service: &Service) -> Vec<PodFact> {
    let endpoints = index.endpoints(&service.namespace, &service.name);
    let pods: Vec<&Pod> = match endpoints.is_empty() {
        true if service.selector.is_empty() => Vec::new(),
        true => selected(index, service).collect(),
        false => endpoints
            .iter()
            .filter(|endpoint| !endpoint.ready)
            .filter_map(|endpoint| index.pod_object(endpoint.pod.as_ref()?))
            .collect(),
    };
    let facts = pods.into_iter().filter_map(pods::state);
    facts.take(MAX_EXPLAINED).collect()
}

/// The Services whose selector matches a pod, sorted by name.
pub(super) fn selecting<'a>(index: &'a Index, pod: &Pod) -> Vec<&'a Service> {
    let selects = |service: &&Service| {
        let selector = &service.selector;
        !selector.is_empty() && selector.iter().all(|label| pod.labels.contains(label))
    };
    let services = index.services_in(&pod.namespace).filter(selects);
    let mut services: Vec<&Service> = services.collect();
    services.sort_by(|a, b| a.name.cmp(&b.name));
    services
}

/// Commands that show where a Service's endpoints are now.
pub(super) fn whereabouts(service: &Service) -> Vec<Command> {
    let pods = Kubectl::SelectedPods(service.namespace.clone(), selector(service));
    let slices = Kubectl::EndpointSlices(service.into());
    match service.selector.is_empty() {
        true => vec![slices.into()],
        false => vec![pods.into(), slices.into()],
    }
}

/// The Services with an endpoint at this address.
pub(super) fn with_endpoint(index: &Index, ip: IpAddr) -> impl Iterator<Item = &Service> {
    index.services().filter(move |service| {
        let endpoints = index.endpoints(&service.namespace, &service.name);
        endpoints.iter().any(|endpoint| endpoint.ip == ip)
    })
}

/// The Service's selector.
pub(super) fn selector(service: &Service) -> Selector {
    Selector(service.selector.clone())
}

/// The pods that a Service selects, except those that have ended.
pub(super) fn selected<'a>(
    index: &'a Index,
    service: &'a Service,
) -> impl Iterator<Item = &'a Pod> {
    index.pods().filter(|pod| {
        pod.namespace == service.namespace
            && !pod.terminated
            && service
                .selector
                .iter()
                .all(|label| pod.labels.contains(label))
    })
}
