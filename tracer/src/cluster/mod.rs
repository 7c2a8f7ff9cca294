//! Edge: inventory file, pod processes and network namespaces, turned into identity changes.

pub mod inventory;
pub mod objects;
pub mod reload;
