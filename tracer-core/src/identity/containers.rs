//! The container of a pod that a packet came from.
//!
//! A running pod with one container needs no evidence: every process of the pod is in it, apart from the pause
//! process, which sends nothing. Otherwise the cgroup of the sending socket decides.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::Index;
use crate::model::cluster::{ContainerCgroup, Phase};
use crate::model::identity::PodIdentity;

/// Cgroups kept: some containers of each of a node's pods.
const MAX_CGROUPS: usize = 16_384;

/// The containers' cgroups of this node, by id.
#[derive(Debug, Default)]
pub(super) struct Cgroups(HashMap<u64, ContainerCgroup, RandomState>);

impl Cgroups {
    /// Takes what a scan has found. A cgroup's id is not used again while the node runs.
    pub(super) fn add(&mut self, found: Vec<ContainerCgroup>) {
        for cgroup in found {
            if self.0.len() >= MAX_CGROUPS {
                self.0.clear();
            }
            self.0.insert(cgroup.id, cgroup);
        }
    }
}

impl Index {
    /// The pod's container, if it can have only one.
    pub(crate) fn only_container(&self, pod: &PodIdentity) -> Option<Arc<str>> {
        let pod = &self.pods.by_uid(&pod.uid)?.pod;
        match pod.containers.as_slice() {
            // Before, init containers run; a debug container can be there at any time.
            [only] if pod.phase == Phase::Running && !pod.ephemeral_containers => {
                Some(Arc::clone(&only.name))
            }
            _ => None,
        }
    }

    /// The pod that a process in this cgroup belongs to, as its path shows.
    pub(crate) fn pod_of_cgroup(&self, cgroup: u64) -> Option<&Arc<PodIdentity>> {
        let cgroup = self.cgroups.0.get(&cgroup)?;
        self.pods
            .by_uid(&cgroup.pod_uid)
            .map(|known| &known.identity)
    }

    /// The container of the pod that this cgroup is of.
    pub(crate) fn container_of(&self, pod: &PodIdentity, cgroup: u64) -> Option<&Arc<str>> {
        let cgroup = self.cgroups.0.get(&cgroup)?;
        let pod = &self.pods.by_uid(&pod.uid)?.pod;
        let uids = [Some(&pod.uid), pod.static_uid.as_ref()];
        if !uids.contains(&Some(&cgroup.pod_uid)) {
            return None;
        }
        let found = pod
            .containers
            .iter()
            .find(|container| container.id.as_ref() == Some(&cgroup.container_id));
        found.map(|container| &container.name)
    }
}
