//! A Service's endpoints: which are ready, and why none is.

use super::command::{Command, Kubectl};
use super::fact::{EndpointPlace, Lacking, NotReady, ObjectName, Ready, Selector};
use super::missing;
use crate::identity::{Endpoint, Index};
use crate::model::cluster::{Kind, Pod, Service};

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
        return NotReady::Unready(endpoints.iter().map(EndpointPlace::from).collect());
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
    let namespace = &service.namespace;
    if service.selector.is_empty() {
        return vec![Kubectl::EndpointSlices(service.into()).into()];
    }
    let endpoints = index.endpoints(namespace, &service.name);
    let pod = endpoints
        .iter()
        .find_map(|endpoint| endpoint.pod.as_deref());
    vec![
        Kubectl::SelectedPods(namespace.clone(), selector(service)).into(),
        match pod {
            // An endpoint's pod is in the namespace of its Service.
            Some(pod) => Kubectl::DescribePod(ObjectName {
                namespace: namespace.clone(),
                name: pod.name.clone(),
            }),
            None => Kubectl::PodLabels(namespace.clone()),
        }
        .into(),
    ]
}

/// The target ports of a Service's TCP port, from its endpoints.
pub(super) fn targets(ready: &[Endpoint], service: &Service, port: u16) -> Vec<u16> {
    let listed = service
        .ports
        .iter()
        .find(|listed| listed.port == port && &*listed.protocol == "TCP");
    let Some(listed) = listed else {
        return Vec::new();
    };
    let mut targets: Vec<u16> = ready
        .iter()
        .flat_map(|endpoint| &endpoint.ports)
        .filter(|target| target.name == listed.name && target.protocol == listed.protocol)
        .filter_map(|target| target.port)
        .collect();
    targets.sort_unstable();
    targets.dedup();
    targets
}

/// The Services whose selector matches a pod, sorted by name.
pub(super) fn selecting<'a>(index: &'a Index, pod: &Pod) -> Vec<&'a Service> {
    let selects = |service: &&Service| {
        let selector = &service.selector;
        service.namespace == pod.namespace
            && !selector.is_empty()
            && selector.iter().all(|label| pod.labels.contains(label))
    };
    let mut services: Vec<&Service> = index.services().filter(selects).collect();
    services.sort_by(|a, b| a.name.cmp(&b.name));
    services
}

/// The Service's selector.
pub(super) fn selector(service: &Service) -> Selector {
    Selector(service.selector.clone())
}

/// The pods that a Service selects, except those that have ended.
fn selected<'a>(index: &'a Index, service: &'a Service) -> impl Iterator<Item = &'a Pod> {
    index.pods().filter(|pod| {
        pod.namespace == service.namespace
            && !pod.terminated
            && service
                .selector
                .iter()
                .all(|label| pod.labels.contains(label))
    })
}
