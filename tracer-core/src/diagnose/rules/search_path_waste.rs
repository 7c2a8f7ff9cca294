//! A workload whose lookups cost many queries because of the search path.

use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Claim, Cure};
use crate::diagnose::names;
use crate::diagnose::rule::Rule;
use crate::diagnose::words;
use crate::model::finding::Severity;
use crate::model::units::count;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "search-path-waste",
    severity: Severity::Info,
    finds: "most of a workload's queries go to names that do not exist",
    means: "Half of a workload's DNS queries or more go to names of the search path that do not exist: with ndots 5 a name with \
            fewer than five dots is first tried behind every search domain, for A and for AAAA.",
    looks_at: "Lookups that found something, with what was asked for known: 24 queries in vain within a minute, and half of all.",
    cannot_know: "Lookups of which the wire does not tell what was asked for; what pods on other nodes do.",
    check,
};

/// So many names are given.
const NAMES: usize = 3;
/// With this ndots a name of two dots is tried as it is first, and service.namespace still goes through the search path.
const FEWER_DOTS: usize = 2;

fn check(case: &Case<'_>) -> Option<Claim> {
    let Symptom::Wasteful(workload, spent) = case.symptom else {
        return None;
    };
    // Queries per lookup, with one decimal.
    let tenths = spent.queries * 10 / spent.lookups.max(1);
    let mut top = spent.names.clone();
    top.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let lines: Vec<String> = top
        .iter()
        .map(|(name, wasted)| format!("\"{name}\": {} in vain", count(*wasted, "query")))
        .collect();
    top.truncate(NAMES);
    let names: Vec<String> = top.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let mut claim = Claim::new(
        "search-path",
        format!(
            "{workload} sends {}.{} DNS queries a lookup: {} of {} within a minute went to names of the search path that do not exist.",
            tenths / 10,
            tenths % 10,
            spent.wasted,
            spent.queries
        ),
    )
    .by(workload.to_owned())
    .why(format!(
        "Each name is tried behind the search domains first. Most of it for {}.",
        words::list(&names)
    ))
    .evidence(lines);
    let domain = case.index.cluster_domain();
    for (name, _) in &top {
        claim = claim.remedy(match full(case, name) {
            Some(full) => full,
            None => format!("{name}."),
        });
    }
    let dots = |name: &str| name.bytes().filter(|&byte| byte == b'.').count();
    let external = top
        .iter()
        .all(|(name, _)| dots(name) >= FEWER_DOTS && names::below(name, domain).is_none());
    if external {
        claim = claim.remedy(format!(
            "dnsConfig: {{options: [{{name: ndots, value: \"{FEWER_DOTS}\"}}]}}   # in the pod's spec"
        ));
    }
    Some(claim.cure(Cure::Thrifty(workload.to_owned())))
}

/// The absolute name of a Service that was asked for by a short one.
fn full(case: &Case<'_>, name: &str) -> Option<String> {
    let own = case.pod()?.namespace.as_ref();
    let domain = case.index.cluster_domain();
    let asked = crate::diagnose::looked::AskedName {
        name,
        how: crate::diagnose::looked::How::Searched,
    };
    let mut meanings = names::meanings(asked, domain).into_iter();
    meanings.find_map(|meaning| {
        let namespace = meaning.namespace.unwrap_or(own);
        let service = case.index.service(namespace, meaning.service)?;
        Some(
            names::full(meaning.host, service, domain)
                .as_str()
                .to_owned(),
        )
    })
}
