//! The pods: those that exist, and for a while those that did.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::model::cluster::Pod;
use crate::model::identity::PodIdentity;
use crate::model::time::Timestamp;

/// A pod and its identity as events bear it.
#[derive(Debug)]
pub(super) struct Known {
    pub pod: Pod,
    pub identity: Arc<PodIdentity>,
    gone: Option<Timestamp>,
}

/// Pods by UID and by name.
#[derive(Debug, Default)]
pub(super) struct Pods {
    by_uid: HashMap<Arc<str>, Known>,
    /// From the UID that a static pod's cgroup bears to that of its object.
    mirrors: HashMap<Arc<str>, Arc<str>>,
    /// UIDs of those that exist, by namespace and name.
    by_name: HashMap<Arc<str>, HashMap<Arc<str>, Arc<str>>>,
    past: VecDeque<(Timestamp, Arc<str>)>,
}

impl Pods {
    /// These pods and no others exist at `at`.
    pub fn replace(&mut self, at: Timestamp, pods: Vec<Pod>) {
        self.by_name.clear();
        for pod in pods {
            let names = self.by_name.entry(pod.namespace.clone()).or_default();
            names.insert(pod.name.clone(), pod.uid.clone());
            if let Some(uid) = &pod.static_uid {
                self.mirrors.insert(uid.clone(), pod.uid.clone());
            }
            let identity = match self.by_uid.get(&pod.uid) {
                Some(known) if same_identity(&known.identity, &pod) => known.identity.clone(),
                _ => Arc::new(identity_of(&pod)),
            };
            self.by_uid.insert(
                pod.uid.clone(),
                Known {
                    pod,
                    identity,
                    gone: None,
                },
            );
        }
        let by_name = &self.by_name;
        for (uid, known) in self
            .by_uid
            .iter_mut()
            .filter(|(_, known)| known.gone.is_none())
        {
            let exists = by_name
                .get(&known.pod.namespace)
                .and_then(|names| names.get(&known.pod.name));
            if exists != Some(uid) {
                known.gone = Some(at);
                self.past.push_back((at, uid.clone()));
            }
        }
    }

    /// The pod with this UID, or whose cgroup bears it; also one that is gone, as long as it is remembered.
    pub fn by_uid(&self, uid: &str) -> Option<&Known> {
        self.by_uid
            .get(uid)
            .or_else(|| self.by_uid.get(self.mirrors.get(uid)?))
    }

    /// The pod of this name that exists.
    pub fn by_name(&self, namespace: &str, name: &str) -> Option<&Known> {
        self.by_uid.get(self.by_name.get(namespace)?.get(name)?)
    }

    /// Those that exist, by namespace.
    pub fn in_namespaces(&self) -> impl Iterator<Item = (&Arc<str>, &HashMap<Arc<str>, Arc<str>>)> {
        self.by_name.iter()
    }

    /// Those that exist.
    pub fn iter(&self) -> impl Iterator<Item = &Known> {
        self.by_uid.values().filter(|known| known.gone.is_none())
    }

    /// Forgets who went before `before`, and the oldest of more than `limit`; says how many the limit cost.
    pub fn forget(&mut self, before: Timestamp, limit: usize) -> u64 {
        let mut cost = 0;
        while let Some((gone, uid)) = self.past.front() {
            if *gone >= before {
                if self.past.len() <= limit {
                    break;
                }
                cost += 1;
            }
            // It may be back since, or have gone again later.
            if self
                .by_uid
                .get(uid)
                .is_some_and(|known| known.gone == Some(*gone))
            {
                let mirror = self
                    .by_uid
                    .remove(uid)
                    .and_then(|known| known.pod.static_uid);
                if let Some(mirror) = mirror.filter(|mirror| self.mirrors.get(mirror) == Some(uid))
                {
                    self.mirrors.remove(&mirror);
                }
            }
            self.past.pop_front();
        }
        cost
    }
}

fn same_identity(identity: &PodIdentity, pod: &Pod) -> bool {
    identity.namespace == pod.namespace
        && identity.name == pod.name
        && identity.workload == pod.workload
        && identity.node == pod.node
}

fn identity_of(pod: &Pod) -> PodIdentity {
    PodIdentity {
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        uid: pod.uid.clone(),
        workload: pod.workload.clone(),
        node: pod.node.clone(),
    }
}
