//! Finds the containers of this node and the ids of their cgroups, from the processes in /proc.
//!
//! The kernel gives a packet the id of its sender's cgroup (version 2). A process connects the two: its container is in
//! the path in /proc/PID/cgroup, its cgroup's id by `PIDFD_GET_INFO` (Linux 6.13), without a capability. On older
//! kernels an iterator over tasks ([`ReadTasks`]) gives the id. Where that cannot be loaded, the id is the inode of
//! the cgroup's directory, if the reader can see that: outside of a container, or with the node's cgroup file system
//! mounted.
//!
//! It also finds the only process of a container.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::Instant;

use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};

use super::pod_cgroup::{PodCgroup, kubelet_root, pod_cgroup};
use super::pod_processes::in_initial_pid_namespace;
use tracer_core::model::cluster::ContainerCgroup;
use tracer_core::model::identity::Process;

/// A scan reads all of /proc. The thread rests for this many times as long as the last one took.
const REST_SHARE: u32 = 20;
/// Where the unified hierarchy is mounted, alone or beside version 1.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// The beginning of the line of the unified hierarchy.
const UNIFIED: &str = "0::";

/// Reads the cgroup's id of each process, by its id in the initial PID namespace.
pub type ReadTasks = Box<dyn FnMut() -> Result<HashMap<u32, u64>, String> + Send>;

/// Loads the kernel's iterator over tasks. The error is what the kernel lacks or refuses.
pub type LoadTasks = fn() -> Result<ReadTasks, String>;

/// What a scan has found.
#[derive(Debug)]
pub struct Scan {
    /// The containers' cgroups.
    pub cgroups: Vec<ContainerCgroup>,
    /// The processes that are the only ones in their containers, by their cgroups' ids.
    pub only_processes: HashMap<u64, Process>,
    /// When it began.
    pub begun: Instant,
}

/// Starts a thread that scans after each request and passes what it finds to `emit` at once, until that breaks or the
/// sender of the requests is gone.
pub fn spawn(
    requests: Receiver<()>,
    load_tasks: LoadTasks,
    mut emit: impl FnMut(Scan) -> ControlFlow<()> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("containers".to_owned())
        .spawn(move || {
            // Found with the first request: most nodes have pods with one container only.
            let mut ids = None;
            while requests.recv().is_ok() {
                // Requests that came meanwhile have the same answer.
                while requests.try_recv().is_ok() {}
                let ids = ids.get_or_insert_with(|| CgroupIds::find_and_log(load_tasks));
                let begun = Instant::now();
                let found = scan(Path::new("/proc"), ids).unwrap_or_else(|error| {
                    tracing::warn!(%error, "cannot read the containers' processes");
                    Scan {
                        cgroups: Vec::new(),
                        only_processes: HashMap::new(),
                        begun,
                    }
                });
                let rest = begun.elapsed() * REST_SHARE;
                if emit(found).is_break() {
                    return;
                }
                std::thread::sleep(rest);
            }
        })
}

/// How the id of a process's cgroup is found here.
pub enum CgroupIds {
    /// By `PIDFD_GET_INFO`.
    Pidfd,
    /// By the iterator over tasks.
    Tasks(ReadTasks),
    /// By the inodes of directories alone.
    Inodes {
        /// Why not by the iterator.
        why: String,
    },
}

impl CgroupIds {
    /// The first way that works here.
    pub fn find(load_tasks: LoadTasks) -> CgroupIds {
        if by_pidfd(getpid()).is_some() {
            return CgroupIds::Pidfd;
        }
        match task_cgroups(load_tasks) {
            Ok(tasks) => CgroupIds::Tasks(tasks),
            Err(why) => CgroupIds::Inodes { why },
        }
    }

    fn find_and_log(load_tasks: LoadTasks) -> CgroupIds {
        let ids = CgroupIds::find(load_tasks);
        match ids.way() {
            Ok(way) => tracing::debug!(way, "containers are named"),
            Err(reason) => {
                tracing::info!(%reason, "the containers of pods with several are not named");
            }
        }
        ids
    }

    /// The way in words, or why containers cannot be named.
    pub fn way(&self) -> Result<&'static str, String> {
        let own = fs::read_to_string("/proc/self/cgroup");
        if own.is_ok_and(|own| unified(&own).is_none()) {
            return Err("this node has no cgroup version 2, whose ids packets have".to_owned());
        }
        match self {
            CgroupIds::Pidfd => Ok("the kernel gives the cgroup of a process (PIDFD_GET_INFO)"),
            CgroupIds::Tasks(_) => Ok("an iterator over tasks gives the cgroup of a process"),
            CgroupIds::Inodes { .. } if sees_all_cgroups() => {
                Ok("the node's cgroup file system is visible")
            }
            CgroupIds::Inodes { why } => Err(why.clone()),
        }
    }

    /// The id of a process's cgroup by the process or by its directory.
    fn of_process(&self, pid: i32, file: &str) -> Option<u64> {
        let by_process = match self {
            CgroupIds::Pidfd => Pid::from_raw(pid).and_then(by_pidfd),
            _ => None,
        };
        by_process.or_else(|| inode(file))
    }

    /// The ids that the iterator gives; none where there is another way.
    fn of_tasks(&mut self) -> HashMap<u32, u64> {
        let CgroupIds::Tasks(tasks) = self else {
            return HashMap::new();
        };
        tasks().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read the processes' cgroups");
            HashMap::new()
        })
    }
}

