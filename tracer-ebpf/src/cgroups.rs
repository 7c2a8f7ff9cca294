//! Which cgroups (version 2) get a process, and when. A scan finds the only process of a container; user space takes it
//! for the sender of a packet only if the container's cgroup has had no other process since.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::programs::BtfTracePointContext;
use tracer_common::cgroup_slot;

use crate::kernel_memory::read;
use crate::maps::CGROUP_CHANGES;
use crate::settings;
use crate::task_cgroup;

/// A process is made. `clone3()` can make it in another cgroup than its parent's.
#[inline(always)]
pub fn forked(ctx: &BtfTracePointContext) {
    let child: usize = ctx.arg(1);
    if let Some(found) = task_cgroup::of_process(child, &settings::task_offsets()) {
        changed(found.cgroup_id);
    }
}

/// A process moves to this cgroup.
#[inline(always)]
pub fn entered(ctx: &BtfTracePointContext) {
    let cgroup: usize = ctx.arg(0);
    let offsets = settings::task_offsets();
    let node: Option<usize> = read(cgroup + offsets.cgroup_node as usize);
    if let Some(id) = node.and_then(|node| read(node + offsets.node_id as usize)) {
        changed(id);
    }
}

#[inline(always)]
fn changed(cgroup_id: u64) {
    if let Some(slot) = CGROUP_CHANGES.get_ptr_mut(cgroup_slot(cgroup_id)) {
        // SAFETY: a live map value of one integer, and the helper has no preconditions.
        unsafe { slot.write_volatile(bpf_ktime_get_ns()) };
    }
}
