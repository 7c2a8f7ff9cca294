//! The cluster of a scenario, which can change while the story goes on.

use std::path::PathBuf;

use tracer::cluster::inventory;
use tracer::model::cluster::Inventory;

/// Adds a file's objects.
pub fn add(all: &mut Inventory, file: &str) -> Result<(), String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(file);
    let more = inventory::load(&path).map_err(|error| error.to_string())?;
    let more = more.inventory;
    all.pods.extend(more.pods);
    all.services.extend(more.services);
    all.slices.extend(more.slices);
    all.nodes.extend(more.nodes);
    all.namespaces.extend(more.namespaces);
    all.policies.extend(more.policies);
    all.service_cidrs.extend(more.service_cidrs);
    Ok(())
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
