//! The DNS server refuses to answer the pod.

use crate::diagnose::case::Case;
use crate::diagnose::claim::{Cause, Claim, Summary};
use crate::diagnose::command::Kubectl;
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::ServerFact;
use crate::diagnose::headline::Fix;
use crate::diagnose::rule::Rule;
use crate::diagnose::{names, server};
use crate::model::exchange::Outcome;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "dns-refused",
    severity: Severity::Error,
    finds: "the DNS server refuses to answer",
    means: "The DNS server answered REFUSED: it is reachable and does not serve this name, or this client.",
    looks_at: "Lookups that ended with REFUSED.",
    cannot_know: "The server's configuration: which clients and which zones it serves.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let lookup = case.lookup(Outcome::Refused)?;
    if lookup.cut_short {
        return None;
    }
    let asked = lookup.asked()?;
    let ip = case.ends.peer.ip;
    let mut steps = lookup.event.steps.iter();
    let refused = steps.rfind(|step| step.outcome == Some(Outcome::Refused))?;
    let cluster = case.index.cluster_domain();
    // An answer for one name cures the others only where the server is authoritative for all of them.
    let (domain, cured_by) = match names::below(refused.name.relative(), cluster) {
        Some(_) => (cluster.clone(), cluster.clone()),
        None => (names::registered(&refused.name), refused.name.clone()),
    };
    let summary = Summary::Refused {
        asked: asked.name.to_owned(),
        server: server::named(case),
        figures: lookup.figures(),
    };
    let claim = Claim::new(Cause::ServerAndDomain(ip, domain), summary)
        .fix(Fix::CheckServer(server::named(case)))
        .why(ServerFact::RefusalCauses)
        .evidence(lookup.evidence())
        .cure(Cure::Resolves(ip, cured_by));
    let claim = if server::in_cluster(case) {
        claim.command(Kubectl::Corefile)
    } else {
        claim
    };
    let claim = server::answered_pod(case, claim, ip, lookup.answers_from(ip));
    Some(server::logs(case, server::on_node(case, claim, ip), ip))
}
