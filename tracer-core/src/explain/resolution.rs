//! How a name resolves in the pod: the names that its resolver tries, in order, what the inventory says about
//! each, and what each was answered lately.
//!
//! The order is that of resolv.conf(5), as glibc and musl share it. The cluster's DNS serves the names of the
//! Kubernetes DNS specification; what else it is configured to serve is in no object, so an answer that was
//! seen outranks the inventory.

mod inventory;
mod seen;

use std::net::IpAddr;

use serde::Serialize;

pub(super) use self::inventory::lookup as in_inventory;
use super::attempts::Moment;
use super::{Coverage, Input, Target, is_of};
use crate::diagnose::shortest_name;
use crate::identity::{Index, ResolverConfig};
use crate::lookup::candidates;
use crate::model::cluster::DnsPolicy;
use crate::model::dns::DnsName;
use crate::model::event::Body;
use crate::model::exchange::Outcome;
use crate::model::lookup::Lookup;

/// Candidates that are kept; a search list has at most 32 domains.
const MAX_CANDIDATES: usize = 40;

/// How a name resolves.
#[derive(Clone, Debug, Serialize)]
pub struct Resolution {
    /// The name as the application writes it.
    pub asked: String,
    /// The names that are tried, in order.
    pub candidates: Vec<Candidate>,
    /// The candidate that wins; `None` if none exists, or if the inventory and what was seen do not decide it.
    pub winner: Option<String>,
    /// Whether all candidates are known not to exist.
    pub none_exists: bool,
    /// Services that may be meant, and names that lead to them.
    pub instead: Vec<Instead>,
    /// What limits the answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A Service that may be meant.
#[derive(Clone, Debug, Serialize)]
pub struct Instead {
    /// The name that leads to it.
    pub name: String,
    /// `Service myns/web`.
    pub service: String,
}

/// A name that the resolver tries.
#[derive(Clone, Debug, Serialize)]
pub struct Candidate {
    /// The absolute name.
    pub name: String,
    /// Whether it exists by the inventory.
    pub inventory: InInventory,
    /// What that rests on.
    pub because: String,
    /// The latest answers, one for each type and server.
    pub seen: Vec<SeenAnswer>,
    /// The Service that it names.
    #[serde(skip)]
    pub(super) service: Option<(String, String)>,
}

/// Whether a name exists by the inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InInventory {
    /// The cluster's DNS has it.
    Exists,
    /// It does not.
    Absent,
    /// The name is outside of the cluster: other servers decide.
    Outside,
    /// The inventory does not show it.
    Unknown,
}

/// An answer, or silence.
#[derive(Clone, Debug, Serialize)]
pub struct SeenAnswer {
    /// The queried type.
    pub qtype: String,
    /// The outcome, as in events.
    pub outcome: &'static str,
    /// The data of the answer.
    pub data: Vec<String>,
    /// Time to the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ns: Option<u64>,
    /// The server; `None` if several were asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<IpAddr>,
    /// When it was asked.
    pub at: Moment,
    #[serde(skip)]
    pub(super) result: Outcome,
}

impl Candidate {
    /// The addresses that it was answered with.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let data = self.seen.iter().flat_map(|answer| &answer.data);
        data.filter_map(|data| data.parse().ok()).collect()
    }

    /// Whether it was answered lately.
    fn was_answered(&self) -> bool {
        let mut seen = self.seen.iter();
        seen.any(|answer| answer.result == Outcome::Answered)
    }

    fn was_denied(&self) -> bool {
        let negative =
            |answer: &SeenAnswer| matches!(answer.result, Outcome::Nxdomain | Outcome::Nodata);
        !self.seen.is_empty() && self.seen.iter().all(negative)
    }
}

/// The resolution of the target's name; `None` without a target, or for an address or a pod.
pub(super) fn explain(input: &Input<'_>) -> Option<Resolution> {
    let identity = std::sync::Arc::new(input.subject.identity());
    let resolver = match &input.subject.pod {
        Some(_) => input.index.resolver(&identity),
        None => None,
    };
    let asked = match input.target? {
        Target::Name(asked, _) => asked.clone(),
        Target::Service(namespace, name, _) => {
            let service = input.index.service(namespace, name)?;
            shortest_name(
                None,
                service,
                resolver.as_deref(),
                input.index.cluster_domain(),
            )
        }
        Target::Pod(..) | Target::Address(..) => return None,
    };
    let lookups = lookups(input, &asked);
    let names = names(input, &asked, resolver.as_deref(), &lookups);
    let mut candidates: Vec<Candidate> = names
        .into_iter()
        .take(MAX_CANDIDATES)
        .map(|name| candidate(input.index, input.coverage, &name))
        .collect();
    for event in input
        .events
        .iter()
        .filter(|event| is_of(input.subject, event))
    {
        seen::see(input, event, &mut candidates);
    }
    if !asks_cluster(input) {
        // The inventory shows what the cluster's DNS has, and the pod asks another.
        for candidate in &mut candidates {
            if matches!(
                candidate.inventory,
                InInventory::Exists | InInventory::Absent
            ) {
                candidate.inventory = InInventory::Unknown;
                candidate
                    .because
                    .push_str(", if the cluster's DNS is asked");
            }
        }
    }
    let (winner, none_exists) = winner(&candidates);
    let notes = notes(input, resolver.as_deref());
    let instead = match &winner {
        None => instead(input, &asked, resolver.as_deref()),
        Some(_) => Vec::new(),
    };
    Some(Resolution {
        asked,
        candidates,
        winner,
        none_exists: none_exists && resolver.is_some(),
        instead,
        notes,
    })
}

