//! What the inventory does not show.

use super::super::sentence;
use crate::diagnose::fact::{InventoryFact, Lacking};
use crate::model::cluster::Kind;
use crate::model::sentence::Sentence;

pub(super) fn sentence(fact: &InventoryFact) -> Sentence {
    match fact {
        InventoryFact::AddressOwnerUnknown(why) => {
            sentence!("Who has that address is not known: {}.", lacking(*why))
        }
        InventoryFact::Stale(age) => sentence!(
            "What is known of the cluster may be out of date: the API server could not be watched for {}.",
            age
        ),
    }
}

/// Why objects are unknown; the end of a sentence.
pub(super) fn lacking(lacking: Lacking) -> Sentence {
    match lacking {
        Lacking::NoInventory => sentence!("there is no inventory"),
        Lacking::NotAnswered(waited) => sentence!(
            "the API server has not answered yet{}",
            waited.map(|waited| sentence!(", {} after it was asked", waited))
        ),
        Lacking::Forbidden(kind) => {
            sentence!(
                "the API server does not let the tracer read {}",
                kind.resource()
            )
        }
        Lacking::NoneInCluster(kind) => sentence!("the API server lists no {}", plural(kind)),
        Lacking::NoneInFile(kind) => sentence!("the inventory holds no {}", plural(kind)),
        Lacking::OtherNodes => sentence!("only the pods of this node are known"),
    }
}

fn plural(kind: Kind) -> &'static str {
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
