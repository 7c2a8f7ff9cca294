//! The lab's cgroup: one subtree that every process of a lab lives in, so that they can be found and ended
//! without trusting process ids from a file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, getpid, kill_process};

/// How long processes may take to exit after SIGKILL.
const PATIENCE: Duration = Duration::from_secs(5);

/// The root of a lab's subtree.
pub(crate) fn root(lab: &str) -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
    let mount = hierarchy(&mounts).context("no cgroup hierarchy is mounted")?;
    Ok(Path::new(mount).join(lab))
}

/// cgroup2, alone or beside version 1; else the hierarchy of version 1 that only names groups.
fn hierarchy(mountinfo: &str) -> Option<&str> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        Some((left.split(' ').nth(4)?, right))
    });
    let version2 = mounts
        .clone()
        .find(|(_, right)| right.starts_with("cgroup2 "));
    let named = || {
        mounts
            .clone()
            .find(|(_, right)| right.starts_with("cgroup ") && right.contains("name=systemd"))
    };
    version2.or_else(named).map(|(path, _)| path)
}

/// Makes a group below the root.
pub(crate) fn create(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot make the cgroup {}", path.display()))
}

/// Ends every process of the subtree and waits until they are gone.
pub(crate) fn kill(root: &Path) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let members = members(root);
        if members.is_empty() {
            return Ok(());
        }
        for pid in members {
            // It may be gone meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
        if Instant::now() > deadline {
            bail!("processes in {} do not end", root.display());
        }
        sleep(Duration::from_millis(5));
    }
}

/// Removes the subtree, which must be empty of processes.
pub(crate) fn remove(root: &Path) -> Result<()> {
    for child in children(root) {
        remove(&child)?;
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        match fs::remove_dir(root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // A process that is just ending still counts.
            Err(error)
                if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline =>
            {
                sleep(Duration::from_millis(5));
            }
            other => {
                return other
                    .with_context(|| format!("cannot remove the cgroup {}", root.display()));
            }
        }
    }
}

fn members(root: &Path) -> Vec<Pid> {
    let text = fs::read_to_string(root.join("cgroup.procs")).unwrap_or_default();
    let own = text
        .lines()
        .filter_map(|line| Pid::from_raw(line.parse().ok()?))
        .filter(|pid| *pid != getpid());
    let mut all: Vec<Pid> = own.collect();
    for child in children(root) {
        all.extend(members(&child));
    }
    all
}

fn children(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
        29 25 0:24 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
        30 25 0:25 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n";

    #[test]
    fn cgroup2_is_taken_where_it_is_mounted_beside_version_1() {
        let mounts = format!(
            "{HYBRID}31 25 0:26 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
        );
        assert_eq!(hierarchy(&mounts), Some("/sys/fs/cgroup/unified"));
    }

    #[test]
    fn without_cgroup2_the_naming_hierarchy_is_taken() {
        assert_eq!(hierarchy(HYBRID), Some("/sys/fs/cgroup/systemd"));
        assert_eq!(hierarchy("1 2 0:1 / /proc rw - proc proc rw\n"), None);
    }
}
