//! Which namespaces and pods have series of their own: so many at most, the others share one.
//!
//! The limit holds for those seen lately: where it is reached, one that was not seen for a while makes room, so that a
//! cluster's short-lived Jobs do not use it up for good. Never reads a clock: time comes with the events.

use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;

use super::labels::Who;
use tracer_core::model::identity::PodIdentity;
use tracer_core::model::time::Timestamp;

/// What those share who have no series of their own.
pub const OTHER: &str = "other";
/// So many namespaces at a time.
pub const MAX_NAMESPACES: usize = 200;
/// So many pods at a time, where pods have series of their own.
pub const MAX_PODS: usize = 500;
/// One that was not seen for so long makes room. Prometheus takes a series that is gone for so long as ended, and one that
/// comes again as a counter that began anew.
pub const IDLE: Duration = Duration::from_secs(900);

/// What an answer to "whose is it" costs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub who: Who,
    /// A namespace that made room: its series are to be forgotten.
    pub gone_namespace: Option<Arc<str>>,
    /// A pod that made room.
    pub gone_pod: Option<Who>,
    /// The namespace shares a series.
    pub namespace_overflow: bool,
    /// The pod shares a series.
    pub pod_overflow: bool,
}

#[derive(Debug)]
pub(super) struct Names {
    namespaces: Capped<Arc<str>>,
    pods: Capped<Who>,
    by_pod: bool,
}

impl Names {
    pub fn new(by_pod: bool) -> Names {
        Names {
            namespaces: Capped::new(MAX_NAMESPACES),
            pods: Capped::new(MAX_PODS),
            by_pod,
        }
    }

    /// Whether pods have series of their own.
    pub fn by_pod(&self) -> bool {
        self.by_pod
    }

    /// Whose series something that `pod` did at `at` is counted in.
    pub fn who(&mut self, at: Timestamp, pod: Option<&PodIdentity>) -> Verdict {
        let mut verdict = Verdict::default();
        let Some(pod) = pod else {
            verdict.who.pod = self.by_pod.then(Arc::default);
            return verdict;
        };
        match self.namespaces.admit(at, &pod.namespace) {
            Admission::Own { gone } => {
                verdict.who.namespace = Arc::clone(&pod.namespace);
                verdict.gone_namespace = gone;
            }
            Admission::Shared => {
                verdict.who.namespace = OTHER.into();
                verdict.who.pod = self.by_pod.then(|| OTHER.into());
                verdict.namespace_overflow = true;
                verdict.pod_overflow = self.by_pod;
                return verdict;
            }
        }
        if self.by_pod {
            let own = Who {
                namespace: Arc::clone(&pod.namespace),
                pod: Some(Arc::clone(&pod.name)),
            };
            match self.pods.admit(at, &own) {
                Admission::Own { gone } => {
                    verdict.who = own;
                    verdict.gone_pod = gone;
                }
                Admission::Shared => {
                    verdict.who.pod = Some(OTHER.into());
                    verdict.pod_overflow = true;
                }
            }
        }
        verdict
    }
}

enum Admission<K> {
    Own { gone: Option<K> },
    Shared,
}

/// At most so many keys, each with when it was seen last.
#[derive(Debug)]
struct Capped<K: Hash + Eq> {
    seen: LruCache<K, Timestamp>,
    /// Events come a little out of order; this never goes back.
    now: Timestamp,
}

impl<K: Hash + Eq + Clone> Capped<K> {
    fn new(limit: usize) -> Capped<K> {
        Capped {
            seen: LruCache::new(NonZeroUsize::new(limit).unwrap_or(NonZeroUsize::MIN)),
            now: Timestamp(0),
        }
    }

    fn admit(&mut self, at: Timestamp, key: &K) -> Admission<K> {
        self.now = self.now.max(at);
        if let Some(last) = self.seen.get_mut(key) {
            *last = self.now;
            return Admission::Own { gone: None };
        }
        let mut gone = None;
        if self.seen.len() >= self.seen.cap().get() {
            match self.seen.peek_lru() {
                Some((_, last)) if self.now.since(*last) >= IDLE => {
                    gone = self.seen.pop_lru().map(|(key, _)| key);
                }
                _ => return Admission::Shared,
            }
        }
        self.seen.put(key.clone(), self.now);
        Admission::Own { gone }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{IDLE, MAX_NAMESPACES, MAX_PODS, Names};
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
    fn at_the_limit_a_new_namespace_shares_the_series_of_others() {
        let mut names = Names::new(false);
        for number in 0..MAX_NAMESPACES {
            let verdict = names.who(Timestamp(1), Some(&pod(&format!("ns-{number}"), "a")));
            assert!(!verdict.namespace_overflow && verdict.gone_namespace.is_none());
            assert_eq!(verdict.who.pod, None, "no pods unless asked for");
        }
        let verdict = names.who(Timestamp(2), Some(&pod("one-more", "a")));
        assert_eq!(&*verdict.who.namespace, "other");
        assert!(verdict.namespace_overflow);
        // Those who were there first keep theirs.
        let verdict = names.who(Timestamp(3), Some(&pod("ns-0", "a")));
        assert_eq!(&*verdict.who.namespace, "ns-0");
    }

    #[test]
    fn a_namespace_that_was_not_seen_for_long_makes_room() {
        let mut names = Names::new(false);
        for number in 0..MAX_NAMESPACES {
            names.who(Timestamp(1), Some(&pod(&format!("ns-{number}"), "a")));
        }
        let later = Timestamp(1).after(IDLE);
        names.who(later, Some(&pod("ns-0", "a")));
        let verdict = names.who(later, Some(&pod("one-more", "a")));
        assert_eq!(&*verdict.who.namespace, "one-more");
        assert_eq!(verdict.gone_namespace.as_deref(), Some("ns-1"));
    }

    #[test]
    fn pods_have_a_limit_of_their_own_and_keep_their_namespace() {
        let mut names = Names::new(true);
        for number in 0..MAX_PODS {
            let verdict = names.who(Timestamp(1), Some(&pod("shop", &format!("pod-{number}"))));
            assert_eq!(verdict.who.pod.as_deref(), Some(&*format!("pod-{number}")));
        }
        let verdict = names.who(Timestamp(1), Some(&pod("shop", "one-more")));
        assert_eq!(&*verdict.who.namespace, "shop");
        assert_eq!(verdict.who.pod.as_deref(), Some("other"));
        assert!(verdict.pod_overflow && !verdict.namespace_overflow);
        let verdict = names.who(Timestamp(1).after(IDLE), Some(&pod("shop", "one-more")));
        assert_eq!(verdict.who.pod.as_deref(), Some("one-more"));
        let gone = verdict.gone_pod.expect("one made room");
        assert_eq!(gone.pod.as_deref(), Some("pod-0"));
    }

    #[test]
    fn a_pod_that_is_not_known_has_no_namespace() {
        let verdict = Names::new(true).who(Timestamp(1), None);
        assert_eq!(
            (&*verdict.who.namespace, verdict.who.pod.as_deref()),
            ("", Some(""))
        );
    }
}
