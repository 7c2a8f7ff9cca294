//! Addresses of pods that no longer exist.

use std::sync::Arc;

use super::case::Case;
use crate::model::identity::PodIdentity;
use crate::model::time::Timestamp;

/// The pod that had the peer's address and is gone, and when it went; no time for a pod that has ended and
/// still exists.
pub(super) fn owner<'a>(case: &Case<'a>) -> Option<(&'a Arc<PodIdentity>, Option<Timestamp>)> {
    let peer = &case.ends.peer;
    if peer.service.is_some() || peer.node.is_some() && peer.pod.is_none() {
        return None;
    }
    if let Some(pod) = &peer.pod {
        let ended = case.index.pod_object(pod)?.terminated;
        return ended.then_some((pod, None));
    }
    if let Some(pod) = case.index.ended_owner(peer.ip, case.at) {
        return Some((pod, None));
    }
    let (pod, until) = case.index.past_owner(peer.ip, case.at)?;
    Some((pod, Some(until)))
}
