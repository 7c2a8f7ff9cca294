//! What an ExternalName Service stands for: a Service of the cluster, which is followed, or something else.
//!
//! The cluster's DNS answers with the alias as it is written; no search domain is added to it. Rests on objects
//! alone: no name is looked up.

use std::net::IpAddr;

use serde::Serialize;

use super::Input;
use super::resolution::{InInventory, in_inventory};
use crate::diagnose::shortest_name;
use crate::model::cluster::{Service, ServiceKind};
use crate::model::dns::DnsName;

/// Aliases that are followed, one after the other. Resolvers stop after about as many.
const MAX_ALIASES: usize = 8;

/// An ExternalName Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AliasFacts {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its externalName.
    pub stands_for: String,
    /// What that is.
    pub leads_to: LeadsTo,
    /// In words.
    pub because: String,
    /// The name that leads to the Service that may be meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead: Option<String>,
}

/// What an externalName is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeadsTo {
    /// A Service of the cluster, or an endpoint of one.
    Service,
    /// Another ExternalName Service.
    Alias,
    /// A name outside of the cluster.
    Outside,
    /// A name of the cluster that does not exist.
    Absent,
    /// A Service that leads back to this one.
    Loop,
    /// An address, which DNS takes as a name.
    Address,
    /// The inventory does not show it.
    Unknown,
}

/// The ExternalName Services from this one on, in order, and the Service that they lead to.
pub(super) fn follow<'a>(
    input: &Input<'a>,
    first: &'a Service,
) -> (Vec<AliasFacts>, Option<&'a Service>) {
    let mut aliases = Vec::new();
    let mut seen: Vec<&Service> = Vec::new();
    let mut service = first;
    while let ServiceKind::ExternalName(target) = &service.kind {
        seen.push(service);
        let (mut facts, next) = alias(input, service, target);
        let is_alias = |next: &&Service| matches!(next.kind, ServiceKind::ExternalName(_));
        if let Some(next) = next.filter(is_alias) {
            let named = |one: &&Service| one.namespace == next.namespace && one.name == next.name;
            if seen.iter().any(named) {
                facts.leads_to = LeadsTo::Loop;
                facts.because = match named(&service) {
                    true => "its own name".to_owned(),
                    false => format!("it leads back to {}/{}", next.namespace, next.name),
                };
            } else if aliases.len() + 1 >= MAX_ALIASES {
                facts.leads_to = LeadsTo::Unknown;
                facts.because = format!("not followed after {MAX_ALIASES} aliases");
            } else {
                facts.leads_to = LeadsTo::Alias;
            }
        }
        let leads_to = facts.leads_to;
        aliases.push(facts);
        match (leads_to, next) {
            (LeadsTo::Alias | LeadsTo::Service, Some(next)) => service = next,
            _ => return (aliases, None),
        }
    }
    (aliases, Some(service))
}

fn alias<'a>(
    input: &Input<'a>,
    service: &Service,
    target: &DnsName,
) -> (AliasFacts, Option<&'a Service>) {
    let (leads_to, because, next) = meaning(input, target);
    let short = (leads_to == LeadsTo::Outside)
        .then(|| short_name(input, service, target))
        .flatten();
    let facts = AliasFacts {
        namespace: service.namespace.to_string(),
        name: service.name.to_string(),
        stands_for: target.relative().to_owned(),
        leads_to,
        because,
        instead: short,
    };
    (facts, next)
}

fn meaning<'a>(input: &Input<'a>, target: &DnsName) -> (LeadsTo, String, Option<&'a Service>) {
    if target.as_str() == "." {
        return (LeadsTo::Absent, "the name is empty".to_owned(), None);
    }
    if target.relative().parse::<IpAddr>().is_ok() {
        let because = "an address, which DNS takes as a name".to_owned();
        return (LeadsTo::Address, because, None);
    }
    let (inventory, because, service) = in_inventory(input.index, input.coverage, target);
    match (inventory, service) {
        (InInventory::Exists | InInventory::Unknown, Some(service)) => {
            (LeadsTo::Service, because, Some(service))
        }
        (InInventory::Absent, _) => (LeadsTo::Absent, because, None),
        (InInventory::Outside, _) => {
            let because = "outside of the cluster, and no look-up is made".to_owned();
            (LeadsTo::Outside, because, None)
        }
        (InInventory::Exists | InInventory::Unknown, None) => (LeadsTo::Unknown, because, None),
    }
}

/// The full name of the Service whose short name the target is.
fn short_name(input: &Input<'_>, service: &Service, target: &DnsName) -> Option<String> {
    let labels: Vec<&str> = target.relative().split('.').collect();
    let (name, namespace) = match labels.as_slice() {
        [name] => (*name, &*service.namespace),
        [name, namespace] | [name, namespace, "svc"] => (*name, *namespace),
        _ => return None,
    };
    let meant = input.index.service(namespace, name)?;
    // Without a resolver the name is complete.
    let full = shortest_name(None, meant, None, input.index.cluster_domain());
    Some(full.strip_suffix('.').unwrap_or(&full).to_owned())
}
