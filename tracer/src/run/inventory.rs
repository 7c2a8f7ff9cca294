//! The inventory file at the start of a run, and what the filters' warnings ask of it.

use std::path::Path;

use anyhow::Result;

use crate::cluster::inventory::Loaded;
use crate::cluster::reload::InventoryFile;
use crate::identity::Index;
use crate::model::cluster::Inventory;
use crate::sinks::filter::Directory;

/// Reads it for the first time.
pub(super) fn open(path: &Path) -> Result<(InventoryFile, Loaded)> {
    let (file, loaded) = InventoryFile::open(path)?;
    let Inventory {
        pods,
        services,
        nodes,
        ..
    } = &loaded.inventory;
    tracing::info!(
        pods = pods.len(),
        services = services.len(),
        nodes = nodes.len(),
        "read the inventory {}",
        path.display()
    );
    Ok((file, loaded))
}

impl Directory for Index {
    fn any_namespace(&self, fits: &dyn Fn(&str) -> bool) -> bool {
        let mut namespaces = self.namespaces().peekable();
        // Where nothing is known nothing can be said to be missing.
        namespaces.peek().is_none() || namespaces.any(|namespace| fits(namespace))
    }

    fn any_pod(&self, fits: &dyn Fn(&str, &str) -> bool) -> bool {
        let mut pods = self.pods().peekable();
        pods.peek().is_none()
            || !self.knows_all_pods()
            || pods.any(|pod| fits(&pod.namespace, &pod.name))
    }

    fn any_service(&self, fits: &dyn Fn(&str, &str) -> bool) -> bool {
        let mut services = self.services().peekable();
        services.peek().is_none() || services.any(|service| fits(&service.namespace, &service.name))
    }
}
