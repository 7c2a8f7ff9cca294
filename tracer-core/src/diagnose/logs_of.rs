//! How to read the logs at the other end.

use super::case::Case;
use super::claim::Claim;
use super::command::Kubectl;
use super::fact::ObjectName;
use super::services;

/// Adds the logs of the destination's pods, if they are known.
pub(super) fn destination(case: &Case<'_>, claim: Claim) -> Claim {
    match (case.service(), &case.ends.peer.pod) {
        (Some(service), _) if !service.selector.is_empty() => claim.command(Kubectl::SelectedLogs(
            service.namespace.clone(),
            services::selector(service),
        )),
        (None, Some(pod)) => claim.command(Kubectl::PodLogs(ObjectName::from(&**pod))),
        _ => claim,
    }
}
