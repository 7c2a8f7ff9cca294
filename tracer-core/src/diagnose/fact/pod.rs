//! Facts about the state of a pod.

use std::sync::Arc;

use super::ObjectName;

/// Why a pod is not ready, as its status shows.
#[derive(Clone, Debug)]
pub(in crate::diagnose) enum PodFact {
    /// A container waits, for this reason.
    Waiting {
        pod: ObjectName,
        container: Arc<str>,
        reason: Arc<str>,
    },
    /// It is being deleted.
    Terminating(ObjectName),
    /// Its containers do not run yet.
    Pending(ObjectName),
    /// It runs, and these containers are not ready.
    ContainersNotReady {
        pod: ObjectName,
        containers: Vec<Arc<str>>,
    },
    /// It has ended.
    Ended(ObjectName),
}
