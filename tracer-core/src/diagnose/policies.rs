//! NetworkPolicies that select either end of an attempt. Tracer does not evaluate their rules, so they are a
//! possible cause.

use super::case::Case;
use super::claim::Claim;
use super::command::Kubectl;
use super::fact::{ConnectionFact, Governs};
use super::services;
use crate::model::cluster::{Kind, NetworkPolicy, Pod};

/// Adds the policies that may be the cause.
pub(super) fn possible(case: &Case<'_>, claim: Claim) -> Claim {
    let egress = case
        .pod()
        .and_then(|pod| case.index.pod_object(pod))
        .map(|pod| selecting(case, pod, |policy| policy.egress.is_some()))
        .unwrap_or_default();
    let mut ingress: Vec<&NetworkPolicy> = Vec::new();
    for pod in destinations(case) {
        for policy in selecting(case, pod, |policy| policy.ingress.is_some()) {
            if !ingress.contains(&policy) {
                ingress.push(policy);
            }
        }
    }
    let mut claim = claim;
    if case.index.knows(Kind::NetworkPolicy) && case.index.policies().is_empty() {
        claim = claim.why(if case.index.follows_cluster() {
            ConnectionFact::NoPolicyInCluster
        } else {
            // A file without NetworkPolicies may come from a cluster that has some.
            ConnectionFact::NoPolicyInFile
        });
    }
    for (policies, governs) in [(egress, Governs::Egress), (ingress, Governs::Ingress)] {
        for policy in policies {
            claim = claim
                .why(ConnectionFact::Policy {
                    policy: policy.into(),
                    governs,
                })
                .command(Kubectl::DescribePolicy(policy.into()));
        }
    }
    claim
}

/// The possible destination pods of the attempt.
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
        policy.namespace == pod.namespace && governs(policy) && policy.pods.selects(&pod.labels)
    };
    case.index.policies().iter().filter(selects).collect()
}
