//! Existing pods, and recently deleted ones.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

use foldhash::fast::RandomState;

use super::resolver::{self, ResolverConfig};
use crate::model::cluster::Pod;
use crate::model::dns::DnsName;
use crate::model::identity::PodIdentity;
use crate::model::time::Timestamp;

/// A pod and its identity as events carry it.
#[derive(Debug)]
pub(super) struct KnownPod {
    pub pod: Pod,
    pub identity: Arc<PodIdentity>,
    /// When its deletion began.
    pub terminating: Option<Timestamp>,
    gone: Option<Timestamp>,
    /// Its resolver configuration, once a lookup needed it.
    resolver: OnceLock<Option<Arc<ResolverConfig>>>,
}

impl KnownPod {
    /// Whether its object is deleted.
    pub fn is_gone(&self) -> bool {
        self.gone.is_some()
    }

    /// Its resolver configuration; `None` where its node's applies.
    pub fn resolver(&self, cluster_domain: &DnsName) -> Option<Arc<ResolverConfig>> {
        let of_pod = || resolver::of_pod(&self.pod, cluster_domain).map(Arc::new);
        self.resolver.get_or_init(of_pod).clone()
    }
}

/// Pods by UID and by name.
#[derive(Debug, Default)]
pub(super) struct Pods {
    by_uid: HashMap<Arc<str>, KnownPod, RandomState>,
    /// From the UID in a static pod's cgroup path to the UID of its mirror object.
    mirrors: HashMap<Arc<str>, Arc<str>, RandomState>,
    /// UIDs of existing pods, by namespace and name.
    by_name: HashMap<Arc<str>, HashMap<Arc<str>, Arc<str>>>,
    past: VecDeque<(Timestamp, Arc<str>)>,
}

impl Pods {
    /// Adds or updates a pod. Returns its previous state, and the pod that had its name until now, if that is
    /// another one.
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
            let known = KnownPod {
                terminating: pod.terminating.then_some(from),
                pod,
                identity,
                gone: None,
                resolver: OnceLock::new(),
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
        known.resolver.take();
        ((!was_gone).then_some(before), namesake)
    }

    /// Deletes the pod with this name if its UID matches; an empty `uid` matches any. Returns the pod.
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

    /// The cluster's domain is another one.
    pub fn forget_resolvers(&mut self) {
        for known in self.by_uid.values_mut() {
            known.resolver.take();
        }
    }

    /// Namespace, name and UID of every existing pod.
    pub fn keys(&self) -> impl Iterator<Item = (Arc<str>, Arc<str>, Arc<str>)> {
        self.by_name.iter().flat_map(|(namespace, names)| {
            names
                .iter()
                .map(move |(name, uid)| (namespace.clone(), name.clone(), uid.clone()))
        })
    }

    /// The pod with this UID, or with this UID in its cgroup path. Includes deleted pods while they are
    /// remembered.
    pub fn by_uid(&self, uid: &str) -> Option<&KnownPod> {
        self.by_uid
            .get(uid)
            .or_else(|| self.by_uid.get(self.mirrors.get(uid)?))
    }

    /// The existing pod with this name.
    pub fn by_name(&self, namespace: &str, name: &str) -> Option<&KnownPod> {
        self.by_uid.get(self.by_name.get(namespace)?.get(name)?)
    }

    /// UIDs of existing pods by name, for each namespace.
    pub fn in_namespaces(&self) -> impl Iterator<Item = (&Arc<str>, &HashMap<Arc<str>, Arc<str>>)> {
        self.by_name.iter()
    }

    /// Existing pods.
    pub fn iter(&self) -> impl Iterator<Item = &KnownPod> {
        self.by_uid.values().filter(|known| known.gone.is_none())
    }

    /// Forgets pods deleted before `before`, and the oldest beyond `limit`. Returns how many were evicted by
    /// the limit.
    pub fn forget(&mut self, before: Timestamp, limit: usize) -> u64 {
        let mut evicted = 0;
        while let Some((gone, uid)) = self.past.front() {
            if *gone >= before {
                if self.past.len() <= limit {
                    break;
                }
                evicted += 1;
            }
            // The pod may exist again, or have been deleted again later.
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
        evicted
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
