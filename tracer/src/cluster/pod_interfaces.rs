//! Finds the pod behind each interface: matches the namespace id of a veth's peer with that of a pod's first
//! process.
//!
//! Remembers the namespace of each process, so a scan asks the kernel only about new ones. A hostNetwork pod
//! never matches: its namespace is this one, and no veth here leads to it.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::netns_id::{NetnsId, NetnsIds};
use super::pod_cgroup::PodCgroup;
use super::pod_processes::{Process, first_of_each_pod};
use tracer_core::model::flow::Ifindex;

/// A pod whose network namespace is known.
#[derive(Debug)]
struct KnownPod {
    uid: Arc<str>,
    process: Process,
    netns: NetnsId,
}

/// Finds the pods behind interfaces.
#[derive(Debug)]
pub struct InterfaceResolver {
    proc: PathBuf,
    ids: NetnsIds,
    /// The pods that the last scan found, by cgroup.
    known: HashMap<PodCgroup, KnownPod>,
}

impl InterfaceResolver {
    /// Resolves for the calling thread's network namespace, with the processes in `/proc`.
    pub fn new() -> io::Result<InterfaceResolver> {
        InterfaceResolver::with_proc(Path::new("/proc"))
    }

    /// Reads the processes from another directory. Their ids must be those of this PID namespace.
    pub fn with_proc(proc: &Path) -> io::Result<InterfaceResolver> {
        Ok(InterfaceResolver {
            proc: proc.to_owned(),
            ids: NetnsIds::open()?,
            known: HashMap::new(),
        })
    }

    /// The UIDs of the pods behind these interfaces, each of which comes with the namespace id of its peer.
    /// `None` if that namespace contains no pod's process (yet), or those of several pods. Blocks while it
    /// reads /proc.
    pub fn resolve(
        &mut self,
        wanted: &[(Ifindex, NetnsId)],
    ) -> io::Result<Vec<(Ifindex, Option<Arc<str>>)>> {
        self.scan()?;
        let mut by_netns: HashMap<NetnsId, Option<&Arc<str>>> = HashMap::new();
        for pod in self.known.values() {
            by_netns
                .entry(pod.netns)
                .and_modify(|holder| *holder = None)
                .or_insert(Some(&pod.uid));
        }
        let found = wanted
            .iter()
            .map(|(ifindex, netns)| (*ifindex, by_netns.get(netns).copied().flatten().cloned()));
        Ok(found.collect())
    }

    fn scan(&mut self) -> io::Result<()> {
        let mut known = HashMap::new();
        for (cgroup, process) in first_of_each_pod(&self.proc)? {
            let before = self.known.remove(&cgroup);
            let pod = match before.filter(|pod| pod.process == process) {
                // A running process stays in its namespace, and a namespace keeps its id.
                Some(pod) => Some(pod),
                // Asked again in the next scan if there is no id: a runtime starts the process first and then
                // moves it to the pod's namespace.
                None => self.ask(process)?.map(|netns| KnownPod {
                    uid: cgroup.uid.as_str().into(),
                    process,
                    netns,
                }),
            };
            if let Some(pod) = pod {
                known.insert(cgroup, pod);
            }
        }
        self.known = known;
        Ok(())
    }

    fn ask(&mut self, process: Process) -> io::Result<Option<NetnsId>> {
        match self.ids.for_process(process.pid) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
            answer => answer,
        }
    }
}
