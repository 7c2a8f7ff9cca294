//! Which namespaces and pods have series of their own. Their number is limited; the others share one series.
//!
//! The limit applies to recently seen owners: at the limit, one that has been idle for long is evicted, so
//! that a cluster's short-lived Jobs do not exhaust it. Pods are shared by namespace: at the limit, a pod of
//! the namespace that has most gives way to one of a namespace that has fewer. Never reads a clock: time comes
//! with the events.

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;

use super::labels::Owner;
use tracer_core::model::identity::PodIdentity;
use tracer_core::model::time::Timestamp;

/// The label value that all owners without series of their own share.
pub const OTHER: &str = "other";
/// Namespaces with series, at most.
pub const MAX_NAMESPACES: usize = 200;
/// Pods with series, at most, if pods have series of their own.
pub const MAX_PODS: usize = 500;
/// An owner that was not seen for this long can be evicted. For Prometheus such a series has ended, and one
/// that returns is a counter reset.
pub const IDLE: Duration = Duration::from_secs(900);

/// The owner of an event's series, and what making room for it takes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Assignment {
    pub owner: Owner,
    /// An evicted namespace: the caller drops its series.
    pub evicted_namespace: Option<Arc<str>>,
    /// An evicted pod: the caller drops its series.
    pub evicted_pod: Option<Owner>,
    /// The namespace shares [`OTHER`].
    pub namespace_overflow: bool,
    /// The pod shares [`OTHER`].
    pub pod_overflow: bool,
}

#[derive(Debug)]
pub(super) struct Owners {
    namespaces: Limited<Arc<str>>,
    pods: Shares<Owner>,
    by_pod: bool,
}

impl Owners {
    pub fn new(by_pod: bool) -> Owners {
        Owners {
            namespaces: Limited::new(MAX_NAMESPACES),
            pods: Shares::new(MAX_PODS),
            by_pod,
        }
    }

    /// Whether pods have series of their own.
    pub fn by_pod(&self) -> bool {
        self.by_pod
    }

    /// The owner of the series in which an event of `pod` at the time `at` counts.
    pub fn assign(&mut self, at: Timestamp, pod: Option<&PodIdentity>) -> Assignment {
        let mut assignment = Assignment::default();
        let Some(pod) = pod else {
            assignment.owner.pod = self.by_pod.then(Arc::default);
            return assignment;
        };
        match self.namespaces.admit(at, &pod.namespace) {
            Admission::Own { evicted } => {
                assignment.owner.namespace = Arc::clone(&pod.namespace);
                assignment.evicted_namespace = evicted;
            }
            Admission::Shared => {
                assignment.owner.namespace = OTHER.into();
                assignment.owner.pod = self.by_pod.then(|| OTHER.into());
                assignment.namespace_overflow = true;
                assignment.pod_overflow = self.by_pod;
                return assignment;
            }
        }
        if self.by_pod {
            let own = Owner {
                namespace: Arc::clone(&pod.namespace),
                pod: Some(Arc::clone(&pod.name)),
            };
            match self.pods.admit(at, &own) {
                Admission::Own { evicted } => {
                    assignment.owner = own;
                    assignment.evicted_pod = evicted;
                }
                Admission::Shared => {
                    assignment.owner.pod = Some(OTHER.into());
                    assignment.pod_overflow = true;
                }
            }
        }
        assignment
    }
}

/// A key that belongs to a namespace.
pub(super) trait Namespaced: Hash + Eq + Clone {
    fn namespace(&self) -> &Arc<str>;
}

impl Namespaced for Owner {
    fn namespace(&self) -> &Arc<str> {
        &self.namespace
    }
}

/// A limited number of keys, shared by namespaces.
#[derive(Debug)]
pub(super) struct Shares<K: Hash + Eq> {
    keys: Limited<K>,
    /// The number of keys of each namespace that has any.
    held: HashMap<Arc<str>, usize>,
}

