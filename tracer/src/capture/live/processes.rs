//! The processes behind sockets: whether this kernel names them, and where it has their fields.

use std::io;

use aya::util::KernelVersion;
use tracer_common::ProcessOffsets;

use super::btf::Btf;
use super::inode;

/// The tracepoint, and the program's name.
pub(super) const INET_SOCK_SET_STATE: &str = "inet_sock_set_state";
/// The first kernel that gives a tracing program a socket's cookie.
const SINCE: KernelVersion = KernelVersion::new(5, 12, 0);

/// What the probe of connecting sockets needs to know of the running kernel.
pub(super) struct ProcessFacts {
    pub offsets: ProcessOffsets,
    /// The inode number of this process's PID namespace.
    pub namespace: u32,
}

impl ProcessFacts {
    /// Reads them from the kernel's BTF, or says what it lacks.
    pub(super) fn read() -> Result<ProcessFacts, String> {
        if KernelVersion::current().is_ok_and(|version| version < SINCE) {
            return Err(
                "the kernel does not say which socket connects before Linux 5.12".to_owned(),
            );
        }
        let btf = Btf::of_kernel().map_err(|error| format!("the kernel's types (BTF): {error}"))?;
        if btf.tracepoint_arguments(INET_SOCK_SET_STATE) != Some(3) {
            return Err(format!(
                "the kernel has no tracepoint {INET_SOCK_SET_STATE}"
            ));
        }
        Ok(ProcessFacts {
            offsets: offsets(&btf)?,
            namespace: own_pid_namespace()
                .map_err(|error| format!("cannot identify this PID namespace: {error}"))?,
        })
    }
}

/// Checks that the kernel names the processes behind sockets. The error is what it lacks.
pub fn socket_processes() -> Result<(), String> {
    ProcessFacts::read().map(|_| ())
}

fn offsets(btf: &Btf) -> Result<ProcessOffsets, String> {
    let at = |of: &str, path: &str| {
        btf.offset(of, path)
            .ok_or_else(|| format!("the kernel's struct {of} has no field {path}"))
    };
    Ok(ProcessOffsets {
        task_group_leader: at("task_struct", "group_leader")?,
        task_thread_pid: at("task_struct", "thread_pid")?,
        task_comm: at("task_struct", "comm")?,
        pid_numbers: at("pid", "numbers")?,
        pid_level: at("pid", "level")?,
        upid_ns: at("upid", "ns")?,
        upid_size: btf.size("upid").ok_or("the kernel has no struct upid")?,
        pid_ns_inum: at("pid_namespace", "ns.inum")?,
    })
}

fn own_pid_namespace() -> io::Result<u32> {
    inode("/proc/thread-self/ns/pid")
}
