//! The DNS server answers SERVFAIL.

use crate::diagnose::case::Case;
use crate::diagnose::claim::{Cause, Claim, Summary};
use crate::diagnose::command::PodCommand;
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::ServerFact;
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::rule::Rule;
use crate::diagnose::{names, server};
use crate::model::exchange::Outcome;
use crate::model::finding::Severity;
use crate::model::lookup::Step;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "dns-servfail",
    severity: Severity::Error,
    finds: "the DNS server answers that it failed",
    means: "The DNS server answered SERVFAIL: it could not resolve the name. For a name of the cluster, the server itself has a \
            problem. For any other name it asks an upstream server.",
    looks_at: "Lookups that ended with SERVFAIL, the name that got it, and the server's explanation (RFC 8914) if there is one; \
               if the server's pod is on this node, what it asked another server at that time.",
    cannot_know: "What happened between the server and its upstream, if the server's pod is on another node.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let lookup = case.lookup(Outcome::Servfail)?;
    if lookup.cut_short {
        return None;
    }
    let asked = lookup.asked()?;
    let ip = case.ends.peer.ip;
    let cluster = case.index.cluster_domain();
    let in_cluster = |step: &Step| names::below(step.name.relative(), cluster).is_some();
    let failed = || {
        let failed = |step: &&Step| step.outcome == Some(Outcome::Servfail);
        lookup.event.steps.iter().filter(failed)
    };
    // A failure for a name of the cluster is the server's own, so it explains more.
    let own = failed().rfind(|step| in_cluster(step));
    let failed = own.or_else(|| failed().next_back())?;
    let name = failed.name.clone();
    // An answer for one name cures the others only where the server is authoritative for all of them.
    let (domain, cured_by, fact) = if in_cluster(failed) {
        let fact = match server::is_on_node(case, ip) {
            true => ServerFact::CacheFailed(name.clone()),
            false => ServerFact::FailedItself(name.clone()),
        };
        (cluster.clone(), cluster.clone(), fact)
    } else {
        let fact = ServerFact::UpstreamFailed(name.clone());
        (names::registered(&name), name.clone(), fact)
    };
    let summary = Summary::Servfail {
        asked: asked.name.to_owned(),
        server: server::named(case),
        figures: lookup.figures(),
    };
    let mut claim = Claim::new(Cause::ServerAndDomain(ip, domain), summary)
        .because(match fact {
            ServerFact::FailedItself(_) => Reason::ServerFails,
            ServerFact::CacheFailed(_) => Reason::CacheGetsNoAnswer,
            _ => Reason::UpstreamFails,
        })
        .fix(Fix::CheckServer(server::named(case)))
        .evidence(lookup.evidence());
    claim = server::upstream(claim, lookup).why(fact);
    for error in &failed.errors {
        claim = claim.why(ServerFact::Explanation {
            meaning: error.meaning(),
            text: error.text.clone(),
        });
    }
    let claim = server::on_node(case, claim, ip);
    let claim = server::answered_pod(case, claim, ip, lookup.answers_from(ip));
    let claim = server::ask_each(case, server::logs(case, claim, ip), ip, &name)
        .command(PodCommand::Nslookup {
            name,
            qtype: None,
            server: Some(ip),
        })
        .cure(Cure::Resolves(ip, cured_by));
    Some(claim)
}
