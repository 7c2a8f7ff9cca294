//! Who used the CPU: a control group for each part of a measurement, and the machine's total.
//!
//! Reads `cpuacct` of cgroup version 1 where it is mounted, else `cpu.stat` of version 2, which needs no
//! controller. Version 1 counts nanoseconds; version 2's root counts in the timer's ticks.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::time::{ClockId, clock_gettime};

use super::bed::Bed;
use crate::lab::cgroup;

/// A subtree of control groups, one for each part of a measurement.
#[derive(Clone, Debug)]
pub struct Accounts {
    mount: PathBuf,
    root: PathBuf,
    version1: bool,
}

/// CPU time since some point, of each part of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// The tool that is measured, with its children.
    pub tool: Duration,
    /// The generator and the server.
    pub load: Duration,
    /// All that belongs to the measurement: these, this process and the kernel's network threads.
    pub own: Duration,
    /// The whole machine.
    pub machine: Duration,
}

impl Usage {
    /// What was used since an earlier reading.
    pub fn since(self, earlier: Usage) -> Usage {
        Usage {
            tool: self.tool.saturating_sub(earlier.tool),
            load: self.load.saturating_sub(earlier.load),
            own: self.own.saturating_sub(earlier.own),
            machine: self.machine.saturating_sub(earlier.machine),
        }
    }

    /// What others used.
    pub fn foreign(self) -> Duration {
        self.machine.saturating_sub(self.own)
    }

    /// Share of the machine that others used in that time, 0 to 1.
    pub fn foreign_share(self, lasted: Duration) -> f64 {
        let processors = available_parallelism().map_or(1, usize::from);
        self.foreign().as_secs_f64() / (lasted.as_secs_f64() * processors as f64)
    }
}

/// The time of a measurement, with who used the CPU in it.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    started: Instant,
    before: Usage,
}

impl Window {
    /// It begins now.
    pub fn begin(bed: &Bed) -> Result<Window> {
        Ok(Window {
            before: bed.usage()?,
            started: Instant::now(),
        })
    }

    /// It ends now: how long it lasted, and what was used.
    pub fn end(self, bed: &Bed) -> Result<(Duration, Usage)> {
        let lasted = self.started.elapsed();
        Ok((lasted, bed.usage()?.since(self.before)))
    }
}

impl Accounts {
    /// The subtree of that name. Makes nothing yet.
    pub fn named(name: &str) -> Result<Accounts> {
        let mounts =
            fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
        let (mount, version1) =
            hierarchy(&mounts).context("no cgroup hierarchy that accounts for CPU is mounted")?;
        let mount = PathBuf::from(mount);
        Ok(Accounts {
            root: mount.join(name),
            mount,
            version1,
        })
    }

    /// The group of a part, made if it does not exist.
    pub fn group(&self, part: &str) -> Result<PathBuf> {
        let path = self.root.join(part);
        cgroup::create(&path)?;
        Ok(path)
    }

    /// Ends all processes and removes all groups.
    pub fn clear(&self) -> Result<()> {
        if self.root.exists() {
            cgroup::kill(&self.root)?;
            cgroup::remove(&self.root)?;
        }
        Ok(())
    }

    /// What was used up to now.
    pub fn read(&self) -> Result<Usage> {
        let tool = self.used(&self.root.join("tool"))?;
        let load = self.used(&self.root.join("load"))? + self.used(&self.root.join("server"))?;
        Ok(Usage {
            tool,
            load,
            own: tool + load + own_process() + softirq_threads(),
            machine: self.used(&self.mount)?,
        })
    }

    /// What one part used.
    pub fn read_part(&self, part: &str) -> Result<Duration> {
        self.used(&self.root.join(part))
    }

    fn used(&self, group: &Path) -> Result<Duration> {
        let file = group.join(if self.version1 {
            "cpuacct.usage"
        } else {
            "cpu.stat"
        });
        if !file.exists() {
            return Ok(Duration::ZERO);
        }
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        usage(&text).with_context(|| format!("no CPU time in {}", file.display()))
    }
}

/// `cpuacct.usage` is one number, of nanoseconds; `cpu.stat` has `usage_usec N`.
fn usage(text: &str) -> Option<Duration> {
    if let Ok(nanoseconds) = text.trim().parse() {
        return Some(Duration::from_nanos(nanoseconds));
    }
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("usage_usec "))?;
    Some(Duration::from_micros(line.trim().parse().ok()?))
}

/// Version 1's `cpuacct`, else version 2; and whether it is version 1.
fn hierarchy(mountinfo: &str) -> Option<(&str, bool)> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        Some((left.split(' ').nth(4)?, right))
    });
    let version1 = mounts.clone().find(|(_, right)| {
        right.starts_with("cgroup ")
            && right
                .rsplit(' ')
                .next()
                .is_some_and(|options| options.split(',').any(|option| option == "cpuacct"))
    });
    let version2 = || {
        mounts
            .clone()
            .find(|(_, right)| right.starts_with("cgroup2 "))
    };
    version1
        .map(|(path, _)| (path, true))
        .or_else(|| version2().map(|(path, _)| (path, false)))
}

/// This process with its threads, also those that have ended: the senders and readers of some measurements.
fn own_process() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap_or_default(),
        time.tv_nsec.try_into().unwrap_or_default(),
    )
}

/// The kernel's ksoftirqd threads: they handle the measurement's packets when there are many.
fn softirq_threads() -> Duration {
    let mut total = 0;
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = entry.path();
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        if name.starts_with("ksoftirqd/") {
            let text = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
            total += first_number(&text);
        }
    }
    Duration::from_nanos(total)
}

/// `schedstat` begins with the time on a CPU, in nanoseconds.
fn first_number(text: &str) -> u64 {
    text.split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_usage_is_read() {
        assert_eq!(usage("1500\n"), Some(Duration::from_nanos(1500)));
        assert_eq!(
            usage("usage_usec 7\nuser_usec 3\n"),
            Some(Duration::from_micros(7))
        );
        assert_eq!(usage("nothing"), None);
    }

    #[test]
    fn version_1_is_preferred_where_it_accounts() {
        let unified = "31 25 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let cpuset = "29 25 0:24 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n";
        let both = "30 25 0:25 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";
        assert_eq!(
            hierarchy(&format!("{unified}{cpuset}")),
            Some(("/sys/fs/cgroup/unified", false))
        );
        assert_eq!(
            hierarchy(&format!("{unified}{both}")),
            Some(("/sys/fs/cgroup/cpu,cpuacct", true))
        );
    }

    #[test]
    fn time_that_ended_threads_of_this_process_spent_is_its_own() {
        const WORK: Duration = Duration::from_millis(20);
        let before = own_process();
        let thread = std::thread::spawn(|| {
            let start = clock_gettime(ClockId::ThreadCPUTime);
            let spent = || {
                let now = clock_gettime(ClockId::ThreadCPUTime);
                (now.tv_sec - start.tv_sec) * 1_000_000_000 + now.tv_nsec - start.tv_nsec
            };
            while spent() < WORK.as_nanos() as i64 {}
        });
        thread.join().expect("it ends");
        assert!(own_process() - before >= WORK);
    }
}
