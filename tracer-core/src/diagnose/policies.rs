//! NetworkPolicies that select either end of an attempt: what they allow is not known, so they are a possible cause.

use super::case::Case;
use super::claim::Claim;
use super::services;
use crate::model::cluster::{Kind, NetworkPolicy, Pod};

/// Adds those that may be the cause.
pub(super) fn possible(case: &Case<'_>, claim: Claim) -> Claim {
    let egress = case
        .pod()
        .and_then(|pod| case.index.pod_object(pod))
        .map(|pod| selecting(case, pod, |policy| policy.egress))
        .unwrap_or_default();
    let mut ingress: Vec<&NetworkPolicy> = Vec::new();
    for pod in destinations(case) {
        for policy in selecting(case, pod, |policy| policy.ingress) {
            if !ingress.contains(&policy) {
                ingress.push(policy);
            }
        }
    }
    let mut claim = claim;
    if case.index.knows(Kind::NetworkPolicy) && case.index.policies().is_empty() {
        claim = claim.why(match case.index.follows_cluster() {
            true => "The cluster has no NetworkPolicy.",
            // Whether the cluster has none, or nobody asked for that kind, the file does not tell.
            false => "The inventory holds no NetworkPolicy.",
        });
    }
    for (policies, what) in [
        (egress, "what this pod sends"),
        (ingress, "what the destination is sent"),
    ] {
        for policy in policies {
            let maybe = if policy.expressions {
                "may select"
            } else {
                "selects"
            };
            claim = claim
                .why(format!(
                    "Possible cause: NetworkPolicy {}/{} {maybe} {what}; what it allows was not looked at.",
                    policy.namespace, policy.name
                ))
                .remedy(format!(
                    "kubectl -n {} describe networkpolicy {}",
                    policy.namespace, policy.name
                ));
        }
    }
    claim
}

/// The pods that the attempt may have gone to.
fn destinations<'a>(case: &Case<'a>) -> Vec<&'a Pod> {
    let index = case.index;
    match case.service() {
        Some(service) => services::ready(index, service)
            .iter()
            .filter_map(|endpoint| index.pod_object(endpoint.pod.as_ref()?))
            .collect(),
        None => case
            .ends
            .peer
            .pod
            .iter()
            .filter_map(|pod| index.pod_object(pod))
            .collect(),
    }
}

fn selecting<'a>(
    case: &Case<'a>,
    pod: &Pod,
    governs: fn(&NetworkPolicy) -> bool,
) -> Vec<&'a NetworkPolicy> {
    let selects = |policy: &&NetworkPolicy| {
        policy.namespace == pod.namespace
            && governs(policy)
            && policy
                .selector
                .iter()
                .all(|label| pod.labels.contains(label))
    };
    case.index.policies().iter().filter(selects).collect()
}
