//! What the inventory lacks when a rule needs it, why, and how to find out.
//!
//! A finding has to show that a question was not answered; otherwise it reads as if the answer were "no". The
//! reasons differ: no inventory, an API server that has not answered yet, one that denies access, one that is
//! out of reach.

use super::case::Case;
use super::claim::Claim;
use super::command::{Command, Kubectl};
use super::fact::{InventoryFact, Lacking};
use crate::identity::{Index, Unavailable};
use crate::model::cluster::Kind;
use crate::model::time::Timestamp;

/// Adds that the owner of the other end's address is unknown, if it is, and how to find out why.
pub(super) fn address_owner(case: &Case<'_>, claim: Claim) -> Claim {
    if case.index.has_inventory() {
        return claim;
    }
    let lacking = lacking_in(case, Kind::Pod);
    let claim = claim.why(InventoryFact::AddressOwnerUnknown(lacking));
    investigate(case, Kind::Pod, claim)
}

/// Why objects of a kind are unknown, with the time since the API server was asked.
pub(super) fn lacking_in(case: &Case<'_>, kind: Kind) -> Lacking {
    lacking(case.index, kind, Some(case.now))
}

/// Why objects of a kind are unknown.
pub(super) fn lacking(index: &Index, kind: Kind, now: Option<Timestamp>) -> Lacking {
    match index.unavailable(kind) {
        Some(Unavailable::NoInventory) => Lacking::NoInventory,
        Some(Unavailable::NotAnswered(asked)) => {
            Lacking::NotAnswered(now.map(|now| now.since(asked)))
        }
        Some(Unavailable::Refused) => Lacking::Forbidden(kind),
        None if index.follows_cluster() => Lacking::NoneInCluster(kind),
        None => Lacking::NoneInFile(kind),
    }
}

/// Adds how to find out why objects of a kind are unknown.
pub(super) fn investigate(case: &Case<'_>, kind: Kind, claim: Claim) -> Claim {
    match case.index.unavailable(kind) {
        Some(Unavailable::NotAnswered(_)) => claim
            .command(Kubectl::ServerHealth)
            .command(Command::AgentStatus),
        Some(Unavailable::Refused) => claim.command(Kubectl::CanList(kind)),
        None if case.index.follows_cluster() => claim.command(Kubectl::List(kind)),
        Some(Unavailable::NoInventory) | None => claim.command(Command::MakeInventory),
    }
}

/// Adds that the inventory may be out of date, if the API server is out of reach.
pub(super) fn stale(case: &Case<'_>, claim: Claim) -> Claim {
    match case.index.stale_since() {
        Some(since) if case.index.has_inventory() => claim
            .why(InventoryFact::Stale(case.now.since(since)))
            .command(Kubectl::ServerHealth),
        _ => claim,
    }
}
