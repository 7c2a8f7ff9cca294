//! Services and their EndpointSlices, by namespace and name, and by name in any namespace.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::cluster::{EndpointPort, EndpointSlice, Service};
use crate::model::identity::{PodIdentity, ServiceIdentity};

/// An endpoint of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address, or one of them if it has several.
    pub ip: IpAddr,
    /// The ports it serves.
    pub ports: Vec<EndpointPort>,
    /// Whether it is ready to serve.
    pub ready: bool,
    /// It passes its readiness probe, even where it terminates.
    pub serving: bool,
    /// Its pod is being deleted.
    pub terminating: bool,
    /// The pod, if the endpoint is one.
    pub pod: Option<Arc<PodIdentity>>,
    /// The node it runs on.
    pub node: Option<Arc<str>>,
    /// The zone it is in.
    pub zone: Option<Arc<str>>,
    /// Its own DNS name below a headless Service.
    pub hostname: Option<Arc<str>>,
}

/// Existing Services and their slices.
#[derive(Debug, Default)]
pub(super) struct Services {
    by_name: HashMap<Arc<str>, HashMap<Arc<str>, Entry>>,
    /// The Service of each slice, by the slice's namespace and name.
    slices: HashMap<Arc<str>, HashMap<Arc<str>, Arc<str>>>,
}

#[derive(Debug, Default)]
struct Entry {
    /// `None` where slices name a Service that is not in the inventory.
    service: Option<(Service, Arc<ServiceIdentity>)>,
    slices: Vec<EndpointSlice>,
}

impl Services {
    /// Adds or updates a Service. Returns its identity and its previous state.
    pub fn put(&mut self, service: Service) -> (Arc<ServiceIdentity>, Option<Service>) {
        let entry = self.entry(&service.namespace, &service.name);
        let identity = match &entry.service {
            Some((_, identity)) => identity.clone(),
            None => Arc::new(ServiceIdentity {
                namespace: service.namespace.clone(),
                name: service.name.clone(),
            }),
        };
        let before = entry.service.replace((service, identity.clone()));
        (identity, before.map(|(service, _)| service))
    }

    /// Deletes the Service with this name and returns it.
    pub fn delete(
        &mut self,
        namespace: &str,
        name: &str,
    ) -> Option<(Service, Arc<ServiceIdentity>)> {
        let entry = self.by_name.get_mut(namespace)?.get_mut(name)?;
        let gone = entry.service.take();
        self.tidy(namespace, name);
        gone
    }

    /// Adds or updates a slice and returns its previous state. A slice without a Service is not kept.
    pub fn put_slice(&mut self, slice: EndpointSlice) -> Option<EndpointSlice> {
        let before = self.delete_slice(&slice.namespace, &slice.name);
        if let Some(service) = &slice.service {
            self.slices
                .entry(slice.namespace.clone())
                .or_default()
                .insert(slice.name.clone(), service.clone());
            let slices = &mut self.entry(&slice.namespace, service).slices;
            slices.reserve_exact(1);
            slices.push(slice);
        }
        before
    }

    /// Deletes the slice with this name and returns it.
    pub fn delete_slice(&mut self, namespace: &str, name: &str) -> Option<EndpointSlice> {
        let names = self.slices.get_mut(namespace)?;
        let service = names.remove(name)?;
        if names.is_empty() {
            self.slices.remove(namespace);
        }
        let entry = self.by_name.get_mut(namespace)?.get_mut(&service)?;
        let place = entry.slices.iter().position(|slice| &*slice.name == name)?;
        let gone = entry.slices.remove(place);
        self.tidy(namespace, &service);
        Some(gone)
    }

    /// Namespace and name of every existing Service.
    pub fn keys(&self) -> Vec<(Arc<str>, Arc<str>)> {
        let services = self.iter();
        services
            .map(|(service, _)| (service.namespace.clone(), service.name.clone()))
            .collect()
    }

    /// Namespace and name of every slice.
    pub fn slice_keys(&self) -> Vec<(Arc<str>, Arc<str>)> {
        let slices = self.slices.iter();
        slices
            .flat_map(|(namespace, names)| {
                names
                    .keys()
                    .map(move |name| (namespace.clone(), name.clone()))
            })
            .collect()
    }

    fn entry(&mut self, namespace: &Arc<str>, name: &Arc<str>) -> &mut Entry {
        self.by_name
            .entry(namespace.clone())
            .or_default()
            .entry(name.clone())
            .or_default()
    }

    /// Drops the entry of a name that neither a Service nor a slice uses any more.
    fn tidy(&mut self, namespace: &str, name: &str) {
        let Some(names) = self.by_name.get_mut(namespace) else {
            return;
        };
        let empty = names
            .get(name)
            .is_some_and(|entry| entry.service.is_none() && entry.slices.is_empty());
        if empty {
            names.remove(name);
        }
        if names.is_empty() {
            self.by_name.remove(namespace);
        }
    }

    /// The Service with this name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Service> {
        self.by_name
            .get(namespace)?
            .get(name)?
            .service
            .as_ref()
            .map(|(service, _)| service)
    }

    /// The Services with this name, in any namespace.
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

    /// The Services of a namespace.
    pub fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &Service> {
        let names = self.by_name.get(namespace).into_iter();
        names
            .flat_map(HashMap::values)
            .filter_map(|entry| entry.service.as_ref())
            .map(|(service, _)| service)
    }

    /// A Service's slices.
    pub fn slices(&self, namespace: &str, name: &str) -> &[EndpointSlice] {
        let entry = self
            .by_name
            .get(namespace)
            .and_then(|names| names.get(name));
        entry.map_or(&[], |entry| &entry.slices)
    }

    /// The slices of a namespace's Services.
    pub fn slices_in(&self, namespace: &str) -> impl Iterator<Item = &EndpointSlice> {
        self.by_name
            .get(namespace)
            .into_iter()
            .flat_map(HashMap::values)
            .flat_map(|entry| &entry.slices)
    }

    /// All slices with a Service.
    pub fn all_slices(&self) -> impl Iterator<Item = &EndpointSlice> {
        self.by_name
            .values()
            .flat_map(HashMap::values)
            .flat_map(|entry| &entry.slices)
    }

    /// Namespaces with a Service or a slice.
    pub fn namespaces(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_name.keys()
    }
}
