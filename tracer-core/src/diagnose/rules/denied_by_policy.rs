//! The kernel of the pod's node dropped the packets, and a NetworkPolicy denies them.

use crate::diagnose::case::Case;
use crate::diagnose::claim::Claim;
use crate::diagnose::headline::Reason;
use crate::diagnose::rule::Rule;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "denied-by-policy",
    severity: Severity::Error,
    finds: "a NetworkPolicy denies it, and the packets were dropped",
    means: "A connection or UDP flow got no answer, the kernel of the pod's node was seen to drop its packets, and a NetworkPolicy \
            denies them to every destination that they could have had.",
    looks_at: "What dropped-on-node looks at; the NetworkPolicies that select the client or the endpoints.",
    cannot_know: "Whether the network plugin dropped them for that policy: the kernel names no policy. What was dropped on another \
                  node.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let claim = super::dropped_on_node::claim(case)?;
    matches!(claim.because, Some(Reason::PolicyDenies(..))).then_some(claim)
}
