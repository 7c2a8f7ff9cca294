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
    /// Since when it is being deleted.
    pub terminating: Option<Timestamp>,
    gone: Option<Timestamp>,
}

impl Known {
    /// Whether its object is gone.
    pub fn is_gone(&self) -> bool {
        self.gone.is_some()
    }
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
    /// This pod exists. Gives what was known of it before, and another pod that had its name until now.
    pub fn put(&mut self, at: Timestamp, from: Timestamp, pod: Pod) -> (Option<Pod>, Option<Pod>) {
        let names = self.by_name.entry(pod.namespace.clone()).or_default();
        let namesake = names
            .insert(pod.name.clone(), pod.uid.clone())
            .filter(|uid| *uid != pod.uid)
            .and_then(|uid| self.end(at, &uid));
        if let Some(uid) = &pod.static_uid {
            self.mirrors.insert(uid.clone(), pod.uid.clone());
        }
        let Some(known) = self.by_uid.get_mut(&pod.uid) else {
            let identity = Arc::new(identity_of(&pod));
            let known = Known {
                terminating: pod.terminating.then_some(from),
                pod,
                identity,
                gone: None,
            };
            self.by_uid.insert(known.pod.uid.clone(), known);
            return (None, namesake);
        };
        if !same_identity(&known.identity, &pod) {
            known.identity = Arc::new(identity_of(&pod));
        }
        let since = known.terminating.unwrap_or(at);
        known.terminating = pod.terminating.then_some(since);
        let was_gone = known.gone.take().is_some();
        let before = std::mem::replace(&mut known.pod, pod);
        ((!was_gone).then_some(before), namesake)
    }

    /// The pod of this name is gone, if it is the one with this UID (or that is not told). Gives the pod.
    pub fn delete(&mut self, at: Timestamp, namespace: &str, name: &str, uid: &str) -> Option<Pod> {
        let names = self.by_name.get_mut(namespace)?;
        let known = names
            .get(name)
            .filter(|known| uid.is_empty() || ***known == *uid);
        let known = known?.clone();
        names.remove(name);
        if names.is_empty() {
            self.by_name.remove(namespace);
        }
        self.end(at, &known)
    }

    fn end(&mut self, at: Timestamp, uid: &Arc<str>) -> Option<Pod> {
        let known = self.by_uid.get_mut(uid)?;
        known.gone = Some(at);
        self.past.push_back((at, uid.clone()));
        Some(known.pod.clone())
    }

    /// Namespace, name and UID of those that exist.
    pub fn keys(&self) -> impl Iterator<Item = (Arc<str>, Arc<str>, Arc<str>)> {
        self.by_name.iter().flat_map(|(namespace, names)| {
            names
                .iter()
                .map(move |(name, uid)| (namespace.clone(), name.clone(), uid.clone()))
        })
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
