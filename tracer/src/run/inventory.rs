//! The inventory file at the start of a run.

use std::path::Path;

use anyhow::Result;

use crate::cluster::reload::InventoryFile;
use tracer_core::files::inventory::Loaded;
use tracer_core::model::cluster::Inventory;

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
