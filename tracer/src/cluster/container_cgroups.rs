//! Finds the containers of this node and the ids of their cgroups, from the processes in /proc.
//!
//! The kernel gives a packet the id of its sender's cgroup (version 2). A process connects the two: its container is in
//! the path in /proc/PID/cgroup, its cgroup's id by `PIDFD_GET_INFO` (Linux 6.13), without a capability. On older
//! kernels the id is the inode of the cgroup's directory, where the reader can see that: outside of a container, or
//! with the node's cgroup file system mounted.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::Instant;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::pod_cgroup::{kubelet_root, pod_cgroup};
use tracer_core::model::cluster::{ClusterChange, ContainerCgroup};

/// A scan reads all of /proc. The thread rests for this many times as long as the last one took.
const REST_SHARE: u32 = 20;
/// Where the unified hierarchy is mounted, alone or beside version 1.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// Starts a thread that scans after each request and passes what it finds to `emit`, until that breaks or the
/// sender of the requests is gone.
pub fn spawn(
    requests: Receiver<()>,
    mut emit: impl FnMut(ClusterChange) -> ControlFlow<()> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("containers".to_owned())
        .spawn(move || {
            while requests.recv().is_ok() {
                // Requests that came meanwhile have the same answer.
                while requests.try_recv().is_ok() {}
                let begun = Instant::now();
                let found = scan(Path::new("/proc")).unwrap_or_else(|error| {
                    tracing::warn!(%error, "cannot read the containers' processes");
                    Vec::new()
                });
                if emit(ClusterChange::Containers(found)).is_break() {
                    return;
                }
                std::thread::sleep(begun.elapsed() * REST_SHARE);
            }
        })
}

/// The containers' cgroups. A process that exits during the scan is left out.
pub fn scan(proc: &Path) -> io::Result<Vec<ContainerCgroup>> {
    let own = fs::read_to_string(proc.join("self/cgroup")).ok();
    let root = own.as_deref().and_then(kubelet_root);
    let mut found = HashMap::new();
    for entry in fs::read_dir(proc)? {
        let Ok(entry) = entry else { continue };
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(file) = fs::read_to_string(entry.path().join("cgroup")) else {
            continue;
        };
        if let Some((pod_uid, container_id)) = container(&file, root.as_deref())
            && let Some(id) = cgroup_id(pid, &file)
        {
            found.entry(id).or_insert(ContainerCgroup {
                id,
                pod_uid: pod_uid.as_str().into(),
                container_id: container_id.as_str().into(),
            });
        }
    }
    Ok(found.into_values().collect())
}

/// The pod's UID and the container's id, from the path in the unified hierarchy: packets have no other.
fn container(file: &str, root: Option<&str>) -> Option<(String, String)> {
    let unified = file.lines().find(|line| line.starts_with("0::"))?;
    let pod = pod_cgroup(unified, root)?;
    let path = unified.strip_prefix("0::")?;
    let below = path.strip_prefix(&*pod.path)?;
    let name = below.split('/').find(|name| !name.is_empty())?;
    // `cri-containerd-<id>.scope`, `crio-<id>.scope`, `<id>`, `slice:cri-containerd:<id>`.
    let id = name
        .trim_end_matches(" (deleted)")
        .trim_end_matches(".scope");
    let id = id.rsplit([':', '-']).next()?;
    Some((pod.uid, id.to_owned()))
}

fn cgroup_id(pid: i32, file: &str) -> Option<u64> {
    let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    cgroup_id_of(&pidfd).or_else(|| inode(file))
}

/// The first part of `struct pidfd_info` (linux/pidfd.h), of 64 bytes since its first version.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup_id: u64,
    rest: [u64; 6],
}

/// `PIDFD_INFO_CGROUPID`.
const CGROUP_ID: u64 = 1 << 2;
/// `_IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info)`.
const PIDFD_GET_INFO: libc::c_ulong = 0xc040_ff0b;

fn cgroup_id_of(pidfd: &OwnedFd) -> Option<u64> {
    let mut info = PidfdInfo {
        mask: CGROUP_ID,
        ..PidfdInfo::default()
    };
    // SAFETY: the kernel writes at most the size that the request names, which is the struct's.
    let done = unsafe {
        libc::ioctl(
            pidfd.as_raw_fd(),
            PIDFD_GET_INFO as _,
            core::ptr::from_mut(&mut info),
        )
    };
    (done == 0 && info.mask & CGROUP_ID != 0).then_some(info.cgroup_id)
}

/// The inode of the cgroup's directory.
fn inode(file: &str) -> Option<u64> {
    let unified = file.lines().find_map(|line| line.strip_prefix("0::"))?;
    // Relative to a private cgroup namespace, the path says nothing about the mount.
    if unified.starts_with("/..") {
        return None;
    }
    let mount = MOUNTS
        .into_iter()
        .find(|mount| Path::new(mount).join("cgroup.procs").exists())?;
    fs::metadata(format!("{mount}{unified}"))
        .ok()
        .map(|found| found.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "6757d342-97d3-489b-951d-1f66d36173ae";

    #[test]
    fn every_runtimes_form_of_a_containers_cgroup_is_understood() {
        let slice = "kubepods-besteffort-pod6757d342_97d3_489b_951d_1f66d36173ae.slice";
        for path in [
            format!("/kubepods/besteffort/pod{UID}/9f3c"),
            format!("/kubepods.slice/{slice}/cri-containerd-9f3c.scope"),
            format!("/kubepods.slice/{slice}/crio-9f3c.scope/container"),
            format!("/kubepods.slice/{slice}/docker-9f3c.scope/init.scope"),
            format!("/system.slice/containerd.service/{slice}:cri-containerd:9f3c"),
            format!("/../../pod{UID}/9f3c"),
            format!("/kubepods/pod{UID}/9f3c (deleted)"),
        ] {
            let found = container(&format!("4:memory:/\n0::{path}\n"), None);
            assert_eq!(found, Some((UID.to_owned(), "9f3c".to_owned())), "{path}");
        }
        // The pod's own cgroup, and one of version 1 alone.
        assert_eq!(container(&format!("0::/kubepods/pod{UID}\n"), None), None);
        assert_eq!(
            container(&format!("4:pids:/kubepods/pod{UID}/9f3c\n0::/\n"), None),
            None
        );
    }

    /// The inode of the directory that the kernel's own file system shows.
    #[test]
    fn the_kernel_gives_the_id_of_a_processs_cgroup() {
        let own = fs::read_to_string("/proc/self/cgroup").expect("readable");
        let pid = i32::try_from(std::process::id()).expect("a pid");
        let pidfd = pidfd_open(Pid::from_raw(pid).expect("a pid"), PidfdFlags::empty());
        let id = cgroup_id_of(&pidfd.expect("a pidfd"));
        let release = rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned();
        let mut numbers = release
            .split(['.', '-'])
            .map_while(|number| number.parse().ok());
        let version = (numbers.next(), numbers.next());
        if version >= (Some(6_u32), Some(13_u32)) {
            assert_eq!(id, Some(inode(&own).expect("version 2 is mounted")));
        } else {
            assert_eq!(id, None, "{release}");
        }
    }
}
