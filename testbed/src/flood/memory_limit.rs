//! A memory cgroup for one process, version 1 or 2, whichever the machine has. Removed on drop.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// How long the last process may take to leave the group.
const PATIENCE: Duration = Duration::from_secs(5);

/// The group.
#[derive(Debug)]
pub struct MemoryLimit {
    directory: PathBuf,
    /// How often the kernel killed a process of the group: the file, and the word before the number.
    kills: (&'static str, &'static str),
    /// Puts the shell that runs it into the group, then becomes the given command.
    script: String,
}

impl MemoryLimit {
    /// Makes a group with this limit, swap included.
    pub fn new(name: &str, bytes: u64) -> Result<MemoryLimit> {
        let (directory, limits, kills): (_, &[_], _) = match hierarchy()? {
            Hierarchy::One(parent) => (
                parent.join(name),
                // The second has a value only where swap is accounted.
                &["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"],
                ("memory.oom_control", "oom_kill "),
            ),
            Hierarchy::Two(parent) => (
                parent.join(name),
                &["memory.max"],
                ("memory.events", "oom_kill "),
            ),
        };
        fs::create_dir(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let limit = MemoryLimit {
            script: format!(
                "echo $$ > {}/cgroup.procs && exec \"$@\"",
                directory.display()
            ),
            directory,
            kills,
        };
        for file in limits {
            let path = limit.directory.join(file);
            if path.exists() {
                fs::write(&path, bytes.to_string())
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
        Ok(limit)
    }

    /// What starts a command inside the group.
    pub fn wrapper(&self) -> [&str; 4] {
        ["sh", "-c", &self.script, "sh"]
    }

    /// Whether the kernel killed a process of the group because of the limit.
    pub fn killed(&self) -> Result<bool> {
        let (file, word) = self.kills;
        let path = self.directory.join(file);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let count = text.lines().find_map(|line| line.strip_prefix(word));
        Ok(count.context("no count of kills")?.trim() != "0")
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        let end = Instant::now() + PATIENCE;
        while fs::remove_dir(&self.directory)
            .is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
            && Instant::now() < end
        {
            sleep(Duration::from_millis(20));
        }
    }
}

/// Where groups are made.
enum Hierarchy {
    One(PathBuf),
    Two(PathBuf),
}

/// The memory hierarchy, at this process's own place in version 1 and at the root in version 2, where a group
/// with processes has no limited children.
fn hierarchy() -> Result<Hierarchy> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
    let mount = |wanted: &dyn Fn(&str) -> bool| {
        mounts.lines().find_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            wanted(right).then(|| left.split(' ').nth(4)).flatten()
        })
    };
    let version1 = |right: &str| {
        right.starts_with("cgroup ") && right.split([',', ' ']).any(|word| word == "memory")
    };
    if let Some(mount) = mount(&version1) {
        let own = fs::read_to_string("/proc/self/cgroup").context("cannot read the own cgroup")?;
        let path = own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let controllers = fields.next()?;
            controllers
                .split(',')
                .any(|one| one == "memory")
                .then(|| fields.next())
                .flatten()
        });
        let own = Path::new(mount).join(path.unwrap_or_default().trim_start_matches('/'));
        return Ok(Hierarchy::One(if own.is_dir() {
            own
        } else {
            mount.into()
        }));
    }
    let mount =
        mount(&|right| right.starts_with("cgroup2 ")).context("no memory cgroup is mounted")?;
    let control = Path::new(mount).join("cgroup.subtree_control");
    fs::write(&control, "+memory")
        .with_context(|| format!("cannot write {}", control.display()))?;
    Ok(Hierarchy::Two(mount.into()))
}
