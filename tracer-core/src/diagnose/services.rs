//! What can be said of a Service's endpoints: which are ready, and why none is.

use crate::identity::{Endpoint, Index};
use crate::model::cluster::{Kind, Pod, Service};

use super::{missing, words};

/// The ready endpoints of a Service, each once.
pub(super) fn ready(index: &Index, service: &Service) -> Vec<Endpoint> {
    let mut endpoints = index.endpoints(&service.namespace, &service.name);
    endpoints.retain(|endpoint| endpoint.ready);
    endpoints
}

/// Whether it is known that none is ready.
pub(super) fn none_ready(index: &Index, service: &Service) -> bool {
    index.knows_endpoints() && ready(index, service).is_empty()
}

/// How many endpoints of a Service are ready, and which.
pub(super) fn ready_sentence(index: &Index, service: &Service) -> String {
    if !index.knows_endpoints() {
        return format!(
            "Which endpoints it has is not known: {}.",
            missing::lack(index, Kind::EndpointSlice, None)
        );
    }
    let ready: Vec<String> = ready(index, service).iter().map(words::endpoint).collect();
    match ready.len() {
        0 => "It has no ready endpoint: a connection to its ports would fail too.".to_owned(),
        1 => format!("Its one ready endpoint: {}.", words::list(&ready)),
        several => format!("Its {several} ready endpoints: {}.", words::list(&ready)),
    }
}

/// Why a Service has no ready endpoint, as far as the inventory shows.
pub(super) fn why_none_ready(index: &Index, service: &Service) -> String {
    let endpoints = index.endpoints(&service.namespace, &service.name);
    if !endpoints.is_empty() {
        let unready: Vec<String> = endpoints.iter().map(words::endpoint).collect();
        return match unready.len() {
            1 => format!("Its one endpoint is not ready: {}.", words::list(&unready)),
            all => format!(
                "None of its {all} endpoints is ready: {}.",
                words::list(&unready)
            ),
        };
    }
    if service.selector.is_empty() {
        return "It has no selector, so its endpoints are made by hand, and it has none."
            .to_owned();
    }
    if !index.knows_all_pods() {
        let lacks = match index.pods().next() {
            None => missing::lack(index, Kind::Pod, None),
            Some(_) => "only the pods of this node are known".to_owned(),
        };
        return format!(
            "It has no endpoint. Whether its selector {} matches a pod is not known: {lacks}.",
            selector(service)
        );
    }
    let selected: Vec<String> = selected(index, service)
        .map(|pod| format!("{}/{}", pod.namespace, pod.name))
        .collect();
    match selected.len() {
        0 => format!("Its selector {} matches no pod.", selector(service)),
        1 => format!(
            "Its selector {} matches one pod, which is no endpoint: {}.",
            selector(service),
            words::list(&selected)
        ),
        several => format!(
            "Its selector {} matches {several} pods, none of which is an endpoint: {}.",
            selector(service),
            words::list(&selected)
        ),
    }
}

/// What to run to see why none is ready.
pub(super) fn look_why_none_ready(index: &Index, service: &Service) -> Vec<String> {
    let namespace = &service.namespace;
    if service.selector.is_empty() {
        return vec![format!(
            "kubectl -n {namespace} get endpointslices -l kubernetes.io/service-name={}",
            service.name
        )];
    }
    let mut commands = vec![format!(
        "kubectl -n {namespace} get pods -l {} -o wide",
        selector(service)
    )];
    let endpoints = index.endpoints(namespace, &service.name);
    match endpoints.iter().find_map(|endpoint| endpoint.pod.as_ref()) {
        Some(pod) => commands.push(format!(
            "kubectl -n {namespace} describe pod {}   # its conditions and readiness probe",
            pod.name
        )),
        None => commands.push(format!(
            "kubectl -n {namespace} get pods --show-labels   # compare with the selector"
        )),
    }
    commands
}

/// The pods' ports that a TCP port of a Service leads to, as its endpoints have them.
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

/// The Services whose selector matches a pod, by name.
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

/// `app=web,tier=front`.
pub(super) fn selector(service: &Service) -> String {
    let pairs: Vec<String> = service
        .selector
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}

/// The pods that a Service selects, those that have ended apart.
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
