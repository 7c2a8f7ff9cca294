//! Facts about this machine and this process. The only part that reads them; it judges nothing.

use std::fs;
use std::io;
use std::path::Path;

use aya::maps::MapType;
use aya::programs::ProgramType;
use aya::sys::{is_map_supported, is_program_supported};
use rustix::process::{Resource, getrlimit};

use crate::capture::live as capture;
use crate::cluster::container_cgroups::CgroupIds;
use crate::cluster::pod_cgroup::pod_cgroup;
use crate::cluster::pod_processes::in_initial_pid_namespace;
use crate::conntrack;

/// The result of trying a bpf() call: supported, unsupported, or refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tried {
    Works,
    Unsupported,
    /// The errno, and the error as text.
    Refused(Option<i32>, String),
}

/// The facts. `None` if a fact could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// The kernel release of uname, such as `6.1.0-18-amd64`.
    pub(super) release: String,
    /// The machine of uname, such as `x86_64`.
    pub(super) machine: String,
    /// Whether the kernel's BTF is readable and has the right magic number.
    pub(super) btf: Result<(), String>,
    /// Whether the kernel gives reasons for drops, or what it lacks.
    pub(super) drops: Result<(), String>,
    /// Whether the kernel shows what sockets send again, or what it lacks.
    pub(super) retransmissions: Result<(), String>,
    /// How the containers behind packets are known, or why they are not.
    pub(super) containers: Result<&'static str, String>,
    /// Whether the kernel names the processes behind TCP sockets, and behind UDP sockets too, or what it lacks.
    pub(super) socket_processes: Result<Result<(), String>, String>,
    /// Effective capabilities: CapEff of /proc/self/status.
    pub(super) capabilities: Option<u64>,
    /// Seccomp of /proc/self/status: 0 none, 2 a filter.
    pub(super) seccomp: Option<u32>,
    pub(super) ring_buffer: Tried,
    pub(super) classifier: Tried,
    /// The soft limit of locked memory; `None` for unlimited.
    pub(super) memlock_bytes: Option<u64>,
    /// Which of sch_ingress and cls_bpf are neither loaded nor built in.
    pub(super) modules_not_loaded: Vec<&'static str>,
    /// The integer in net.core.bpf_jit_enable.
    pub(super) jit: Option<u32>,
    /// The integer in kernel.unprivileged_bpf_disabled.
    pub(super) unprivileged_bpf: Option<u32>,
    /// The word in brackets of /sys/kernel/security/lockdown.
    pub(super) lockdown: Option<String>,
    pub(super) processes: Processes,
    /// Whether conntrack can be read here, or why not.
    pub(super) conntrack: Result<(), String>,
    /// The interfaces that Tracer would trace.
    pub(super) pod_interfaces: Vec<String>,
    /// The node's uplinks.
    pub(super) uplinks: Vec<String>,
}

/// Visibility of other processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Processes {
    /// Whether this process is in the initial PID namespace.
    pub(super) initial_namespace: Option<bool>,
    /// Processes in /proc.
    pub(super) seen: usize,
    /// Processes whose cgroup could be read.
    pub(super) readable: usize,
    /// Distinct pods in the cgroup paths.
    pub(super) pods: usize,
}

impl Facts {
    /// Reads all facts.
    pub(super) fn gather() -> Facts {
        let uname = rustix::system::uname();
        let release = uname.release().to_string_lossy().into_owned();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let loaded = |module: &str| {
            Path::new("/sys/module").join(module).exists() || is_builtin(&release, module)
        };
        Facts {
            machine: uname.machine().to_string_lossy().into_owned(),
            btf: btf(),
            drops: capture::drop_reasons(),
            retransmissions: capture::retransmissions(),
            containers: CgroupIds::find(capture::TaskCgroups::reader).way(),
            socket_processes: capture::socket_processes(),
            capabilities: field(&status, "CapEff:")
                .and_then(|value| u64::from_str_radix(value, 16).ok()),
            seccomp: field(&status, "Seccomp:").and_then(|value| value.parse().ok()),
            ring_buffer: tried(is_map_supported(MapType::RingBuf).map_err(|error| error.io_error)),
            classifier: tried(
                is_program_supported(ProgramType::SchedClassifier).map_err(io::Error::other),
            ),
            memlock_bytes: getrlimit(Resource::Memlock).current,
            modules_not_loaded: ["sch_ingress", "cls_bpf"]
                .into_iter()
                .filter(|module| !loaded(module))
                .collect(),
            jit: integer("/proc/sys/net/core/bpf_jit_enable"),
            unprivileged_bpf: integer("/proc/sys/kernel/unprivileged_bpf_disabled"),
            lockdown: fs::read_to_string("/sys/kernel/security/lockdown")
                .ok()
                .and_then(|modes| in_brackets(&modes)),
            processes: processes(),
            conntrack: conntrack::probe().map_err(|error| error.to_string()),
            pod_interfaces: traced_interfaces(false),
            uplinks: traced_interfaces(true),
            release,
        }
    }
}

