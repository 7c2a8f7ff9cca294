//! Why a pod is not ready.

use super::fact::{ObjectName, PodFact};
use crate::model::cluster::{Container, Phase, Pod};

/// Why a pod is not ready, if its status shows it.
pub(super) fn state(pod: &Pod) -> Option<PodFact> {
    let name = ObjectName::from(pod);
    if pod.ready == Some(true) && !pod.terminating {
        return None;
    }
    let waits = |one: &&Container| one.waiting.is_some();
    if let Some(container) = pod.containers.iter().find(waits)
        && let Some(reason) = &container.waiting
    {
        return Some(PodFact::Waiting {
            pod: name,
            container: container.name.clone(),
            reason: reason.clone(),
        });
    }
    if pod.terminating {
        return Some(PodFact::Terminating(name));
    }
    match pod.phase {
        Phase::Pending => Some(PodFact::Pending(name)),
        Phase::Succeeded | Phase::Failed => Some(PodFact::Ended(name)),
        Phase::Running if pod.ready == Some(false) => {
            let unready = pod.containers.iter().filter(|one| one.ready == Some(false));
            Some(PodFact::ContainersNotReady {
                pod: name,
                containers: unready.map(|one| one.name.clone()).collect(),
            })
        }
        Phase::Running | Phase::Unknown => None,
    }
}
