//! NetworkPolicies.

use super::super::parts::{List, Part};
use super::super::sentence;
use crate::diagnose::fact::{Denial, Denied, Governs, ObjectName, PolicyFact};
use crate::model::sentence::Sentence;
use crate::policy::Doubt;

pub(super) fn sentence(fact: &PolicyFact) -> Sentence {
    match fact {
        PolicyFact::NoneInCluster => sentence!("The cluster has no NetworkPolicy."),
        PolicyFact::NoneInFile => sentence!("The inventory holds no NetworkPolicy."),
        PolicyFact::NoneSelects => sentence!("No NetworkPolicy selects either end."),
        PolicyFact::Allow(policies) => match policies.len() {
            1 => sentence!("NetworkPolicy {} applies and allows it.", List(policies)),
            _ => sentence!("NetworkPolicies {} apply and allow it.", List(policies)),
        },
        PolicyFact::Deny(denial) => deny(denial),
        PolicyFact::AllowServicePort { allowed, needed } => sentence!(
            "It would allow port {}, which is the Service's. A policy sees the port of the pods, {}.",
            allowed,
            needed
        ),
        PolicyFact::Open {
            policies,
            governs,
            doubt,
        } => sentence!(
            "Possible cause: {}. {}",
            sentence!(
                "{} what {}",
                select(policies),
                match governs {
                    Governs::Egress => "the pod sends",
                    Governs::Ingress => "the destination receives",
                }
            ),
            match doubt {
                Doubt::BlockOfCluster =>
                    "It allows the address by an ipBlock only, and whether an ipBlock holds pods and Services depends on the network plugin.",
                Doubt::HostNetwork =>
                    "Its selectors may match, but whether they hold for pods on their node's network depends on the network plugin.",
                Doubt::NamespaceLabels =>
                    "Whether it allows this depends on a namespace's labels, which the inventory doesn't show.",
                Doubt::UnknownPod =>
                    "Whether it allows this depends on a pod that the inventory doesn't show.",
                Doubt::Protocol =>
                    "Whether it applies to this protocol depends on the network plugin.",
            }
        ),
        PolicyFact::OwnNode(policies) => sentence!(
            "{} one of the ends. Between a pod and its own node NetworkPolicies allow everything, though some network plugins apply them.",
            select(policies)
        ),
    }
}

/// `NetworkPolicy a/b selects`.
fn select(policies: &[ObjectName]) -> Sentence {
    match policies.len() {
        1 => sentence!("NetworkPolicy {} selects", List(policies)),
        _ => sentence!("NetworkPolicies {} select", List(policies)),
    }
}

fn deny(denial: &Denial) -> Sentence {
    let Denial {
        policies,
        governs,
        from,
        to,
        port,
        passed,
    } = denial;
    let enforced = match passed {
        None => sentence!("A network plugin that enforces policies does not let that through."),
        Some(ago) => sentence!(
            "Yet the pod got through {} before: possibly the policy is newer, or the network plugin does not enforce it.",
            ago
        ),
    };
    let none = match policies.len() {
        1 => "does not allow",
        _ => "do not allow",
    };
    match governs {
        Governs::Egress => sentence!(
            "{} {} and {} egress to {} on port {}. {}",
            select(policies),
            from,
            none,
            to,
            port,
            enforced
        ),
        Governs::Ingress => sentence!(
            "{} {} and {} ingress from {} on port {}. {}",
            select(policies),
            to,
            none,
            from,
            port,
            enforced
        ),
    }
}

impl Part for Denied {
    fn add_to(&self, sentence: &mut Sentence) {
        match self {
            Denied::Address(place) => place.add_to(sentence),
            Denied::All(1) => sentence.push_words("the Service's one endpoint"),
            Denied::All(all) => sentence.push_words(format!("all {all} endpoints of the Service")),
            Denied::Some(some, all) => {
                sentence.push_words(format!("{} of the Service's {all} endpoints, ", some.len()));
                List(some).add_to(sentence);
                sentence.push_words(",");
            }
        }
    }
}
