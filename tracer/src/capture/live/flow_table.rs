//! The probes' flow table: iterates over it, and removes an entry together with its final counters.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use aya::maps::{HashMap, Map, MapData, MapError};
use tracer_common::{FlowKey, FlowState};

/// The map from [`FlowKey`] to [`FlowState`].
pub(super) struct FlowTable {
    map: HashMap<MapData, FlowKey, FlowState>,
    /// A second descriptor of the map, for the command that aya lacks.
    fd: Option<OwnedFd>,
}

impl FlowTable {
    pub fn new(map: Map) -> Result<FlowTable, MapError> {
        let fd = match &map {
            // If this fails, `take` works in two steps.
            Map::HashMap(data) => data.fd().as_fd().try_clone_to_owned().ok(),
            _ => None,
        };
        Ok(FlowTable {
            map: HashMap::try_from(map)?,
            fd,
        })
    }

    /// Iterates over the entries while the probes change the table.
    pub fn iter(&self) -> impl Iterator<Item = Result<(FlowKey, FlowState), MapError>> {
        self.map.iter()
    }

    /// Removes an entry and returns its final state.
    pub fn take(&mut self, key: &FlowKey) -> Result<FlowState, MapError> {
        if let Some(taken) = self.look_up_and_delete(key) {
            return taken;
        }
        let last = self.map.get(key, 0)?;
        self.map.remove(key)?;
        Ok(last)
    }

    /// Looks up and removes in one step; `None` where the kernel cannot for a hash map (before 5.14).
    fn look_up_and_delete(&self, key: &FlowKey) -> Option<Result<FlowState, MapError>> {
        const BPF_MAP_LOOKUP_AND_DELETE_ELEM: libc::c_long = 21;
        /// The part of `union bpf_attr` for this command (linux/bpf.h).
        #[repr(C)]
        struct Attributes {
            map_fd: u32,
            zero: u32,
            key: u64,
            value: u64,
            flags: u64,
        }
        let mut last = FlowState::default();
        let attributes = Attributes {
            map_fd: self.fd.as_ref()?.as_raw_fd().cast_unsigned(),
            zero: 0,
            key: core::ptr::from_ref(key) as u64,
            value: core::ptr::from_mut(&mut last) as u64,
            flags: 0,
        };
        // SAFETY: key and value have the map's types and outlive the call. The kernel writes the value, whose
        // fields are integers, so every bit pattern is valid.
        let done = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_MAP_LOOKUP_AND_DELETE_ELEM,
                core::ptr::from_ref(&attributes),
                size_of::<Attributes>(),
            )
        };
        if done == 0 {
            return Some(Ok(last));
        }
        let absent = std::io::Error::last_os_error().raw_os_error() == Some(libc::ENOENT);
        // A kernel without the command returns ENOTSUPP or EINVAL. Any other error shows again in the two
        // steps.
        absent.then_some(Err(MapError::KeyNotFound))
    }
}
