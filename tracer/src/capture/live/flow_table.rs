//! The probes' flow table: reads it, removes an entry together with its final counters, and gives the probes the
//! number of entries.

use std::os::fd::{AsRawFd as _, OwnedFd};

use aya::maps::{Array, HashMap, Map, MapData, MapError};
use tracer_common::{FlowKey, FlowState, flow_count};

use super::batch;

/// The map from [`FlowKey`] to [`FlowState`].
pub(super) struct FlowTable {
    map: HashMap<MapData, FlowKey, FlowState>,
    /// A second descriptor of the map, for the commands that aya lacks.
    fd: Option<OwnedFd>,
    count: Array<MapData, u64>,
    /// What `count` has at [`flow_count::BASE`].
    base: u64,
    capacity: usize,
}

impl FlowTable {
    pub fn new(map: Map, count: Map, capacity: usize) -> Result<FlowTable, MapError> {
        let fd = batch::second_fd(&map);
        Ok(FlowTable {
            map: HashMap::try_from(map)?,
            fd,
            count: Array::try_from(count)?,
            base: 0,
            capacity,
        })
    }

    /// Passes every entry to `take` while the probes change the table.
    pub fn for_each(&self, mut take: impl FnMut(FlowKey, FlowState)) -> Result<(), MapError> {
        if let Some(fd) = &self.fd
            && batch::for_each(fd, &mut take)?
        {
            return Ok(());
        }
        // Concurrent changes can make the iteration start over; this bounds it.
        for entry in self.map.iter().take(self.capacity * 2) {
            match entry {
                Ok((key, state)) => take(key, state),
                Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Entries that the probes have added so far.
    pub fn added(&self) -> Result<u64, MapError> {
        self.count.get(&flow_count::ADDED, 0)
    }

    /// Gives the probes the number of entries, as counted after `added` was read: an entry that was added
    /// meanwhile can count twice, never not at all.
    pub fn set_entries(&mut self, entries: u64, added: u64) -> Result<(), MapError> {
        let base = entries.wrapping_sub(added);
        if base != self.base {
            self.count.set(flow_count::BASE, base, 0)?;
            self.base = base;
        }
        Ok(())
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
