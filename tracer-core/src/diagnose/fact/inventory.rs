//! Facts about what the inventory does not show.

use std::time::Duration;

use crate::model::cluster::Kind;

#[derive(Clone, Debug)]
pub(in crate::diagnose) enum InventoryFact {
    /// The owner of the address at the other end is unknown.
    AddressOwnerUnknown(Lacking),
    /// The API server has been out of reach for this long.
    Stale(Duration),
}

/// Why objects are unknown.
#[derive(Clone, Copy, Debug)]
pub(in crate::diagnose) enum Lacking {
    /// There is no inventory.
    NoInventory,
    /// The API server has not answered yet; how long ago it was asked, where that matters.
    NotAnswered(Option<Duration>),
    /// The API server does not permit reading this kind.
    Forbidden(Kind),
    /// The API server reports no object of this kind.
    NoneInCluster(Kind),
    /// The inventory file has no object of this kind.
    NoneInFile(Kind),
    /// The inventory has the pods of this node only.
    OtherNodes,
}
