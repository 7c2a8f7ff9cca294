//! The iterator over tasks, against the inodes of cgroups that the tests make. It is used before Linux 6.13 only, and
//! tested everywhere.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use rustix::thread::gettid;
use testbed::turn;
use tracer::capture::live::TaskCgroups;
use tracer::cluster::container_cgroups::{CgroupIds, scan};
use tracer_core::model::cluster::ContainerCgroup;

/// A tree of cgroups (version 2), which goes with its processes.
pub struct Cgroups {
    root: PathBuf,
    /// Its cgroups, outermost first.
    made: Vec<PathBuf>,
    processes: Vec<Child>,
}

impl Cgroups {
    pub fn new(name: &str) -> Cgroups {
        let mounts = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let mut mounts = mounts.into_iter();
        let mount = mounts.find(|mount| mount.join("cgroup.procs").exists());
        let root = mount
            .expect("version 2 is mounted")
            .join(format!("tracer-test-{name}-{}", std::process::id()));
        fs::create_dir(&root).expect("a new cgroup");
        Cgroups {
            made: vec![root.clone()],
            root,
            processes: Vec::new(),
        }
    }

    pub fn add(&mut self, path: &str) -> PathBuf {
        let mut inside = self.root.clone();
        for name in path.split('/') {
            inside.push(name);
            if !inside.exists() {
                fs::create_dir(&inside).expect("a new cgroup");
                self.made.push(inside.clone());
            }
        }
        inside
    }

    /// Starts a process in a cgroup.
    pub fn start(&mut self, cgroup: &Path, script: &str) -> u32 {
        let procs = cgroup.join("cgroup.procs");
        let process = Command::new("sh")
            .args(["-c", &format!("echo $$ > {} && {script}", procs.display())])
            .spawn()
            .expect("sh starts");
        let id = process.id();
        self.processes.push(process);
        wait(|| members(cgroup).contains(&id));
        id
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for cgroup in &self.made {
            let _ = fs::write(cgroup.join("cgroup.kill"), "1");
            // Before Linux 5.14.
            for pid in members(cgroup) {
                let pid = rustix::process::Pid::from_raw(pid.cast_signed());
                let _ = rustix::process::kill_process(
                    pid.expect("a process"),
                    rustix::process::Signal::KILL,
                );
            }
        }
        for process in &mut self.processes {
            let _ = process.wait();
        }
        for cgroup in self.made.iter().rev() {
            for _ in 0..1_000 {
                if fs::remove_dir(cgroup).is_ok() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
    }
}

pub fn members(cgroup: &Path) -> Vec<u32> {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

pub fn inode(cgroup: &Path) -> u64 {
    fs::metadata(cgroup).expect("it is there").ino()
}

fn wait(mut done: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if done() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("not within ten seconds");
}

#[test]
fn the_iterator_over_tasks_gives_each_process_the_inode_of_its_cgroup() {
    let _turn = turn::shared();
    let mut cgroups = Cgroups::new("tasks");
    let (first, second) = (cgroups.add("first"), cgroups.add("second/inner"));
    let alone = cgroups.start(&first, "exec sleep 300");
    // Its child is moved elsewhere.
    let moved = second.join("cgroup.procs").display().to_string();
    let parent = cgroups.start(&first, &format!("sleep 301 & echo $! > {moved}; wait"));
    wait(|| !members(&second).is_empty());
    let child = members(&second)[0];

    let mut tasks = TaskCgroups::load().expect("it loads");
    let ids = tasks.read().expect("it lists");
    let expected = [(alone, &first), (parent, &first), (child, &second)];
    for (pid, cgroup) in expected {
        assert_eq!(ids.get(&pid), Some(&inode(cgroup)), "{}", cgroup.display());
    }
    assert_ne!(ids.get(&parent), ids.get(&child));

    // Each reading is new: after a move the process has its new cgroup's id.
    fs::write(first.join("cgroup.procs"), child.to_string()).expect("it moves");
    let ids = tasks.read().expect("it lists again");
    assert_eq!(ids.get(&child), Some(&inode(&first)));
}

#[test]
fn the_iterator_over_tasks_lists_every_process_and_no_other_thread() {
    let _turn = turn::shared();
    let mut cgroups = Cgroups::new("many");
    let many = cgroups.add("many");
    let seq = "for i in $(seq 40); do sleep 300 & done; wait";
    cgroups.start(&many, seq);
    wait(|| members(&many).len() == 41);
    let mut tasks = TaskCgroups::load().expect("it loads");
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let ids = tasks.read().expect("it lists");
            let thread = gettid().as_raw_nonzero().get().cast_unsigned();
            assert_ne!(thread, std::process::id());
            assert!(ids.contains_key(&std::process::id()));
            assert!(!ids.contains_key(&thread));
            ids
        });
        let ids = thread.join().expect("it reads");
        let inside = ids.iter().filter(|(_, id)| **id == inode(&many));
        let listed: BTreeSet<u32> = inside.map(|(pid, _)| *pid).collect();
        assert_eq!(listed, members(&many).into_iter().collect());
    });
}

#[test]
fn the_iterator_over_tasks_names_the_containers_that_the_other_ways_name() {
    let _turn = turn::shared();
    let mut cgroups = Cgroups::new("pod");
    // No other test has a pod of this UID.
    let uid = "c0ffee42-97d3-489b-951d-1f66d36173ae";
    let expected: BTreeSet<(u64, String)> = ["9f3c", "5ca1"]
        .into_iter()
        .map(|container| {
            let cgroup = cgroups.add(&format!("kubepods/besteffort/pod{uid}/{container}"));
            cgroups.start(&cgroup, "exec sleep 300");
            (inode(&cgroup), container.to_owned())
        })
        .collect();
    let of_the_pod = |found: Vec<ContainerCgroup>| -> BTreeSet<(u64, String)> {
        let found = found.into_iter().filter(|found| &*found.pod_uid == uid);
        found
            .map(|found| (found.id, found.container_id.to_string()))
            .collect()
    };
    let tasks = CgroupIds::Tasks(TaskCgroups::reader().expect("it loads"));
    let why = String::new();
    let this_kernels = CgroupIds::find(TaskCgroups::reader);
    let is_by_inode = matches!(this_kernels, CgroupIds::Inodes { .. });
    assert!(!is_by_inode, "{:?}", this_kernels.way());
    for mut ids in [tasks, CgroupIds::Inodes { why }, this_kernels] {
        let found = scan(Path::new("/proc"), &mut ids).expect("/proc is readable");
        assert_eq!(of_the_pod(found.cgroups), expected, "{:?}", ids.way());
    }
}
