//! The probes' flow table from user space: going through it, and taking an entry out with what it held last.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use aya::maps::{HashMap, Map, MapData, MapError};
use tracer_common::{FlowKey, FlowState};

/// See [`FlowState`].
pub(super) struct FlowTable {
    map: HashMap<MapData, FlowKey, FlowState>,
    /// The same map: for the one command that aya does not have for it.
    fd: Option<OwnedFd>,
}

impl FlowTable {
    pub fn new(map: Map) -> Result<FlowTable, MapError> {
        let fd = match &map {
            // Without a descriptor of its own it looks and removes in two steps.
            Map::HashMap(data) => data.fd().as_fd().try_clone_to_owned().ok(),
            _ => None,
        };
        Ok(FlowTable {
            map: HashMap::try_from(map)?,
            fd,
        })
    }

    /// Every entry; entries come and go meanwhile.
    pub fn iter(&self) -> impl Iterator<Item = Result<(FlowKey, FlowState), MapError>> {
        self.map.iter()
    }

    /// Removes an entry and returns what it held last.
    pub fn take(&mut self, key: &FlowKey) -> Result<FlowState, MapError> {
        if let Some(taken) = self.look_up_and_delete(key) {
            return taken;
        }
        let last = self.map.get(key, 0)?;
        self.map.remove(key)?;
        Ok(last)
    }

    /// In one step; `None` where the kernel has none for a hash map (before 5.14).
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
        // SAFETY: key and value are of the map's types and outlive the call; the kernel writes the value, for which
        // every byte pattern is valid.
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
        // A kernel without it says ENOTSUPP or EINVAL. Whatever else it may be, the two steps will say.
        absent.then_some(Err(MapError::KeyNotFound))
    }
}
