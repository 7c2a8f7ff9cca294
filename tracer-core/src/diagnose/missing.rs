//! What is not known of the cluster when a rule speaks, why, and how to find out.
//!
//! Without a word of that a finding would sound as if somebody had looked. An inventory that nobody gave, an API server
//! that has not answered yet, one that does not let the tracer read, and one that answered and is away are four stories.

use super::case::Case;
use super::claim::Claim;
use super::words::GIVE_INVENTORY;
use crate::identity::{Index, Unavailable};
use crate::model::cluster::Kind;
use crate::model::time::Timestamp;
use crate::model::units::duration;

/// Whether the API server answers at all.
const ASK_SERVER: &str = "kubectl get --raw '/readyz?verbose'   # is the API server well?";
/// What the agent gets from it.
const ASK_AGENT: &str = "tracer status   # \"names\" says what the agents get from the API server";

/// Adds that nobody knows who has the address at the other end, where that is so, and how to find out why.
pub(super) fn who(case: &Case<'_>, claim: Claim) -> Claim {
    if case.index.has_inventory() {
        return claim;
    }
    let lack = lack_of(case, Kind::Pod);
    let claim = claim.why(format!("Who has that address is not known: {lack}."));
    look(case, Kind::Pod, claim)
}

/// Why objects of a kind are not known; the end of a sentence.
pub(super) fn lack_of(case: &Case<'_>, kind: Kind) -> String {
    lack(case.index, kind, Some(case.now))
}

/// The same; `now` says for how long already.
pub(super) fn lack(index: &Index, kind: Kind, now: Option<Timestamp>) -> String {
    match index.unavailable(kind) {
        Some(Unavailable::NoInventory) => "there is no inventory".to_owned(),
        Some(Unavailable::NotAnswered(asked)) => {
            let since =
                now.map(|now| format!(", {} after it was asked", duration(now.since(asked))));
            format!(
                "the API server has not answered yet{}",
                since.unwrap_or_default()
            )
        }
        Some(Unavailable::Refused) => {
            format!(
                "the API server does not let the tracer read {}",
                kind.resource()
            )
        }
        None if index.follows_cluster() => format!("the API server tells of no {}", named(kind)),
        None => format!("the inventory holds no {}", named(kind)),
    }
}

/// Adds how to find out why they are not known.
pub(super) fn look(case: &Case<'_>, kind: Kind, claim: Claim) -> Claim {
    match case.index.unavailable(kind) {
        Some(Unavailable::NotAnswered(_)) => claim.remedy(ASK_SERVER).remedy(ASK_AGENT),
        Some(Unavailable::Refused) => claim.remedy(format!(
            "kubectl auth can-i list {} -A   # as the user or service account that the tracer runs as",
            kind.resource()
        )),
        None if case.index.follows_cluster() => {
            claim.remedy(format!("kubectl get {} -A", kind.resource()))
        }
        Some(Unavailable::NoInventory) | None => claim.remedy(GIVE_INVENTORY),
    }
}

/// Adds that what is known may be out of date, where the API server is away.
pub(super) fn stale(case: &Case<'_>, claim: Claim) -> Claim {
    match case.index.stale_since() {
        Some(since) if case.index.has_inventory() => claim
            .why(format!(
                "What is known of the cluster may be out of date: the API server could not be watched for {}.",
                duration(case.now.since(since))
            ))
            .remedy(ASK_SERVER),
        _ => claim,
    }
}

fn named(kind: Kind) -> &'static str {
    match kind {
        Kind::Pod => "pods",
        Kind::Service => "Services",
        Kind::EndpointSlice => "EndpointSlices",
        Kind::Node => "Nodes",
        Kind::Namespace => "namespaces",
        Kind::NetworkPolicy => "NetworkPolicies",
        Kind::ServiceCidr => "ServiceCIDRs",
    }
}
