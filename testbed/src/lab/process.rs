//! A process that the lab started: recorded with its start time, because its process id may belong to another
//! process by now.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::shell;

/// How long a server may take until it listens.
const PATIENCE: Duration = Duration::from_secs(10);

/// A process, with what distinguishes it from a later one with the same id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Process {
    /// A description.
    pub(crate) what: String,
    /// The pod it belongs to, as `namespace/name`.
    pub(crate) pod: Option<String>,
    pub(crate) pid: u32,
    /// In clock ticks since boot (field 22 of /proc/PID/stat).
    start_ticks: u64,
}

impl Process {
    fn of(what: &str, pod: Option<&str>, pid: u32) -> Result<Process> {
        let (_, start_ticks) = stat(pid).with_context(|| format!("{what} ended at once"))?;
        Ok(Process {
            what: what.to_owned(),
            pod: pod.map(str::to_owned),
            pid,
            start_ticks,
        })
    }

    /// Whether it still runs.
    pub(crate) fn alive(&self) -> bool {
        stat(self.pid).is_some_and(|(state, start)| start == self.start_ticks && state != 'Z')
    }
}

/// State and start time of a process.
fn stat(pid: u32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command in brackets and may hold anything, a closing bracket too.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some((
        fields.first()?.chars().next()?,
        fields.get(19)?.parse().ok()?,
    ))
}

/// Where a process runs.
#[derive(Clone, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) netns: &'a Path,
    pub(crate) cgroup: &'a Path,
    /// A process whose mount namespace to join.
    pub(crate) mounts_of: Option<u32>,
}

impl Place<'_> {
    /// A command that enters the place and becomes `argv`: it keeps its process id.
    pub(crate) fn command(&self, argv: &[&str]) -> Command {
        let mut command = shell::command("sh");
        // "0" is the writer itself.
        command.args(["-c", r#"echo 0 > "$1" && shift && exec "$@""#, "sh"]);
        command.arg(self.cgroup.join("cgroup.procs"));
        command
            .arg("nsenter")
            .arg(format!("--net={}", self.netns.display()));
        if let Some(pid) = self.mounts_of {
            command.arg(format!("--mount=/proc/{pid}/ns/mnt"));
        }
        command.arg("--").args(argv);
        command
    }

    /// Starts a process that outlives this one, with its output in `log`.
    pub(crate) fn start(
        &self,
        what: &str,
        pod: Option<&str>,
        argv: &[&str],
        log: &Path,
    ) -> Result<Process> {
        if let Some(directory) = log.parent() {
            fs::create_dir_all(directory)?;
        }
        let output =
            File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = self.command(argv);
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .current_dir("/");
        // Its own group: the terminal's Ctrl-C is not for it.
        command.process_group(0);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {what}"))?;
        Process::of(what, pod, child.id())
    }
}

/// Waits until the process, or one in its network namespace, listens on a port.
pub(crate) fn wait_listening(
    process: &Process,
    protocol: &str,
    port: u16,
    log: &Path,
) -> Result<()> {
    // The kernel's state of a socket that listens (TCP_LISTEN), of a bound UDP socket (TCP_CLOSE).
    let state = if protocol == "tcp" { "0A" } else { "07" };
    wait(
        process,
        log,
        &format!("listen on {protocol} {port}"),
        || {
            [
                format!("/proc/{}/net/{protocol}", process.pid),
                format!("/proc/{}/net/{protocol}6", process.pid),
            ]
            .iter()
            .filter_map(|path| fs::read_to_string(path).ok())
            .any(|table| {
                table.lines().any(|line| {
                    let fields: Vec<&str> = line.split_whitespace().collect();
                    fields.get(3) == Some(&state)
                        && fields
                            .get(1)
                            .is_some_and(|local| local.ends_with(&format!(":{port:04X}")))
                })
            })
        },
    )
}

/// Waits until `done`, as long as the process lives.
pub(crate) fn wait(
    process: &Process,
    log: &Path,
    what: &str,
    done: impl Fn() -> bool,
) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        if !process.alive() || Instant::now() > deadline {
            let said = fs::read_to_string(log).unwrap_or_default();
            let last: Vec<&str> = said.lines().rev().take(5).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            bail!(
                "{} does not {what}; it said:\n{}",
                process.what,
                last.join("\n")
            );
        }
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_not_taken_for_an_earlier_one_with_its_id() {
        let own = Process::of("this test", None, std::process::id()).expect("the test runs");
        assert!(own.alive());
        let earlier = Process {
            start_ticks: own.start_ticks + 1,
            ..own
        };
        assert!(!earlier.alive());
    }
}
