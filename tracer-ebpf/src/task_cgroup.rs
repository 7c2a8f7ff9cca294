//! The cgroup (version 2) of a process, read from its `struct task_struct`.

use tracer_common::{TaskCgroup, TaskOffsets};

use crate::kernel_memory::read;

/// The cgroup of a task that leads a process; `None` for another thread, which has the same cgroup unless a threaded
/// cgroup separates them.
#[inline(always)]
pub fn of_process(task: usize, offsets: &TaskOffsets) -> Option<TaskCgroup> {
    let pid: u32 = read(task + offsets.task_pid as usize)?;
    let tgid: u32 = read(task + offsets.task_tgid as usize)?;
    if pid != tgid {
        return None;
    }
    let cgroups: usize = read(task + offsets.task_cgroups as usize)?;
    let cgroup: usize = read(cgroups + offsets.css_set_default as usize)?;
    let node: usize = read(cgroup + offsets.cgroup_node as usize)?;
    Some(TaskCgroup {
        cgroup_id: read(node + offsets.node_id as usize)?,
        tgid,
        zero: 0,
    })
}
