//! How often the kernel did not run a program. It does not run one in itself: on the same CPU, when an interrupt comes to
//! the program's tracepoint while it runs.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::programs::ProgramFd;

/// Counts the runs that a program missed.
pub(super) struct MissedRuns(ProgramFd);

impl MissedRuns {
    /// Fails if the kernel does not count them.
    pub(super) fn new(program: ProgramFd) -> Result<MissedRuns, String> {
        let missed = MissedRuns(program);
        match missed.read() {
            Ok(_) => Ok(missed),
            Err(error) => Err(format!("cannot read how many runs are missed: {error}")),
        }
    }

    /// How many since the program was loaded.
    pub(super) fn count(&self) -> u64 {
        // It could be read at the start.
        self.read().unwrap_or(0)
    }

    /// `bpf_prog_show_fdinfo` in kernel/bpf/syscall.c, from Linux 5.12.
    fn read(&self) -> io::Result<u64> {
        let number = self.0.as_fd().as_raw_fd();
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}"))?;
        let value = info.lines().find_map(|line| {
            let value = line.strip_prefix("recursion_misses:")?;
            value.trim().parse().ok()
        });
        value.ok_or_else(|| io::Error::other("the kernel does not count missed runs"))
    }
}
