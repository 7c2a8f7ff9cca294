//! The only process of a container, for packets whose socket shows no process: a scan found one process in the
//! container, and its cgroup has had no other since.
//!
//! The result of the scan comes from outside. When a cgroup last got a process is what two probes write; their minimum
//! kernel is 5.10. Packets that a socket sends after its process has ended name none: the last segments of a
//! connection, and what waited for its neighbour's address.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aya::maps::{Array, MapData};
use parking_lot::Mutex;
use tracer_common::{TaskOffsets, cgroup_slot};
use tracer_core::decode;
use tracer_core::model::flow::{Direction, Protocol, SeenFlags};
use tracer_core::model::identity::Process;
use tracer_core::model::record::Record;
use tracer_core::model::time::Timestamp;

use super::btf::Btf;
use super::{clock, tasks};

/// The tracepoints, and the programs' names.
pub(super) const SCHED_PROCESS_FORK: &str = "sched_process_fork";
pub(super) const CGROUP_ATTACH_TASK: &str = "cgroup_attach_task";

/// How long a packet can wait in the kernel for its neighbour's address: three questions, a second each.
const UNSENT: Duration = Duration::from_secs(3);

/// What the two probes need to know of the running kernel, or what that lacks.
pub(super) fn offsets() -> Result<TaskOffsets, String> {
    let btf = Btf::of_kernel().map_err(|error| format!("the kernel's types (BTF): {error}"))?;
    for (tracepoint, arguments) in [(SCHED_PROCESS_FORK, 2), (CGROUP_ATTACH_TASK, 4)] {
        if btf.tracepoint_arguments(tracepoint) != Some(arguments) {
            return Err(format!("the kernel has no tracepoint {tracepoint}"));
        }
    }
    tasks::offsets(&btf)
}

/// What the latest scan of all processes has found.
#[derive(Debug, Default)]
struct Scan {
    begun: Timestamp,
    ended: Timestamp,
    /// By the cgroup of the process.
    processes: HashMap<u64, Process>,
}

/// Takes the results of scans.
#[derive(Clone, Debug, Default)]
pub struct OnlyProcesses(Arc<Mutex<Scan>>);

impl OnlyProcesses {
    /// A scan has ended, and found these processes alone in their containers.
    pub fn set(&self, begun: Instant, processes: HashMap<u64, Process>) {
        let ended = clock::now();
        // In this order it can only be too early.
        let took = begun.elapsed().as_nanos() as u64;
        let begun = Timestamp(ended.0.saturating_sub(took));
        *self.0.lock() = Scan {
            begun,
            ended,
            processes,
        };
    }
}

/// Names the only processes of containers.
pub(super) struct Names {
    found: OnlyProcesses,
    /// When a cgroup of this slot last got a process.
    changes: Array<MapData, u64>,
}

impl Names {
    pub(super) fn new(changes: Array<MapData, u64>) -> Names {
        Names {
            found: OnlyProcesses::default(),
            changes,
        }
    }

    pub(super) fn found(&self) -> OnlyProcesses {
        self.found.clone()
    }

    /// Names the processes of the records that have none.
    pub(super) fn name<'a>(&self, records: impl Iterator<Item = &'a mut Record>) {
        let unnamed =
            records.filter(|record| record.sender_cgroup != 0 && record.sender_process.is_none());
        let scan = self.found.0.lock();
        for record in unnamed {
            if let Some(process) = scan.processes.get(&record.sender_cgroup)
                && is_of_living_process(record)
                && let Ok(changed) = self.changes.get(&cgroup_slot(record.sender_cgroup), 0)
                && scan.covers(record.time, Timestamp(changed))
            {
                record.sender_process = Some(process.clone());
            }
        }
    }
}

impl Scan {
    /// Whether a cgroup that last got a process at `changed` had at this time only the processes that the scan found.
    fn covers(&self, at: Timestamp, changed: Timestamp) -> bool {
        changed < self.begun && at > self.ended.after(UNSENT)
    }
}

/// Whether a socket that a process holds sent the packet: a datagram, or the beginning of a connection.
fn is_of_living_process(record: &Record) -> bool {
    record.direction == Direction::FromPod
        && decode::headers(&record.bytes).is_some_and(|packet| match packet.tcp_flags {
            Some(flags) => flags & SeenFlags::SYN != 0,
            None => packet.tuple.protocol == Protocol::Udp,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_covers_what_was_sent_after_it_if_no_process_came_since_it_began() {
        let at = |seconds| Timestamp(0).after(Duration::from_secs(seconds));
        let scan = Scan {
            begun: at(10),
            ended: at(12),
            processes: HashMap::new(),
        };
        assert!(scan.covers(at(16), at(9)));
        assert!(!scan.covers(at(15), at(9)), "it can have waited");
        assert!(!scan.covers(at(16), at(10)), "while it ran");
        assert!(!scan.covers(at(16), at(14)), "before the packet");
        assert!(!scan.covers(at(16), at(17)), "maybe before the packet");
        assert!(!Scan::default().covers(at(16), at(0)));
    }
}