impl<K: Namespaced> Shares<K> {
    /// At most this many keys.
    pub fn new(limit: usize) -> Shares<K> {
        Shares {
            keys: Limited::new(limit),
            held: HashMap::new(),
        }
    }

    /// Whether a key that was seen at this time has series of its own.
    pub fn admit(&mut self, at: Timestamp, own: &K) -> Admission<K> {
        let known = self.keys.contains(own);
        let mut admission = self.keys.admit(at, own);
        if matches!(admission, Admission::Shared) {
            let has = self.held.get(own.namespace()).copied().unwrap_or(0);
            let most = self.held.values().copied().max().unwrap_or(0);
            // Otherwise the two would take each other's place.
            if has + 1 < most {
                let of_most = |key: &K| self.held.get(key.namespace()) == Some(&most);
                let evicted = self.keys.replace(own, of_most);
                admission = Admission::Own { evicted };
            }
        }
        if let Admission::Own { evicted } = &admission {
            if let Some(evicted) = evicted {
                self.left(evicted.namespace());
            }
            if !known {
                *self.held.entry(Arc::clone(own.namespace())).or_default() += 1;
            }
        }
        admission
    }

    /// A key of this namespace has no series any more.
    fn left(&mut self, namespace: &Arc<str>) {
        if let Some(keys) = self.held.get_mut(namespace) {
            *keys -= 1;
            if *keys == 0 {
                self.held.remove(namespace);
            }
        }
    }
}

/// Whether a key has series of its own.
pub(super) enum Admission<K> {
    /// It does. Making room for it took the series of another one.
    Own { evicted: Option<K> },
    /// It shares those of [`OTHER`].
    Shared,
}

/// A limited number of keys, each with the time it was last seen.
#[derive(Debug)]
pub(super) struct Limited<K: Hash + Eq> {
    seen: LruCache<K, Timestamp>,
    /// The latest time so far. Events are slightly out of order; this never goes back.
    now: Timestamp,
}

impl<K: Hash + Eq + Clone> Limited<K> {
    pub fn new(limit: usize) -> Limited<K> {
        Limited {
            seen: LruCache::new(NonZeroUsize::new(limit).unwrap_or(NonZeroUsize::MIN)),
            now: Timestamp(0),
        }
    }

    fn contains(&self, key: &K) -> bool {
        self.seen.contains(key)
    }

    /// Adds a key in the place of the least recently seen one of these, which it returns.
    fn replace(&mut self, key: &K, these: impl Fn(&K) -> bool) -> Option<K> {
        let mut oldest_first = self.seen.iter().rev().map(|(key, _)| key);
        let evicted = oldest_first.find(|key| these(key)).cloned()?;
        self.seen.pop(&evicted);
        self.seen.put(key.clone(), self.now);
        Some(evicted)
    }

