//! The cluster of a scenario, which can change over time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tracer_core::files::inventory;
use tracer_core::model::cluster::{
    ClusterChange, EndpointSlice, Inventory, Kind, Listed, Object, ObjectKey, Pod, Service,
};

/// Adds a file's objects, instead of those of the same names.
pub fn add(all: &mut Inventory, file: &str) -> Result<(), String> {
    let more = load(file)?;
    let key = |one: &Pod| (one.namespace.clone(), one.name.clone());
    merge(&mut all.pods, more.pods, key);
    let key = |one: &Service| (one.namespace.clone(), one.name.clone());
    merge(&mut all.services, more.services, key);
    let key = |one: &EndpointSlice| (one.namespace.clone(), one.name.clone());
    merge(&mut all.slices, more.slices, key);
    all.nodes.extend(more.nodes);
    all.namespaces.extend(more.namespaces);
    all.policies.extend(more.policies);
    all.service_cidrs.extend(more.service_cidrs);
    Ok(())
}

/// Reads a file, each once: most scenarios have the same one, and an unoptimized program reads YAML slowly.
fn load(file: &str) -> Result<Inventory, String> {
    static READ: Mutex<BTreeMap<String, Inventory>> = Mutex::new(BTreeMap::new());
    let mut read = READ.lock().map_err(|error| error.to_string())?;
    if let Some(known) = read.get(file) {
        return Ok(known.clone());
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(file);
    let more = inventory::load(&path).map_err(|error| error.to_string())?;
    read.insert(file.to_owned(), more.inventory.clone());
    Ok(more.inventory)
}

type Name = (Arc<str>, Arc<str>);

fn merge<T>(all: &mut Vec<T>, more: Vec<T>, key: impl Fn(&T) -> Name) {
    for one in more {
        match all.iter_mut().find(|known| key(known) == key(&one)) {
            Some(known) => *known = one,
            None => all.push(one),
        }
    }
}

/// All of it as a cluster lists it.
pub fn lists(all: &Inventory) -> Vec<Listed> {
    vec![
        Listed::Pods(all.pods.clone()),
        Listed::Services(all.services.clone()),
        Listed::Slices(all.slices.clone()),
        Listed::Nodes(all.nodes.clone()),
        Listed::Namespaces(all.namespaces.clone()),
        Listed::Policies(all.policies.clone()),
        Listed::ServiceCidrs(all.service_cidrs.clone()),
    ]
}

/// The changes, object by object, from one state of pods, Services and slices to another.
pub fn differences(before: &Inventory, now: &Inventory) -> Vec<ClusterChange> {
    let mut changes = Vec::new();
    let pod = |one: &Pod| (one.namespace.clone(), one.name.clone(), one.uid.clone());
    differ(
        &before.pods,
        &now.pods,
        Kind::Pod,
        pod,
        Object::Pod,
        &mut changes,
    );
    let none: Arc<str> = "".into();
    let service = |one: &Service| (one.namespace.clone(), one.name.clone(), none.clone());
    let (old, new) = (&before.services, &now.services);
    differ(
        old,
        new,
        Kind::Service,
        service,
        Object::Service,
        &mut changes,
    );
    let slice = |one: &EndpointSlice| (one.namespace.clone(), one.name.clone(), none.clone());
    let (old, new) = (&before.slices, &now.slices);
    differ(
        old,
        new,
        Kind::EndpointSlice,
        slice,
        Object::Slice,
        &mut changes,
    );
    changes
}

fn differ<T: Clone + PartialEq>(
    before: &[T],
    now: &[T],
    kind: Kind,
    key: impl Fn(&T) -> (Arc<str>, Arc<str>, Arc<str>),
    object: impl Fn(T) -> Object,
    changes: &mut Vec<ClusterChange>,
) {
    for one in before {
        if !now.iter().any(|other| key(other) == key(one)) {
            let (namespace, name, uid) = key(one);
            changes.push(ClusterChange::Delete(ObjectKey {
                kind,
                namespace,
                name,
                uid,
            }));
        }
    }
    for one in now.iter().filter(|one| !before.contains(one)) {
        changes.push(ClusterChange::Put(Box::new(object(one.clone()))));
    }
}

/// Takes an object out, a slice by its Service, or all of a kind (`*`).
pub fn remove(all: &mut Inventory, kind: &str, name: &str) -> Result<(), String> {
    let stays = |namespace: &str, own: &str| name != "*" && format!("{namespace}/{own}") != name;
    let count = |all: &Inventory| all.pods.len() + all.services.len() + all.slices.len();
    let before = count(all);
    match kind {
        "pod" => all.pods.retain(|pod| stays(&pod.namespace, &pod.name)),
        "service" => {
            let services = &mut all.services;
            services.retain(|service| stays(&service.namespace, &service.name));
        }
        "slice" => {
            let slices = &mut all.slices;
            slices.retain(|slice| {
                let service = slice.service.as_deref().unwrap_or_default();
                stays(&slice.namespace, service)
            });
        }
        other => return Err(format!("unknown kind {other:?}")),
    }
    if count(all) == before {
        return Err(format!("no {kind} {name} in the inventory"));
    }
    Ok(())
}

/// Makes all endpoints of a Service ready or not.
pub fn set_ready(all: &mut Inventory, service: &str, ready: bool) -> Result<(), String> {
    let of_service = all.slices.iter_mut().filter(|slice| {
        let name = slice.service.as_deref().unwrap_or_default();
        format!("{}/{name}", slice.namespace) == service
    });
    let endpoints: Vec<_> = of_service.flat_map(|slice| &mut slice.endpoints).collect();
    if endpoints.is_empty() {
        return Err(format!("no endpoint of {service} in the inventory"));
    }
    for endpoint in endpoints {
        endpoint.ready = ready;
    }
    Ok(())
}
