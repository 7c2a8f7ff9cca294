//! The log line about an inventory file that a run has loaded.

use std::path::Path;

use tracer_core::files::inventory::Loaded;
use tracer_core::model::cluster::Inventory;

/// Logs how many objects the file has.
pub(super) fn log_loaded(path: &Path, loaded: &Loaded) {
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
}
