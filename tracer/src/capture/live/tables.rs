//! The probes' interface tables: the attached interfaces, and those that are muted.
//!
//! Owns both maps, so that an interface is removed from both together. The probes write the counters; this
//! module only reads them.

use aya::maps::{HashMap, MapData, MapError};
use tracer_common::InterfaceState;
use tracing::warn;

use super::error::errno;
use tracer_core::model::flow::Ifindex;

/// The attached interfaces and their counters.
pub(super) type InterfaceMap = HashMap<MapData, u32, InterfaceState>;
/// The muted interfaces. The values have no meaning.
pub(super) type MutedMap = HashMap<MapData, u32, u8>;

/// Both interface tables.
pub(super) struct InterfaceTables {
    attached: InterfaceMap,
    muted: MutedMap,
    /// Final counters of removed interfaces that lost records, for [`InterfaceTables::states`].
    removed: Vec<(Ifindex, InterfaceState)>,
}

impl InterfaceTables {
    pub fn new(attached: InterfaceMap, muted: MutedMap) -> InterfaceTables {
        InterfaceTables {
            attached,
            muted,
            removed: Vec::new(),
        }
    }

    /// Adds an interface. Without its entry the probes neither count nor record its packets.
    pub fn add(&mut self, ifindex: Ifindex) -> Result<(), MapError> {
        self.attached
            .insert(ifindex.0, InterfaceState::default(), 0)
    }

    /// Removes an interface and returns its final counters.
    pub fn remove(&mut self, ifindex: Ifindex) -> InterfaceState {
        let last = self.state(ifindex).unwrap_or_default();
        for removed in [
            self.attached.remove(&ifindex.0),
            // The kernel can give the index to another interface.
            self.muted.remove(&ifindex.0),
        ] {
            if let Err(error) = unless_missing(removed) {
                warn!(ifindex = ifindex.0, %error, "cannot remove the interface from the probes' table");
            }
        }
        if last.lost > 0 {
            self.removed.push((ifindex, last));
        }
        last
    }

    /// Takes the final counters of the interfaces removed since the last call, if they lost records.
    pub fn take_removed(&mut self) -> Vec<(Ifindex, InterfaceState)> {
        std::mem::take(&mut self.removed)
    }

    /// The counters of all attached interfaces.
    pub fn states(&self) -> impl Iterator<Item = Result<(Ifindex, InterfaceState), MapError>> {
        self.attached
            .iter()
            .map(|entry| entry.map(|(ifindex, state)| (Ifindex(ifindex), state)))
    }

    /// An interface's counters; `None` if it is not attached.
    pub fn state(&self, ifindex: Ifindex) -> Option<InterfaceState> {
        self.attached.get(&ifindex.0, 0).ok()
    }

    /// Switches the records of an attached interface off or on.
    pub fn mute(&mut self, ifindex: Ifindex, mute: bool) -> Result<(), MapError> {
        if !mute {
            return unless_missing(self.muted.remove(&ifindex.0));
        }
        // An interface that has been detached gets no entry: nothing would remove it.
        match self.state(ifindex) {
            Some(_) => self.muted.insert(ifindex.0, 1, 0),
            None => Ok(()),
        }
    }
}

/// Treats the removal of a missing entry as success.
fn unless_missing(removed: Result<(), MapError>) -> Result<(), MapError> {
    match removed {
        Err(error) if errno(&error) == Some(libc::ENOENT) => Ok(()),
        Err(MapError::KeyNotFound) => Ok(()),
        other => other,
    }
}
