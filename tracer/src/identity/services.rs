//! The Services and what serves them: by name, by bare name in any namespace, with their endpoints.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::cluster::{EndpointPort, EndpointSlice, Service};
use crate::model::identity::{PodIdentity, ServiceIdentity};

/// An endpoint of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address; one of them where it has several.
    pub ip: IpAddr,
    /// The ports that it serves.
    pub ports: Vec<EndpointPort>,
    /// Ready to serve.
    pub ready: bool,
    /// The pod, where the endpoint is one.
    pub pod: Option<Arc<PodIdentity>>,
    /// The node it is on.
    pub node: Option<Arc<str>>,
    /// Its own DNS name below a headless Service.
    pub hostname: Option<Arc<str>>,
}

/// The Services that exist, and their slices.
#[derive(Debug, Default)]
pub(super) struct Services {
    by_name: HashMap<Arc<str>, HashMap<Arc<str>, Entry>>,
}

#[derive(Debug, Default)]
struct Entry {
    /// None where slices name a Service that is not in the inventory.
    service: Option<(Service, Arc<ServiceIdentity>)>,
    slices: Vec<EndpointSlice>,
}

impl Services {
    /// These Services and slices and no others exist.
    pub fn new(services: Vec<Service>, slices: Vec<EndpointSlice>) -> Services {
        let mut by_name: HashMap<Arc<str>, HashMap<Arc<str>, Entry>> = HashMap::new();
        for service in services {
            let (namespace, name) = (service.namespace.clone(), service.name.clone());
            let entry = by_name
                .entry(namespace.clone())
                .or_default()
                .entry(name.clone())
                .or_default();
            entry.service = Some((service, Arc::new(ServiceIdentity { namespace, name })));
        }
        for slice in slices {
            let Some(service) = slice.service.clone() else {
                continue;
            };
            let names = by_name.entry(slice.namespace.clone()).or_default();
            names.entry(service).or_default().slices.push(slice);
        }
        Services { by_name }
    }

    /// The Service of this name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Service> {
        self.by_name
            .get(namespace)?
            .get(name)?
            .service
            .as_ref()
            .map(|(service, _)| service)
    }

    /// The Services of this name, in any namespace.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Service> {
        let entries = self
            .by_name
            .values()
            .filter_map(move |names| names.get(name));
        entries.filter_map(|entry| entry.service.as_ref().map(|(service, _)| service))
    }

    /// All Services, each with its identity.
    pub fn iter(&self) -> impl Iterator<Item = &(Service, Arc<ServiceIdentity>)> {
        self.by_name
            .values()
            .flat_map(HashMap::values)
            .filter_map(|entry| entry.service.as_ref())
    }

    /// The slices of a Service.
    pub fn slices(&self, namespace: &str, name: &str) -> &[EndpointSlice] {
        let entry = self
            .by_name
            .get(namespace)
            .and_then(|names| names.get(name));
        entry.map_or(&[], |entry| &entry.slices)
    }

    /// All slices that belong to a Service.
    pub fn all_slices(&self) -> impl Iterator<Item = &EndpointSlice> {
        self.by_name
            .values()
            .flat_map(HashMap::values)
            .flat_map(|entry| &entry.slices)
    }

    /// The namespaces that have any.
    pub fn namespaces(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_name.keys()
    }
}
