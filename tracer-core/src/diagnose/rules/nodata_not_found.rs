//! The name exists, but not the type asked for.

use std::time::Duration;

use crate::diagnose::case::Case;
use crate::diagnose::claim::{Cause, Claim, Summary};
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::{AddressFamily, NameFact};
use crate::diagnose::lookup_evidence::{AskedName, Search};
use crate::diagnose::names;
use crate::diagnose::rule::Rule;
use crate::identity::Presence;
use crate::model::dns::{DnsName, RecordType};
use crate::model::exchange::Outcome;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "nodata-not-found",
    severity: Severity::Info,
    finds: "the name exists and has no record of the type asked for",
    means: "The lookup found nothing because the name has no record of the type asked for. This is not NXDOMAIN: the name exists.",
    looks_at: "Lookups for A, AAAA, SRV, TXT, MX or CNAME that ended with NOERROR and no such record. An empty AAAA beside an \
               answered A is no finding, nor is one that an answered A follows within two seconds.",
    cannot_know: "Which types the name has.",
    check,
};

/// The types that people and programs ask for deliberately. Browsers ask for HTTPS of every name.
const DELIBERATE: [RecordType; 6] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::SRV,
    RecordType::TXT,
    RecordType::MX,
    RecordType::CNAME,
];

/// A resolver that asks for one type after the other sends the second query at once. On a busy node, the
/// lookup takes this long to be decided.
const OTHER_TYPE: Duration = Duration::from_secs(2);

fn check(case: &Case<'_>) -> Option<Claim> {
    let lookup = case.lookup(Outcome::Nodata)?;
    let types = &lookup.event.qtypes;
    if lookup.cut_short
        || lookup.begun_unnamed
        || !types.iter().all(|qtype| DELIBERATE.contains(qtype))
    {
        return None;
    }
    let asked = lookup.asked()?.name;
    let mut steps = lookup.event.steps.iter();
    let empty = steps.find(|step| step.outcome == Some(Outcome::Nodata))?;
    let summary = Summary::NoSuchType {
        asked: asked.to_owned(),
        types: types.clone(),
        figures: lookup.figures(),
    };
    let cause = Cause::NameAndTypes(asked.to_owned(), types.clone());
    let claim = Claim::new(cause, summary)
        .why(NameFact::NameExists(empty.name.clone()))
        .evidence(lookup.evidence());
    let claim = match object_with_name(case, &empty.name) {
        Some(object) => claim.why(object),
        None => claim,
    };
    let names = lookup.names().into_iter().cloned();
    // glibc's gethostbyname, which getent hosts uses, asks the whole search path for AAAA and then for A.
    let claim = claim.delay(OTHER_TYPE);
    Some(claim.cures(names.map(Cure::Found)))
}

/// The object of the cluster that has the name.
fn object_with_name(case: &Case<'_>, name: &DnsName) -> Option<NameFact> {
    let domain = case.index.cluster_domain();
    let head = names::below(name.relative(), domain)?;
    if let Some(namespace) = head.strip_suffix(".svc")
        && !namespace.contains('.')
        && case.index.has_namespace(namespace) == Presence::Yes
    {
        return Some(NameFact::NameOfNamespace(namespace.to_owned()));
    }
    let asked = AskedName {
        name: name.relative(),
        search: Search::Absolute,
    };
    let meaning = names::meanings(asked, domain).into_iter().next()?;
    let service = case.index.service(meaning.namespace?, meaning.service)?;
    let ips = &service.cluster_ips;
    let only = match (
        ips.iter().any(|ip| ip.is_ipv4()),
        ips.iter().any(|ip| ip.is_ipv6()),
    ) {
        (true, false) => Some(AddressFamily::V4),
        (false, true) => Some(AddressFamily::V6),
        _ => None,
    };
    Some(NameFact::NameOfService(service.into(), only))
}
