//! The pod behind each interface: a veth names the network namespace of its peer by an id, and so does the kernel for the
//! network namespace of a pod's first process.
//!
//! Owns the match and remembers which namespace a process was found in, so that a scan asks only about new ones.
//! hostNetwork pods are never matched: their namespace is this one, which no veth here leads to.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::netns_id::{NetnsId, NetnsIds};
use super::pod_cgroup::PodCgroup;
use super::pod_processes::{Process, first_of_each_pod};
use tracer_core::model::flow::Ifindex;

/// A pod that a network namespace was found for.
#[derive(Debug)]
struct Pod {
    uid: Arc<str>,
    process: Process,
    netns: NetnsId,
}

/// Finds the pods behind interfaces.
#[derive(Debug)]
pub struct InterfaceResolver {
    proc: PathBuf,
    ids: NetnsIds,
    /// Pods by their cgroups, as they were found last; no more than have processes.
    known: HashMap<PodCgroup, Pod>,
}

impl InterfaceResolver {
    /// For the network namespace that the calling thread is in, with the processes that `/proc` shows.
    pub fn new() -> io::Result<InterfaceResolver> {
        InterfaceResolver::with_proc(Path::new("/proc"))
    }

    /// With the processes below another directory. Their numbers must still be those of this process namespace.
    pub fn with_proc(proc: &Path) -> io::Result<InterfaceResolver> {
        Ok(InterfaceResolver {
            proc: proc.to_owned(),
            ids: NetnsIds::open()?,
            known: HashMap::new(),
        })
    }

    /// The UIDs of the pods behind these interfaces, each given with the namespace id of its peer; `None` where no pod
    /// process is there (yet), or several pods' are. Blocks for as long as it takes to read /proc.
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
                // A live process keeps its namespace, and a live namespace its id.
                Some(pod) => Some(pod),
                // Where there is none yet it is asked again next time: a runtime starts the process first and moves it
                // into the pod's namespace then.
                None => self.ask(process)?.map(|netns| Pod {
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
        match self.ids.of_process(process.pid) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
            answer => answer,
        }
    }
}
