//! A workload whose lookups take many queries because of the search path.

use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Cause, Claim, Evidence, Summary};
use crate::diagnose::command::{Command, Setting};
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::NameFact;
use crate::diagnose::headline::Fix;
use crate::diagnose::lookup_evidence::{AskedName, Search};
use crate::diagnose::names;
use crate::diagnose::rule::Rule;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "search-path-waste",
    severity: Severity::Info,
    finds: "most of a workload's queries are for names that do not exist",
    means: "At least half of a workload's DNS queries are for names of the search path that do not exist: with ndots 5, a resolver \
            tries a name with fewer than five dots in every search domain first, for A and for AAAA.",
    looks_at: "Lookups that found a record and whose name asked for is known: at least 24 queries without success within a minute, \
               and half of all.",
    cannot_know: "Lookups whose name asked for is not visible on the wire; what pods on other nodes do.",
    check,
};

/// At most this many names are listed.
const MAX_NAMES: usize = 3;
/// With this ndots, a name with two dots is tried as it is first, and service.namespace still uses the search
/// path.
const NDOTS: usize = 2;

fn check(case: &Case<'_>) -> Option<Claim> {
    let Symptom::Waste(workload, window) = case.symptom else {
        return None;
    };
    let mut top = window.names.clone();
    top.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let evidence: Vec<Evidence> = top
        .iter()
        .map(|(name, wasted)| Evidence::Wasted {
            name: name.clone(),
            queries: *wasted,
        })
        .collect();
    top.truncate(MAX_NAMES);
    let summary = Summary::SearchPathWaste {
        workload: workload.to_owned(),
        tenths: window.queries * 10 / window.lookups.max(1),
        wasted: window.wasted,
        queries: window.queries,
    };
    let names = top.iter().map(|(name, _)| name.clone()).collect();
    let mut claim = Claim::new(Cause::SearchPath, summary)
        .about_workload(workload.to_owned())
        .fix(Fix::TrailingDot)
        .why(NameFact::SearchedFirst(names))
        .evidence(evidence);
    for (name, _) in &top {
        let absolute = service_name(case, name).unwrap_or_else(|| format!("{name}."));
        claim = claim.command(Command::UseName(absolute));
    }
    let domain = case.index.cluster_domain();
    let dots = |name: &str| name.bytes().filter(|&byte| byte == b'.').count();
    let external = top
        .iter()
        .all(|(name, _)| dots(name) >= NDOTS && names::below(name, domain).is_none());
    if external {
        claim = claim.command(Setting::Ndots(NDOTS));
    }
    Some(claim.cure(Cure::FewWasted(workload.to_owned())))
}

/// The absolute name of the Service that a short name means.
fn service_name(case: &Case<'_>, name: &str) -> Option<String> {
    let own = case.pod()?.namespace.as_ref();
    let domain = case.index.cluster_domain();
    let asked = AskedName {
        name,
        search: Search::Searched,
    };
    let mut meanings = names::meanings(asked, domain).into_iter();
    meanings.find_map(|meaning| {
        let namespace = meaning.namespace.unwrap_or(own);
        let service = case.index.service(namespace, meaning.service)?;
        let full = names::full(meaning.host, service, domain);
        Some(full.as_str().to_owned())
    })
}
