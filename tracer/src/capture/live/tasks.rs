//! The ids of all processes' cgroups, from the kernel's iterator over tasks (Linux 5.8, with BTF).
//!
//! The program is an object of its own, which needs CAP_BPF and CAP_PERFMON. It is attached to nothing and runs only
//! while [`TaskCgroups::read`] reads.

use std::collections::HashMap;
use std::io::Read as _;

use aya::programs::{Iter, ProgramError};
use aya::{Ebpf, EbpfLoader};
use tracer_common::{TaskCgroup, TaskOffsets};

use super::btf::Btf;

/// The object that the build script built from `tracer-ebpf/src/tasks.rs`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracer-tasks.o"));

/// The program's name.
const TASK_CGROUPS: &str = "task_cgroups";

/// A function that reads as [`TaskCgroups::read`] does.
pub type TaskReader = Box<dyn FnMut() -> Result<HashMap<u32, u64>, String> + Send>;

/// The loaded iterator.
#[derive(Debug)]
pub struct TaskCgroups(Ebpf);

impl TaskCgroups {
    /// Loads it. The error is what the kernel lacks or refuses.
    pub fn load() -> Result<TaskCgroups, String> {
        let kernel =
            Btf::of_kernel().map_err(|error| format!("the kernel's types (BTF): {error}"))?;
        let offsets = offsets(&kernel)?;
        drop(kernel);
        let btf = aya::Btf::from_sys_fs()
            .map_err(|error| format!("the kernel's types (BTF): {error}"))?;
        let mut object = EbpfLoader::new()
            .btf(Some(&btf))
            .override_global("TASK_OFFSETS", &offsets, true)
            .load(OBJECT)
            .map_err(reason)?;
        program(&mut object)?.load("task", &btf).map_err(reason)?;
        Ok(TaskCgroups(object))
    }

    /// Loads it, as a function that reads.
    pub fn reader() -> Result<TaskReader, String> {
        let mut tasks = TaskCgroups::load()?;
        Ok(Box::new(move || tasks.read()))
    }

    /// The id of the cgroup (version 2) of each process, by its id in the initial PID namespace. Only the processes of
    /// the reader's PID namespace are listed.
    pub fn read(&mut self) -> Result<HashMap<u32, u64>, String> {
        let program = program(&mut self.0)?;
        let link = program.attach().map_err(reason)?;
        let link = program.take_link(link).map_err(reason)?;
        let mut file = link.into_file().map_err(reason)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .map_err(|error| format!("cannot read the list of tasks: {error}"))?;
        let records = bytes.chunks_exact(size_of::<TaskCgroup>());
        Ok(records.filter_map(process_and_cgroup).collect())
    }
}

/// The process and its cgroup in a [`TaskCgroup`].
fn process_and_cgroup(record: &[u8]) -> Option<(u32, u64)> {
    let cgroup_id = u64::from_ne_bytes(record.get(..8)?.try_into().ok()?);
    let tgid = u32::from_ne_bytes(record.get(8..12)?.try_into().ok()?);
    Some((tgid, cgroup_id))
}

fn program(object: &mut Ebpf) -> Result<&mut Iter, String> {
    let program = object
        .program_mut(TASK_CGROUPS)
        .ok_or("the object lacks the iterator")?;
    program
        .try_into()
        .map_err(|error: ProgramError| reason(error))
}

/// Where the kernel has the fields that show a process's cgroup.
pub(super) fn offsets(btf: &Btf) -> Result<TaskOffsets, String> {
    let at = |of: &str, path: &str| {
        btf.offset(of, path)
            .ok_or_else(|| format!("the kernel's struct {of} has no field {path}"))
    };
    Ok(TaskOffsets {
        task_pid: at("task_struct", "pid")?,
        task_tgid: at("task_struct", "tgid")?,
        // Missing in a kernel without cgroups.
        task_cgroups: at("task_struct", "cgroups")?,
        css_set_default: at("css_set", "dfl_cgrp")?,
        cgroup_node: at("cgroup", "kn")?,
        node_id: at("kernfs_node", "id")?,
    })
}

fn reason(error: impl std::error::Error + Send + Sync + 'static) -> String {
    format!("{:#}", anyhow::Error::from(error))
}