/// Whether the pod asks the cluster's DNS, as far as its spec shows.
fn asks_cluster(input: &Input<'_>) -> bool {
    let Some(pod) = &input.subject.pod else {
        return true;
    };
    match pod.dns.policy {
        DnsPolicy::Default => false,
        DnsPolicy::ClusterFirst => !pod.host_network,
        DnsPolicy::ClusterFirstWithHostNet => true,
        DnsPolicy::None => pod.dns.nameservers.iter().any(|ip| {
            let mut services = input.index.services();
            services.any(|service| service.cluster_ips.contains(ip))
        }),
    }
}

/// The pod's lookups of this name.
fn lookups<'a>(input: &Input<'a>, asked: &str) -> Vec<&'a Lookup> {
    let own = input
        .events
        .iter()
        .filter(|event| is_of(input.subject, event));
    let lookups = own.filter_map(|event| match &event.body {
        Body::Lookup(lookup) => Some(&**lookup),
        _ => None,
    });
    let same = |lookup: &&Lookup| {
        let name = lookup.asked.as_deref();
        name.is_some_and(|name| name.eq_ignore_ascii_case(asked))
    };
    lookups.filter(same).collect()
}

/// The names to try, and those with search domains of the node that queries showed.
fn names(
    input: &Input<'_>,
    asked: &str,
    resolver: Option<&ResolverConfig>,
    lookups: &[&Lookup],
) -> Vec<DnsName> {
    let Some(resolver) = resolver else {
        // The resolver is unknown: what was seen, and the name as it is.
        let mut names: Vec<DnsName> = Vec::new();
        for step in lookups.iter().flat_map(|lookup| &lookup.steps) {
            if !names.contains(&step.name) {
                names.push(step.name.clone());
            }
        }
        let as_it_is = DnsName::new(asked);
        if !names.contains(&as_it_is) {
            names.push(as_it_is);
        }
        return names;
    };
    let known = candidates(asked, resolver, &[]);
    let head = format!("{}.", asked.to_ascii_lowercase());
    let mut node: Vec<DnsName> = Vec::new();
    let steps = lookups.iter().flat_map(|lookup| &lookup.steps);
    for step in steps.filter(|step| !known.contains(&step.name)) {
        let domain = step.name.as_str().strip_prefix(&head).map(DnsName::new);
        if let Some(domain) = domain.filter(|domain| !node.contains(domain))
            && domain.below(input.index.cluster_domain()).is_none()
        {
            node.push(domain);
        }
    }
    match node.is_empty() {
        true => known,
        false => candidates(asked, resolver, &node),
    }
}

fn candidate(index: &Index, coverage: &Coverage, name: &DnsName) -> Candidate {
    let (inventory, because, service) = inventory::lookup(index, coverage, name);
    Candidate {
        name: name.as_str().to_owned(),
        inventory,
        because,
        seen: Vec::new(),
        service: service.map(|one| (one.namespace.to_string(), one.name.to_string())),
    }
}

pub(super) fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The candidate that wins, and whether none exists.
fn winner(candidates: &[Candidate]) -> (Option<String>, bool) {
    for candidate in candidates {
        if candidate.was_answered() {
            return (Some(candidate.name.clone()), false);
        }
        if candidate.was_denied() {
            continue;
        }
        match candidate.inventory {
            InInventory::Absent => {}
            InInventory::Exists => return (Some(candidate.name.clone()), false),
            InInventory::Outside | InInventory::Unknown => return (None, false),
        }
    }
    (None, true)
}

/// Services with the name's first label, and the shortest names that lead to them.
fn instead(input: &Input<'_>, asked: &str, resolver: Option<&ResolverConfig>) -> Vec<Instead> {
    let domain = input.index.cluster_domain();
    let first = asked.split('.').next().unwrap_or(asked);
    let services = input.index.services_named(first).into_iter();
    let names = services.map(|service| Instead {
        name: shortest_name(None, service, resolver, domain),
        service: format!("Service {}/{}", service.namespace, service.name),
    });
    names.filter(|one| one.name != asked).take(3).collect()
}

fn notes(input: &Input<'_>, resolver: Option<&ResolverConfig>) -> Vec<String> {
    let mut notes = Vec::new();
    match (resolver, &input.subject.pod) {
        (None, Some(_)) => notes.push(
            "it resolves names as its node does (dnsPolicy), and no object shows the node's resolv.conf"
                .to_owned(),
        ),
        (None, None) => notes.push("the pod's resolver is unknown, as the pod is not listed".to_owned()),
        (Some(_), _) => {}
    }
    notes
}
