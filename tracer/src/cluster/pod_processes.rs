//! Finds the first process of every pod on this node in /proc.
//!
//! Reads only world-readable files (`cgroup` and `stat`), so it needs the host's PID namespace but no
//! capability. A process that exits during the scan is left out.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;

use super::pod_cgroup::{PodCgroup, kubelet_root, pod_cgroup};

/// PROC_PID_INIT_INO of include/linux/proc_ns.h: the initial PID namespace has this inode on every kernel.
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Whether this process is in the initial PID namespace, in which the kernel's own process ids count.
pub fn in_initial_pid_namespace() -> Option<bool> {
    let link = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(link.as_os_str() == INITIAL_PID_NAMESPACE)
}

/// A process, identified even if its id is reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its start time in clock ticks since boot.
    pub started_ticks: u64,
}

/// The first process of each pod, by the pod's cgroup. It runs in the pod's own namespaces; a later process
/// may have entered other ones, as those of network plugins do.
pub fn first_of_each_pod(proc: &Path) -> io::Result<HashMap<PodCgroup, Process>> {
    let own = fs::read_to_string(proc.join("self/cgroup")).ok();
    let root = own.as_deref().and_then(kubelet_root);
    let mut first: HashMap<PodCgroup, Process> = HashMap::new();
    for entry in fs::read_dir(proc)? {
        let Ok(entry) = entry else { continue };
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let directory = entry.path();
        let Some(cgroup) = fs::read_to_string(directory.join("cgroup"))
            .ok()
            .and_then(|file| pod_cgroup(&file, root.as_deref()))
        else {
            continue;
        };
        let stat = fs::read(directory.join("stat")).ok();
        let Some(started_ticks) = stat.and_then(|stat| started_ticks(&stat)) else {
            continue;
        };
        let found = Process { pid, started_ticks };
        let known = first.entry(cgroup).or_insert(found);
        if (found.started_ticks, found.pid) < (known.started_ticks, known.pid) {
            *known = found;
        }
    }
    Ok(first)
}

/// The start time in `/proc/PID/stat`; `None` for a zombie, which has left its namespaces.
fn started_ticks(stat: &[u8]) -> Option<u64> {
    // The second field is the program's name in parentheses; the name can contain any character.
    let end_of_name = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&stat[end_of_name + 1..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    // Field 22 of proc(5); the state is field 3.
    let started = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(started)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0::/kubepods/pod6757d342-97d3-489b-951d-1f66d36173ae/9f3c\n";
    const B: &str = "0::/kubepods/besteffort/poda0000000-0000-4000-8000-000000000000/77aa\n";

    fn stat(name: &str, state: char, started: u64) -> String {
        format!("1 ({name}) {state} 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 {started} 1 1 1\n")
    }

    #[test]
    fn the_process_that_started_first_represents_its_pod() {
        let proc = tempfile::tempdir().unwrap();
        let add = |pid: &str, cgroup: Option<&str>, stat: &str| {
            let directory = proc.path().join(pid);
            fs::create_dir(&directory).unwrap();
            if let Some(cgroup) = cgroup {
                fs::write(directory.join("cgroup"), cgroup).unwrap();
            }
            fs::write(directory.join("stat"), stat).unwrap();
        };
        add("1", Some("0::/init.scope\n"), &stat("systemd", 'S', 1));
        add("90", Some(A), &stat("late", 'S', 900));
        add("700", Some(A), &stat("pause) S 1 (", 'S', 500));
        add("50", Some(A), &stat("dead", 'Z', 10));
        add("800", Some(B), &stat("other", 'R', 600));
        add("801", None, &stat("hidden", 'S', 600));
        add("802", Some(B), "nonsense");
        add("sys", Some(B), &stat("no process", 'S', 1));
        let mut found: Vec<_> = first_of_each_pod(proc.path())
            .unwrap()
            .into_iter()
            .map(|(cgroup, process)| (cgroup.uid, process))
            .collect();
        found.sort_by_key(|(_, process)| process.pid);
        let process = |pid, started_ticks| Process { pid, started_ticks };
        assert_eq!(
            found,
            [
                (
                    "6757d342-97d3-489b-951d-1f66d36173ae".to_owned(),
                    process(700, 500)
                ),
                (
                    "a0000000-0000-4000-8000-000000000000".to_owned(),
                    process(800, 600)
                ),
            ]
        );
    }

    #[test]
    fn the_kernels_stat_file_is_parsed() {
        let stat = fs::read("/proc/self/stat").unwrap();
        let ticks = started_ticks(&stat).unwrap();
        let uptime = fs::read_to_string("/proc/uptime").unwrap();
        let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        // USER_HZ is 100 on every architecture that eBPF runs on.
        assert!(ticks as f64 / 100.0 <= seconds);
    }
}