fn tried(result: Result<bool, io::Error>) -> Tried {
    match result {
        Ok(true) => Tried::Works,
        Ok(false) => Tried::Unsupported,
        Err(error) => {
            let errno = errno_of(&error);
            let words = match errno {
                Some(number) => io::Error::from_raw_os_error(number).to_string(),
                None => error.to_string(),
            };
            Tried::Refused(errno, words)
        }
    }
}

/// The errno of an error or of one of its causes.
fn errno_of(error: &io::Error) -> Option<i32> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(number) = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error)
        {
            return Some(number);
        }
        // io::Error::source skips the wrapped error itself, so unwrap it first.
        cause = match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

/// Checks the magic number of struct btf_header, which is in this machine's byte order.
fn btf() -> Result<(), String> {
    use std::io::Read as _;
    let mut magic = [0; 2];
    fs::File::open("/sys/kernel/btf/vmlinux")
        .and_then(|mut file| file.read_exact(&mut magic))
        .map_err(|error| error.to_string())?;
    if u16::from_ne_bytes(magic) == 0xeb9f {
        Ok(())
    } else {
        Err("no BTF magic number at its start".to_owned())
    }
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}

fn integer(path: &str) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn in_brackets(modes: &str) -> Option<String> {
    let (_, rest) = modes.split_once('[')?;
    let (word, _) = rest.split_once(']')?;
    Some(word.to_owned())
}

fn is_builtin(release: &str, module: &str) -> bool {
    fs::read_to_string(format!("/lib/modules/{release}/modules.builtin"))
        .is_ok_and(|list| list.contains(&format!("/{module}.ko")))
}

fn processes() -> Processes {
    let mut processes = Processes {
        initial_namespace: in_initial_pid_namespace(),
        ..Processes::default()
    };
    let mut pods = std::collections::HashSet::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        if !name
            .to_string_lossy()
            .bytes()
            .all(|byte| byte.is_ascii_digit())
        {
            continue;
        }
        processes.seen += 1;
        if let Ok(cgroup) = fs::read_to_string(entry.path().join("cgroup")) {
            processes.readable += 1;
            pods.extend(pod_cgroup(&cgroup, None).map(|pod| pod.uid));
        }
    }
    processes.pods = pods.len();
    processes
}

/// The interfaces that Tracer would trace here, for pods or for the node itself; none if the kernel cannot list
/// them.
fn traced_interfaces(of_node: bool) -> Vec<String> {
    let links = capture::traced_interfaces().unwrap_or_default();
    let wanted = links
        .into_iter()
        .filter(|link| link.of.is_node() == of_node);
    wanted.map(|link| link.name).collect()
}

#[cfg(test)]
mod tests {
    use super::{errno_of, in_brackets};

    #[test]
    fn the_errno_is_found_in_a_wrapped_error() {
        let inner = std::io::Error::from_raw_os_error(1);
        let wrapped = std::io::Error::other(std::io::Error::other(inner));
        assert_eq!(errno_of(&wrapped), Some(1));
        assert_eq!(errno_of(&std::io::Error::other("no errno")), None);
    }

    #[test]
    fn the_active_lockdown_mode_is_the_one_in_brackets() {
        assert_eq!(
            in_brackets("none [integrity] confidentiality\n").as_deref(),
            Some("integrity")
        );
        assert_eq!(in_brackets(""), None);
    }
}
