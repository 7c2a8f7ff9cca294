//! Reads a map in few system calls (`BPF_MAP_LOOKUP_BATCH`, Linux 5.6; arrays per CPU 5.13), which aya lacks: one
//! for hundreds of entries instead of one or two for each.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use aya::Pod;
use aya::maps::{Map, MapError};

const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
/// The kernel's own number for "operation not supported", unknown to libc.
const ENOTSUPP: i32 = 524;
/// Entries per call. The kernel asks for more if a bucket has more.
const ENTRIES: usize = 1_024;

/// The part of `union bpf_attr` for this command (linux/bpf.h).
#[repr(C)]
struct Attributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// A second descriptor of a map; `None` if there is none to be had, then the map is read entry by entry.
pub(super) fn second_fd(map: &Map) -> Option<OwnedFd> {
    match map {
        Map::HashMap(data) | Map::PerCpuArray(data) => data.fd().as_fd().try_clone_to_owned().ok(),
        _ => None,
    }
}

/// Passes every entry of a hash map to `take`, while the probes change it. `false`, and nothing is passed, where
/// the kernel cannot. `K` and `V` must be the map's key and value.
pub(super) fn for_each<K: Pod, V: Pod>(
    fd: &OwnedFd,
    take: &mut impl FnMut(K, V),
) -> Result<bool, MapError> {
    let mut entries = ENTRIES;
    let mut position: Option<u32> = None;
    loop {
        let mut keys: Vec<K> = Vec::with_capacity(entries);
        let mut values: Vec<V> = Vec::with_capacity(entries);
        let mut next = 0_u32;
        let mut attributes = Attributes {
            in_batch: position
                .as_ref()
                .map_or(0, |position| core::ptr::from_ref(position) as u64),
            out_batch: core::ptr::from_mut(&mut next) as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: u32::try_from(entries).unwrap_or(u32::MAX),
            map_fd: fd.as_raw_fd().cast_unsigned(),
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: keys and values have the map's types and room for `count` of each, and all of it outlives the
        // call. A hash map's position is 32 bits.
        let done = unsafe { look_up(&mut attributes) };
        let ended = match done {
            Ok(()) => false,
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOENT) => true,
                // A bucket has more entries than there is room for.
                Some(libc::ENOSPC) if entries < 1 << 24 => {
                    entries *= 4;
                    continue;
                }
                Some(errno) if is_unsupported(errno) && position.is_none() => return Ok(false),
                _ => return Err(MapError::IoError(error)),
            },
        };
        let count = (attributes.count as usize).min(entries);
        // SAFETY: the kernel has written `count` keys and values, whose every bit pattern is valid.
        unsafe {
            keys.set_len(count);
            values.set_len(count);
        }
        for (key, value) in keys.into_iter().zip(values) {
            take(key, value);
        }
        if ended {
            return Ok(true);
        }
        position = Some(next);
    }
}

/// The first `entries` values of an array per CPU: those of all CPUs for each index. `None` where the kernel
/// cannot. `V` must be the map's value and its size a multiple of 8, the map must have as many entries, and the
/// machine `cpus` possible CPUs.
pub(super) fn read_array<V: Pod>(
    fd: &OwnedFd,
    entries: usize,
    cpus: usize,
) -> Result<Option<Vec<V>>, MapError> {
    const { assert!(size_of::<V>().is_multiple_of(8)) };
    if entries == 0 {
        return Ok(Some(Vec::new()));
    }
    let mut keys: Vec<u32> = Vec::with_capacity(entries);
    let mut values: Vec<V> = Vec::with_capacity(entries * cpus);
    let mut next = 0_u32;
    let mut attributes = Attributes {
        in_batch: 0,
        out_batch: core::ptr::from_mut(&mut next) as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: u32::try_from(entries).unwrap_or(u32::MAX),
        map_fd: fd.as_raw_fd().cast_unsigned(),
        elem_flags: 0,
        flags: 0,
    };
    // SAFETY: there is room for `count` keys, which are 32 bits, and for a value of every CPU for each, in
    // multiples of 8 bytes; all of it outlives the call. An array's position is 32 bits.
    match unsafe { look_up(&mut attributes) } {
        Ok(()) => {}
        Err(error) => match error.raw_os_error() {
            // These were all entries.
            Some(libc::ENOENT) => {}
            Some(errno) if is_unsupported(errno) => return Ok(None),
            _ => return Err(MapError::IoError(error)),
        },
    }
    if attributes.count as usize != entries {
        return Ok(None);
    }
    // SAFETY: the kernel has written `count` values for every CPU, whose every bit pattern is valid.
    unsafe { values.set_len(entries * cpus) };
    Ok(Some(values))
}

/// # Safety
///
/// What `attributes` points to must be as the map's kind requires.
unsafe fn look_up(attributes: &mut Attributes) -> io::Result<()> {
    // SAFETY: the caller's; `attributes` is the beginning of the union for this command, and its size is given.
    let done = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_MAP_LOOKUP_BATCH,
            core::ptr::from_mut(attributes),
            size_of::<Attributes>(),
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn is_unsupported(errno: i32) -> bool {
    matches!(errno, libc::EINVAL | ENOTSUPP | libc::EOPNOTSUPP)
}