/// Loads the iterator. It has the process ids of the initial PID namespace: in another one, /proc has others.
fn task_cgroups(load: LoadTasks) -> Result<ReadTasks, String> {
    if in_initial_pid_namespace() != Some(true) {
        return Err("this process is not in the initial PID namespace".to_owned());
    }
    load()
}

/// A process in a container.
struct ContainerProcess {
    pid: i32,
    pod: PodCgroup,
    container_id: String,
    /// The cgroup's id, from the process or its directory.
    id: Option<u64>,
}

/// The containers' cgroups and only processes. A process that exits during the scan is left out.
pub fn scan(proc: &Path, ids: &mut CgroupIds) -> io::Result<Scan> {
    let begun = Instant::now();
    // A process can move to another cgroup, and its id can come to stand for another process, between the iterator and
    // the look at its path. So the iterator runs before and after, and must give the same cgroup.
    let before = ids.of_tasks();
    let processes = container_processes(proc, ids)?;
    let after = ids.of_tasks();
    let mut cgroups = HashMap::new();
    // A container with several processes has none here.
    let mut only: HashMap<(PodCgroup, String), Option<(i32, u64)>> = HashMap::new();
    for process in processes {
        let pid = process.pid.cast_unsigned();
        let listed = before.get(&pid).copied();
        let listed = listed.filter(|id| after.get(&pid) == Some(id));
        let id = listed.or(process.id);
        if let Some(id) = id {
            cgroups.entry(id).or_insert(ContainerCgroup {
                id,
                pod_uid: process.pod.uid.as_str().into(),
                container_id: process.container_id.as_str().into(),
            });
        }
        only.entry((process.pod, process.container_id))
            .and_modify(|only| *only = None)
            .or_insert(id.map(|id| (process.pid, id)));
    }
    let only = only.into_values().flatten();
    Ok(Scan {
        cgroups: cgroups.into_values().collect(),
        only_processes: only
            .filter_map(|(pid, id)| Some((id, named(proc, pid)?)))
            .collect(),
        begun,
    })
}

/// A process with its name.
fn named(proc: &Path, pid: i32) -> Option<Process> {
    let comm = fs::read(proc.join(pid.to_string()).join("comm")).ok()?;
    let comm = String::from_utf8_lossy(comm.strip_suffix(b"\n").unwrap_or(&comm)).into();
    Some(Process {
        pid: pid.cast_unsigned(),
        comm,
    })
}

fn container_processes(proc: &Path, ids: &CgroupIds) -> io::Result<Vec<ContainerProcess>> {
    let own = fs::read_to_string(proc.join("self/cgroup")).ok();
    let root = own.as_deref().and_then(kubelet_root);
    let mut processes = Vec::new();
    for entry in fs::read_dir(proc)? {
        let Ok(entry) = entry else { continue };
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(file) = fs::read_to_string(entry.path().join("cgroup")) else {
            continue;
        };
        if let Some((pod, container_id)) = container(&file, root.as_deref()) {
            processes.push(ContainerProcess {
                pid,
                pod,
                container_id,
                id: ids.of_process(pid, &file),
            });
        }
    }
    Ok(processes)
}

/// The line of the unified hierarchy in `/proc/PID/cgroup` (cgroups(7)); `None` with version 1 alone.
fn unified(file: &str) -> Option<&str> {
    file.lines().find(|line| line.starts_with(UNIFIED))
}

/// The pod's cgroup and the container's id, from the path in the unified hierarchy: packets have no other.
fn container(file: &str, root: Option<&str>) -> Option<(PodCgroup, String)> {
    let line = unified(file)?;
    let pod = pod_cgroup(line, root)?;
    let path = line.strip_prefix(UNIFIED)?;
    let below = path.strip_prefix(&*pod.path)?;
    let name = below.split('/').find(|name| !name.is_empty())?;
    // `cri-containerd-<id>.scope`, `crio-<id>.scope`, `<id>`, `slice:cri-containerd:<id>`.
    let id = name
        .trim_end_matches(" (deleted)")
        .trim_end_matches(".scope");
    let id = id.rsplit([':', '-']).next()?;
    let id = id.to_owned();
    Some((pod, id))
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

fn by_pidfd(pid: Pid) -> Option<u64> {
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
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

/// Whether the directories of all cgroups are visible: the first process is outside of this process's cgroup
/// namespace if that is a container's.
fn sees_all_cgroups() -> bool {
    let first = fs::read_to_string("/proc/1/cgroup");
    first.is_ok_and(|file| inode(&file).is_some())
}

/// The inode of the cgroup's directory.
fn inode(file: &str) -> Option<u64> {
    let unified = unified(file)?.strip_prefix(UNIFIED)?;
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
            let found = found.map(|(pod, container)| (pod.uid, container));
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
        let id = by_pidfd(getpid());
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
