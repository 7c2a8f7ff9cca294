//! The name exists, and the type that was asked for does not.

use std::time::Duration;

use crate::diagnose::case::Case;
use crate::diagnose::claim::{Claim, Cure};
use crate::diagnose::looked::{AskedName, How};
use crate::diagnose::names;
use crate::diagnose::rule::Rule;
use crate::diagnose::words;
use crate::identity::Presence;
use crate::model::dns::{DnsName, RecordType, type_mnemonic};
use crate::model::exchange::Outcome;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "nodata-not-found",
    severity: Severity::Info,
    finds: "the name exists and has no record of the type asked for",
    means: "The lookup found nothing because the name has no record of the type that was asked for. That is not NXDOMAIN: the name \
            exists.",
    looks_at: "Lookups for A, AAAA, SRV, TXT, MX or CNAME that ended with NOERROR and no such record. An empty AAAA beside an answered \
               A is no finding, nor one that is followed by an answered A within two seconds.",
    cannot_know: "Which types the name has.",
    check,
};

/// What people and programs ask for on purpose; browsers ask for HTTPS of every name.
const ASKED: [RecordType; 6] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::SRV,
    RecordType::TXT,
    RecordType::MX,
    RecordType::CNAME,
];

/// Who asks for one type after the other does so at once; the wait is for the lookup to be decided, on a busy node.
const OTHER_TYPE: Duration = Duration::from_secs(2);

fn check(case: &Case<'_>) -> Option<Claim> {
    let looked = case.lookup(Outcome::Nodata)?;
    let qtypes = &looked.lookup.qtypes;
    if looked.cut_short || looked.begun_unnamed || !qtypes.iter().all(|qtype| ASKED.contains(qtype))
    {
        return None;
    }
    let asked = looked.asked()?;
    let steps = &looked.lookup.steps;
    let empty = steps
        .iter()
        .find(|step| step.outcome == Some(Outcome::Nodata))?;
    let types: Vec<_> = qtypes.iter().map(|qtype| type_mnemonic(*qtype)).collect();
    let types = words::list(&types);
    let claim = Claim::new(
        format!("{}:{types}", asked.name),
        format!(
            "{} looked up \"{}\": the name exists and has no {types} record ({}).",
            case.who(),
            asked.name,
            looked.figures()
        ),
    )
    .why(format!("{} exists, without such a record.", empty.name))
    .evidence(looked.evidence());
    let claim = match what_it_is(case, &empty.name) {
        Some(what) => claim.why(what),
        None => claim,
    };
    let names = looked.names().into_iter().cloned();
    // glibc's gethostbyname, as of getent hosts, asks the whole search path for AAAA and then for A.
    let claim = claim.patience(OTHER_TYPE);
    Some(claim.cures(names.map(Cure::Found)))
}

/// What of the cluster has that name.
fn what_it_is(case: &Case<'_>, name: &DnsName) -> Option<String> {
    let domain = case.index.cluster_domain();
    let head = names::below(name.relative(), domain)?;
    if let Some(namespace) = head.strip_suffix(".svc")
        && !namespace.contains('.')
        && case.index.has_namespace(namespace) == Presence::Yes
    {
        return Some(format!(
            "It is the name of namespace {namespace}, which has no address: a Service of it has, as service.{namespace}."
        ));
    }
    let asked = AskedName {
        name: name.relative(),
        how: How::Absolute,
    };
    let meaning = names::meanings(asked, domain).into_iter().next()?;
    let service = case.index.service(meaning.namespace?, meaning.service)?;
    let ips = &service.cluster_ips;
    let lacks = match (
        ips.iter().any(|ip| ip.is_ipv4()),
        ips.iter().any(|ip| ip.is_ipv6()),
    ) {
        (true, false) => " and has IPv4 addresses only",
        (false, true) => " and has IPv6 addresses only",
        _ => "",
    };
    Some(format!(
        "It is the name of Service {}{lacks}.",
        words::name_of(service)
    ))
}
