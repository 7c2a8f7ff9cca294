//! Which objects are there: a user may be allowed to list some kinds, or a kind in some namespaces alone, and a
//! file may lack a kind.

use std::collections::HashMap;

use crate::identity::{Index, Unavailable};
use crate::model::cluster::Kind;

/// Which objects could be listed.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// Kinds that were listed in these namespaces alone.
    limited: HashMap<Kind, Vec<String>>,
    /// Kinds that could not be listed, with the reason.
    refused: HashMap<Kind, String>,
}

impl Coverage {
    /// A kind was listed in these namespaces alone.
    pub fn limit(&mut self, kind: Kind, namespaces: Vec<String>) {
        self.limited.insert(kind, namespaces);
    }

    /// A kind could not be listed.
    pub fn refuse(&mut self, kind: Kind, reason: String) {
        self.refused.insert(kind, reason);
    }

    /// Whether a kind was listed in all namespaces.
    pub fn is_whole(&self, kind: Kind) -> bool {
        !self.limited.contains_key(&kind) && !self.refused.contains_key(&kind)
    }

    /// Whether all objects of a kind are known, in this namespace if one is given.
    pub fn has(&self, index: &Index, kind: Kind, namespace: Option<&str>) -> bool {
        if !index.knows(kind) || self.refused.contains_key(&kind) {
            return false;
        }
        match (self.limited.get(&kind), namespace) {
            (None, _) => true,
            (Some(listed), Some(namespace)) => listed.iter().any(|one| one == namespace),
            (Some(_), None) => false,
        }
    }

    /// What is unknown because objects are, in sentences.
    pub(super) fn lacking(&self, index: &Index, to: bool) -> Vec<String> {
        let matters = [
            (Kind::Pod, "the pod's node and resolver"),
            (Kind::Service, "which Services there are"),
            (Kind::EndpointSlice, "which endpoints Services have"),
            (Kind::NetworkPolicy, "what NetworkPolicies allow"),
        ];
        let mut lacking = Vec::new();
        for (kind, what) in matters {
            let needs_target = kind == Kind::EndpointSlice || kind == Kind::Service;
            if needs_target && !to {
                continue;
            }
            let resource = kind.resource();
            if let Some(reason) = self.refused.get(&kind) {
                lacking.push(format!("{what}: {resource} could not be listed ({reason})"));
            } else if let Some(namespaces) = self.limited.get(&kind) {
                let names = namespaces.join(", ");
                lacking.push(format!(
                    "{what} outside of {names}: {resource} could be listed there alone"
                ));
            } else if let Some(why) = index.unavailable(kind) {
                lacking.push(format!("{what}: {}", because(why, resource)));
            } else if !index.follows_cluster() && is_absent(index, kind) {
                lacking.push(format!("{what}: the inventory has no {resource}"));
            }
        }
        lacking
    }
}

fn because(why: Unavailable, resource: &str) -> String {
    match why {
        Unavailable::NoInventory => "there is no inventory".to_owned(),
        Unavailable::NotAnswered(_) => "the API server has not answered".to_owned(),
        Unavailable::Refused => format!("no permission to list {resource}"),
    }
}

/// Whether a file has no object of this kind: it may come from a cluster that has some.
fn is_absent(index: &Index, kind: Kind) -> bool {
    match kind {
        Kind::Service => index.services().next().is_none(),
        Kind::EndpointSlice => !index.knows_endpoints(),
        Kind::NetworkPolicy => index.policies().is_empty(),
        _ => false,
    }
}
