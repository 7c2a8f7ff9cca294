//! The probes' tables of interfaces, as user space writes them: which ones are attached, and of which no records are wanted.
//!
//! Owns both maps, so that an interface leaves them together. Counts are only read: the probes write them.

use aya::maps::{HashMap, MapData, MapError};
use tracer_common::InterfaceState;
use tracing::warn;

use super::error::errno;
use tracer_core::model::flow::Ifindex;

/// See [`InterfaceState`].
pub(super) type InterfaceMap = HashMap<MapData, u32, InterfaceState>;
/// The interfaces that are muted; the values say nothing.
pub(super) type MutedMap = HashMap<MapData, u32, u8>;

/// Both tables.
pub(super) struct InterfaceTables {
    pub attached: InterfaceMap,
    pub muted: MutedMap,
}

impl InterfaceTables {
    /// Makes an interface's entry. Without it a probe counts and tells nothing of the interface.
    pub fn enter(&mut self, ifindex: Ifindex) -> Result<(), MapError> {
        self.attached
            .insert(ifindex.0, InterfaceState::default(), 0)
    }

    /// Removes an interface and returns what was counted of it last.
    pub fn leave(&mut self, ifindex: Ifindex) -> InterfaceState {
        let last = self.state(ifindex).unwrap_or_default();
        for removed in [
            self.attached.remove(&ifindex.0),
            // Another interface can have this number one day.
            self.muted.remove(&ifindex.0),
        ] {
            if let Err(error) = unless_missing(removed) {
                warn!(ifindex = ifindex.0, %error, "the interface stays in the probes' table");
            }
        }
        last
    }

    /// What was counted of an interface; `None` if it is not attached.
    pub fn state(&self, ifindex: Ifindex) -> Option<InterfaceState> {
        self.attached.get(&ifindex.0, 0).ok()
    }

    /// Switches the records of an attached interface off or on.
    pub fn mute(&mut self, ifindex: Ifindex, mute: bool) -> Result<(), MapError> {
        if !mute {
            return unless_missing(self.muted.remove(&ifindex.0));
        }
        // One that was detached meanwhile leaves nothing behind.
        match self.state(ifindex) {
            Some(_) => self.muted.insert(ifindex.0, 1, 0),
            None => Ok(()),
        }
    }
}

/// What is not there need not be removed.
fn unless_missing(removed: Result<(), MapError>) -> Result<(), MapError> {
    match removed {
        Err(error) if errno(&error) == Some(libc::ENOENT) => Ok(()),
        Err(MapError::KeyNotFound) => Ok(()),
        other => other,
    }
}
