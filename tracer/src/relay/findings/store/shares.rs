//! Who holds how much of the store: namespaces, and in each of them its pods.
//!
//! Room is made where most is held, so a pod with many findings pushes out its own first, and at most those of its
//! namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Kept;

/// Resolved findings first, then by version.
type Rank = (bool, u64);

/// The share of each namespace.
#[derive(Debug, Default)]
pub(super) struct Shares(BTreeMap<Arc<str>, Namespace>);

#[derive(Debug, Default)]
struct Namespace {
    bytes: usize,
    pods: BTreeMap<Arc<str>, Pod>,
}

#[derive(Debug, Default)]
struct Pod {
    bytes: usize,
    by_rank: BTreeSet<Rank>,
}

fn rank(kept: &Kept) -> Rank {
    (!kept.is_resolved(), kept.version)
}

impl Shares {
    /// Adds a finding to the shares of its namespace and pod.
    pub(super) fn add(&mut self, kept: &Kept) {
        let namespace = self.0.entry(Arc::clone(&kept.namespace)).or_default();
        let pod = namespace.pods.entry(Arc::clone(&kept.pod)).or_default();
        namespace.bytes += kept.bytes;
        pod.bytes += kept.bytes;
        pod.by_rank.insert(rank(kept));
    }

    /// Removes one that was added.
    pub(super) fn remove(&mut self, kept: &Kept) {
        let Some(namespace) = self.0.get_mut(&kept.namespace) else {
            return;
        };
        let Some(pod) = namespace.pods.get_mut(&kept.pod) else {
            return;
        };
        if !pod.by_rank.remove(&rank(kept)) {
            return;
        }
        pod.bytes -= kept.bytes;
        namespace.bytes -= kept.bytes;
        if pod.by_rank.is_empty() {
            namespace.pods.remove(&kept.pod);
        }
        if namespace.pods.is_empty() {
            self.0.remove(&kept.namespace);
        }
    }

    /// The version of the finding that goes first when room is needed.
    pub(super) fn first_to_go(&self) -> Option<u64> {
        let namespace = self.0.values().max_by_key(|share| share.bytes)?;
        let pod = namespace.pods.values().max_by_key(|share| share.bytes)?;
        pod.by_rank.first().map(|(_, version)| *version)
    }
}