    pub fn admit(&mut self, at: Timestamp, key: &K) -> Admission<K> {
        self.now = self.now.max(at);
        if let Some(last) = self.seen.get_mut(key) {
            *last = self.now;
            return Admission::Own { evicted: None };
        }
        let mut evicted = None;
        if self.seen.len() >= self.seen.cap().get() {
            match self.seen.peek_lru() {
                Some((_, last)) if self.now.since(*last) >= IDLE => {
                    evicted = self.seen.pop_lru().map(|(key, _)| key);
                }
                _ => return Admission::Shared,
            }
        }
        self.seen.put(key.clone(), self.now);
        Admission::Own { evicted }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{IDLE, MAX_NAMESPACES, MAX_PODS, Owners};
    use tracer_core::model::identity::PodIdentity;
    use tracer_core::model::time::Timestamp;

    fn pod(namespace: &str, name: &str) -> PodIdentity {
        PodIdentity {
            namespace: namespace.into(),
            name: name.into(),
            uid: Arc::default(),
            workload: None,
            node: None,
        }
    }

    #[test]
    fn a_namespace_beyond_the_limit_shares_other() {
        let mut owners = Owners::new(false);
        for number in 0..MAX_NAMESPACES {
            let assignment = owners.assign(Timestamp(1), Some(&pod(&format!("ns-{number}"), "a")));
            assert!(!assignment.namespace_overflow && assignment.evicted_namespace.is_none());
            assert_eq!(assignment.owner.pod, None, "no pod without by_pod");
        }
        let assignment = owners.assign(Timestamp(2), Some(&pod("one-more", "a")));
        assert_eq!(&*assignment.owner.namespace, "other");
        assert!(assignment.namespace_overflow);
        // Earlier namespaces keep their series.
        let assignment = owners.assign(Timestamp(3), Some(&pod("ns-0", "a")));
        assert_eq!(&*assignment.owner.namespace, "ns-0");
    }

    #[test]
    fn an_idle_namespace_is_evicted_for_a_new_one() {
        let mut owners = Owners::new(false);
        for number in 0..MAX_NAMESPACES {
            owners.assign(Timestamp(1), Some(&pod(&format!("ns-{number}"), "a")));
        }
        let later = Timestamp(1).after(IDLE);
        owners.assign(later, Some(&pod("ns-0", "a")));
        let assignment = owners.assign(later, Some(&pod("one-more", "a")));
        assert_eq!(&*assignment.owner.namespace, "one-more");
        assert_eq!(assignment.evicted_namespace.as_deref(), Some("ns-1"));
    }

    #[test]
    fn a_pod_beyond_the_limit_keeps_its_namespace() {
        let mut owners = Owners::new(true);
        for number in 0..MAX_PODS {
            let assignment =
                owners.assign(Timestamp(1), Some(&pod("shop", &format!("pod-{number}"))));
            assert_eq!(
                assignment.owner.pod.as_deref(),
                Some(&*format!("pod-{number}"))
            );
        }
        let assignment = owners.assign(Timestamp(1), Some(&pod("shop", "one-more")));
        assert_eq!(&*assignment.owner.namespace, "shop");
        assert_eq!(assignment.owner.pod.as_deref(), Some("other"));
        assert!(assignment.pod_overflow && !assignment.namespace_overflow);
        let assignment = owners.assign(Timestamp(1).after(IDLE), Some(&pod("shop", "one-more")));
        assert_eq!(assignment.owner.pod.as_deref(), Some("one-more"));
        let evicted = assignment.evicted_pod.expect("an evicted pod");
        assert_eq!(evicted.pod.as_deref(), Some("pod-0"));
    }

    #[test]
    fn a_namespace_with_many_pods_leaves_series_to_pods_of_others() {
        let mut owners = Owners::new(true);
        let mut own = |namespace: &str, name: &str| {
            let assignment = owners.assign(Timestamp(1), Some(&pod(namespace, name)));
            let evicted = assignment.evicted_pod.and_then(|owner| owner.pod);
            (!assignment.pod_overflow, evicted)
        };
        for number in 0..2 * MAX_PODS {
            let (has_own, _) = own("jobs", &number.to_string());
            assert_eq!(has_own, number < MAX_PODS);
        }
        // Each pod of another namespace has series, until it has as many.
        for number in 0..MAX_PODS / 2 {
            let (has_own, evicted) = own("shop", &number.to_string());
            assert!(has_own, "{number}");
            assert_eq!(evicted.as_deref(), Some(&*number.to_string()));
        }
        let (has_own, _) = own("shop", "one-more");
        assert!(!has_own);
        let (has_own, _) = own("jobs", "one-more");
        assert!(!has_own, "neither takes from the other");
        let (has_own, evicted) = own("shop", "0");
        assert!(
            has_own && evicted.is_none(),
            "and those that have series keep them"
        );
    }

    #[test]
    fn an_unknown_pod_has_an_empty_namespace() {
        let assignment = Owners::new(true).assign(Timestamp(1), None);
        assert_eq!(
            (
                &*assignment.owner.namespace,
                assignment.owner.pod.as_deref()
            ),
            ("", Some(""))
        );
    }
}
