//! The state of pods.

use super::super::parts::List;
use super::super::sentence;
use crate::diagnose::fact::PodFact;
use crate::model::sentence::Sentence;

pub(super) fn sentence(fact: &PodFact) -> Sentence {
    match fact {
        PodFact::Waiting {
            pod,
            container,
            reason,
        } => sentence!("Container {} of pod {} waits: {}.", container, pod, reason),
        PodFact::Terminating(pod) => sentence!("Pod {} is being deleted.", pod),
        PodFact::Pending(pod) => sentence!("Pod {} is pending: its containers don't run yet.", pod),
        PodFact::ContainersNotReady { pod, containers } => match containers.len() {
            0 => sentence!("Pod {} runs and is not ready.", pod),
            _ => sentence!(
                "Pod {} runs, and does not pass the readiness probe of {}.",
                pod,
                List(containers)
            ),
        },
        PodFact::Ended(pod) => sentence!("Pod {} has ended.", pod),
    }
}
